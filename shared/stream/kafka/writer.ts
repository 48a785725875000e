/**
 * The writing end of a Kafka topic. Acknowledged means: by all replicas in sync (acks -1; how many that are at least is
 * the topic's min.insync.replicas). Memory: the records of the appends in flight. Batching is the caller's: an append is
 * one request for each broker.
 */
import kafkajs, { type Kafka, type Producer } from 'kafkajs';
import { DaybookError } from '../../errors.ts';
import type { Logger } from '../../program/log.ts';
import { withTimeLimit } from '../../program/time-limit.ts';
import { AppendError } from '../append-error.ts';
import type { AppendRecord, EventStreamWriter } from '../stream.ts';
import { fitsTopic, maxValueBytesOf, sendRecords } from './append.ts';
import { openKafka } from './client.ts';
import { isRecordRefused, kafkaErrorOf } from './error.ts';
import { proveTopic } from './prove.ts';
import type { KafkaParams } from './settings.ts';
import { checkTopic, countPartitions, probeTopic } from './topic.ts';

export interface KafkaWriterOptions {
  readonly params: KafkaParams;
  readonly log: Logger;
}

/** After this an append rejects, whatever kafkajs still waits for. */
const appendLimitMs = 12_000;
const closeLimitMs = 2_000;

interface Connection {
  readonly producer: Producer;
  readonly partitions: number;
  /** Sends that are not settled; some outlive the append that gave up on them. */
  readonly sends: Set<Promise<unknown>>;
}

/** Rejects as `checkTopic` does. */
export async function openKafkaWriter({ params, log }: KafkaWriterOptions): Promise<EventStreamWriter> {
  const kafka = openKafka(params, log);
  /** What checking the topic warned of: it is checked again and again, and said once. */
  const warned = new Set<string>();
  const { partitions, maxBatchBytes, minInSyncReplicas } = await checkTopic(kafka, params, log, warned);
  let connection: Promise<Connection> | undefined = connect(kafka, partitions);
  let closed = false;
  let isProven = false;
  await connection.catch((error: unknown) => {
    throw kafkaErrorOf(error, params);
  });

  /** Why the records that are not in `acknowledged` are not. */
  async function send(
    opening: Promise<Connection>,
    records: readonly AppendRecord[],
    acknowledged: Set<number>,
  ): Promise<unknown[]> {
    const { producer, partitions, sends } = await opening;
    const sending = sendRecords(producer, { topic: params.topic, partitions, maxBatchBytes }, records, acknowledged);
    sends.add(sending);
    return sending.finally(() => sends.delete(sending));
  }

  return {
    maxValueBytes: maxValueBytesOf({ maxBatchBytes }),
    async append(records) {
      if (records.length === 0) return;
      if (closed)
        throw appendErrorOf([new DaybookError('stream_unavailable', { detail: 'closed' })], records, new Set());
      const acknowledged = new Set<number>();
      connection ??= countPartitions(kafka, params.topic).then((count) => connect(kafka, count));
      const used = connection;
      const noAnswer = () =>
        new DaybookError('stream_unavailable', { detail: `no answer from the brokers in ${appendLimitMs} ms` });
      const sending = send(used, records, acknowledged);
      const reasons = await withTimeLimit(appendLimitMs, sending, noAnswer).catch((error: unknown) => [error]);
      if (acknowledged.size === records.length) return;
      if (!reasons.every(isRecordRefused) && connection === used) {
        // It may be that connection which fails, or what it believes about the topic: the next append gets a new one.
        connection = undefined;
        void retire(used);
      }
      const failure = appendErrorOf(reasons, records, acknowledged);
      const unacknowledged = failure.unacknowledged.length;
      log.warn({ reason: failure.message, records: records.length, unacknowledged }, 'append not acknowledged');
      throw failure;
    },
    probe: () => probeTopic(kafka, params, minInSyncReplicas),
    async prove() {
      await proveTopic({ params, log, warned, all: !isProven });
      isProven = true;
    },
    async close() {
      if (closed) return;
      closed = true;
      if (connection !== undefined) await withTimeLimit(closeLimitMs, retire(connection)).catch(() => undefined);
    },
  };

  function appendErrorOf(
    reasons: readonly unknown[],
    records: readonly AppendRecord[],
    acknowledged: ReadonlySet<number>,
  ): AppendError {
    const unacknowledged = [...records.keys()].filter((at) => !acknowledged.has(at));
    const { message: detail, hint, cause } = kafkaErrorOf(reasons[0], params);
    // A stream that is away, even one whose topic or credentials are gone, may come back; a record stays as it is.
    const isRefused = reasons.some(isRecordRefused);
    // Of a batch the brokers do not say which record it was.
    const refused = unacknowledged.filter(
      (at) => !fitsTopic(records[at]!, { maxBatchBytes }) || (isRefused && records.length === 1),
    );
    return new AppendError(unacknowledged, { detail, hint, retry: !closed && !isRefused, refused, cause });
  }
}

async function connect(kafka: Kafka, partitions: number): Promise<Connection> {
  const producer = kafka.producer({
    allowAutoTopicCreation: false,
    // Partitions are given with every record; named here since kafkajs warns of its default otherwise.
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    // Enough for a leader that moves in an orderly way. Longer troubles are the caller's, which has a deadline.
    retry: { initialRetryTime: 100, multiplier: 2, retries: 2 },
  });
  try {
    await producer.connect();
  } catch (error) {
    await producer.disconnect();
    throw error;
  }
  return { producer, partitions, sends: new Set() };
}

/** Ends a connection once its sends are settled: kafkajs would open it again for one that is not. */
async function retire(opening: Promise<Connection>): Promise<void> {
  try {
    const { producer, sends } = await opening;
    while (sends.size > 0) await Promise.allSettled(sends);
    await producer.disconnect();
  } catch {
    // It never was open, or is gone already.
  }
}
