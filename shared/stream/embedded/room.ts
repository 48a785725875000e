/**
 * Whether the disk of the embedded stream has room. An empty transaction succeeds on a disk that is full, so whoever asks
 * whether the stream takes events would be told that it does. Once an append found no room, the same number of bytes must
 * be there, which is tried with a file of that size.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fillFile } from '../../files/fill-file.ts';

export interface RoomCheck {
  /** An append of so many bytes of records found the disk full. */
  lacked(bytes: number): void;
  /** An append succeeded. */
  found(): void;
  /** Throws as the disk does where there is still no room for what was lacked. */
  check(): void;
}

/** What SQLite writes beside the records: pages of 16 KiB that are begun, and the tables' own. */
const overheadBytes = 256 * 1024;

export function openRoomCheck(directory: string): RoomCheck {
  const path = join(directory, '.stream-room');
  // Of a process that died at it.
  rmSync(path, { force: true });
  let lackedBytes = 0;
  return {
    lacked(bytes) {
      lackedBytes = lackedBytes === 0 ? bytes : Math.min(lackedBytes, bytes);
    },
    found() {
      lackedBytes = 0;
    },
    check() {
      if (lackedBytes === 0) return;
      try {
        fillFile(path, lackedBytes + overheadBytes);
      } finally {
        rmSync(path, { force: true });
      }
      lackedBytes = 0;
    },
  };
}
