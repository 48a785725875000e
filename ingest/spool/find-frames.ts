/** All frames of a damaged spool file and its log: where each lies is noted in a scratch database, since they may be millions. */
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import fs from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type FoundFrame, scanFrames } from './scan-frames.ts';
import { decodeState, notedNext, type SpoolFileName } from './spool-file.ts';
import { type FrameHeader, frameKinds, headerBytes, readData, readHeader } from './spool-frame.ts';

/** A frame that was found. */
export interface Piece {
  readonly header: FrameHeader;
  readonly isWhole: boolean;
  load(): Buffer;
}

/** The numbers that may be missing: from the first that may be live up to the first that was never given. 0: not known. */
export interface Bounds {
  readonly oldest: number;
  readonly next: number;
}

/** Frames whose header is damaged too: more of them tell nothing more. */
const maxNameless = 1_000;

/** What was delivered by then stays delivered, also where the transaction that says so was cut off: the stream has it. */
export function widen(bounds: { oldest: number; next: number }, frame: Buffer, header: FrameHeader): void {
  const data = readData(frame, header);
  if (data === undefined) return;
  const { oldest, next } = decodeState(data);
  bounds.oldest = Math.max(bounds.oldest, oldest);
  bounds.next = Math.max(bounds.next, next);
}

export interface Findings {
  readonly bounds: Bounds;
  /** The first number above all that were found. */
  readonly end: number;
  /** By sequence, in order. */
  sequences(): Generator<Piece[]>;
  /** Frames whose header is damaged. */
  nameless(): Generator<Buffer>;
  close(): Promise<void>;
}

/** Rejects as SQLite or the disk does. */
export async function findFrames(folder: string, name: SpoolFileName): Promise<Findings> {
  const { path, marker } = name;
  const scratch = join(folder, `.spool-${randomUUID()}.sqlite`);
  await fs.writeFile(scratch, '', { flag: 'wx', mode: 0o600 });
  const database = new DatabaseSync(scratch);
  const sources = [path, `${path}-wal`];
  const descriptors = new Map<number, number>();
  const bounds = { oldest: 0, next: notedNext(name) };
  let end = 0;
  const close = async () => {
    for (const descriptor of descriptors.values()) closeSync(descriptor);
    database.close();
    await fs.rm(scratch, { force: true });
  };

  const read = (source: number, offset: number, length: number): Buffer => {
    const descriptor = descriptors.get(source) ?? openSync(sources[source]!, 'r');
    descriptors.set(source, descriptor);
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, readSync(descriptor, bytes, 0, length, offset));
  };

  try {
    // Nothing here outlives the salvage, so nothing needs to be kept safe.
    database.exec(`PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;
      CREATE TABLE found (sequence INTEGER, whole INTEGER, source INTEGER, at INTEGER, length INTEGER) STRICT`);
    const insert = database.prepare('INSERT INTO found VALUES (?, ?, ?, ?, ?)');
    for (const [source, from] of sources.entries()) {
      for await (const found of scanFrames(from, marker)) note(found, source);
    }
    database.exec('CREATE INDEX found_by_sequence ON found (sequence, source, at); COMMIT');

    function note({ header, isWhole, offset, bytes }: FoundFrame, source: number): void {
      if (header?.kind === frameKinds.state) {
        if (isWhole) widen(bounds, bytes, header);
        return;
      }
      if (header !== undefined) end = Math.max(end, header.sequence + header.pieces);
      insert.run(header?.sequence ?? null, isWhole ? 1 : 0, source, offset, bytes.length);
    }
  } catch (error) {
    await close();
    throw error;
  }

  function* sequences(): Generator<Piece[]> {
    const select = database.prepare(
      'SELECT sequence, whole, source, at, length FROM found WHERE sequence IS NOT NULL ORDER BY sequence, source, at',
    );
    let group: Piece[] = [];
    for (const row of select.iterate()) {
      const load = () => read(row.source as number, row.at as number, row.length as number);
      const header = readHeader(read(row.source as number, row.at as number, headerBytes), marker)!;
      if (group.length > 0 && group[0]!.header.sequence !== header.sequence) {
        yield group;
        group = [];
      }
      group.push({ header, isWhole: row.whole === 1, load });
    }
    if (group.length > 0) yield group;
  }

  function* nameless(): Generator<Buffer> {
    const select = database.prepare('SELECT source, at, length FROM found WHERE sequence IS NULL LIMIT ?');
    for (const row of select.iterate(maxNameless)) {
      yield read(row.source as number, row.at as number, row.length as number);
    }
  }

  return { bounds, end, sequences, nameless, close };
}
