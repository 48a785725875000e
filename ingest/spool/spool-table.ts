/**
 * What is done with the records of one spool file, each change in one transaction, synchronously. Anything that SQLite
 * says about a row and its frame denies is damage of the file, and thrown as such; a frame that is damaged in itself is not.
 */
import { DaybookError } from '../../shared/errors.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';
import type { PeekLimit, SpooledRecord } from './backing-store.ts';
import { openDeadLetters, type Reason } from './dead-letters.ts';
import { damage, type SpoolFile } from './spool-file.ts';
import { type Content, frameSizeOf, readHeader } from './spool-frame.ts';
import { bufferOf, bytesOf, firstOf, openSpoolRows, type Stored, storedIn, type Tally } from './spool-rows.ts';

/** Moved by one transaction, so that the other process does not wait long. */
const maxDamagedRecords = 100;
/** Of one look at what waits, which others wait for. */
const maxSeenRecords = 200;
const maxSeenBytes = 1024 * 1024;
const damagedReason = 'damaged on disk: its checksum does not hold';

export type SpoolTable = ReturnType<typeof openSpoolTable>;

export function openSpoolTable(file: SpoolFile) {
  const { database, marker } = file;
  const rows = openSpoolRows(file);
  const dead = openDeadLetters(rows);
  const { deadFrom, requeue } = dead;
  const { state, change, takeRows, addLive, tried } = rows;
  const selectLive = database.prepare('SELECT row, frame FROM records ORDER BY row');
  const selectLiveFrom = database.prepare('SELECT row, frame FROM records WHERE row >= ? ORDER BY row');
  const selectOldest = database.prepare('SELECT row, frame FROM records ORDER BY row LIMIT 1');
  const countRows = database.prepare('SELECT count(*) AS rows FROM records WHERE row BETWEEN ? AND ?');
  const deleteLive = database.prepare('DELETE FROM records WHERE row BETWEEN ? AND ?');

  function addDead(tally: Tally, content: Content, reason: Reason): void {
    dead.write(tally, takeRows(tally, frameSizeOf(content).pieces), content, reason);
  }

  /** A dead letter of bytes as they lay on the disk, one damaged frame each. */
  function addRaw(tally: Tally, found: readonly Buffer[], reason: Reason): void {
    dead.writeRaw(tally, takeRows(tally, found.length), found, reason);
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
      if (damaged.length > 0) change((tally) => bury(tally, damaged, damagedReason, nowMs));
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
        if (damaged.length === maxDamagedRecords) break;
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

  /** A few whole live records of this row or later ones, and the row after them; undefined where there is none. */
  function waitingFrom(row: number): { records: SpooledRecord[]; end: number } | undefined {
    const records: SpooledRecord[] = [];
    let end: number | undefined;
    let bytes = 0;
    for (const { sequence, content, firstRow, frames } of storedIn(selectLiveFrom.iterate(row), marker)) {
      end = firstRow + frames.length;
      bytes += bytesOf(frames);
      if (content !== undefined) records.push({ sequence: BigInt(sequence), key: content.key, value: content.value });
      if (records.length >= maxSeenRecords || bytes >= maxSeenBytes) break;
    }
    return end === undefined ? undefined : { records, end };
  }

  /** Makes dead letters of live records, in their own rows. */
  function bury(tally: Tally, records: readonly Stored[], reason: string, nowMs: number): void {
    const at = new Date(nowMs).toISOString();
    for (const { firstRow, frames, content } of records) {
      deleteLive.run(firstRow, firstRow + frames.length - 1);
      tally.records--;
      tally.bytes -= bytesOf(frames);
      if (content === undefined) dead.writeRaw(tally, firstRow, frames, { at, reason });
      else dead.write(tally, firstRow, content, { at, reason });
    }
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
      const stored = firstOf(storedIn(selectLiveFrom.iterate(Number(sequence)), marker));
      if (stored?.firstRow === Number(sequence)) bury(tally, [stored], reason, nowMs);
    });
    // Dies here: it is a dead letter. Before COMMIT: it is live, and refused once more.
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
    waitingFrom,
    remove,
    deadLetter,
    deadFrom,
    requeue,
    oldestMs,
    tried,
  };
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
