/**
 * Whether the disk of the embedded stream has room. An empty transaction succeeds on a disk that is full, so whoever asks
 * whether the stream takes events would be told that it does. Once an append found no room, the same number of bytes must
 * be there, which is tried with a file of that size.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

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
const chunk = 1024 * 1024;

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
        write(path, lackedBytes + overheadBytes);
      } finally {
        rmSync(path, { force: true });
      }
      lackedBytes = 0;
    },
  };
}

function write(path: string, bytes: number): void {
  // Random, since file systems that compress keep nothing free for zeros.
  const piece = randomBytes(Math.min(bytes, chunk));
  const file = openSync(path, 'w', 0o600);
  try {
    for (let left = bytes; left > 0; ) left -= writeSync(file, piece, 0, Math.min(left, piece.length));
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
