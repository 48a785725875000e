/**
 * How far the readers have what the stream holds. Where the service keeps a consumer's positions and nothing else hangs on
 * them (Kafka), they are committed there. Else they are in a file: Kinesis keeps none, and the embedded stream drops what
 * every consumer has committed, which is the compactor's to decide.
 */
import fs from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeFolder, syncFolder } from '../../shared/files/folder.ts';
import type { Cursor, EventStreamReader } from '../../shared/stream/stream.ts';

export interface Positions {
  /** Empty where none are known. */
  read(): Promise<Map<string, Cursor>>;
  /** All of them. Resolves when they would survive a power cut. */
  write(positions: ReadonlyMap<string, Cursor>): Promise<void>;
}

export function committedPositions(reader: EventStreamReader): Positions {
  return {
    read: async () => new Map(await reader.committed()),
    write: (positions) => reader.commit(positions),
  };
}

/** `{"stream":"<id>","positions":{"<partition>":"<cursor>"}}`. Those of another stream, or in another form, count as none. */
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
    async write(positions) {
      const texts = Object.fromEntries([...positions].map(([partition, cursor]) => [partition, String(cursor)]));
      const temporary = `${path}.partial`;
      await makeFolder(dirname(path));
      const file = await fs.open(temporary, 'w', 0o600);
      try {
        await file.writeFile(`${JSON.stringify({ stream: streamId, positions: texts })}\n`);
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

function parse(text: string, streamId: string): Map<string, Cursor> {
  try {
    const { stream, positions } = JSON.parse(text) as { stream: string; positions: Record<string, string> };
    if (stream !== streamId) return new Map();
    return new Map(Object.entries(positions).map(([partition, cursor]) => [partition, BigInt(cursor)]));
  } catch {
    return new Map();
  }
}
