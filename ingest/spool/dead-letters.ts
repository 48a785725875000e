/** The dead letters of one spool file, each with when and why, and their way back among the live records. */
import type { DeadLetter } from './backing-store.ts';
import { type Content, frameKinds, frameSizeOf, readData, readHeader, type WriteFrame } from './spool-frame.ts';
import { bytesOf, firstOf, type SpoolRows, storedIn, type Tally } from './spool-rows.ts';

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

export function openDeadLetters({ database, marker, frames, change, addLive }: SpoolRows) {
  const selectFrom = database.prepare('SELECT row, frame FROM dead WHERE row >= ? ORDER BY row');
  const selectReason = database.prepare('SELECT frame FROM reasons WHERE sequence = ?');
  const insert = database.prepare('INSERT INTO dead VALUES (?, ?)');
  const insertReason = database.prepare('INSERT INTO reasons VALUES (?, ?)');
  const remove = database.prepare('DELETE FROM dead WHERE row BETWEEN ? AND ?');
  const removeReason = database.prepare('DELETE FROM reasons WHERE sequence = ?');
  const inDead: WriteFrame = (row, frame) => void insert.run(row, frame);

  /** A whole record, in rows that are free. */
  function write(tally: Tally, row: number, content: Content, reason: Reason): void {
    frames.record(frameKinds.dead, row, content.writtenMs, content, inDead);
    tally.bytes += frameSizeOf(content).bytes;
    addReason(tally, row, reason);
  }

  /** Bytes as they lay on the disk, one damaged frame each, in rows that are free. */
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

  /** The first dead letter of this sequence or a later one, and the row after it. */
  function deadFrom(row: number): { letter: DeadLetter; content: Content | undefined; end: number } | undefined {
    const stored = firstOf(storedIn(selectFrom.iterate(row), marker));
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
    remove.run(sequence, sequence + pieces - 1);
    removeReason.run(sequence);
    tally.dead--;
    tally.bytes -= bytes + (reason instanceof Uint8Array ? reason.length : 0);
    addLive(tally, content, nowMs);
  }

  return { write, writeRaw, deadFrom, requeue };
}

export function decodeReason(data: Buffer): Reason {
  return JSON.parse(data.toString()) as Reason;
}
