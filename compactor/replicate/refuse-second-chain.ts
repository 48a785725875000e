/** An empty archive beside a replica that is not: a disk that was lost, or another place than before. */
import { DaybookError } from '../../shared/errors.ts';
import { openStore, type StoreConfiguration } from '../../shared/store/open.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import { listManifests } from '../ledger/ledger.ts';

export interface BesideReplica {
  readonly store: ObjectStore;
  /** '' or folders that end in a slash. */
  readonly prefix: string;
  /** undefined: there is none, and nothing is refused. */
  readonly replica: StoreConfiguration | undefined;
  readonly dataDirectory: string;
}

/**
 * A night would begin a second chain, which the replica never takes. Writes nothing, and asks the replica only where the
 * archive has no manifest. Rejects with `replica_ahead`, and where a store fails.
 */
export async function refuseSecondChain({ store, prefix, replica, dataDirectory }: BesideReplica): Promise<void> {
  if (replica === undefined || (await listManifests(store, prefix)).keys.length > 0) return;
  const second = await openStore(replica, dataDirectory);
  try {
    const newest = (await listManifests(second.store, second.prefix)).keys.at(-1);
    if (newest === undefined) return;
    const detail = `${newest} is at ${second.store.location}, and the archive at ${store.location} has no manifest`;
    throw new DaybookError('replica_ahead', { detail });
  } finally {
    await second.store.close();
  }
}
