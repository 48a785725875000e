import type { Found } from '../doctor/finding.ts';
import type { Place, StoreDriver } from './driver.ts';
import type { ObjectHolder, ObjectRemover, ObjectReplacer, ObjectStore } from './store.ts';
import { type StoreConfiguration, stores } from './stores.ts';

export type { StoreConfiguration } from './stores.ts';

/**
 * The store of DAYBOOK_STORE, and what its keys begin with: '' or folders that end with a slash. Writes nothing, unless
 * told `willCreate`: then it rejects with `store_not_create_only` where the store would write over objects, which an S3
 * endpoint shows only when it is asked to. The first create finds out in any case.
 */
export async function openStore(
  store: StoreConfiguration,
  dataDirectory: string,
  { willCreate = false }: { readonly willCreate?: boolean } = {},
): Promise<{ store: ObjectStore; prefix: string }> {
  const { driver, place } = driverOf(store, dataDirectory);
  const opened = await driver.open(store.params, place);
  if (willCreate) await opened.probe?.();
  return { store: opened, prefix: place.prefix };
}

/** Deletes from the store of DAYBOOK_STORE: for prune alone. */
export async function openRemover(store: StoreConfiguration, dataDirectory: string): Promise<ObjectRemover> {
  const { driver, place } = driverOf(store, dataDirectory);
  return driver.openRemover(store.params, place);
}

/** Undefined where the store of DAYBOOK_STORE keeps nobody from deleting. Rejects with `legal_hold_failed` where that cannot be found out. */
export async function openHolder(store: StoreConfiguration, dataDirectory: string): Promise<ObjectHolder | undefined> {
  const { driver, place } = driverOf(store, dataDirectory);
  return driver.openHolder(store.params, place);
}

/** Writes over objects of the store: for backup-secrets alone. */
export async function openReplacer(store: StoreConfiguration, dataDirectory: string): Promise<ObjectReplacer> {
  const { driver, place } = driverOf(store, dataDirectory);
  return driver.openReplacer(store.params, place);
}

/** For doctor: is it there, and does it permit what a night does? */
export async function checkStore(store: StoreConfiguration, dataDirectory: string): Promise<readonly Found[]> {
  const { driver, place } = driverOf(store, dataDirectory);
  return driver.check(store.params, place);
}

function driverOf(store: StoreConfiguration, dataDirectory: string): { driver: StoreDriver<unknown>; place: Place } {
  const folders = store.params?.prefix;
  const place = { prefix: folders === undefined ? '' : `${folders}/`, dataDirectory };
  // The settings were read by this driver's schema.
  return { driver: stores[store.type] as StoreDriver<unknown>, place };
}
