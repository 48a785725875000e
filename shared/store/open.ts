import { join } from 'node:path';
import type { z } from 'zod';
import type { storeSchema } from '../config.ts';
import { openDirectoryStore } from './directory.ts';
import type { ObjectStore } from './store.ts';

export type StoreConfiguration = z.infer<typeof storeSchema>;

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
  const folders = store.params?.prefix;
  const prefix = folders === undefined ? '' : `${folders}/`;
  if (store.type === 'directory') {
    return { store: openDirectoryStore(store.params?.path ?? join(dataDirectory, 'archive')), prefix };
  }
  // The SDK takes a while to load: programs that do not use it need not wait.
  const { openS3Store } = await import('./s3.ts');
  const opened = openS3Store(store.params, prefix);
  if (willCreate) await opened.probe();
  return { store: opened, prefix };
}
