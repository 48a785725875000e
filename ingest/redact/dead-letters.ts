/**
 * Records that readers do not get: each is told by its place in the stream and the reason, never by what it holds. Who may
 * read the stream finds it there, and the archive has it.
 */
import fs from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeFolder } from '../../shared/files/folder.ts';
import type { EventStreamWriter } from '../../shared/stream/stream.ts';

export interface DeadLetter {
  /** The stream's id. */
  readonly stream: string;
  readonly partition: string;
  /** The record's offset or sequence number. */
  readonly position: string;
  readonly reason: string;
  /** RFC 3339 UTC with milliseconds. */
  readonly at: string;
}

export interface DeadLetters {
  /** Resolves when all of them would survive a power cut. A repeat writes them twice. */
  write(letters: readonly DeadLetter[]): Promise<void>;
  close(): Promise<void>;
}

/** JSON, under the key `<partition>-<position>`. */
export function deadLetterStream(writer: EventStreamWriter): DeadLetters {
  return {
    write: (letters) =>
      writer.append(
        letters.map((letter) => ({
          key: `${letter.partition}-${letter.position}`,
          value: Buffer.from(JSON.stringify(letter)),
        })),
      ),
    close: () => writer.close(),
  };
}

/** JSON Lines, each line ended by LF. A line that a power cut left half is ended before the next. */
export function deadLetterFile(path: string): DeadLetters {
  return {
    async write(letters) {
      await makeFolder(dirname(path));
      const file = await fs.open(path, 'a+', 0o600);
      try {
        const { size } = await file.stat();
        const last = size === 0 ? '\n' : (await file.read(Buffer.alloc(1), 0, 1, size - 1)).buffer.toString();
        const lines = letters.map((letter) => `${JSON.stringify(letter)}\n`).join('');
        await file.appendFile(last === '\n' ? lines : `\n${lines}`);
        await file.sync();
      } finally {
        await file.close();
      }
    },
    async close() {},
  };
}
