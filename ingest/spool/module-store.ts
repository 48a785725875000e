/**
 * A spool of the user's own, by a module that is named in the settings. It exports `openSpool(options)`, which resolves with a
 * `BackingStore`: what that promises is said in backing-store.ts, and test/contract/backing-store.ts checks it. It needs no
 * class of ours: an error of it may carry a `code`, `spool_full` above all; without one it is `spool_unavailable`.
 */
import { errorOfModule, loadModule } from '../../shared/files/load-module.ts';
import type { BackingStore, BackingStoreOptions } from './backing-store.ts';

export interface SpoolModule {
  openSpool(options: ModuleStoreOptions): Promise<BackingStore>;
}

export interface ModuleStoreOptions extends Omit<BackingStoreOptions, 'params'> {
  /** `params` of the settings, as they are. */
  readonly params: Readonly<Record<string, unknown>>;
  /** Of live and dead records: above it `append` rejects with the code `spool_full`. */
  readonly maxBytes: number;
}

export async function openModuleStore({ params, ...options }: BackingStoreOptions): Promise<BackingStore> {
  const given = params as { path: string; maxBytes: number; params?: Readonly<Record<string, unknown>> };
  const { openSpool } = await loadModule<SpoolModule>(given.path, ['openSpool']);
  const store = await openSpool({ ...options, params: given.params ?? {}, maxBytes: given.maxBytes }).catch(rethrow);
  return {
    append: (records) => store.append(records).catch(rethrow),
    async peek(limit) {
      const batch = await store.peek(limit).catch(rethrow);
      return { ...batch, commit: (acknowledged) => batch.commit(acknowledged).catch(rethrow) };
    },
    size: () => store.size().catch(rethrow),
    deadLetter: (record, reason) => store.deadLetter(record, reason).catch(rethrow),
    async *waiting() {
      try {
        yield* store.waiting();
      } catch (error) {
        rethrow(error);
      }
    },
    async *deadLetters() {
      try {
        yield* store.deadLetters();
      } catch (error) {
        rethrow(error);
      }
    },
    requeue: (sequences) => store.requeue(sequences).catch(rethrow),
    close: () => store.close(),
  };
}

function rethrow(error: unknown): never {
  throw errorOfModule(error, 'spool_unavailable');
}
