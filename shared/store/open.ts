import { join } from 'node:path';
import type { z } from 'zod';
import type { storeSchema } from '../config.ts';
import { openDirectoryRemover } from './directory/remove.ts';
import { openDirectoryStore } from './directory/store.ts';
import type { ObjectRemover, ObjectStore } from './store.ts';

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
  const prefix = prefixOf(store);
  if (store.type === 'directory') {
    return { store: openDirectoryStore(directoryOf(store, dataDirectory)), prefix };
  }
  // The SDK takes a while to load: programs that do not use it need not wait.
  const { openS3Store } = await import('./s3/store.ts');
  const opened = openS3Store(store.params, prefix);
  if (willCreate) await opened.probe();
  return { store: opened, prefix };
}

/** Deletes from the store of DAYBOOK_STORE: for prune alone. */
export async function openRemover(store: StoreConfiguration, dataDirectory: string): Promise<ObjectRemover> {
  if (store.type === 'directory') return openDirectoryRemover(directoryOf(store, dataDirectory));
  const { openS3Remover } = await import('./s3/remove.ts');
  return openS3Remover(store.params, prefixOf(store));
}

function prefixOf(store: StoreConfiguration): string {
  const folders = store.params?.prefix;
  return folders === undefined ? '' : `${folders}/`;
}

function directoryOf(store: StoreConfiguration & { readonly type: 'directory' }, dataDirectory: string): string {
  return store.params?.path ?? join(dataDirectory, 'archive');
}
