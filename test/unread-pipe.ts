/** A pipe with a reader that is alive and reads only when the test says so. */
import { execFileSync } from 'node:child_process';
import { constants, openSync, readSync, writeSync } from 'node:fs';

export interface UnreadPipe {
  /** To be given to a child. */
  readonly fd: number;
  /** Reads what is there; all that was read so far. */
  read(): string;
  /** Fills it: not a byte more goes in until it is read. */
  fill(): void;
}

export function unreadPipe(path: string): UnreadPipe {
  execFileSync('mkfifo', [path]);
  // Opened for both, so that neither end waits for the other.
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  const own = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const buffer = Buffer.alloc(65_536);
  let text = '';
  return {
    fd,
    read() {
      try {
        for (let bytes = readSync(own, buffer); bytes > 0; bytes = readSync(own, buffer)) {
          text += buffer.toString('utf8', 0, bytes);
        }
      } catch {
        // Nothing more for now.
      }
      return text;
    },
    fill() {
      // Then byte by byte: a pipe takes less than a page whole or not at all.
      for (const bytes of [4096, 1]) {
        try {
          for (;;) writeSync(fd, Buffer.alloc(bytes, 0x2e));
        } catch {
          // Full, for that many.
        }
      }
    },
  };
}
