/**
 * Room on the disk for taking records out. SQLite writes its log before it removes anything, and brings a log into the file
 * before it uses it again: on a disk that is full nothing could be removed any more, and the same records would be drained
 * for ever. So a file of this size is kept, given up when a removal finds the disk full, and made again before anything more
 * is appended.
 */
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fillFile } from '../../shared/files/fill-file.ts';

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
        fillFile(path, reserveBytes);
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
