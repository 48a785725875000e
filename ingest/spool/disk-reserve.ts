/**
 * Room on the disk for taking records out. SQLite writes its log before it removes anything, and brings a log into the file
 * before it uses it again: on a disk that is full nothing could be removed any more, and the same records would be drained
 * for ever. So a file of this size is kept, given up when a removal finds the disk full, and made anew before anything more
 * is appended.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/**
 * By what the file grows at most when the log is brought into it (4 MiB, and the append that made it so long), and a
 * little for the removals themselves.
 */
const reserveBytes = 16 * 1024 * 1024;

export interface DiskReserve {
  /** Throws as the disk does where there is no room for it. */
  ensure(): void;
  /** Answers false where there is none to give up. */
  giveUp(): boolean;
}

export function openDiskReserve(folder: string): DiskReserve {
  const path = join(folder, 'reserve');
  let isHeld = statSync(path, { throwIfNoEntry: false })?.size === reserveBytes;
  return {
    ensure() {
      if (isHeld) return;
      try {
        write(path);
      } catch (error) {
        rmSync(path, { force: true });
        throw error;
      }
      isHeld = true;
    },
    giveUp() {
      if (!isHeld) return false;
      isHeld = false;
      rmSync(path, { force: true });
      return true;
    },
  };
}

function write(path: string): void {
  // Random, since file systems that compress keep nothing free for zeros.
  const bytes = randomBytes(1024 * 1024);
  const file = openSync(path, 'w', 0o600);
  try {
    for (let left = reserveBytes; left > 0; ) left -= writeSync(file, bytes, 0, Math.min(left, bytes.length));
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
