/** Reads one part for a restore: nothing of it is handed out before its bytes are known to be the manifest's. */
import { createHash } from 'node:crypto';
import type { Identities } from '../../shared/crypto/identities.ts';
import { openPlaintext, wholeLinesOf } from '../../shared/crypto/open-sealed.ts';
import { DaybookError } from '../../shared/errors.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import type { Part } from '../ledger/manifest.ts';

type Chunks = AsyncIterable<Uint8Array>;

/**
 * The lines of a part, in pieces of whole lines. The object is read twice, since only its last byte tells whether it is
 * the one that the manifest names: once for its SHA-256, then to open it. It is a tenth of what it holds.
 * @throws DaybookError before the first piece: `object_missing`, `object_damaged`, `object_key_invalid`,
 * `sealed_unreadable` (no identity opens it). After it: `object_damaged`, and what was handed out is not to be trusted
 */
export async function* readPart(
  store: ObjectStore,
  { key, sha256 }: Pick<Part, 'key' | 'sha256'>,
  identities: Identities,
): AsyncGenerator<Buffer, void, void> {
  const found = createHash('sha256');
  for await (const chunk of store.read(key)) found.update(chunk);
  if (found.digest('hex') !== sha256.ciphertext) throw damaged(`${key} is not the object that its manifest names`);

  const ciphertext = createHash('sha256');
  const plaintext = createHash('sha256');
  try {
    const sealed = hashed(store.read(key), ciphertext);
    yield* wholeLinesOf(hashed(openPlaintext(sealed, identities), plaintext));
  } catch (error) {
    if (error instanceof DaybookError && error.code === 'line_too_long') throw damaged(`${key}: ${error.message}`);
    throw error;
  }
  if (ciphertext.digest('hex') !== sha256.ciphertext) throw damaged(`${key} changed while it was read`);
  if (plaintext.digest('hex') !== sha256.plaintext)
    throw damaged(`${key} has another plaintext than its manifest names`);
}

async function* hashed(chunks: Chunks, hash: ReturnType<typeof createHash>): AsyncGenerator<Uint8Array, void, void> {
  for await (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
}

function damaged(detail: string): DaybookError {
  return new DaybookError('object_damaged', { detail });
}
