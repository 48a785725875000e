/**
 * Which of the staged ids are archived already, and in which day: read from the `ids.gz` objects alone, so without the
 * private key.
 */
import { createHash } from 'node:crypto';
import type { Day } from '../../shared/clock.ts';
import { linesOf, unpack } from '../../shared/crypto/open-sealed.ts';
import { DaybookError } from '../../shared/errors.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import type { DayState } from '../ledger/ledger.ts';
import { type Sorter, sortKey } from '../staging/external-sort.ts';

/**
 * A Bloom filter of fixed size (8 MiB) over ids: it never denies an id that was added, and lets a few others pass (at ten
 * million ids about one in twenty-five). What passes is compared exactly afterwards.
 */
export interface IdFilter {
  add(id: string): void;
  mayHave(id: string): boolean;
}

const filterBits = 2 ** 26;
const probes = 4;
/** Up to here the ids themselves are held, which takes less room than the filter. */
const fewIds = 10_000;

export function openIdFilter(): IdFilter {
  const few = new Set<string>();
  let words: Uint32Array | undefined;

  function set(into: Uint32Array, id: string): void {
    let bit = hash(id, 0x811c9dc5);
    const step = hash(id, 0x01000193) | 1;
    for (let probe = 0; probe < probes; probe += 1) {
      into[(bit % filterBits) >>> 5]! |= 1 << (bit & 31);
      bit = (bit + step) >>> 0;
    }
  }

  return {
    add(id) {
      if (words === undefined) {
        few.add(id);
        if (few.size <= fewIds) return;
        words = new Uint32Array(filterBits / 32);
        for (const known of few) set(words, known);
        few.clear();
      } else set(words, id);
    },
    mayHave(id) {
      if (words === undefined) return few.has(id);
      let bit = hash(id, 0x811c9dc5);
      const step = hash(id, 0x01000193) | 1;
      for (let probe = 0; probe < probes; probe += 1) {
        if ((words[(bit % filterBits) >>> 5]! & (1 << (bit & 31))) === 0) return false;
        bit = (bit + step) >>> 0;
      }
      return true;
    },
  };
}

/** FNV-1a over UTF-16 units with a final mix. */
function hash(text: string, seed: number): number {
  let value = seed;
  for (let at = 0; at < text.length; at += 1) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  value = Math.imul(value ^ (value >>> 15), 0x2c1b3c6d);
  return (value ^ (value >>> 13)) >>> 0;
}

/**
 * Adds (id, day) to `hits` for every archived id that the filter lets pass. A day whose ids cannot be read whole is
 * given to `damaged`, with the error: nothing may be decided about that day in this run.
 */
export async function findArchivedIds(
  store: ObjectStore,
  days: Iterable<readonly [Day, DayState]>,
  filter: IdFilter,
  hits: Pick<Sorter, 'add'>,
  damaged: (day: Day, error: unknown) => void,
): Promise<void> {
  for (const [day, { parts }] of days) {
    const payload = [Buffer.from(day)];
    try {
      for (const { ids } of parts) {
        for await (const id of idsOf(store, ids)) if (filter.mayHave(id)) hits.add(sortKey(id), payload);
      }
    } catch (error) {
      damaged(day, error);
    }
  }
}

/** The ids in an `ids.gz`; rejects at the end if the object's bytes are not those that the manifest names. */
export async function* idsOf(
  store: ObjectStore,
  object: { readonly key: string; readonly sha256: string },
): AsyncGenerator<string, void, void> {
  const sha256 = createHash('sha256');
  const hashed = async function* () {
    for await (const chunk of store.read(object.key)) {
      sha256.update(chunk);
      yield chunk;
    }
  };
  try {
    for await (const line of linesOf(unpack(hashed()))) yield line.toString();
  } catch (cause) {
    if (cause instanceof DaybookError && cause.code !== 'sealed_unreadable') throw cause;
    throw new DaybookError('object_damaged', { detail: `${object.key} cannot be read`, cause });
  }
  if (sha256.digest('hex') !== object.sha256) {
    throw new DaybookError('object_damaged', { detail: `${object.key} is not the object that its manifest names` });
  }
}
