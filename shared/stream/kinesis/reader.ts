/**
 * The reading end of a Kinesis stream. Partitions are shards, parents before the children that a split or a merge made
 * of them. A cursor is a sequence number (stream.ts): that of the record just read, or, before the first record that is
 * read of a shard and after a hole, one less than the next record's. Kinesis keeps no positions: the ledger alone does.
 *
 * Kinesis does not say how far a shard is at a moment. A reading ends before the first record that arrived after the
 * snapshot was made (milliseconds, the service's clock against ours), with the end of a closed shard, or where there are
 * no records left. So two readings by one snapshot may end in different places. Where they must not, one of them goes on to
 * the `end` to which the other came: the order of a shard is the same for all.
 *
 * Nor does it say that a position has aged out: it gives the oldest record kept instead. So reading starts at the
 * cursor's own record, which is there if nothing after it can be missing. If it is not, what lay between the cursor and
 * the first record given is reported as a hole, since that none was there cannot be shown.
 */
import {
  GetRecordsCommand,
  type GetRecordsCommandOutput,
  GetShardIteratorCommand,
  type KinesisClient,
  type _Record as KinesisRecord,
  ListShardsCommand,
  type ListShardsCommandInput,
  type Shard,
} from '@aws-sdk/client-kinesis';
import type { Clock } from '../../clock.ts';
import type { Logger } from '../../program/log.ts';
import type { Cursor, EventStreamReader, StreamBatch, StreamEntry } from '../stream.ts';
import { checkStream, type KinesisTimeouts, openKinesisClient, patiently, readerTimeouts } from './client.ts';
import { kinesisErrorOf } from './error.ts';
import type { KinesisParams } from './settings.ts';

export interface KinesisReaderOptions {
  readonly params: KinesisParams;
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts?: KinesisTimeouts;
}

/**
 * Kinesis gives 5 answers and 2 MiB a second of a shard, whoever asks. An answer has 10 MiB at most, and then keeps all off
 * the shard for 5 seconds; this bounds what it has of small records, and with `readsAtOnce` what is in memory.
 */
const maxBatchRecords = 500;
/** Records of 2.5 KB come from so many shards about as quickly as one core takes them. */
const readsAtOnce = 8;
/** How long a call waits for its turn at a shard. */
const turnMs = 5 * 60_000;

/** Rejects as `checkStream` does; so do its calls. */
export async function openKinesisReader({
  params,
  clock,
  log,
  timeouts = readerTimeouts,
}: KinesisReaderOptions): Promise<EventStreamReader> {
  const client = openKinesisClient(params, timeouts);
  const { id } = await checkStream(client, params, log, timeouts.patienceMs).catch((error: unknown) => {
    client.destroy();
    throw error;
  });
  const shards = shardReader(client, params, timeouts.patienceMs, turnMs);

  return {
    readsAtOnce,
    committed: async () => new Map(),
    async snapshot() {
      const madeAtMs = clock.now().getTime();
      const listed = await shards.list();
      return { id, partitions: new Map(parentsFirst(listed).map((name) => [name, {}])), madeAtMs };
    },
    async *read(shard, from, snapshot): AsyncGenerator<StreamBatch> {
      const bounds = snapshot.partitions.get(shard);
      if (bounds === undefined) throw new RangeError(`the snapshot has no shard ${shard}`);
      const { end } = bounds;
      const { madeAtMs = clock.now().getTime() } = snapshot;
      const isLate = ({ SequenceNumber, ApproximateArrivalTimestamp: arrival }: KinesisRecord) =>
        end === undefined ? (arrival?.getTime() ?? 0) > madeAtMs : BigInt(SequenceNumber!) > end;
      const place = { cursor: from, isProven: from === undefined };
      for (let iterator = await shards.iteratorAt(shard, from); iterator !== undefined; ) {
        const answer = await shards.records(iterator, maxBatchRecords);
        if (answer === 'expired') {
          // Older than 5 minutes: whoever takes the batches is slow. The cursor's record must show itself again.
          iterator = await shards.iteratorAt(shard, place.cursor);
          place.isProven = place.cursor === undefined;
          continue;
        }
        const { Records = [], NextShardIterator, MillisBehindLatest = 0 } = answer;
        // The times of a shard's records need not rise: what comes behind the first late one is of the next reading too.
        const late = Records.findIndex(isLate);
        const isPast = late >= 0;
        const batch = batchOf(isPast ? Records.slice(0, late) : Records, place);
        if (batch.entries.length > 0) yield batch;
        // No records, and yet behind: a stretch of the shard that is empty. There is more behind it.
        const isThere = end === undefined && clock.now().getTime() - MillisBehindLatest >= madeAtMs;
        if (isPast || (Records.length === 0 && (isThere || MillisBehindLatest === 0))) return;
        iterator = NextShardIterator;
      }
    },
    async recordBefore(shard, cursor) {
      const value = await recordAt(shards, shard, cursor);
      return value && { value, appendedMs: undefined };
    },
    async commit() {},
    async close() {
      client.destroy();
    },
  };
}

/** The value of the record with this number; undefined where it is not kept. */
export async function recordAt(
  shards: ReturnType<typeof shardReader>,
  shard: string,
  number: Cursor,
): Promise<Uint8Array | undefined> {
  let iterator = await shards.iteratorOf(shard, number);
  while (iterator !== undefined) {
    const answer = await shards.records(iterator, 1);
    if (answer === 'expired') {
      iterator = await shards.iteratorOf(shard, number);
      continue;
    }
    const first = answer.Records?.[0];
    if (first !== undefined) return BigInt(first.SequenceNumber!) === number ? first.Data : undefined;
    if ((answer.MillisBehindLatest ?? 0) === 0) return undefined;
    iterator = answer.NextShardIterator;
  }
  return undefined;
}

/** How far a reading is, and whether nothing can be missing between its cursor and the next record. */
interface Place {
  cursor: Cursor | undefined;
  isProven: boolean;
}

/** What is new of an answer, and what is missing before it. Moves the place. */
function batchOf(records: readonly KinesisRecord[], place: Place): StreamBatch {
  const entries: StreamEntry[] = [];
  let hole: StreamBatch['hole'];
  for (const { SequenceNumber, Data } of records) {
    const position = BigInt(SequenceNumber!);
    const { cursor, isProven } = place;
    if (cursor !== undefined && position <= cursor) {
      place.isProven = true;
      continue;
    }
    const before = isProven && cursor !== undefined ? cursor : position - 1n;
    if (!isProven && cursor !== undefined && cursor < before) hole = { from: cursor, to: before };
    entries.push({ before, after: position, position, value: Data!, appendedMs: undefined });
    place.cursor = position;
    place.isProven = true;
  }
  return hole === undefined ? { entries } : { entries, hole };
}

/** The calls on shards, repeated while that may help, as `patiently` says. */
export function shardReader(
  client: KinesisClient,
  { streamName, ...rest }: KinesisParams,
  patienceMs: number,
  throttledMs = patienceMs,
) {
  const params = { streamName, ...rest };
  const send = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await patiently(work, patienceMs, throttledMs);
    } catch (error) {
      throw kinesisErrorOf(error, params);
    }
  };
  const ask = (shard: string, type: 'AT_SEQUENCE_NUMBER' | 'TRIM_HORIZON', number?: Cursor) =>
    send(async () => {
      const position = number === undefined ? {} : { StartingSequenceNumber: String(number) };
      const question = { StreamName: streamName, ShardId: shard, ShardIteratorType: type, ...position };
      try {
        return (await client.send(new GetShardIteratorCommand(question))).ShardIterator;
      } catch (error) {
        // Of numbers that the shard never gave (cursors one less than a record's, or past its end) or no longer has.
        const isUnknown = ['InvalidArgumentException', 'ResourceNotFoundException'].includes(nameOf(error));
        if (type === 'AT_SEQUENCE_NUMBER' && isUnknown) return undefined;
        throw error;
      }
    });

  return {
    async list(): Promise<Shard[]> {
      const shards: Shard[] = [];
      let page: ListShardsCommandInput = { StreamName: streamName };
      for (;;) {
        const { Shards = [], NextToken } = await send(() => client.send(new ListShardsCommand(page)));
        shards.push(...Shards);
        if (NextToken === undefined) return shards;
        page = { NextToken };
      }
    },
    /** At the record with exactly this number; undefined where the shard never gave it. */
    iteratorOf: (shard: string, number: Cursor) => ask(shard, 'AT_SEQUENCE_NUMBER', number),
    /** At the cursor's own record, or the one next to it, or the oldest: whoever reads sees which. */
    async iteratorAt(shard: string, cursor: Cursor | undefined): Promise<string | undefined> {
      if (cursor === undefined) return ask(shard, 'TRIM_HORIZON');
      return (
        (await ask(shard, 'AT_SEQUENCE_NUMBER', cursor)) ??
        (await ask(shard, 'AT_SEQUENCE_NUMBER', cursor + 1n)) ??
        (await ask(shard, 'TRIM_HORIZON'))
      );
    },
    records: (iterator: string, limit: number): Promise<GetRecordsCommandOutput | 'expired'> =>
      send(async () => {
        try {
          return await client.send(new GetRecordsCommand({ ShardIterator: iterator, Limit: limit }));
        } catch (error) {
          if (nameOf(error) === 'ExpiredIteratorException') return 'expired';
          throw error;
        }
      }),
  };
}

/** Ids of shards, every one after those that it was made of, if these are still listed. */
function parentsFirst(shards: readonly Shard[]): string[] {
  const known = new Map(shards.map((shard) => [shard.ShardId!, shard]));
  const sorted = new Set<string>();
  const add = (id: string | undefined): void => {
    const shard = known.get(id ?? '');
    if (id === undefined || shard === undefined || sorted.has(id)) return;
    add(shard.ParentShardId);
    add(shard.AdjacentParentShardId);
    sorted.add(id);
  };
  for (const id of [...known.keys()].sort()) add(id);
  return [...sorted];
}

function nameOf(error: unknown): string {
  return (error as Error).name;
}
