/**
 * What is done about a damaged spool file: its bytes and those of its log are searched for frames, wherever they lie, and
 * what they hold goes into a new file. A record that was delivered already may be found and delivered again, since the
 * pages of removed records are not wiped: the compactor dedupes. What is below `oldest` was delivered, and is left.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import { decodeReason, type Reason, unknownReason } from './dead-letters.ts';
import { type Bounds, type Findings, findFrames, type Piece, widen } from './find-frames.ts';
import { scanFrames } from './scan-frames.ts';
import { createSpoolFile, damage, notedNext, type SpoolFileName, type SpoolState } from './spool-file.ts';
import { type Content, frameKinds, headerBytes, joinFrames, readData } from './spool-frame.ts';
import type { Tally } from './spool-rows.ts';
import { openSpoolTable, type SpoolTable } from './spool-table.ts';

export interface SalvageReport {
  /** Records that are live again, and dead letters that are there again. */
  recovered: number;
  dead: number;
  /** Damaged ones, now dead letters. */
  damaged: number;
  /** Numbers that were given and not found: lost, or delivered out of turn, or of an append that was cut off. */
  missing: number;
  /** The first of them, as ranges. */
  missingSequences: string[];
  /** Whether a state was found; else nobody can tell what was before the first and after the last that was found. */
  readonly isStateKnown: boolean;
}

const maxTailBytes = 32 * 1024 * 1024;
const maxRangesNamed = 10;
const transactionMs = 50;
const damagedReason = 'damaged on disk: found by salvage, its checksum does not hold';

/** Restores sequence by sequence, in order, and counts. */
function openRestorer(table: SpoolTable, marker: Buffer, { oldest }: Bounds, nowMs: number) {
  const isStateKnown = oldest > 0;
  const report: SalvageReport = { recovered: 0, dead: 0, damaged: 0, missing: 0, missingSequences: [], isStateKnown };
  const at = new Date(nowMs).toISOString();
  let expected = isStateKnown ? oldest : undefined;

  function miss(from: number, to: number): void {
    report.missing += to - from + 1;
    if (report.missingSequences.length < maxRangesNamed) report.missingSequences.push(`${from}–${to}`);
  }

  function passTo(sequence: number, end: number): void {
    if (expected !== undefined && sequence > expected) miss(expected, sequence - 1);
    expected = Math.max(expected ?? end, end);
  }

  /** `pieces`: all that was found of one sequence. */
  function restore(tally: Tally, pieces: readonly Piece[]): void {
    const reason = reasonIn(pieces);
    const found = pieces.filter(({ header }) => header.kind !== frameKinds.reason);
    const [first] = found;
    if (first === undefined) {
      // A dead letter of which only the reason is left. Those below `oldest` leave no other gap.
      const sequence = pieces[0]!.header.sequence;
      if (reason !== undefined && sequence < oldest) miss(sequence, sequence);
      return;
    }
    const { sequence, pieces: rows } = first.header;
    if (sequence >= oldest) passTo(sequence, sequence + rows);
    const versions = versionsOf(found, marker);
    const records = versions.filter(({ content }) => content.kind === frameKinds.record);
    const dead = versions.find(({ content }) => content.kind === frameKinds.dead) ?? (reason && records[0]);
    const raw = versions.find(({ content }) => content.kind === frameKinds.raw);
    if (dead !== undefined) {
      table.addDead(tally, dead.content, reason ?? unknownReason);
      report.dead++;
    } else if (raw !== undefined) {
      table.addRaw(tally, raw.data, reason ?? unknownReason);
      report.dead++;
    } else if (sequence < oldest && found.every(({ header }) => header.kind === frameKinds.record)) {
      // Delivered.
    } else if (records.length > 0) {
      // Two that differ under one number: one of them is of an append that failed, and no one can tell which.
      for (const { content } of records) table.addLive(tally, content, content.writtenMs);
      report.recovered += records.length;
    } else {
      table.addRaw(tally, bestOfEach(found), reason ?? { at, reason: damagedReason });
      report.damaged++;
    }
  }

  function restoreNameless(tally: Tally, frame: Buffer): void {
    table.addRaw(tally, [frame], { at, reason: damagedReason });
    report.damaged++;
  }

  return { restore, restoreNameless, passTo, report };
}

function reasonIn(pieces: readonly Piece[]): Reason | undefined {
  const found = pieces.find(({ header, isWhole }) => header.kind === frameKinds.reason && isWhole);
  const data = found === undefined ? undefined : readData(found.load(), found.header);
  return data === undefined ? undefined : decodeReason(data);
}

/** Each different content of which all pieces are there, whole; `data`: what its frames hold. */
function versionsOf(pieces: readonly Piece[], marker: Buffer): { content: Content; data: Buffer[] }[] {
  const groups = new Map<string, Map<number, Piece>>();
  for (const piece of pieces) {
    if (!piece.isWhole) continue;
    const { kind, contentCrc, piece: number } = piece.header;
    // What a frame of kind raw holds had no checksum that held: such frames have none in common.
    const version = kind === frameKinds.raw ? 'raw' : `${kind} ${contentCrc}`;
    const group = groups.get(version) ?? new Map<number, Piece>();
    groups.set(version, group.set(number, piece));
  }
  return [...groups.values()].flatMap((group) => {
    const ordered = [...group.values()].sort((a, b) => a.header.piece - b.header.piece);
    const frames = ordered.map((piece) => piece.load());
    const content = joinFrames(frames, marker);
    return content === undefined ? [] : [{ content, data: frames.map((frame) => frame.subarray(headerBytes)) }];
  });
}

/** Each piece once, a whole one where there is one, as bytes that a frame of kind raw can hold. */
function bestOfEach(pieces: readonly Piece[]): Buffer[] {
  const best = new Map<number, Piece>();
  for (const piece of pieces) {
    const { piece: number } = piece.header;
    if (piece.isWhole || !best.has(number)) best.set(number, piece);
  }
  const ordered = [...best.values()].sort((a, b) => a.header.piece - b.header.piece);
  return ordered.map(({ header, load }) => (header.kind === frameKinds.raw ? load().subarray(headerBytes) : load()));
}

/**
 * What a sound file lacks: what stands in its log and is not seen by SQLite, which stops reading a log at the first byte
 * that is wrong, and what was committed, as the noted `next` says, and is nowhere. Undefined where it lacks nothing; throws
 * where it is so much that this is not work for memory.
 *
 * Whoever was told that a record is stored was told after `next` was noted. So what is above a note that is not behind the
 * state is of an append that failed or was cut off, and is left. A note that is behind (a power cut) tells nothing.
 */
export async function readTail(name: SpoolFileName, { next }: SpoolState): Promise<Tail | undefined> {
  const noted = notedNext(name);
  if (noted === next) return undefined;
  const isDamage = noted > next;
  const end = isDamage ? noted : Number.POSITIVE_INFINITY;
  const bounds = { oldest: next, next };
  const pieces: Piece[] = [];
  let bytes = 0;
  for await (const { header, isWhole, bytes: found } of scanFrames(`${name.path}-wal`, name.marker)) {
    if (header === undefined) continue;
    if (header.kind === frameKinds.state) {
      if (isWhole) widen(bounds, found, header);
    } else if (header.sequence >= next && header.sequence < end) {
      bytes += found.length;
      if (bytes > maxTailBytes) throw damage('its log holds much that SQLite does not see');
      const copy = Buffer.from(found);
      pieces.push({ header, isWhole, load: () => copy });
    }
  }
  if (pieces.length === 0 && !isDamage) return undefined;
  return { pieces, bounds: isDamage ? { ...bounds, next: noted } : bounds, isDamage };
}

export interface Tail {
  readonly pieces: readonly Piece[];
  readonly bounds: Bounds;
  /** Something committed is not seen. Else nobody can tell. */
  readonly isDamage: boolean;
}

/** Appends the tail to the file, in one transaction. */
export function restoreTail(table: SpoolTable, { marker }: SpoolFileName, tail: Tail, nowMs: number): SalvageReport {
  const { restore, passTo, report } = openRestorer(table, marker, tail.bounds, nowMs);
  const sequences = Map.groupBy(tail.pieces, ({ header }) => header.sequence);
  table.change((tally) => {
    tally.next = tail.pieces.reduce(
      (end, { header }) => Math.max(end, header.sequence + header.pieces),
      tail.bounds.next,
    );
    for (const sequence of [...sequences.keys()].sort((a, b) => a - b)) restore(tally, sequences.get(sequence)!);
  });
  // Dies here: they are records like others. Before COMMIT: the log ends with them still, or with their copies.
  passTo(tail.bounds.next, tail.bounds.next);
  return report;
}

/**
 * Makes the successor of a damaged file from all that can be found in it. The damaged one stays where it is. `floor`: the
 * successor gives numbers from there on, or from a higher one.
 */
export async function salvage(
  folder: string,
  damaged: SpoolFileName,
  floor: number,
  nowMs: number,
): Promise<{ name: SpoolFileName; report: SalvageReport }> {
  const findings = await findFrames(folder, damaged);
  try {
    let report: SalvageReport | undefined;
    const name = await createSpoolFile(folder, damaged.number + 1, async (file) => {
      report = await restoreAll(openSpoolTable(file), damaged.marker, findings, floor, nowMs);
    });
    // Dies here: the successor is whole, and the next start puts the damaged one aside.
    return { name, report: report! };
  } finally {
    await findings.close();
  }
}

async function restoreAll(
  table: SpoolTable,
  marker: Buffer,
  { bounds, end, sequences, nameless }: Findings,
  floor: number,
  nowMs: number,
): Promise<SalvageReport> {
  const { restore, restoreNameless, passTo, report } = openRestorer(table, marker, bounds, nowMs);
  table.change((tally) => {
    tally.next = Math.max(tally.next, bounds.next, end, floor);
    tally.oldest = tally.next;
  });
  const found = sequences();
  for (let isDone = false; !isDone; await breathe()) {
    table.change((tally) => {
      for (const until = performance.now() + transactionMs; !isDone && performance.now() < until; ) {
        const { value: pieces, done } = found.next();
        if (done === true) isDone = true;
        else restore(tally, pieces);
      }
    });
  }
  passTo(bounds.next, bounds.next);
  if (report.missing > 0 || !report.isStateKnown) {
    table.change((tally) => {
      for (const frame of nameless()) restoreNameless(tally, frame);
    });
  }
  return report;
}
