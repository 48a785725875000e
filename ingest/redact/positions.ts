/**
 * How far the readers have what the stream holds. Where the service keeps a consumer's positions and nothing else hangs on
 * them (Kafka), they are committed there. Else they are in a file: Kinesis keeps none, and the embedded stream drops what
 * every consumer has committed, which is the compactor's to decide.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeFolder, syncFolder } from '../../shared/files/folder.ts';
import { keepsPositions } from '../../shared/stream/open.ts';
import type { Cursor, EventStreamReader } from '../../shared/stream/stream.ts';
import type { StreamConfiguration } from '../../shared/stream/streams.ts';

/** A point of a partition. */
export interface Place {
  readonly cursor: Cursor;
  /** Of the record that ends there; undefined where it is not known, or had aged out unread. */
  readonly mark: string | undefined;
}

export interface Positions {
  /** By partition. Empty where none are known. */
  read(): Promise<Map<string, Place>>;
  /** All of them. Resolves when they would survive a power cut. */
  write(places: ReadonlyMap<string, Place>): Promise<void>;
}

/** Two redactions of one stream, for two kinds of readers, keep positions of their own. */
export function consumerOf(readersId: string): string {
  return `daybook-redact-${createHash('sha256').update(readersId).digest('hex').slice(0, 12)}`;
}

/** Those of a consumer in the stream that its reader reads. `streamId`: of that stream. */
export function positionsOf(
  configuration: StreamConfiguration,
  reader: EventStreamReader,
  {
    directory,
    consumer,
    streamId,
  }: { readonly directory: string; readonly consumer: string; readonly streamId: string },
): Positions {
  return keepsPositions(configuration)
    ? committedPositions(reader)
    : filePositions(join(directory, 'redact', `${consumer}.json`), streamId);
}

/** The marks are the notes beside them. */
function committedPositions(reader: EventStreamReader): Positions {
  return {
    async read() {
      const [committed, notes] = [await reader.committed(), await reader.notes?.()];
      return new Map([...committed].map(([partition, cursor]) => [partition, placeOf(cursor, notes?.get(partition))]));
    },
    async write(places) {
      const cursors = [...places].map(([partition, { cursor }]) => [partition, cursor] as const);
      const notes = [...places].map(([partition, place]) => [partition, noteOf(place)] as const);
      await reader.commit(new Map(cursors), new Map(notes));
    },
  };
}

/** With the cursor in it: another program may commit between the reading of positions and that of notes. */
function noteOf({ cursor, mark }: Place): string {
  return mark === undefined ? '' : `${cursor} ${mark}`;
}

function placeOf(cursor: Cursor, note: string | undefined): Place {
  const [of, mark] = note?.split(' ') ?? [];
  return { cursor, mark: of === `${cursor}` ? mark : undefined };
}

/**
 * `{"stream":"<id>","positions":{"<partition>":{"cursor":"…","mark":"…"}}}`, the mark left out where there is none. Those of
 * another stream, or in another form, count as none.
 */
export function filePositions(path: string, streamId: string): Positions {
  return {
    async read() {
      let text: string;
      try {
        text = await fs.readFile(path, 'utf8');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
        throw error;
      }
      return parse(text, streamId);
    },
    async write(places) {
      const positions = Object.fromEntries(
        [...places].map(([partition, { cursor, mark }]) => [partition, { cursor: String(cursor), mark }]),
      );
      const temporary = `${path}.partial`;
      await makeFolder(dirname(path));
      const file = await fs.open(temporary, 'w', 0o600);
      try {
        await file.writeFile(`${JSON.stringify({ stream: streamId, positions })}\n`);
        await file.sync();
      } finally {
        await file.close();
      }
      // Dies here, or within rename: the file is the old one or the new one, whole.
      await fs.rename(temporary, path);
      await syncFolder(dirname(path));
    },
  };
}

function parse(text: string, streamId: string): Map<string, Place> {
  try {
    const { stream, positions } = JSON.parse(text) as {
      stream: string;
      positions: Record<string, { cursor: string; mark?: string }>;
    };
    if (stream !== streamId) return new Map();
    return new Map(
      Object.entries(positions).map(([partition, { cursor, mark }]) => [partition, { cursor: BigInt(cursor), mark }]),
    );
  } catch {
    return new Map();
  }
}
