/** Whether an object that is not there was pruned. */
import type { VerifyingKeys } from '../../shared/crypto/signing.ts';
import { DaybookError } from '../../shared/errors.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import { addManifest, checkManifest, type Ledger, openManifest, startLedger } from './ledger.ts';
import { manifestKey, readManifest } from './manifest.ts';

/**
 * Asks the ledger, and the manifests that were appended since it was loaded: a prune may be at work meanwhile. What those
 * say counts as far as their chain and signatures hold. Rejects where the store fails.
 */
export function openPrunedLookup(
  store: ObjectStore,
  prefix: string,
  keys: VerifyingKeys,
  ledger: Ledger,
): (key: string) => Promise<boolean> {
  const later = startLedger();
  later.head = ledger.head;
  later.signer = ledger.signer;
  for (const keyId of ledger.retiredSigners) later.retiredSigners.add(keyId);
  let catchingUp: Promise<void> = Promise.resolve();

  async function catchUp(): Promise<void> {
    for (;;) {
      const number = (later.head?.number ?? 0) + 1;
      try {
        const bytes = await readManifest(store, manifestKey(prefix, number));
        const opened = await openManifest(number, bytes, keys);
        addManifest(later, checkManifest(number, opened, later), opened.sha256);
      } catch (error) {
        const code = error instanceof DaybookError ? error.code : undefined;
        if (code === 'object_missing' || code === 'ledger_broken' || code?.startsWith('signer_')) return;
        throw error;
      }
    }
  }

  return async (key) => {
    if (ledger.pruned.has(key) || later.pruned.has(key)) return true;
    // One after the other: all of them append to the same ledger.
    const before = catchingUp;
    catchingUp = before.catch(() => {}).then(catchUp);
    await catchingUp;
    return later.pruned.has(key);
  };
}
