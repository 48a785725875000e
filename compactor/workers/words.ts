/**
 * What workers say to each other: signed objects in the store, created once (FORMAT.md, Workers).
 *
 *   <prefix>workers/<number of the manifest to be, eight digits>/<attempt, four>/<worker>-<step>.jsonl
 *   line 1  {"format":"daybook-worker/1","key":<its own key>,"word":…}
 *   line 2  {"key":<key id>,"signature":<base64 of Ed25519 over the SHA-256, 32 bytes, of line 1 without its LF>}
 *
 * The key is signed along, so that no word stands for another worker, step, attempt or night.
 */
import { createHash } from 'node:crypto';
import type { Signer } from '../../shared/crypto/signing.ts';
import { DaybookError } from '../../shared/errors.ts';
import { bodyOf, type ObjectStore, readWhole } from '../../shared/store/store.ts';

const format = 'daybook-worker/1';
/** Of a word. What fails of a day of many millions of events may be told record by record. */
const maxWordBytes = 256 * 1024 * 1024;

export type WordPlace = { readonly store: ObjectStore; readonly signer: Signer };

/** Creates the word. `taken`: another life of this worker has said it. */
export async function writeWord({ store, signer }: WordPlace, key: string, word: unknown): Promise<'said' | 'taken'> {
  const line = JSON.stringify({ format, key, word });
  const signature = JSON.stringify({ key: signer.keyId, signature: await signer.sign(hashOf(Buffer.from(line))) });
  const bytes = Buffer.from(`${line}\n${signature}\n`);
  if ((await store.create(key, bodyOf(bytes))) === 'created') return 'said';
  // Exactly our bytes: created by a try that reported failure after the effect.
  return (await readWhole(store, key, maxWordBytes)).equals(bytes) ? 'said' : 'taken';
}

/** Which every signer takes, however long the word is. */
function hashOf(line: Uint8Array): Buffer {
  return createHash('sha256').update(line).digest();
}

/** @throws DaybookError `worker_unproven` where it is not signed by the key that signs the manifests, or is not of this place */
export async function readWord<T>({ store, signer }: WordPlace, key: string): Promise<T> {
  const bytes = await readWhole(store, key, maxWordBytes);
  const end = bytes.indexOf(0x0a);
  try {
    const line = bytes.subarray(0, end);
    const { signature } = JSON.parse(bytes.subarray(end + 1).toString()) as { signature: string };
    if (signer.verify(hashOf(line), signature)) {
      const said = JSON.parse(line.toString()) as { format: string; key: string; word: T };
      if (said.format === format && said.key === key) return said.word;
    }
  } catch {
    // Nothing of it is believed.
  }
  throw new DaybookError('worker_unproven', {
    detail: `${key} is not signed by the key ${signer.keyId} for this place`,
  });
}
