/** Where the console looks in tests: books of a test, with their clock. */
import { openIngests } from '../../../compactor/console/ask-ingests.ts';
import type { ConsolePlaces } from '../../../compactor/console/console-places.ts';
import { openLedgerView } from '../../../compactor/console/ledger-view.ts';
import { readSigner } from '../../../shared/crypto/signing.ts';
import { openDirectoryStore } from '../../../shared/store/directory/store.ts';
import type { ObjectStore } from '../../../shared/store/store.ts';
import { openEmbeddedReader } from '../../../shared/stream/embedded/embedded.ts';
import type { Books } from '../books.ts';

export interface PlacesChange extends Partial<ConsolePlaces> {
  readonly store?: ObjectStore;
  /** Origins of admin listeners. */
  readonly ingestsAt?: readonly string[];
  readonly monotonicMs?: () => number;
}

export function placesOf(
  books: Books,
  { store = books.store, ingestsAt = [], monotonicMs = () => performance.now(), ...change }: PlacesChange = {},
): ConsolePlaces {
  const signer = readSigner(books.signingKey);
  const clock = { now: () => books.now() };
  const openStore = async () => ({ store, prefix: '' });
  return {
    view: openLedgerView({
      openStore,
      verifyingKeys: new Map([[signer.keyId, { verify: signer.verify }]]),
      clock,
      monotonicMs,
    }),
    openStore,
    openStream: () => openEmbeddedReader({ directory: books.directory, consumer: 'console', clock }),
    streamType: 'embedded',
    ingests: openIngests(ingestsAt),
    folders: [books.directory],
    sources: ['billing', 'platform'],
    lagSeconds: 3600,
    clock,
    ...change,
  };
}

/** Of an archive that is empty. */
export function emptyPlaces(folder: string, now: () => Date): ConsolePlaces {
  const store = openDirectoryStore(folder);
  const clock = { now };
  const openStore = async () => ({ store, prefix: '' });
  return {
    view: openLedgerView({ openStore, verifyingKeys: new Map(), clock }),
    openStore,
    openStream: () => Promise.reject(new Error('there is no stream')),
    streamType: 'embedded',
    ingests: openIngests([]),
    folders: [],
    sources: ['billing', 'platform'],
    lagSeconds: 3600,
    clock,
  };
}
