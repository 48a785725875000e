/** Reads sealed objects back, streamed: age, then gzip, then lines. The inverse of compactor/objects/seal-object.ts. */
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { DaybookError, messageOf } from '../errors.ts';
import { decryptAge } from './age-file.ts';
import type { Identities } from './identities.ts';

type Chunks = AsyncIterable<Uint8Array>;

/** A body of 8 MiB, escaped in the worst way, with its evidence beside it. */
const maxLineBytes = 64 * 1024 * 1024;

/**
 * The lines of a `….jsonl.gz.age` object as bytes, decrypted and unpacked; hand them to `linesOf`.
 * @throws DaybookError `sealed_unreadable`; errors of the source that are DaybookErrors pass as they are.
 */
export async function* openPlaintext(ciphertext: Chunks, identities: Identities): Chunks {
  yield* unpack(decrypt(ciphertext, identities));
}

/**
 * The payload of an age file. Where a later place is damaged, what comes before it may have been handed out by then.
 * @throws DaybookError `sealed_unreadable`
 */
export async function* decrypt(ciphertext: Chunks, identities: Identities): Chunks {
  try {
    yield* decryptAge(ciphertext, identities);
  } catch (error) {
    throw unreadable(error);
  }
}

/**
 * The content of a gzip file.
 * @throws DaybookError `sealed_unreadable`
 */
export async function* unpack(packed: Chunks): Chunks {
  const gunzip = createGunzip({ chunkSize: 64 * 1024 });
  // An error reaches gunzip, and so the loop below; a consumer that stops early stops the source too.
  pipeline(packed, gunzip).catch(() => {});
  try {
    yield* gunzip;
  } catch (error) {
    throw unreadable(error);
  }
}

/**
 * The lines of LF-ended UTF-8 text, without their LF.
 * @throws DaybookError `line_too_long` past 64 MiB, `sealed_unreadable` where the last line has no LF
 */
export async function* linesOf(chunks: Chunks, maxBytes = maxLineBytes): AsyncGenerator<string, void, void> {
  let pieces: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    const buffer = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let start = 0;
    for (let end = buffer.indexOf(0x0a); end >= 0; end = buffer.indexOf(0x0a, start)) {
      if (bytes + end - start > maxBytes) throw tooLong(maxBytes);
      yield bytes === 0
        ? buffer.toString('utf8', start, end)
        : Buffer.concat([...pieces, buffer.subarray(start, end)]).toString();
      start = end + 1;
      pieces = [];
      bytes = 0;
    }
    if (start === buffer.length) continue;
    pieces.push(buffer.subarray(start));
    bytes += buffer.length - start;
    if (bytes > maxBytes) throw tooLong(maxBytes);
  }
  if (bytes > 0) throw new DaybookError('sealed_unreadable', { detail: 'The last line is not complete.' });
}

/**
 * The same text in pieces of whole lines, their LFs included: for work on many lines at once.
 * @throws DaybookError as linesOf; a line that lies in one chunk may be as long as that
 */
export async function* wholeLinesOf(chunks: Chunks, maxBytes = maxLineBytes): AsyncGenerator<Buffer, void, void> {
  let pieces: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    const buffer = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const end = buffer.lastIndexOf(0x0a) + 1;
    if (end > 0) {
      if (bytes + buffer.indexOf(0x0a) > maxBytes) throw tooLong(maxBytes);
      yield bytes === 0 ? buffer.subarray(0, end) : Buffer.concat([...pieces, buffer.subarray(0, end)]);
      pieces = [];
      bytes = 0;
    }
    if (end === buffer.length) continue;
    pieces.push(buffer.subarray(end));
    bytes += buffer.length - end;
    if (bytes > maxBytes) throw tooLong(maxBytes);
  }
  if (bytes > 0) throw new DaybookError('sealed_unreadable', { detail: 'The last line is not complete.' });
}

function unreadable(error: unknown): DaybookError {
  if (error instanceof DaybookError) return error;
  return new DaybookError('sealed_unreadable', {
    detail: `The object does not open: ${messageOf(error)}`,
    cause: error,
  });
}

function tooLong(maxBytes: number): DaybookError {
  return new DaybookError('line_too_long', { detail: `A line is longer than ${maxBytes} bytes.` });
}
