import { join } from 'node:path';
import type { z } from 'zod';
import type { storeSchema } from '../config.ts';
import { DaybookError } from '../errors.ts';
import { openDirectoryStore } from './directory.ts';
import type { ObjectStore } from './store.ts';

export type StoreConfiguration = z.infer<typeof storeSchema>;

/** The store of DAYBOOK_STORE, and what its keys begin with: '' or folders that end with a slash. Writes nothing. */
export async function openStore(
  store: StoreConfiguration,
  dataDirectory: string,
): Promise<{ store: ObjectStore; prefix: string }> {
  if (store.type !== 'directory') throw new DaybookError('not_available', { detail: `a ${store.type} store` });
  const { path = join(dataDirectory, 'archive'), prefix } = store.params ?? {};
  return { store: openDirectoryStore(path), prefix: prefix === undefined ? '' : `${prefix}/` };
}
