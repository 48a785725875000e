/** A spool of somebody's own, as a module exports it: the one in memory, whose errors are of no class of ours. */
import { openMemoryStore } from '../../../ingest/spool/memory-store.ts';
import type { SpoolModule } from '../../../ingest/spool/module-store.ts';

export const openSpool: SpoolModule['openSpool'] = async ({ maxBytes, ...options }) => {
  const store = await openMemoryStore({ ...options, params: { maxBytes } });
  return {
    ...store,
    append: (records) =>
      store.append(records).catch(({ code, message }) => {
        throw Object.assign(new Error(message), code === 'spool_full' ? { code } : {});
      }),
  };
};
