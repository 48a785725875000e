/** Tries whether a disk has room, by taking it. */
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, statfsSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Writes a file of so many bytes, durable when it returns. Throws as the disk does where there is no room (`ENOSPC`), and
 * before it has filled up what others may need where the file system says so beforehand.
 */
export function fillFile(path: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(dirname(path));
  if (bavail * bsize < bytes) {
    throw Object.assign(new Error(`ENOSPC: less than ${bytes} bytes are free`), { code: 'ENOSPC', syscall: 'write' });
  }
  // Random, since file systems that compress keep nothing free for zeros.
  const piece = randomBytes(Math.min(bytes, 1024 * 1024));
  const file = openSync(path, 'w', 0o600);
  try {
    for (let left = bytes; left > 0; ) left -= writeSync(file, piece, 0, Math.min(left, piece.length));
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
