import { openStore, type StoreConfiguration } from '../../shared/store/open.ts';

export type OpenStore = Awaited<ReturnType<typeof openStore>>;

/** Runs work on a store that is opened for it, and writes nothing. */
export async function withStore<T>(
  configured: StoreConfiguration,
  dataDirectory: string,
  work: (opened: OpenStore) => Promise<T>,
): Promise<T> {
  const opened = await openStore(configured, dataDirectory);
  try {
    return await work(opened);
  } finally {
    await opened.store.close();
  }
}
