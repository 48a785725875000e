/** Programs whose data directory is a disk of their own, so small that it can be filled up. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { requireCommand } from '../require-service.ts';

/** Runs a program of this folder with the directory, over which a disk of 48 MB is mounted, as its argument. */
export async function runOnSmallDisk(t: TestContext, program: string, directory: string): Promise<void> {
  if (!requireCommand(t, 'unshare')) return;
  const script = 'mount -t tmpfs -o size=48m none "$1" && exec "$2" "$3" "$1"';
  const path = join(import.meta.dirname, program);
  const child = spawn('unshare', ['-rm', 'sh', '-c', script, 'sh', directory, process.execPath, path], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk;
    });
  }
  const [code] = await once(child, 'close');
  const mayNot = /unshare failed|unshare: .*(?:not permitted|denied)|mount: .*denied/i.test(output);
  if (mayNot && process.env.REQUIRE_SERVICES !== '1') return t.skip('may not mount a small disk here');
  assert.equal(code, 0, output);
}

/** Writes a file until the disk takes no byte more, or has so many left. */
export function fillDisk(path: string, leftBytes = 0): void {
  const file = fs.openSync(path, 'a');
  try {
    const { bavail, bsize } = fs.statfsSync(path);
    for (let left = bavail * bsize - leftBytes; left > 65_536; ) left -= fs.writeSync(file, Buffer.alloc(65_536));
    for (let bytes = leftBytes === 0 ? 65_536 : 0; bytes > 0; ) {
      try {
        bytes = fs.writeSync(file, Buffer.alloc(bytes)) < bytes ? bytes >> 1 : bytes;
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
        bytes >>= 1;
      }
    }
  } finally {
    fs.closeSync(file);
  }
}
