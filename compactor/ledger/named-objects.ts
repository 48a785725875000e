/** Every object that the manifests name, by its key. */
import type { Day } from '../../shared/clock.ts';
import type { VerifyingKeys } from '../../shared/crypto/signing.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import { addManifest, checkManifest, openManifests, startLedger } from './ledger.ts';
import type { DayEntry, Manifest } from './manifest.ts';

export interface NamedObject {
  readonly key: string;
  /** Of its own bytes, in hex. */
  readonly sha256: string;
  /** The manifest that names it. */
  readonly manifest: number;
  /** Undefined in the quarantine. */
  readonly source?: string;
  readonly day?: Day;
  /** The manifest that says that it is gone, or about to be. */
  readonly prunedBy?: number;
}

/** In the order of the manifests. Throws as loadLedger where the chain does not hold: nothing is named by it then. */
export async function readNamedObjects(
  store: ObjectStore,
  prefix: string,
  keys: VerifyingKeys,
): Promise<Map<string, NamedObject>> {
  const ledger = startLedger();
  const objects = new Map<string, NamedObject>();
  for await (const { number, opened } of openManifests(store, prefix, keys)) {
    const signed = checkManifest(number, opened, ledger);
    addManifest(ledger, signed, opened.sha256);
    for (const object of objectsOf(signed.manifest)) objects.set(object.key, object);
  }
  for (const [key, { manifest }] of ledger.pruned) {
    const object = objects.get(key);
    if (object !== undefined) objects.set(key, { ...object, prunedBy: manifest });
  }
  return objects;
}

/** What one manifest names itself. */
export function* objectsOf({ number: manifest, sources, quarantine }: Manifest): Generator<NamedObject, void, void> {
  for (const [source, days] of Object.entries(sources)) {
    for (const [day, entry] of Object.entries(days)) {
      for (const object of objectsOfDay(entry)) yield { ...object, manifest, source, day };
    }
  }
  for (const { key, sha256 } of quarantine) yield { key, sha256: sha256.ciphertext, manifest };
}

function* objectsOfDay(entry: DayEntry): Generator<{ key: string; sha256: string }, void, void> {
  const { parts, lateDeliveries, exceptions } = entry;
  for (const { key, sha256, ids, deliveries } of parts) {
    yield { key, sha256: sha256.ciphertext };
    yield { key: ids.key, sha256: ids.sha256 };
    if (deliveries !== null) yield { key: deliveries.key, sha256: deliveries.sha256.ciphertext };
  }
  for (const { key, sha256 } of lateDeliveries) yield { key, sha256: sha256.ciphertext };
  if (exceptions != null) yield { key: exceptions.key, sha256: exceptions.sha256.ciphertext };
}
