/**
 * The file of the spool: `spool/spool-<number>-<marker>.sqlite` in the data directory, a SQLite database of 16 KiB pages
 * in WAL mode. The highest number is the spool; a damaged one gets a successor, and is put aside.
 *
 *   application_id 0x64617973 ("days"), user_version 1
 *   records  live records: a row a frame · row, from 1, common to both tables and never given twice · frame
 *   dead     dead letters, likewise: frames of kind dead, or of kind raw around damaged ones
 *   reasons  a row a dead letter: sequence, that of its first row · frame, of kind reason: when and why
 *   state    one row: a frame of kind state, `SpoolState`
 *
 * Beside it, in `….sqlite-next`, stands the `next` of the last commit, a float64 and its CRC-32, written before anybody is
 * told of the commit, without fsync. A log that was cut short looks like one that never was longer: this file tells.
 *
 * Invariants:
 * - everything is in frames (spool-frame.ts), so that what is damaged is noticed, and what is whole can be found without
 *   SQLite: it drops the rest of a log after one bad byte, serves flipped bytes of a blob as they are, and refuses a
 *   file that was cut off;
 * - rows and frames agree: row = the frame's sequence + its piece; whatever SQLite says else is damage;
 * - each transaction writes the state again, so the counts are those of the rows;
 * - a committed transaction survives a power cut (synchronous=FULL: the WAL is fsynced before COMMIT returns);
 * - the file appears under its name only when it is whole.
 * Pages of removed rows are used again, and given back when hardly anything is left: the file stays below about twice
 * `maxBytes` (records of 8 to 16 KB leave most of a page unused), and shrinks when the spool has run empty.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { closeSync, constants, existsSync, openSync, readFileSync, type Stats, statSync, writeSync } from 'node:fs';
import fs from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import { syncFolder } from '../../shared/files/folder.ts';
import { frameKinds, markerBytes, openFrameWriter, readData, readHeader } from './spool-frame.ts';

const applicationId = 0x64617973;
const formatVersion = 1;
/** How long a call waits for the other process's lock, ingest's event loop standing still. */
const busyTimeoutMs = 1_000;

const tables = [
  'CREATE TABLE records (row INTEGER PRIMARY KEY, frame BLOB NOT NULL) STRICT',
  'CREATE TABLE dead (row INTEGER PRIMARY KEY, frame BLOB NOT NULL) STRICT',
  'CREATE TABLE reasons (sequence INTEGER PRIMARY KEY, frame BLOB NOT NULL) STRICT',
  'CREATE TABLE state (one INTEGER PRIMARY KEY, frame BLOB NOT NULL) STRICT',
];

export interface SpoolState {
  /** Live records, and dead letters. */
  readonly records: number;
  readonly dead: number;
  /** Of all frames of both. */
  readonly bytes: number;
  /** The first row that was never given. */
  readonly next: number;
  /** No live record was below it when it was written. */
  readonly oldest: number;
}

export interface SpoolFileName {
  readonly path: string;
  readonly number: number;
  readonly marker: Buffer;
}

export interface SpoolFile extends SpoolFileName {
  readonly database: DatabaseSync;
  /** To be called after a commit. */
  noteNext(next: number): void;
  close(): void;
  /** Whether the path still leads to this file: records written to a removed one would be lost. */
  isInPlace(): boolean;
}

const fileName = new RegExp(`^spool-(\\d{1,9})-([0-9a-f]{${markerBytes * 2}})\\.sqlite(?:-wal)?$`);

/** The spool files of a folder, the newest first; one of which only the log is left counts too. */
export async function listSpoolFiles(folder: string): Promise<SpoolFileName[]> {
  const names = new Map<string, SpoolFileName>();
  for (const name of await fs.readdir(folder)) {
    const [, number, marker] = fileName.exec(name) ?? [];
    if (number === undefined || marker === undefined) continue;
    const path = join(folder, name.replace(/-wal$/, ''));
    names.set(path, { path, number: Number(number), marker: Buffer.from(marker, 'hex') });
  }
  return [...names.values()].sort((a, b) => b.number - a.number);
}

/**
 * Makes a spool file, lets `fill` write into it, and puts it under its name. A failure leaves none. `next` is the first
 * row that it gives.
 */
export async function createSpoolFile(
  folder: string,
  number: number,
  fill: (file: SpoolFile) => Promise<void> = async () => undefined,
): Promise<SpoolFileName> {
  const marker = randomBytes(markerBytes);
  const path = join(folder, `spool-${number}-${marker.toString('hex')}.sqlite`);
  const temporary = join(folder, `.spool-${randomUUID()}.sqlite`);
  try {
    await fs.writeFile(temporary, '', { flag: 'wx', mode: 0o600 });
    layOut(temporary, marker);
    const file = connectSpoolFile({ path: temporary, number, marker });
    try {
      await fill(file);
    } finally {
      // Brings every page from the log into the file and fsyncs it.
      file.close();
    }
    await fs.rm(`${temporary}-next`, { force: true });
    // Dies here, or anywhere above: a nameless leftover, which the next start removes.
    await fs.rename(temporary, path);
  } catch (error) {
    await removeFile(temporary);
    throw error;
  }
  await syncFolder(folder);
  return { path, number, marker };
}

/** Leftovers of files that were in the making when their process died. To be called under the lock. */
export async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await fs.readdir(folder)) {
    if (/^\.spool-.*\.sqlite(?:-next)?$/.test(name)) await removeFile(join(folder, name.replace(/-next$/, '')));
  }
}

async function removeFile(path: string): Promise<void> {
  for (const end of ['', '-wal', '-shm', '-journal', '-next']) await fs.rm(`${path}${end}`, { force: true });
}

function layOut(path: string, marker: Buffer): void {
  const database = new DatabaseSync(path);
  try {
    database.exec(`PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
      BEGIN;
      PRAGMA application_id = ${applicationId};
      PRAGMA user_version = ${formatVersion};
      ${tables.join(';')};`);
    const state = { records: 0, dead: 0, bytes: 0, next: 1, oldest: 1 };
    const frame = openFrameWriter(marker).single(frameKinds.state, 0, Date.now(), encodeState(state));
    database.prepare('INSERT INTO state VALUES (1, ?)').run(frame);
    database.exec('COMMIT');
  } finally {
    database.close();
  }
}

export function connectSpoolFile(name: SpoolFileName): SpoolFile {
  const database = new DatabaseSync(name.path, { timeout: busyTimeoutMs });
  // wal_autocheckpoint: 4 MiB, so that no append waits long for the copy into the file. journal_size_limit: what a log
  // that grew beyond that is cut back to. cache_size: 8 MiB, that an append of 4 MiB is written once.
  database.exec(`PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 256; PRAGMA journal_size_limit = 67108864;
    PRAGMA cache_size = -8192; PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;`);
  const opened = statSync(name.path);
  const nextFile = openSync(`${name.path}-next`, constants.O_RDWR | constants.O_CREAT, 0o600);
  return {
    ...name,
    database,
    noteNext(next) {
      try {
        writeSync(nextFile, encodeNext(next), 0, nextBytes, 0);
      } catch {
        // A full disk, the first time. It tells less then; nothing rests on it.
      }
    },
    close() {
      closeSync(nextFile);
      database.close();
    },
    isInPlace: () => isSameFile(opened, name.path),
  };
}

/** A connection that changes nothing: neither does its end bring the log into the file, nor remove it. */
export function connectReadOnly(name: SpoolFileName): SpoolFile {
  const database = new DatabaseSync(name.path, { readOnly: true, timeout: busyTimeoutMs });
  return { ...name, database, noteNext: () => undefined, close: () => database.close(), isInPlace: () => true };
}

const nextBytes = 12;

function encodeNext(next: number): Buffer {
  const bytes = Buffer.allocUnsafe(nextBytes);
  bytes.writeDoubleBE(next);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 8)), 8);
  return bytes;
}

/** The `next` that is noted beside the file; 0 where none is, or none that can be read. */
export function notedNext({ path }: SpoolFileName): number {
  if (!existsSync(`${path}-next`)) return 0;
  const bytes = readFileSync(`${path}-next`);
  const isWhole = bytes.length === nextBytes && crc32(bytes.subarray(0, 8)) === bytes.readUInt32BE(8);
  return isWhole ? bytes.readDoubleBE() : 0;
}

/**
 * Throws where the file as SQLite sees it is not what this version wrote: structure, free pages, layout, state. Frames
 * are checked as they are read.
 */
export function checkSpoolFile(file: SpoolFile): SpoolState {
  const { database } = file;
  const application = database.prepare('PRAGMA application_id').get()?.application_id;
  const version = database.prepare('PRAGMA user_version').get()?.user_version;
  if (application !== applicationId || version !== formatVersion) throw damage('its header is not that of a spool');
  const schema = database.prepare('SELECT sql FROM sqlite_schema ORDER BY rowid').all();
  if (schema.map(({ sql }) => sql).join(';') !== tables.join(';')) throw damage('its tables are not those of a spool');
  const [found] = database.prepare('PRAGMA quick_check(1)').all();
  if (found?.quick_check !== 'ok') throw damage(`SQLite finds: ${String(found?.quick_check)}`);
  return readState(database.prepare('SELECT frame FROM state').get()?.frame, file.marker);
}

export function readState(stored: unknown, marker: Buffer): SpoolState {
  if (!(stored instanceof Uint8Array)) throw damage('its state is missing');
  const frame = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
  const header = readHeader(frame, marker);
  const data = header === undefined ? undefined : readData(frame, header);
  if (header?.kind !== frameKinds.state || data === undefined) throw damage('the checksum of its state does not hold');
  return decodeState(data);
}

export function encodeState({ records, dead, bytes, next, oldest }: SpoolState): Buffer {
  const data = Buffer.allocUnsafe(40);
  for (const [index, value] of [records, dead, bytes, next, oldest].entries()) data.writeDoubleBE(value, index * 8);
  return data;
}

export function decodeState(data: Buffer): SpoolState {
  const [records, dead, bytes, next, oldest] = [0, 8, 16, 24, 32].map((at) => data.readDoubleBE(at));
  return { records: records!, dead: dead!, bytes: bytes!, next: next!, oldest: oldest! };
}

function isSameFile(opened: Stats, path: string): boolean {
  const now = statSync(path, { throwIfNoEntry: false });
  return now !== undefined && now.ino === opened.ino && now.dev === opened.dev;
}

export function damage(detail: string): DaybookError {
  return new DaybookError('spool_damaged', { detail: `The spool file is damaged: ${detail}.` });
}

// Primary result codes of SQLite, from its documentation (https://sqlite.org/rescode.html).
const sqliteFull = 13;
/** SQLITE_IOERR_SHMSIZE: no room for the file that SQLite shares among processes. */
const sqliteNoRoomToShare = 4874;
const unavailableCodes = new Map([
  [3, 'no permission'],
  [5, 'locked by another process'],
  [6, 'locked'],
  [7, 'out of memory'],
  [10, 'a read or write of the disk failed'],
  [14, 'the file cannot be opened'],
]);
const fullCodes = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** Whether the file itself is at fault: SQLite says so, or stumbles over what only a damaged file can hold. */
export function isDamage(error: unknown): boolean {
  if (error instanceof DaybookError) return error.code === 'spool_damaged';
  const { errcode } = error as { errcode?: unknown };
  if (typeof errcode !== 'number') return false;
  // Extended codes hold the primary one in their low byte.
  return (errcode & 0xff) !== sqliteFull && !unavailableCodes.has(errcode & 0xff);
}

/** What a failure of SQLite or of the file system means for the spool's user. */
export function spoolErrorOf(error: unknown): DaybookError {
  if (error instanceof DaybookError) return error;
  const { errcode, code } = error as { errcode?: unknown; code?: unknown };
  const primary = typeof errcode === 'number' ? errcode & 0xff : undefined;
  if (primary === sqliteFull || errcode === sqliteNoRoomToShare || fullCodes.has(String(code))) {
    return new DaybookError('spool_full', { detail: 'The disk of the spool is full.', cause: error });
  }
  if (isDamage(error)) return new DaybookError('spool_damaged', { detail: messageOf(error), cause: error });
  const reason = primary === undefined ? (code ?? messageOf(error)) : unavailableCodes.get(primary);
  return new DaybookError('spool_unavailable', { detail: `The spool file: ${reason}.`, cause: error });
}
