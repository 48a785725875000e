/**
 * The writing end of a Kinesis stream. PutRecords is neither atomic nor ordered: each entry succeeds or fails by itself,
 * and a later one may overtake. So a request holds one record of a key at most, and the next of that key follows when it
 * is acknowledged; entries that failed are sent again, alone or with what waits. A request whose answer is lost is sent
 * again as a whole: its records may then be there twice.
 */
import { setTimeout as rest } from 'node:timers/promises';
import { type KinesisClient, PutRecordsCommand } from '@aws-sdk/client-kinesis';
import { DaybookError } from '../../errors.ts';
import type { Logger } from '../../program/log.ts';
import { AppendError } from '../append-error.ts';
import type { AppendRecord, Cursor, EventStreamWriter } from '../stream.ts';
import {
  checkStream,
  describeStream,
  type KinesisTimeouts,
  openKinesisClient,
  pauseAfter,
  writerTimeouts,
} from './client.ts';
import { kinesisErrorOf } from './error.ts';
import { recordAt, shardReader } from './reader.ts';
import type { KinesisParams } from './settings.ts';

export interface KinesisWriterOptions {
  readonly params: KinesisParams;
  readonly log: Logger;
  readonly timeouts?: KinesisTimeouts;
}

/** Kinesis service quotas, PutRecords; a single larger record goes alone. */
const maxRequestRecords = 500;
const maxRequestBytes = 5 * 1024 * 1024;
/** A key has 256 characters at most, and counts as part of its record. */
const maxKeyBytes = 1024;

/** Rejects as `checkStream` does. */
export async function openKinesisWriter({
  params,
  log,
  timeouts = writerTimeouts,
}: KinesisWriterOptions): Promise<EventStreamWriter> {
  const client = openKinesisClient(params, timeouts);
  const { maxRecordBytes } = await checkStream(client, params, log, timeouts.patienceMs).catch((error: unknown) => {
    client.destroy();
    throw error;
  });
  const maxValueBytes = maxRecordBytes - maxKeyBytes;
  /** The record that was acknowledged last, until it was read back. */
  let newest: Written | undefined;

  return {
    maxValueBytes,
    async append(records) {
      refuseTooLarge(records, maxValueBytes);
      const waiting = new Set(records.keys());
      /** Keys refused since the last pause: a shard that is hot or slow does not hold up the keys of others. */
      const resting = new Set<string>();
      const endsAt = performance.now() + timeouts.patienceMs;
      let failure = new DaybookError('stream_unavailable', {
        detail: `Kinesis, stream ${params.streamName}: not all acknowledged within ${timeouts.patienceMs} ms`,
      });
      for (let failures = 0; waiting.size > 0; ) {
        const batch = takeBatch(records, waiting, resting);
        if (batch.length > 0) {
          const before = waiting.size;
          const put = await putRecords(client, params, records, batch, waiting);
          failure = put.failure ?? failure;
          newest = put.newest ?? newest;
          // Dies here: what was acknowledged is there, nobody was told; the sender repeats and the compactor dedupes.
          for (const index of batch) if (waiting.has(index)) resting.add(records[index]!.key);
          if (waiting.size < before) {
            failures = 0;
            if (performance.now() < endsAt) continue;
          }
        }
        if (waiting.size === 0) break;
        failures += 1;
        const pauseMs = pauseAfter(failures);
        if (!failure.retry || performance.now() + pauseMs > endsAt) {
          const { message, hint, retry } = failure;
          log.warn(
            { reason: message, records: records.length, unacknowledged: waiting.size },
            'append not acknowledged',
          );
          throw new AppendError([...waiting], { detail: message, hint, retry, cause: failure });
        }
        await rest(pauseMs);
        resting.clear();
      }
    },
    async probe() {
      try {
        await describeStream(client, params);
      } catch (error) {
        throw kinesisErrorOf(error, params);
      }
    },
    async prove() {
      try {
        await describeStream(client, params);
      } catch (error) {
        throw kinesisErrorOf(error, params);
      }
      if (newest === undefined) return;
      const { shard, number, value } = newest;
      const found = await recordAt(shardReader(client, params, timeouts.patienceMs), shard, number);
      if (found === undefined || Buffer.compare(found, value) !== 0) {
        const detail = `Kinesis, stream ${params.streamName}: record ${number} of ${shard} ${found === undefined ? 'is not there' : 'has another value'}`;
        throw new DaybookError('stream_unreadable', { detail });
      }
      if (newest?.number === number) newest = undefined;
    },
    async close() {
      client.destroy();
    },
  };
}

interface Written {
  readonly shard: string;
  readonly number: Cursor;
  readonly value: Uint8Array;
}

/** Sends the batch and takes what was acknowledged out of `waiting`. Resolves to one of these, and why the rest was not. */
async function putRecords(
  client: KinesisClient,
  params: KinesisParams,
  records: readonly AppendRecord[],
  batch: readonly number[],
  waiting: Set<number>,
): Promise<{ failure?: DaybookError; newest?: Written }> {
  const Records = batch.map((index) => ({ PartitionKey: records[index]!.key, Data: records[index]!.value }));
  try {
    const answer = await client.send(new PutRecordsCommand({ StreamName: params.streamName, Records }));
    const refused = new Set<string>();
    let newest: Written | undefined;
    for (const [at, index] of batch.entries()) {
      const entry = answer.Records?.[at];
      // An entry that is not answered for is as good as one that failed.
      if (entry?.SequenceNumber === undefined || entry.ErrorCode !== undefined) {
        refused.add(entry?.ErrorCode ?? 'no answer');
        continue;
      }
      waiting.delete(index);
      newest = { shard: entry.ShardId ?? '', number: BigInt(entry.SequenceNumber), value: records[index]!.value };
    }
    const written = newest === undefined ? {} : { newest };
    if (refused.size === 0) return written;
    const detail = `Kinesis, stream ${params.streamName}: records refused (${[...refused].join(', ')})`;
    return { ...written, failure: new DaybookError('stream_unavailable', { detail, retry: true }) };
  } catch (error) {
    return { failure: kinesisErrorOf(error, params) };
  }
}

/** Indexes of what goes next: of each key that does not rest the first that waits, within the limits of a request. */
function takeBatch(
  records: readonly AppendRecord[],
  waiting: ReadonlySet<number>,
  resting: ReadonlySet<string>,
): number[] {
  const batch: number[] = [];
  const keys = new Set(resting);
  let bytes = 0;
  for (const index of waiting) {
    const { key, value } = records[index]!;
    if (keys.has(key)) continue;
    keys.add(key);
    bytes += value.byteLength + Buffer.byteLength(key);
    if (batch.length > 0 && bytes > maxRequestBytes) break;
    batch.push(index);
    if (batch.length === maxRequestRecords) break;
  }
  return batch;
}

/** The door refuses larger bodies (`maxValueBytes`), so this is a fault of the caller: nothing of the call is sent. */
function refuseTooLarge(records: readonly AppendRecord[], maxValueBytes: number): void {
  const largest = records.reduce((most, { value }) => Math.max(most, value.byteLength), 0);
  if (largest <= maxValueBytes) return;
  const detail = `a record of ${largest} bytes; the stream takes ${maxValueBytes}`;
  const refused = [...records.keys()].filter((index) => records[index]!.value.byteLength > maxValueBytes);
  throw new AppendError([...records.keys()], { detail, retry: false, refused });
}
