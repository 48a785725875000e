/** All copies of one id: in memory while they are few, on disk where somebody sends the same event without end. */

import { randomBytes } from 'node:crypto';
import { appendFileSync, closeSync, openSync, readSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';

export interface GroupBuffer {
  /** Copies the payload. */
  push(payload: Buffer): void;
  /** All payloads in the order in which they were pushed, as often as wanted. */
  replay(): Generator<Buffer, void, void>;
  close(): void;
}

const maxHeldBytes = 8 * 1024 * 1024;

export function openGroupBuffer(directory: string): GroupBuffer {
  let held: Buffer[] = [];
  let heldBytes = 0;
  let path: string | undefined;

  function spill(): void {
    path ??= join(directory, `group-${randomBytes(8).toString('hex')}`);
    // Each entry: u32 bytes (little endian), bytes.
    const parts = held.flatMap((payload) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(payload.length);
      return [length, payload];
    });
    appendFileSync(path, Buffer.concat(parts), { mode: 0o600 });
    held = [];
    heldBytes = 0;
  }

  return {
    push(payload) {
      held.push(Buffer.from(payload));
      heldBytes += payload.length + 100;
      if (heldBytes > maxHeldBytes) spill();
    },
    *replay() {
      if (path !== undefined) yield* readPayloads(path);
      yield* held;
    },
    close() {
      if (path !== undefined) unlinkSync(path);
      path = undefined;
      held = [];
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
