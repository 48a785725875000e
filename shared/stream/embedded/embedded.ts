/**
 * The embedded stream: writer and reader of the file that embedded-file.ts describes. Both may be open at once, in one
 * process or several. Every call works in short transactions, since the other side's event loop waits for the lock:
 * appends are bounded by their caller, batches that are read by `batchBytes`, and drops by `batchRows`.
 */
import { setTimeout as rest } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { type Clock, dayMs } from '../../clock.ts';
import { DaybookError } from '../../errors.ts';
import { AppendError } from '../append-error.ts';
import type { AppendRecord, Cursor, EventStreamReader, EventStreamWriter } from '../stream.ts';
import {
  inTransaction,
  isDiskFull,
  openStreamFile,
  readerBusyTimeoutMs,
  type StreamFile,
  streamErrorOf,
  writerBusyTimeoutMs,
} from './file.ts';
import { proveReadable } from './prove.ts';
import { batchRows, cursorOf, prepareReads, readBatch } from './read.ts';
import { openRoomCheck } from './room.ts';

const defaultRetainMs = 8 * dayMs;
/** A consumer that committed nothing for this long keeps no records from being dropped. */
const consumerExpiryMs = 30 * dayMs;

export interface EmbeddedWriterOptions {
  readonly directory: string;
  /** Of a new file; one that is there keeps its own number. */
  readonly partitions?: number;
}

export interface EmbeddedReaderOptions {
  readonly directory: string;
  /** Whose committed positions these are. */
  readonly consumer: string;
  /** The least age of records that `commit` drops. */
  readonly retainMs?: number;
  readonly clock: Clock;
}

/** Rejects with `stream_damaged` or `stream_unavailable`. */
export async function openEmbeddedWriter({ directory, partitions }: EmbeddedWriterOptions): Promise<EventStreamWriter> {
  const file = await openStreamFile(directory, writerBusyTimeoutMs, partitions);
  const { database } = file;
  const append = prepareOn(file, prepareAppend);
  const room = openRoomCheck(directory);
  let isProven = false;
  return {
    maxValueBytes: undefined,
    async append(records) {
      if (records.length === 0) return;
      try {
        refuseReplaced(file);
        inTransaction(database, () => append(records));
        room.found();
        // Dies here: all of them are in the stream, nobody was told; the sender repeats and the compactor dedupes.
        // Before COMMIT, or within it before its fsync: all of them or none are.
      } catch (error) {
        if (isDiskFull(error)) room.lacked(records.reduce((sum, { value }) => sum + value.byteLength, 0));
        throw appendErrorOf(streamErrorOf(error), records.length);
      }
    },
    async probe() {
      try {
        refuseReplaced(file);
        room.check();
        inTransaction(database, () => undefined);
      } catch (error) {
        throw streamErrorOf(error);
      }
    },
    async prove() {
      try {
        refuseReplaced(file);
      } catch (error) {
        throw streamErrorOf(error);
      }
      await proveReadable(directory, !isProven);
      isProven = true;
    },
    async close() {
      if (database.isOpen) database.close();
    },
  };
}

function refuseReplaced(file: StreamFile): void {
  if (file.isInPlace()) return;
  throw new DaybookError('stream_unavailable', {
    detail: 'stream.sqlite was removed or replaced while it was in use',
    hint: 'Restart the program: it then uses the file that is there, or makes a new one.',
    retry: false,
  });
}

function appendErrorOf({ message: detail, hint, retry, cause }: DaybookError, count: number): AppendError {
  const unacknowledged = Array.from({ length: count }, (_, index) => index);
  return new AppendError(unacknowledged, { detail, hint, retry, cause });
}

/** Statements that write records of any partition; to be called within a transaction. */
function prepareAppend({ database, partitions }: StreamFile): (records: readonly AppendRecord[]) => void {
  const readNext = database.prepare('SELECT number, next FROM partitions ORDER BY number');
  const writeNext = database.prepare('UPDATE partitions SET next = ? WHERE number = ?');
  const inserts = Array.from({ length: partitions }, (_, number) =>
    database.prepare(`INSERT INTO records_${number} VALUES (?, ?, ?)`),
  );
  return (records) => {
    const next = readNext.all().map((row) => row.next as number);
    const before = [...next];
    const appended = Date.now();
    for (const { key, value } of records) {
      const number = crc32(key) % partitions;
      inserts[number]!.run(next[number]!++, appended, value);
    }
    for (const [number, position] of next.entries()) {
      if (position !== before[number]) writeNext.run(position, number);
    }
  };
}

/** Rejects with `stream_damaged` or `stream_unavailable`; so do all calls of the reader. */
export async function openEmbeddedReader({
  directory,
  consumer,
  retainMs = defaultRetainMs,
  clock,
}: EmbeddedReaderOptions): Promise<EventStreamReader> {
  const file = await openStreamFile(directory, readerBusyTimeoutMs);
  const { database } = file;
  const { selectCommitted, selectBounds, partitions } = prepareOn(file, prepareReads);
  const statementsOf = (partition: string) => {
    const found = partitions.get(partition);
    if (found === undefined) throw new RangeError(`the stream has no partition ${partition}`);
    return found;
  };

  return {
    committed: guarded(
      () => new Map(selectCommitted.all(consumer).map((row) => [`${row.partition}`, cursorOf(row.position)])),
    ),
    snapshot: guarded(() => ({
      id: file.id,
      partitions: new Map(
        selectBounds
          .all()
          .map((row) => [`${row.number}`, { start: cursorOf(row.first), end: cursorOf(row.next) }] as const),
      ),
    })),
    async *read(partition, from, snapshot) {
      const { selectFrom } = statementsOf(partition);
      const end = snapshot.partitions.get(partition)?.end;
      if (end === undefined) throw new RangeError(`the snapshot has no partition ${partition}`);
      for (let cursor = from; cursor === undefined || cursor < end; ) {
        const batch = readBatch(selectFrom, cursor, end);
        const reached = batch.entries.at(-1)?.after ?? batch.hole?.to;
        if (reached === undefined) return;
        yield batch;
        cursor = reached;
      }
    },
    recordBefore: guarded((partition, cursor) => {
      const row = statementsOf(partition).selectAt.get(Number(cursor - 1n));
      return row && { value: row.value as Uint8Array, appendedMs: row.appended as number };
    }),
    async commit(positions) {
      try {
        inTransaction(database, () => writeCommitted(file, consumer, positions, clock.now().getTime()));
        // Dies here: records that could go are still there; the next commit drops them.
        for (const { number } of partitions.values()) {
          await dropOld(file, number, clock.now().getTime() - retainMs, clock);
        }
      } catch (error) {
        throw streamErrorOf(error);
      }
    },
    async close() {
      if (database.isOpen) database.close();
    },
  };
}

/** Prepares statements; where the file's tables do not fit them, the file is closed again. */
function prepareOn<T>(file: StreamFile, prepare: (file: StreamFile) => T): T {
  try {
    return prepare(file);
  } catch (error) {
    file.database.close();
    throw streamErrorOf(error);
  }
}

function writeCommitted(
  { database }: StreamFile,
  consumer: string,
  positions: ReadonlyMap<string, Cursor>,
  now: number,
): void {
  // A position past the end would let records be dropped that are not yet written.
  const write = database.prepare(`INSERT INTO committed
    SELECT ?, number, min(next, ?), ? FROM partitions WHERE number = ?
    ON CONFLICT DO UPDATE SET position = excluded.position, at = excluded.at`);
  for (const [partition, cursor] of positions) {
    if (write.run(consumer, cursor, now, Number(partition)).changes === 0) {
      throw new RangeError(`the stream has no partition ${partition}`);
    }
  }
}

/**
 * Removes the oldest records of a partition, up to the first that is younger than the cutoff or that a living consumer
 * has not committed.
 */
async function dropOld({ database }: StreamFile, number: number, cutoff: number, clock: Clock): Promise<void> {
  const selectCommitted = database.prepare(`SELECT min(coalesce(committed.position, 0)) AS position
    FROM (SELECT consumer FROM committed GROUP BY consumer HAVING max(at) >= ?) AS living
    LEFT JOIN committed ON committed.consumer = living.consumer AND committed.partition = ?`);
  const selectOldest = database.prepare(
    `SELECT position, appended FROM records_${number} WHERE position < ? ORDER BY position LIMIT ${batchRows}`,
  );
  const remove = database.prepare(`DELETE FROM records_${number} WHERE position <= ?`);
  for (;;) {
    const startedMs = performance.now();
    const dropped = inTransaction(database, () => {
      const committed = selectCommitted.get(clock.now().getTime() - consumerExpiryMs, number)?.position ?? 0;
      const oldest = selectOldest.all(committed);
      const kept = oldest.findIndex((row) => (row.appended as number) >= cutoff);
      const last = oldest.at(kept < 0 ? -1 : kept - 1);
      if (kept === 0 || last === undefined) return 0;
      return remove.run(last.position as number).changes;
    });
    // Dies here: fewer old records; the next commit goes on.
    if (dropped !== batchRows) return;
    // As long as the lock was held, so that a writer that waits for it gets its turn.
    await rest(performance.now() - startedMs);
  }
}

/** The same function, whose failures come as rejections with the stream's error codes. */
function guarded<A extends unknown[], T>(work: (...parameters: A) => T): (...parameters: A) => Promise<T> {
  return async (...parameters) => {
    try {
      return work(...parameters);
    } catch (error) {
      throw streamErrorOf(error);
    }
  };
}
