/**
 * The file of the embedded stream: `stream.sqlite` in the data directory, one SQLite database of 16 KiB pages in WAL mode.
 *
 *   application_id 0x64617962 ("dayb"), user_version 1
 *   stream      one row: `id`, random, names this very stream · `partitions`, their number, fixed for the file's life
 *   partitions  one row a partition: `number` from 0 · `next`, the position that its next record gets
 *   records_<n> one row a record of partition n: `position` · `appended`, ms since the epoch · `value`
 *   committed   a row a consumer and partition: `position`, the cursor it is done up to · `at`, ms since the epoch
 *
 * Invariants:
 * - a record of key k is in partition crc32(k in UTF-8) mod `partitions`;
 * - positions of a partition count up from 0 without gaps and are never given twice: `next` outlives the rows below it;
 * - rows are only ever removed from the low end of a partition, so what is kept is one unbroken range that ends at `next`;
 * - a committed transaction survives a power cut (synchronous=FULL: the WAL is fsynced before COMMIT returns);
 * - the file appears under its name only when it is whole (made under another name, then linked): whoever finds it, of
 *   any number of processes that start at once, finds all the tables and one id.
 * Pages of removed rows are used again; the file does not shrink.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, type Stats, statSync } from 'node:fs';
import fs from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { DaybookError, messageOf } from '../../errors.ts';
import { makeFolder, syncFolder } from '../../files/folder.ts';

const applicationId = 0x64617962;
const formatVersion = 1;
const defaultPartitions = 4;

/**
 * How long a call waits for the other process's lock, its event loop standing still: a writer serves requests, a reader
 * has nothing else to do.
 */
export const writerBusyTimeoutMs = 1_000;
export const readerBusyTimeoutMs = 30_000;

export interface StreamFile {
  readonly database: DatabaseSync;
  readonly id: string;
  readonly partitions: number;
  /** Whether the path still leads to this file: records written to a removed one would be lost. */
  isInPlace(): boolean;
}

/** Opens the stream of a data directory, making it if it is not there. Throws `stream_damaged` or `stream_unavailable`. */
export async function openStreamFile(
  directory: string,
  busyTimeoutMs: number,
  partitions = defaultPartitions,
): Promise<StreamFile> {
  const path = join(directory, 'stream.sqlite');
  try {
    await makeFolder(directory);
    if (!existsSync(path)) await createStreamFile(directory, path, partitions);
    const opened = statSync(path);
    const database = connect(path, busyTimeoutMs);
    try {
      return { database, ...readIdentity(database), isInPlace: () => isSameFile(opened, path) };
    } catch (error) {
      database.close();
      throw error;
    }
  } catch (error) {
    throw streamErrorOf(error);
  }
}

async function createStreamFile(directory: string, path: string, partitions: number): Promise<void> {
  if (existsSync(`${path}-wal`) && !existsSync(path)) {
    // SQLite would replay this log into the new file.
    throw new DaybookError('stream_damaged', {
      detail: 'stream.sqlite is gone, but its log stream.sqlite-wal is there and may hold records',
      hint: 'Bring stream.sqlite back beside it. If it is lost for good, move stream.sqlite-wal away, then start again.',
    });
  }
  const temporary = join(directory, `.stream-${randomUUID()}.sqlite`);
  try {
    await fs.writeFile(temporary, '', { flag: 'wx', mode: 0o600 });
    layOut(temporary, partitions);
    // Dies here, or anywhere above: a nameless leftover of a few pages; the next start makes its own.
    await fs.link(temporary, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error; // another process was first: its file is the stream
    });
  } finally {
    await fs.rm(temporary, { force: true });
  }
  await syncFolder(directory);
  // Dies here: an empty stream that is used from now on.
}

/** Closing the database brings every page from the log into the file and fsyncs it. */
function layOut(path: string, partitions: number): void {
  const database = new DatabaseSync(path);
  try {
    database.exec(`PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
      BEGIN;
      PRAGMA application_id = ${applicationId};
      PRAGMA user_version = ${formatVersion};
      CREATE TABLE stream (id TEXT NOT NULL, partitions INTEGER NOT NULL) STRICT;
      CREATE TABLE partitions (number INTEGER PRIMARY KEY, next INTEGER NOT NULL) STRICT;
      CREATE TABLE committed (consumer TEXT NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL,
        at INTEGER NOT NULL, PRIMARY KEY (consumer, partition)) STRICT, WITHOUT ROWID;`);
    database.prepare('INSERT INTO stream VALUES (?, ?)').run(randomUUID(), partitions);
    for (let number = 0; number < partitions; number++) {
      database.prepare('INSERT INTO partitions VALUES (?, 0)').run(number);
      database.exec(`CREATE TABLE records_${number}
        (position INTEGER PRIMARY KEY, appended INTEGER NOT NULL, value BLOB NOT NULL) STRICT`);
    }
    database.exec('COMMIT');
  } finally {
    database.close();
  }
}

function connect(path: string, busyTimeoutMs: number): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: busyTimeoutMs });
  // wal_autocheckpoint: 4 MiB, so that no append waits long for the copy into the file. journal_size_limit: what a log
  // that grew beyond that, since a reader held it, is cut back to. cell_size_check: damage is found, not followed.
  database.exec(`PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 256; PRAGMA journal_size_limit = 67108864;
    PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;`);
  return database;
}

function readIdentity(database: DatabaseSync): { id: string; partitions: number } {
  const application = database.prepare('PRAGMA application_id').get()?.application_id;
  const version = database.prepare('PRAGMA user_version').get()?.user_version;
  if (application !== applicationId || version !== formatVersion) {
    throw new DaybookError('stream_damaged', {
      detail: 'stream.sqlite is not a stream of this version of daybook',
      hint: 'Move the file away, or use the version of daybook that made it.',
    });
  }
  const row = database.prepare('SELECT id, partitions FROM stream').get();
  if (typeof row?.id !== 'string' || typeof row.partitions !== 'number') {
    throw new DaybookError('stream_damaged', { detail: 'stream.sqlite does not name its stream' });
  }
  return { id: row.id, partitions: row.partitions };
}

function isSameFile(opened: Stats, path: string): boolean {
  const now = statSync(path, { throwIfNoEntry: false });
  return now !== undefined && now.ino === opened.ino && now.dev === opened.dev;
}

/** Runs `work` in one transaction: all of it is done, or none. Holds the write lock from the start. */
export function inTransaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    database.exec('COMMIT');
    return result;
  } catch (error) {
    // SQLite has rolled back by itself after some errors.
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

// Primary result codes of SQLite, from its documentation (https://sqlite.org/rescode.html).
const transientCodes = new Map([
  [5, 'locked by another process'],
  [6, 'locked'],
  [7, 'out of memory'],
  [10, 'a read or write of the disk failed'],
  [13, 'the disk is full'],
  [14, 'the file cannot be opened'],
]);
const damageCodes = new Set([11, 26]);

export function isDiskFull(error: unknown): boolean {
  return (error as { errcode?: unknown }).errcode === 13;
}

/** What a failure of SQLite or of the file system means for the stream's user. */
export function streamErrorOf(error: unknown): DaybookError {
  if (error instanceof DaybookError) return error;
  const { errcode, code, syscall } = error as { errcode?: unknown; code?: unknown; syscall?: unknown };
  if (typeof errcode !== 'number') {
    const reason = typeof syscall === 'string' ? `${code}` : messageOf(error);
    return new DaybookError('stream_unavailable', {
      detail: `stream.sqlite: ${reason}`,
      retry: typeof syscall === 'string',
      cause: error,
    });
  }
  // Extended codes hold the primary one in their low byte.
  const primary = errcode & 0xff;
  const reason = transientCodes.get(primary) ?? messageOf(error);
  if (damageCodes.has(primary)) {
    return new DaybookError('stream_damaged', { detail: `stream.sqlite: ${reason}`, cause: error });
  }
  return new DaybookError('stream_unavailable', {
    detail: `stream.sqlite: ${reason}`,
    retry: transientCodes.has(primary),
    cause: error,
  });
}
