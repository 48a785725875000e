/**
 * All copies of one id: in memory while they are few, on disk where somebody sends the same event without end. One
 * buffer serves one id after the other.
 */

import { randomBytes } from 'node:crypto';
import { appendFileSync, closeSync, openSync, readSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { decodeCopy, type StagedCopy } from './staged-copy.ts';

export interface GroupBuffer {
  /** Copies the payload. */
  push(payload: Buffer): void;
  /** All copies in the order in which they were pushed, as often as wanted. Valid until `clear`. */
  replay(): Iterable<StagedCopy>;
  /** All copies where all are in memory, else none. */
  held(): readonly StagedCopy[];
  /** Makes room for the next id. */
  clear(id: string): void;
}

const maxHeldBytes = 8 * 1024 * 1024;

export function openGroupBuffer(directory: string): GroupBuffer {
  let id = '';
  let memory = Buffer.allocUnsafeSlow(64 * 1024);
  let used = 0;
  let held: StagedCopy[] = [];
  let path: string | undefined;

  /** Each entry on disk: u32 bytes (little endian), bytes. */
  function spill(payload: Buffer): void {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(payload.length);
    appendFileSync(path!, Buffer.concat([length, payload]), { mode: 0o600 });
  }

  function* fromDisk(): Generator<StagedCopy, void, void> {
    yield* held;
    for (const payload of readPayloads(path!)) yield decodeCopy(id, payload);
  }

  return {
    push(payload) {
      if (used + payload.length > memory.length && path === undefined) {
        if (used + payload.length <= maxHeldBytes) {
          // Copies held already keep the memory that they lie in.
          memory = Buffer.allocUnsafeSlow(Math.min(maxHeldBytes, 2 * (memory.length + payload.length)));
          used = 0;
        } else path = join(directory, `group-${randomBytes(8).toString('hex')}`);
      }
      if (path !== undefined) {
        spill(payload);
        return;
      }
      const copy = memory.subarray(used, used + payload.copy(memory, used));
      used += copy.length;
      held.push(decodeCopy(id, copy));
    },
    held: () => (path === undefined ? held : []),
    replay: () => (path === undefined ? held : fromDisk()),
    clear(next) {
      if (path !== undefined) unlinkSync(path);
      path = undefined;
      id = next;
      held = [];
      used = 0;
    },
  };
}

function* readPayloads(path: string): Generator<Buffer, void, void> {
  const file = openSync(path, 'r');
  try {
    const length = Buffer.alloc(4);
    while (readSync(file, length, 0, 4, null) === 4) {
      const payload = Buffer.alloc(length.readUInt32LE());
      for (let read = 0; read < payload.length; ) read += readSync(file, payload, read, payload.length - read, null);
      yield payload;
    }
  } finally {
    closeSync(file);
  }
}
