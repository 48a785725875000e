/** Finds frames in a file by their marker alone, whatever else the file holds, in bounded memory. */
import type { FileHandle } from 'node:fs/promises';
import fs from 'node:fs/promises';
import { type FrameHeader, headerBytes, markerBytes, maxFrameBytes, readData, readHeader } from './spool-frame.ts';

const chunkBytes = 4 * 1024 * 1024;

export interface FoundFrame {
  /** Undefined where it is damaged. */
  readonly header: FrameHeader | undefined;
  readonly isWhole: boolean;
  /** In the file. */
  readonly offset: number;
  /** Of a frame whose header is damaged: up to the next marker. Valid until the next one is asked for. */
  readonly bytes: Buffer;
}

/** Of a file that is not there: none. */
export async function* scanFrames(path: string, marker: Buffer): AsyncGenerator<FoundFrame> {
  let file: FileHandle;
  try {
    file = await fs.open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  try {
    const chunk = Buffer.allocUnsafe(chunkBytes);
    // What was read and not searched yet, and where in the file it begins.
    let held: Buffer = Buffer.alloc(0);
    let offset = 0;
    for (;;) {
      const { bytesRead } = await file.read(chunk, 0, chunkBytes, offset + held.length);
      const isEnd = bytesRead === 0;
      held = Buffer.concat([held, chunk.subarray(0, bytesRead)]);
      let from = 0;
      for (;;) {
        const at = held.indexOf(marker, from);
        if (at < 0) {
          // A marker may begin in the last bytes.
          from = Math.max(from, held.length - markerBytes + 1);
          break;
        }
        from = at;
        if (!isEnd && held.length - at < maxFrameBytes) break;
        const found = frameAt(held, at, marker);
        yield { ...found, offset: offset + at };
        // A whole frame is passed over: what looks like a frame within it is the sender's. A damaged one is searched.
        from = at + (found.isWhole ? found.bytes.length : markerBytes);
      }
      offset += from;
      held = held.subarray(from);
      if (isEnd) return;
    }
  } finally {
    await file.close();
  }
}

function frameAt(held: Buffer, at: number, marker: Buffer): Omit<FoundFrame, 'offset'> {
  const bytes = held.subarray(at, at + maxFrameBytes);
  const header = readHeader(bytes, marker);
  if (header !== undefined) {
    const isWhole = readData(bytes, header) !== undefined;
    return { header, isWhole, bytes: bytes.subarray(0, headerBytes + header.dataBytes) };
  }
  // A frame of kind raw is to hold it, its own header included.
  const nameless = bytes.subarray(0, maxFrameBytes - headerBytes);
  const next = nameless.indexOf(marker, markerBytes);
  return { header, isWhole: false, bytes: next < 0 ? nameless : nameless.subarray(0, next) };
}
