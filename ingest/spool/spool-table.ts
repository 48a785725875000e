/**
 * What is done with the records of one spool file, each change in one transaction, synchronously. Anything that SQLite
 * says about a row and its frame denies is damage of the file, and thrown as such; a frame that is damaged in itself is not.
 */
import type { StatementSync } from 'node:sqlite';
import { DaybookError } from '../../shared/errors.ts';
import { inTransaction } from '../../shared/stream/embedded/file.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';
import type { DeadLetter, PeekLimit, SpooledRecord } from './backing-store.ts';
import { damage, encodeState, readState, type SpoolFile, type SpoolState } from './spool-file.ts';
import {
  type Content,
  contentOf,
  frameKinds,
  frameSizeOf,
  joinFrames,
  openFrameWriter,
  readData,
  readHeader,
  type WriteFrame,
} from './spool-frame.ts';

/** The rows of one sequence, as they lie there. `content` is undefined where they are damaged. */
interface Stored {
  readonly sequence: number;
  readonly firstRow: number;
  readonly frames: readonly Buffer[];
  readonly content: Content | undefined;
}

/** Where the reason itself was damaged. */
export const unknownReason: Reason = { at: '1970-01-01T00:00:00.000Z', reason: 'unknown' };

export interface Reason {
  readonly at: string;
  readonly reason: string;
}

/** Of one transaction that moves records, so that the other process does not wait long. */
const maxMovedRecords = 500;
const maxMovedBytes = 4 * 1024 * 1024;
const maxReasonBytes = 1_000;
const damagedReason = 'damaged on disk: its checksum does not hold';

/** The state as a transaction changes it. */
export type Tally = { -readonly [K in keyof SpoolState]: SpoolState[K] };

export type SpoolTable = ReturnType<typeof openSpoolTable>;

export function openSpoolTable(file: SpoolFile) {
  const { database, marker } = file;
  const frames = openFrameWriter(marker);
  const selectState = database.prepare('SELECT frame FROM state');
  const selectLive = database.prepare('SELECT row, frame FROM records ORDER BY row');
  const selectLiveFrom = database.prepare('SELECT row, frame FROM records WHERE row >= ? ORDER BY row');
  const selectDeadFrom = database.prepare('SELECT row, frame FROM dead WHERE row >= ? ORDER BY row');
  const selectReason = database.prepare('SELECT frame FROM reasons WHERE sequence = ?');
  const selectOldest = database.prepare('SELECT row, frame FROM records ORDER BY row LIMIT 1');
  const countRows = database.prepare('SELECT count(*) AS rows FROM records WHERE row BETWEEN ? AND ?');
  // Inspecting connections are read-only, and preparing does not write.
  const updateState = database.prepare('UPDATE state SET frame = ?');
  const insertLive = database.prepare('INSERT INTO records VALUES (?, ?)');
  const insertDead = database.prepare('INSERT INTO dead VALUES (?, ?)');
  const insertReason = database.prepare('INSERT INTO reasons VALUES (?, ?)');
  const deleteLive = database.prepare('DELETE FROM records WHERE row BETWEEN ? AND ?');
  const deleteDead = database.prepare('DELETE FROM dead WHERE row BETWEEN ? AND ?');
  const deleteReason = database.prepare('DELETE FROM reasons WHERE sequence = ?');
  const inLive: WriteFrame = (row, frame) => void insertLive.run(row, frame);
  const inDead: WriteFrame = (row, frame) => void insertDead.run(row, frame);
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

  function addDead(tally: Tally, content: Content, reason: Reason): void {
    const { bytes, pieces } = frameSizeOf(content);
    const row = takeRows(tally, pieces);
    frames.record(frameKinds.dead, row, content.writtenMs, content, inDead);
    tally.bytes += bytes;
    addReason(tally, row, reason);
  }

  /** A dead letter of bytes as they lay on the disk, one damaged frame each. */
  function addRaw(tally: Tally, found: readonly Buffer[], reason: Reason): void {
    writeRaw(tally, takeRows(tally, found.length), found, reason);
  }

  /** Refuses all of them with `spool_full` where they do not fit below `maxBytes`. */
  function append(records: readonly AppendRecord[], nowMs: number, maxBytes: number): void {
    const added = records.reduce((sum, record) => sum + frameSizeOf(record).bytes, 0);
    change((tally) => {
      if (tally.bytes + added > maxBytes) {
        throw new DaybookError('spool_full', { detail: `The spool holds ${tally.bytes} of ${maxBytes} bytes.` });
      }
      for (const record of records) addLive(tally, record, nowMs);
    });
    // Dies here: all of them are in the spool, nobody was told; the senders repeat and the compactor dedupes. Before
    // COMMIT, or within it before its fsync: all or none.
  }

  /** Damaged records go to the dead letters on the way; `damaged` counts them. */
  function peek(limit: PeekLimit, nowMs: number): { records: SpooledRecord[]; damaged: number } {
    let damagedBefore = 0;
    for (;;) {
      // Read first: the other process may add records in between, but only this one removes them.
      const counted = state().records;
      const { records, damaged, found } = readBatch(limit);
      if (found === 0 && counted > 0) throw damage('records that are counted are not there');
      if (damaged.length > 0) change((tally) => moveDamaged(tally, damaged, damagedReason, nowMs));
      // Dies here: they are dead letters, and the rest is given to the next process.
      if (records.length > 0 || damaged.length === 0) return { records, damaged: damagedBefore + damaged.length };
      damagedBefore += damaged.length;
    }
  }

  function readBatch({ maxRecords, maxBytes }: PeekLimit) {
    const records: SpooledRecord[] = [];
    const damaged: Stored[] = [];
    let bytes = 0;
    let found = 0;
    for (const stored of storedIn(selectLive.iterate(), marker)) {
      found++;
      if (stored.content === undefined) {
        damaged.push(stored);
        if (damaged.length === maxMovedRecords / 5) break;
        continue;
      }
      const { key, value } = stored.content;
      bytes += Buffer.byteLength(key) + value.length;
      if (records.length > 0 && bytes > maxBytes) break;
      records.push({ sequence: BigInt(stored.sequence), key, value });
      if (records.length >= maxRecords) break;
    }
    return { records, damaged, found };
  }

  function moveDamaged(tally: Tally, damaged: readonly Stored[], reason: string, nowMs: number): void {
    const at = new Date(nowMs).toISOString();
    for (const { firstRow, frames: found } of damaged) {
      deleteLive.run(firstRow, firstRow + found.length - 1);
      tally.records--;
      tally.bytes -= bytesOf(found);
      writeRaw(tally, firstRow, found, { at, reason });
    }
  }

  function writeRaw(tally: Tally, sequence: number, found: readonly Buffer[], { at, reason }: Reason): void {
    const wrapped = found.map((bytes, piece) => frames.raw(sequence, Date.parse(at), piece, found.length, bytes));
    for (const [piece, frame] of wrapped.entries()) inDead(sequence + piece, frame);
    tally.bytes += bytesOf(wrapped);
    addReason(tally, sequence, { at, reason });
  }

  function addReason(tally: Tally, sequence: number, { at, reason }: Reason): void {
    const text = Buffer.from(JSON.stringify({ at, reason: reason.slice(0, maxReasonBytes) }));
    const frame = frames.single(frameKinds.reason, sequence, Date.parse(at), text);
    insertReason.run(sequence, frame);
    tally.dead++;
    tally.bytes += frame.length;
  }

  /** Removes live records; those that are gone already are passed over. */
  function remove(records: readonly SpooledRecord[]): void {
    if (records.length === 0) return;
    change((tally) => {
      for (const { from, to, count, bytes } of rangesOf(records)) {
        if (countRows.get(from, to)?.rows === to - from + 1) {
          deleteLive.run(from, to);
          tally.records -= count;
          tally.bytes -= bytes;
        } else {
          // Some are gone: dead letters, or committed before.
          for (const record of records) {
            if (record.sequence >= from && record.sequence <= to) removeOne(tally, record);
          }
        }
      }
      tally.oldest = Number(selectOldest.get()?.row ?? tally.next);
    });
    // Dies here: they are removed; the stream has them. Before COMMIT: they are drained once more.
  }

  function removeOne(tally: Tally, record: SpooledRecord): void {
    const { pieces, bytes } = frameSizeOf(record);
    const row = Number(record.sequence);
    if (deleteLive.run(row, row + pieces - 1).changes === 0) return;
    tally.records--;
    tally.bytes -= bytes;
  }

  function deadLetter({ sequence }: SpooledRecord, reason: string, nowMs: number): void {
    change((tally) => {
      const row = Number(sequence);
      const stored = firstOf(storedIn(selectLiveFrom.iterate(row), marker));
      if (stored?.firstRow !== row) return;
      if (stored.content === undefined) return moveDamaged(tally, [stored], reason, nowMs);
      frames.record(frameKinds.dead, row, stored.content.writtenMs, stored.content, inDead);
      deleteLive.run(row, row + stored.frames.length - 1);
      tally.records--;
      addReason(tally, row, { at: new Date(nowMs).toISOString(), reason });
    });
    // Dies here: it is a dead letter. Before COMMIT: it is live, and refused once more.
  }

  /** The first dead letter of this sequence or a later one, and the row after it. */
  function deadFrom(row: number): { letter: DeadLetter; content: Content | undefined; end: number } | undefined {
    const stored = firstOf(storedIn(selectDeadFrom.iterate(row), marker));
    if (stored === undefined) return undefined;
    const { sequence, content, firstRow, frames: found } = stored;
    const isRecord = content?.kind === frameKinds.dead;
    const letter = {
      sequence: BigInt(sequence),
      ...reasonOf(sequence),
      key: isRecord ? content.key : null,
      raw: content?.value ?? Buffer.concat(found),
    };
    return { letter, content: isRecord ? content : undefined, end: firstRow + found.length };
  }

  function reasonOf(sequence: number): Reason {
    const stored = selectReason.get(sequence)?.frame;
    const frame = stored instanceof Uint8Array ? Buffer.from(stored) : Buffer.alloc(0);
    const header = readHeader(frame, marker);
    const data = header === undefined ? undefined : readData(frame, header);
    return data === undefined ? unknownReason : decodeReason(data);
  }

  /** Moves dead letters of rows from `from` up to `to` back, as many as one transaction should; answers where it stopped. */
  function requeue(from: number, to: number, nowMs: number): { moved: number; reached: number } {
    return change((tally) => {
      let moved = 0;
      let bytes = 0;
      let reached = from;
      while (reached < to && moved < maxMovedRecords && bytes < maxMovedBytes) {
        const found = deadFrom(reached);
        if (found === undefined || found.letter.sequence >= to) return { moved, reached: to };
        reached = found.end;
        if (found.content === undefined) continue;
        takeBack(tally, Number(found.letter.sequence), found.content, nowMs);
        moved++;
        bytes += found.content.value.length;
      }
      return { moved, reached };
    });
    // Dies here: these are live again. Before COMMIT: they are dead letters as before.
  }

  function takeBack(tally: Tally, sequence: number, content: Content, nowMs: number): void {
    const { bytes, pieces } = frameSizeOf(content);
    const reason = selectReason.get(sequence)?.frame;
    deleteDead.run(sequence, sequence + pieces - 1);
    deleteReason.run(sequence);
    tally.dead--;
    tally.bytes -= bytes + (reason instanceof Uint8Array ? reason.length : 0);
    addLive(tally, content, nowMs);
  }

  function oldestMs(): number | undefined {
    const frame = selectOldest.get()?.frame;
    return frame instanceof Uint8Array ? readHeader(bufferOf(frame), marker)?.writtenMs : undefined;
  }

  return {
    state,
    change,
    addLive,
    addDead,
    addRaw,
    append,
    peek,
    remove,
    deadLetter,
    deadFrom,
    requeue,
    oldestMs,
    tried: () => tried,
  };
}

export function decodeReason(data: Buffer): Reason {
  return JSON.parse(data.toString()) as Reason;
}

/** Groups rows by the record that they belong to. */
function* storedIn(rows: ReturnType<StatementSync['iterate']>, marker: Buffer): Generator<Stored> {
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

interface Range {
  readonly from: number;
  to: number;
  count: number;
  bytes: number;
}

/** The rows of these records, those next to each other joined. */
function rangesOf(records: readonly SpooledRecord[]): Range[] {
  const ranges: Range[] = [];
  for (const record of records) {
    const { pieces, bytes } = frameSizeOf(record);
    const from = Number(record.sequence);
    const last = ranges.at(-1);
    if (last !== undefined && last.to + 1 === from) {
      last.to += pieces;
      last.count++;
      last.bytes += bytes;
    } else {
      ranges.push({ from, to: from + pieces - 1, count: 1, bytes });
    }
  }
  return ranges;
}

function firstOf<T>(values: Iterable<T>): T | undefined {
  for (const value of values) return value;
  return undefined;
}

function bytesOf(frames: readonly Uint8Array[]): number {
  return frames.reduce((sum, { length }) => sum + length, 0);
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
