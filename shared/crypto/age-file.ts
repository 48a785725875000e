/**
 * age files (https://age-encryption.org/v1): the header is the library's work, the payload is done here by node:crypto, which
 * takes a tenth of the time that ChaCha20 in JavaScript does.
 *
 * The payload, after the header: a nonce of 16 bytes, then the plaintext in chunks of 64 KiB, each with its tag of 16 bytes.
 * A chunk is ChaCha20-Poly1305 under HKDF-SHA-256(file key, nonce, "payload"); its own nonce is its number from 0 on in 11
 * bytes, big-endian, and one byte that is 1 for the last chunk alone. Only a file without plaintext ends with an empty chunk.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { ageLibrary } from './age-library.ts';
import type { Identities } from './identities.ts';
import type { Recipients } from './recipients.ts';

type Chunks = AsyncIterable<Uint8Array>;

const algorithm = 'chacha20-poly1305';
const nonceBytes = 16;
const tagBytes = 16;
const chunkBytes = 64 * 1024;
/** Far more than any number of recipients takes, so that a damaged header does not read a whole object into memory. */
const maxHeaderBytes = 1024 * 1024;
const firstLine = Buffer.from('age-encryption.org/v1\n');
const lastLineStart = Buffer.from('\n--- ');

/** The age file of a plaintext, in pieces. @throws RangeError where there is no recipient: a file that nobody opens */
export async function* encryptAge(plaintext: Chunks, recipients: Recipients): AsyncGenerator<Uint8Array, void, void> {
  if (recipients.length === 0) throw new RangeError('an object needs a recipient');
  const { header, fileKey } = await newHeader(recipients);
  const nonce = randomBytes(nonceBytes);
  yield Buffer.concat([header, nonce]);
  const key = payloadKey(fileKey, nonce);
  let number = 0;
  for await (const { chunk, isLast } of chunksOf(plaintext, chunkBytes)) {
    const cipher = createCipheriv(algorithm, key, chunkNonce(number, isLast), { authTagLength: tagBytes });
    yield Buffer.concat([cipher.update(chunk), cipher.final(), cipher.getAuthTag()]);
    number += 1;
  }
}

/** The plaintext of an age file, in pieces: a piece is proven, though those behind it are not yet. Rejects where it does not open. */
export async function* decryptAge(file: Chunks, identities: Identities): AsyncGenerator<Uint8Array, void, void> {
  const decrypter = new (ageLibrary().Decrypter)();
  for (const identity of identities) decrypter.addIdentity(identity);
  const pieces = file[Symbol.asyncIterator]();
  try {
    const { header, rest } = await readHeader(pieces);
    const fileKey = await decrypter.decryptHeader(header);
    let payload = rest;
    while (payload.length < nonceBytes) {
      const piece = await pieces.next();
      if (piece.done === true) throw new Error('the nonce is cut short');
      payload = Buffer.concat([payload, piece.value]);
    }
    const key = payloadKey(fileKey, payload.subarray(0, nonceBytes));
    const sealed = startingWith(payload.subarray(nonceBytes), pieces);
    let number = 0;
    for await (const { chunk, isLast } of chunksOf(sealed, chunkBytes + tagBytes)) {
      if (chunk.length < tagBytes) throw new Error('the last chunk is cut short');
      if (chunk.length === tagBytes && number > 0) throw new Error('the last chunk is empty');
      const decipher = createDecipheriv(algorithm, key, chunkNonce(number, isLast), { authTagLength: tagBytes });
      decipher.setAuthTag(chunk.subarray(-tagBytes));
      const plain = decipher.update(chunk.subarray(0, -tagBytes));
      decipher.final();
      yield plain;
      number += 1;
    }
  } finally {
    await pieces.return?.();
  }
}

/** The library hands the file key to each recipient: one of them notes it, and adds nothing to the header. */
async function newHeader(recipients: Recipients): Promise<{ header: Uint8Array; fileKey: Uint8Array }> {
  const encrypter = new (ageLibrary().Encrypter)();
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  let fileKey: Uint8Array | undefined;
  encrypter.addRecipient({
    wrapFileKey(key) {
      fileKey = key;
      return [];
    },
  });
  const empty = await encrypter.encrypt(new Uint8Array(0));
  // Its nonce and its one empty chunk are left out: the payload here is under a nonce of its own.
  return { header: empty.subarray(0, empty.length - nonceBytes - tagBytes), fileKey: fileKey! };
}

async function readHeader(pieces: AsyncIterator<Uint8Array>): Promise<{ header: Buffer; rest: Buffer }> {
  let read = Buffer.alloc(0);
  for (;;) {
    const beginning = read.subarray(0, firstLine.length);
    if (!firstLine.subarray(0, beginning.length).equals(beginning)) throw new Error('this is not an age file');
    const last = read.indexOf(lastLineStart);
    const end = last < 0 ? -1 : read.indexOf('\n', last + 1);
    if (end >= 0) return { header: read.subarray(0, end + 1), rest: read.subarray(end + 1) };
    if (read.length > maxHeaderBytes) throw new Error('the header is too long');
    const piece = await pieces.next();
    if (piece.done === true) throw new Error('the header is cut short');
    read = Buffer.concat([read, piece.value]);
  }
}

function payloadKey(fileKey: Uint8Array, nonce: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', fileKey, nonce, 'payload', 32));
}

function chunkNonce(number: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(number, 5, 6);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

/** The bytes in chunks of this size, the last one shorter where it must be; at least one. A chunk is valid until the next. */
async function* chunksOf(pieces: Chunks, size: number): AsyncGenerator<{ chunk: Buffer; isLast: boolean }, void, void> {
  const chunk = Buffer.allocUnsafeSlow(size);
  let used = 0;
  for await (const piece of pieces) {
    for (let from = 0; from < piece.length; ) {
      // A full chunk waits until it is known not to be the last.
      if (used === size) {
        yield { chunk, isLast: false };
        used = 0;
      }
      const taken = piece.subarray(from, from + size - used);
      chunk.set(taken, used);
      used += taken.length;
      from += taken.length;
    }
  }
  yield { chunk: chunk.subarray(0, used), isLast: true };
}

async function* startingWith(first: Uint8Array, rest: AsyncIterator<Uint8Array>): Chunks {
  yield first;
  for (let piece = await rest.next(); piece.done !== true; piece = await rest.next()) yield piece.value;
}
