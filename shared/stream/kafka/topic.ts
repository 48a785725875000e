/** The topic as the stream of daybook: what must hold of it, checked before anything is written or read. */
import kafkajs, { type Admin, type ITopicMetadata, type Kafka } from 'kafkajs';
import { dayMs } from '../../clock.ts';
import { DaybookError } from '../../errors.ts';
import type { Logger } from '../../program/log.ts';
import { patiently, withAdmin } from './client.ts';
import { kafkaErrorOf } from './error.ts';
import type { KafkaParams } from './settings.ts';

export interface KafkaTopic {
  /** Cluster id and topic. A topic that is made again under its old name keeps it. */
  readonly id: string;
  readonly partitions: number;
  /** Largest batch of records that a partition takes in one go, in bytes. */
  readonly maxBatchBytes: number;
  readonly minInSyncReplicas: number;
}

/** Of a topic that daybook makes: room for the default body limit with its envelope, a day more than is asked for. */
const ownMaxMessageBytes = 2 * 1024 * 1024;
const ownRetentionMs = 8 * dayMs;

const minRetentionMs = 7 * dayMs;
const creationPatienceMs = 10_000;

/**
 * Makes the topic if that is wished and it is missing, and checks it. Warns of what makes acknowledged events less safe
 * than promised, but for what is in `warned`, and adds that. Rejects with `stream_unsuitable` where the topic would drop events by its rules, else as
 * `kafkaErrorOf`.
 */
export async function checkTopic(
  kafka: Kafka,
  params: KafkaParams,
  log: Logger,
  warned: Set<string> = new Set(),
): Promise<KafkaTopic> {
  try {
    return await withAdmin(kafka, async (admin) => {
      const read = async () => ({
        partitions: await partitionsOf(admin, params.topic),
        ...(await configOf(admin, params)),
      });
      const found = await read().catch((error: unknown) => {
        if (params.create !== undefined && kafkaErrorOf(error, params).code === 'stream_missing') return undefined;
        throw error;
      });
      if (found !== undefined) return checkSettings(await idOf(admin, params), found, params, log, warned);
      await createTopic(admin, params, params.create!, log);
      // Dies here: an empty topic, found by the next start.
      // For a moment the brokers do not agree that it is there.
      const mayPass = (error: unknown) => {
        const { code, retry } = kafkaErrorOf(error, params);
        return retry || code === 'stream_missing';
      };
      const created = await patiently(read, mayPass, creationPatienceMs);
      // Known is not yet led: a send that some leaders take and others refuse is written twice in part.
      await patiently(() => admin.fetchTopicOffsets(params.topic), mayPass, creationPatienceMs);
      return checkSettings(await idOf(admin, params), created, params, log, warned);
    });
  } catch (error) {
    throw kafkaErrorOf(error, params);
  }
}

/** Resolves if every partition takes records with the acknowledgements that are asked for, else rejects. */
export async function probeTopic(kafka: Kafka, params: KafkaParams, minInSyncReplicas: number): Promise<void> {
  try {
    const partitions = await withAdmin(kafka, (admin) => partitionsOf(admin, params.topic));
    for (const { partitionId, leader, isr } of partitions) {
      if (leader < 0 || isr.length < minInSyncReplicas) {
        throw new DaybookError('stream_unavailable', {
          detail: `partition ${partitionId} of topic ${params.topic} has ${leader < 0 ? 'no leader' : `${isr.length} replicas in sync and needs ${minInSyncReplicas}`}`,
        });
      }
    }
  } catch (error) {
    throw kafkaErrorOf(error, params);
  }
}

export async function countPartitions(kafka: Kafka, topic: string): Promise<number> {
  return (await withAdmin(kafka, (admin) => partitionsOf(admin, topic))).length;
}

type Partitions = ITopicMetadata['partitions'];
interface Found {
  readonly partitions: Partitions;
  readonly config: ReadonlyMap<string, string>;
}

async function partitionsOf(admin: Admin, topic: string): Promise<Partitions> {
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  return topics[0]?.partitions ?? [];
}

async function configOf(admin: Admin, { topic }: KafkaParams): Promise<{ config: ReadonlyMap<string, string> }> {
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic }],
  });
  const entries = resources[0]?.configEntries ?? [];
  return { config: new Map(entries.map(({ configName, configValue }) => [configName, configValue])) };
}

async function idOf(admin: Admin, { topic }: KafkaParams): Promise<string> {
  return `${(await admin.describeCluster()).clusterId}/${topic}`;
}

/** Another process may make it at the same moment: then it is there as well. */
async function createTopic(
  admin: Admin,
  { topic }: KafkaParams,
  { partitions, replicationFactor }: NonNullable<KafkaParams['create']>,
  log: Logger,
): Promise<void> {
  const configEntries = [
    { name: 'cleanup.policy', value: 'delete' },
    { name: 'retention.ms', value: String(ownRetentionMs) },
    { name: 'max.message.bytes', value: String(ownMaxMessageBytes) },
    ...(replicationFactor < 3 ? [] : [{ name: 'min.insync.replicas', value: '2' }]),
  ];
  const made = await admin.createTopics({
    topics: [{ topic, numPartitions: partitions, replicationFactor, configEntries }],
    // kafkajs waits for leaders, and fails where a broker does not know the topic yet. The caller waits for both.
    waitForLeaders: false,
  });
  if (made) log.info({ topic, partitions, replicationFactor }, 'topic created');
}

function checkSettings(
  id: string,
  { partitions, config }: Found,
  { topic }: KafkaParams,
  log: Logger,
  warned: Set<string>,
): KafkaTopic {
  const number = (name: string, fallback: number) => Number(config.get(name) ?? fallback);
  refuseUnsuitable(topic, config);
  const replicas = Math.min(...partitions.map((partition) => partition.replicas.length));
  const minInSyncReplicas = number('min.insync.replicas', 1);
  const retentionMs = number('retention.ms', minRetentionMs);
  const warn = (facts: object, message: string) => {
    if (!warned.has(message)) log.warn({ topic, ...facts }, message);
    warned.add(message);
  };
  if (replicas < 2) {
    warn({ replicas }, 'weak acknowledgements: every event is on one broker alone (replication factor 1)');
  } else if (minInSyncReplicas < 2) {
    warn(
      { minInSyncReplicas },
      'weak acknowledgements: one broker alone may acknowledge; set min.insync.replicas to 2',
    );
  }
  if (minInSyncReplicas > replicas) {
    warn({ replicas, minInSyncReplicas }, 'the topic takes no events: fewer replicas than min.insync.replicas');
  }
  if (config.get('unclean.leader.election.enable') === 'true') {
    warn({}, 'weak acknowledgements: unclean.leader.election.enable lets a broker without the newest events take over');
  }
  if (retentionMs >= 0 && retentionMs < minRetentionMs) {
    warn({ retentionMs }, 'records may age out before they are read: set retention.ms to 7 days at least, or to -1');
  }
  if (number('retention.bytes', -1) >= 0) {
    warn({}, 'records may be dropped before they are read: retention.bytes limits each partition by size');
  }
  return {
    id,
    partitions: partitions.length,
    maxBatchBytes: number('max.message.bytes', 1_048_588),
    minInSyncReplicas,
  };
}

function refuseUnsuitable(topic: string, config: ReadonlyMap<string, string>): void {
  if (config.get('cleanup.policy')?.includes('compact') === true) {
    throw new DaybookError('stream_unsuitable', {
      detail: `topic ${topic} is compacted: of the events about one object it would keep the newest alone`,
      hint: 'Set its cleanup.policy to delete, or use another topic.',
    });
  }
}
