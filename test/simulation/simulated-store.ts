/** An object store in memory that keeps the contract of store.ts. */
import { DaybookError } from '../../shared/errors.ts';
import type { ObjectStore } from '../../shared/store/store.ts';

export interface SimulatedStore extends ObjectStore {
  readonly objects: ReadonlyMap<string, Buffer>;
  /** Another store with the same objects but those left out. */
  copy(isLeftOut?: (key: string) => boolean): SimulatedStore;
  /** Whether it was there. */
  remove(key: string): boolean;
}

export function simulatedStore(known: ReadonlyMap<string, Buffer> = new Map()): SimulatedStore {
  const objects = new Map(known);
  return {
    location: 'simulated',
    objects,
    copy: (isLeftOut = () => false) => simulatedStore(new Map([...objects].filter(([key]) => !isLeftOut(key)))),
    remove: (key) => objects.delete(key),
    async create(key, body) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of body.open()) chunks.push(chunk);
      if (objects.has(key)) return 'exists';
      objects.set(key, Buffer.concat(chunks));
      return 'created';
    },
    async head(key) {
      const object = objects.get(key);
      return object === undefined ? undefined : { bytes: object.length };
    },
    async *read(key, range) {
      const object = objects.get(key);
      if (object === undefined) throw new DaybookError('object_missing', { detail: key });
      const bytes = range === undefined ? object : object.subarray(range.from, range.to);
      if (bytes.length > 0) yield bytes;
    },
    async *list(prefix) {
      yield* [...objects.keys()].filter((key) => key.startsWith(prefix)).sort();
    },
    async close() {},
  };
}
