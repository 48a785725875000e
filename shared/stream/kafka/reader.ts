/**
 * The reading end of a Kafka topic. Cursors are offsets. It takes every partition itself and joins no group, so that
 * readers know nothing of each other; the group of its consumer holds committed offsets alone.
 *
 * Offsets without a record are not a loss by themselves (marks of transactions stand there); those below the oldest that
 * the broker keeps are a hole. Nothing here writes in a transaction: what others write in one is read whatever became
 * of it, and a snapshot ends before the first that is still open.
 */
import type { Kafka } from 'kafkajs';
import { DaybookError } from '../../errors.ts';
import type { Logger } from '../../program/log.ts';
import type { Cursor, EventStreamReader, StoredRecord, StreamBatch, StreamEntry } from '../stream.ts';
import { kafkaConfigOf, openKafka, patiently, withAdmin } from './client.ts';
import { kafkaErrorOf } from './error.ts';
import { createCluster, type FetchedRecord, type KafkaBroker, type KafkaCluster } from './internals.ts';
import type { KafkaParams } from './settings.ts';
import { checkTopic } from './topic.ts';

export interface KafkaReaderOptions {
  readonly params: KafkaParams;
  /** The group whose offsets are committed. */
  readonly consumer: string;
  readonly log: Logger;
  /** How long a call waits for brokers that are away or elect a leader, in ms. */
  readonly patienceMs?: number;
  /** Warnings of the topic's settings that were said already. */
  readonly warned?: Set<string>;
}

/** Of one answer; a single batch of records may be larger (max.message.bytes) and comes whole. */
const maxFetchBytes = 4 * 1024 * 1024;
/** A broker answers with the first batch of records however large it is. */
const oneBatch = 1;
const maxWaitMs = 500;

/** Rejects as `checkTopic` does. Its calls reject with `stream_unavailable` or as `kafkaErrorOf`. */
export async function openKafkaReader({
  params,
  consumer,
  log,
  patienceMs = 30_000,
  warned,
}: KafkaReaderOptions): Promise<EventStreamReader> {
  const { topic } = params;
  const kafka = openKafka(params, log);
  const { id } = await checkTopic(kafka, params, log, warned);
  const connection = openConnection(kafka, params, log);

  /** Runs work that may be repeated, on a new connection after each failure, until patience is over. */
  async function trying<T>(work: () => Promise<T>): Promise<T> {
    const mayPass = (error: unknown) => kafkaErrorOf(error, params).retry;
    try {
      return await patiently(
        () =>
          work().catch(async (error: unknown) => {
            if (mayPass(error)) log.warn({ reason: kafkaErrorOf(error, params).message }, 'reading is tried again');
            await connection.drop();
            throw error;
          }),
        mayPass,
        patienceMs,
      );
    } catch (error) {
      throw kafkaErrorOf(error, params);
    }
  }

  const offsetsOf = () => trying(() => withAdmin(kafka, (admin) => admin.fetchTopicOffsets(topic)));

  /** The records of the broker's next answer, the first at `cursor` or above it, or the oldest cursor that is kept. */
  async function fetchFrom(partition: number, cursor: Cursor): Promise<readonly FetchedRecord[] | { oldest: Cursor }> {
    try {
      return await trying(async () => {
        const records = await fetchRecords(await connection.leaderOf(partition), topic, partition, cursor, maxWaitMs);
        if (records.length === 0) throw new DaybookError('stream_unavailable', { detail: missing(partition, cursor) });
        return records;
      });
    } catch (error) {
      if (!isOutOfRange(error)) throw error;
      const bounds = (await offsetsOf()).find((one) => one.partition === partition);
      const oldest = bounds === undefined ? undefined : BigInt(bounds.low);
      if (oldest === undefined || oldest <= cursor) {
        throw new DaybookError('stream_unavailable', { detail: missing(partition, cursor), cause: error });
      }
      return { oldest };
    }
  }

  async function fetchCommitted() {
    const offsets = await trying(async () => {
      const partitions = (await connection.partitions()).map((partition) => ({ partition }));
      const coordinator = await connection.coordinatorOf(consumer);
      return coordinator.offsetFetch({ groupId: consumer, topics: [{ topic, partitions }] });
    });
    return (offsets.responses[0]?.partitions ?? []).filter(({ offset }) => offset !== '-1');
  }

  function missing(partition: number, cursor: Cursor): string {
    return `partition ${partition} of topic ${topic} gives nothing from offset ${cursor} on, which it had before`;
  }

  return {
    committed: async () =>
      new Map((await fetchCommitted()).map(({ partition, offset }) => [String(partition), BigInt(offset)])),
    notes: async () =>
      new Map((await fetchCommitted()).map(({ partition, metadata }) => [String(partition), metadata ?? ''])),
    async snapshot() {
      const offsets = await offsetsOf();
      offsets.sort((one, other) => one.partition - other.partition);
      const bounds = offsets.map(
        ({ partition, low, high }) => [String(partition), { start: BigInt(low), end: BigInt(high) }] as const,
      );
      return { id, partitions: new Map(bounds) };
    },
    async *read(partition, from, snapshot): AsyncGenerator<StreamBatch> {
      const bounds = snapshot.partitions.get(partition);
      if (bounds?.end === undefined) throw new RangeError(`the snapshot has no partition ${partition}`);
      const { start = 0n, end } = bounds;
      for (let cursor = from ?? start, asked = from !== undefined; cursor < end; ) {
        const fetched = await fetchFrom(Number(partition), cursor);
        if ('oldest' in fetched) {
          const lost = { from: cursor, to: fetched.oldest };
          if (lost.to > end) lost.to = end;
          // Where the oldest kept was asked for, and it has aged out since the snapshot, the next is the oldest kept.
          if (asked) yield { entries: [], hole: lost };
          cursor = lost.to;
          continue;
        }
        const entries = entriesOf(fetched, cursor, end);
        cursor = BigInt(fetched.at(-1)!.offset) + 1n;
        asked = true;
        if (entries.length > 0) yield { entries };
      }
    },
    async recordBefore(partition, cursor) {
      const offset = cursor - 1n;
      if (offset < 0n) return undefined;
      try {
        const records = await trying(async () =>
          fetchRecords(await connection.leaderOf(Number(partition)), topic, Number(partition), offset, 0, oneBatch),
        );
        const found = records.find((record) => BigInt(record.offset) === offset && !record.isControlRecord);
        return found && storedOf(found);
      } catch (error) {
        if (isOutOfRange(error)) return undefined;
        throw error;
      }
    },
    async commit(positions, notes) {
      if (positions.size === 0) return;
      const partitions = [...positions].map(([partition, cursor]) => ({
        partition: Number(partition),
        offset: String(cursor),
        metadata: notes?.get(partition) ?? null,
      }));
      await trying(async () => {
        const coordinator = await connection.coordinatorOf(consumer);
        await coordinator.offsetCommit({
          groupId: consumer,
          groupGenerationId: -1,
          memberId: '',
          retentionTime: -1,
          topics: [{ topic, partitions }],
        });
        // Dies here, or fails although it is done: the same offsets are committed again.
      });
    },
    close: () => connection.drop(),
  };
}

interface BrokerConnection {
  partitions(): Promise<readonly number[]>;
  coordinatorOf(groupId: string): Promise<KafkaBroker>;
  leaderOf(partition: number): Promise<KafkaBroker>;
  /** Ends it; the next call opens another. */
  drop(): Promise<void>;
}

function openConnection(kafka: Kafka, params: KafkaParams, log: Logger): BrokerConnection {
  const { topic } = params;
  let opening: Promise<KafkaCluster> | undefined;

  async function open(): Promise<KafkaCluster> {
    const cluster = createCluster(kafkaConfigOf(params, log), kafka.logger());
    try {
      await cluster.connect();
      await cluster.addTargetTopic(topic);
      return cluster;
    } catch (error) {
      await cluster.disconnect();
      throw error;
    }
  }

  async function cluster(): Promise<KafkaCluster> {
    opening ??= open();
    return opening;
  }

  async function leaderOf(partition: number): Promise<KafkaBroker> {
    const open = await cluster();
    await open.refreshMetadataIfNecessary();
    const [nodeId] = Object.keys(open.findLeaderForPartitions(topic, [partition]));
    if (nodeId === undefined) throw new Error(`topic ${topic} has no partition ${partition}`);
    return open.findBroker({ nodeId });
  }

  return {
    leaderOf,
    async partitions() {
      return (await cluster()).findTopicPartitionMetadata(topic).map(({ partitionId }) => partitionId);
    },
    async coordinatorOf(groupId) {
      const anyBroker = await leaderOf(0);
      const { coordinator } = await anyBroker.findGroupCoordinator({ groupId, coordinatorType: 0 });
      return (await cluster()).findBroker({ nodeId: String(coordinator.nodeId) });
    },
    async drop() {
      const dropped = opening;
      opening = undefined;
      await dropped?.then(
        (open) => open.disconnect(),
        () => undefined,
      );
    },
  };
}

async function fetchRecords(
  broker: KafkaBroker,
  topic: string,
  partition: number,
  offset: Cursor,
  maxWaitTime: number,
  maxBytes = maxFetchBytes,
): Promise<readonly FetchedRecord[]> {
  const { responses } = await broker.fetch({
    replicaId: -1,
    isolationLevel: 0,
    maxWaitTime,
    minBytes: 1,
    maxBytes,
    topics: [{ topic, partitions: [{ partition, fetchOffset: String(offset), maxBytes }] }],
  });
  const records = responses[0]?.partitions[0]?.messages ?? [];
  // A broker sends the whole batch that the offset lies in.
  return records.filter((record) => BigInt(record.offset) >= offset);
}

function entriesOf(records: readonly FetchedRecord[], from: Cursor, end: Cursor): StreamEntry[] {
  const entries: StreamEntry[] = [];
  for (const record of records) {
    const position = BigInt(record.offset);
    if (position < from || position >= end || record.isControlRecord) continue;
    entries.push({ before: position, after: position + 1n, position, ...storedOf(record) });
  }
  return entries;
}

function storedOf({ value, timestamp }: FetchedRecord): StoredRecord {
  return { value: value ?? new Uint8Array(0), appendedMs: Number(timestamp) };
}

function isOutOfRange(error: unknown): boolean {
  for (let one = error; one instanceof Error; one = one.cause) if (one.name === 'KafkaJSOffsetOutOfRange') return true;
  return false;
}
