/**
 * The rows of one spool file: its state, the transactions that change it, and rows read as the records that they belong
 * to. Each change is one transaction, synchronously.
 */
import type { StatementSync } from 'node:sqlite';
import { inTransaction } from '../../shared/stream/embedded/file.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';
import { damage, encodeState, readState, type SpoolFile, type SpoolState } from './spool-file.ts';
import {
  type Content,
  contentOf,
  frameKinds,
  frameSizeOf,
  joinFrames,
  openFrameWriter,
  readHeader,
  type WriteFrame,
} from './spool-frame.ts';

/** The state as a transaction changes it. */
export type Tally = { -readonly [K in keyof SpoolState]: SpoolState[K] };

export type SpoolRows = ReturnType<typeof openSpoolRows>;

export function openSpoolRows(file: SpoolFile) {
  const { database, marker } = file;
  const frames = openFrameWriter(marker);
  const selectState = database.prepare('SELECT frame FROM state');
  // Inspecting connections are read-only, and preparing does not write.
  const updateState = database.prepare('UPDATE state SET frame = ?');
  const insertLive = database.prepare('INSERT INTO records VALUES (?, ?)');
  const inLive: WriteFrame = (row, frame) => void insertLive.run(row, frame);
  /**
   * Rows that this process tried to give. A failed transaction may leave frames behind its log's end: their rows are not
   * given to other records, or a salvage could take one for the other.
   */
  let tried = 0;

  function state(): SpoolState {
    const found = readState(selectState.get()?.frame, marker);
    tried = Math.max(tried, found.next);
    return found;
  }

  function change<T>(work: (tally: Tally) => T): T {
    const { result, next } = inTransaction(database, () => {
      const tally = { ...state() };
      const made = work(tally);
      updateState.run(frames.single(frameKinds.state, 0, Date.now(), encodeState(tally)));
      return { result: made, next: tally.next };
    });
    file.noteNext(next);
    return result;
  }

  function takeRows(tally: Tally, rows: number): number {
    const row = Math.max(tally.next, tried);
    tried = row + rows;
    tally.next = tried;
    return row;
  }

  function addLive(tally: Tally, record: AppendRecord, writtenMs: number): void {
    const { bytes, pieces } = frameSizeOf(record);
    frames.record(frameKinds.record, takeRows(tally, pieces), writtenMs, record, inLive);
    tally.records++;
    tally.bytes += bytes;
  }

  return { database, marker, frames, state, change, takeRows, addLive, tried: () => tried };
}

/** The rows of one sequence, as they lie there. `content` is undefined where they are damaged. */
export interface Stored {
  readonly sequence: number;
  readonly firstRow: number;
  readonly frames: readonly Buffer[];
  readonly content: Content | undefined;
}

/** Groups rows by the record that they belong to. */
export function* storedIn(rows: ReturnType<StatementSync['iterate']>, marker: Buffer): Generator<Stored> {
  let group: { sequence: number; firstRow: number; end: number; frames: Buffer[] } | undefined;
  let last = 0;
  for (const { row, frame } of rows) {
    if (typeof row !== 'number' || !(frame instanceof Uint8Array) || row <= last) throw damage('rows out of order');
    last = row;
    const bytes = bufferOf(frame);
    const header = readHeader(bytes, marker);
    if (header !== undefined && header.sequence + header.piece !== row) throw damage('a row under a wrong number');
    // A frame whose header is damaged belongs to the record before it, if that one is not complete yet.
    const joins = group !== undefined && (header === undefined ? row < group.end : header.sequence === group.sequence);
    if (group !== undefined && !joins) {
      yield { ...group, content: joinFrames(group.frames, marker) };
      group = undefined;
    }
    // Nearly every record is one frame: no other row needs to be looked at, nor its header read again.
    if (group === undefined && header?.pieces === 1) {
      yield { sequence: row, firstRow: row, frames: [bytes], content: contentOf(bytes, header) };
      continue;
    }
    group ??= { sequence: header?.sequence ?? row, firstRow: row, end: row, frames: [] };
    group.frames.push(bytes);
    group.end = header === undefined ? Math.max(group.end, row + 1) : header.sequence + header.pieces;
  }
  if (group !== undefined) yield { ...group, content: joinFrames(group.frames, marker) };
}

export function firstOf<T>(values: Iterable<T>): T | undefined {
  for (const value of values) return value;
  return undefined;
}

export function bytesOf(frames: readonly Uint8Array[]): number {
  return frames.reduce((sum, { length }) => sum + length, 0);
}

export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
