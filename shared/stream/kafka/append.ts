/**
 * Sends the records of one append. Promises:
 * - records of a key go to one partition and keep their order there: a partition that failed gets nothing more of this
 *   append;
 * - a record counts as acknowledged only where the answer names its partition (the guard, below);
 * - one request for each broker while all goes well; where it does not, each partition by itself, so that one that
 *   fails says nothing about the others.
 *
 * The guard. kafkajs 2.2.4 resolves a send although records of it were never written: on its own retry after a leader
 * moved it passes over the brokers that have answered before, also for partitions that have just moved there. Every
 * partition that is lost that way is missing from the answer (kafkajs issue 1303).
 */
import type { Message, Producer } from 'kafkajs';
import type { AppendRecord } from '../stream.ts';
import { recordTooLargeError } from './error.ts';
import { partitionOf } from './partition.ts';

export interface Destination {
  readonly topic: string;
  readonly partitions: number;
  /** The topic's `max.message.bytes`: the largest batch that one partition takes in one request. */
  readonly maxBatchBytes: number;
}

/** What a record batch costs beside its records, and a record beside key and value, at most (Kafka's message format). */
const batchOverheadBytes = 61;
const recordOverheadBytes = 40;

/** Whether the topic takes the record at all. */
export function fitsTopic(
  { key, value }: AppendRecord,
  { maxBatchBytes }: Pick<Destination, 'maxBatchBytes'>,
): boolean {
  return batchOverheadBytes + recordOverheadBytes + Buffer.byteLength(key) + value.byteLength <= maxBatchBytes;
}

/** Keys are up to 128 characters, so 512 bytes at most. */
export function maxValueBytesOf({ maxBatchBytes }: { readonly maxBatchBytes: number }): number {
  return maxBatchBytes - batchOverheadBytes - recordOverheadBytes - 512;
}

/** Bounds of one request over all partitions. A broker takes 100 MiB by default. */
const maxRequestBytes = 8 * 1024 * 1024;
const maxRequestRecords = 10_000;

/**
 * How long the brokers wait for all replicas in sync before they say that it took too long: a little longer than they
 * count a broker that died among these (broker.session.timeout.ms, 9 s by default).
 */
const acknowledgeTimeoutMs = 10_000;

/** Records that go in one request, as their indexes, by partition. */
type Batches = ReadonlyMap<number, readonly number[]>;

/**
 * Adds the index of each record that is acknowledged to `acknowledged`, as soon as it is. Resolves with why the others
 * are not. Never rejects.
 */
export async function sendRecords(
  producer: Pick<Producer, 'send'>,
  destination: Destination,
  records: readonly AppendRecord[],
  acknowledged: Set<number>,
): Promise<unknown[]> {
  const reasons: unknown[] = [];
  const failed = new Set<number>();

  async function send(batches: Batches): Promise<Batches> {
    const answer = await producer.send({
      topic: destination.topic,
      acks: -1,
      timeout: acknowledgeTimeoutMs,
      messages: [...batches].flatMap(([partition, indexes]) => indexes.map((at) => messageOf(records[at]!, partition))),
    });
    const answered = new Set(answer.filter(({ errorCode }) => errorCode === 0).map(({ partition }) => partition));
    // Dies here: the records are in the stream and nobody was told; the sender repeats and the compactor dedupes.
    for (const [partition, indexes] of batches) {
      if (answered.has(partition)) for (const at of indexes) acknowledged.add(at);
    }
    return without(batches, answered);
  }

  async function sendAlone(partition: number, indexes: readonly number[]): Promise<void> {
    try {
      const left = await send(new Map([[partition, indexes]]));
      if (left.size === 0) return;
      reasons.push(new Error(`kafkajs resolved a send without an answer for partition ${partition}`));
    } catch (error) {
      reasons.push(error);
    }
    failed.add(partition);
  }

  for (const request of requestsOf(destination, records, reasons)) {
    const batches = without(request, failed);
    // What a send that rejects wrote is not known: all of it goes again, and may be there twice.
    const left = batches.size > 1 ? await send(batches).catch(() => batches) : batches;
    await Promise.all([...left].map(([partition, indexes]) => sendAlone(partition, indexes)));
  }
  return reasons;
}

/** The records in order, cut into requests that keep the bounds. Records too large for any are left out, with a reason. */
function requestsOf(
  { partitions, maxBatchBytes }: Destination,
  records: readonly AppendRecord[],
  reasons: unknown[],
): Batches[] {
  const requests: Batches[] = [];
  let batches = new Map<number, number[]>();
  let batchBytes = new Map<number, number>();
  let bytes = 0;
  let count = 0;
  for (const [at, { key, value }] of records.entries()) {
    const size = recordOverheadBytes + Buffer.byteLength(key) + value.byteLength;
    if (batchOverheadBytes + size > maxBatchBytes) {
      reasons.push(recordTooLargeError(value.byteLength, maxBatchBytes));
      continue;
    }
    const partition = partitionOf(key, partitions);
    const inBatch = batchBytes.get(partition) ?? batchOverheadBytes;
    if (inBatch + size > maxBatchBytes || bytes + size > maxRequestBytes || count === maxRequestRecords) {
      requests.push(batches);
      batches = new Map();
      batchBytes = new Map();
      bytes = 0;
      count = 0;
    }
    batchBytes.set(partition, (batchBytes.get(partition) ?? batchOverheadBytes) + size);
    bytes += size;
    count += 1;
    const batch = batches.get(partition);
    if (batch === undefined) batches.set(partition, [at]);
    else batch.push(at);
  }
  requests.push(batches);
  return requests;
}

function messageOf({ key, value }: AppendRecord, partition: number): Message {
  return { partition, key, value: Buffer.from(value.buffer, value.byteOffset, value.byteLength) };
}

function without(batches: Batches, partitions: ReadonlySet<number>): Batches {
  return new Map([...batches].filter(([partition]) => !partitions.has(partition)));
}
