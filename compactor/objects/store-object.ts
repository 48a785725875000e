/** Puts a staged, sealed object into the store under a name that tells its content. */
import { createReadStream, rmSync } from 'node:fs';
import { DaybookError } from '../../shared/errors.ts';
import type { ObjectBody, ObjectStore } from '../../shared/store/store.ts';
import type { SealedObject } from './seal-object.ts';

/**
 * Creates `<stem>-<hash16><extension>`, or, where that exists, the same with `-2`, `-3` … after the hash: what lies
 * there was written by a run that died, and its hashes cannot be known (FORMAT.md, Objects). A name that a manifest has
 * pruned counts as taken, though nothing lies there: for good it says what is gone, and prune deletes what comes to lie
 * there. Resolves to the key once the object is there with the right size.
 */
export async function storeObject(
  store: ObjectStore,
  stem: string,
  extension: string,
  sealed: SealedObject,
  isPruned: (key: string) => boolean,
): Promise<string> {
  const hash = sealed.sha256.plaintext.slice(0, 16);
  const body: ObjectBody = { bytes: sealed.bytes.ciphertext, open: () => createReadStream(sealed.path) };
  for (let number = 1; ; number += 1) {
    const key = `${stem}${hash}${number === 1 ? '' : `-${number}`}${extension}`;
    if (isPruned(key) || (await store.create(key, body)) === 'exists') continue;
    // Dies here: an orphan that no manifest names; the repeat writes its own under the next name.
    const found = await store.head(key);
    if (found?.bytes !== sealed.bytes.ciphertext) {
      const detail = `${key} has ${found?.bytes ?? 'no'} bytes, ${sealed.bytes.ciphertext} were written`;
      throw new DaybookError('store_unavailable', { detail });
    }
    rmSync(sealed.path);
    return key;
  }
}
