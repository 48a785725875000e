/**
 * A kind of object store, whole: its settings, how it is opened, and what doctor looks at. A new one is a folder beside this
 * file and a line in stores.ts. A driver's client library is loaded only where the store is used: hence the imports inside.
 */
import type { z } from 'zod';
import type { Found } from '../doctor/finding.ts';
import type { ObjectHolder, ObjectRemover, ObjectReplacer, ObjectStore } from './store.ts';

export interface Place {
  /** What keys begin with: '' or folders that end with a slash. */
  readonly prefix: string;
  readonly dataDirectory: string;
}

/** A store that finds out only by writing whether it keeps create-only. */
export interface ProbedStore extends ObjectStore {
  /** Rejects with `store_not_create_only` where it does not; writes one small object. */
  probe?(): Promise<void>;
}

export interface StoreDriver<P> {
  /** `{"type":…,"params":…}`; of `params` the member `prefix` is read for every store. */
  readonly settings: z.ZodType;
  /** For the table of settings. */
  readonly example: string;
  /** On this machine: a drill may write to it by a time of its own. */
  readonly isLocal: boolean;
  open(params: P, place: Place): Promise<ProbedStore>;
  openRemover(params: P, place: Place): Promise<ObjectRemover>;
  /** Undefined where nothing here keeps others from deleting. Rejects with `legal_hold_failed` where that cannot be found out. */
  openHolder(params: P, place: Place): Promise<ObjectHolder | undefined>;
  openReplacer(params: P, place: Place): Promise<ObjectReplacer>;
  /** Whether it permits what a night does. */
  check(params: P, place: Place): Promise<readonly Found[]>;
}
