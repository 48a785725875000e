/**
 * Which of the staged ids are archived already, and in which day: read from the `ids.gz` objects alone, so without the
 * private key.
 */
import { createHash } from 'node:crypto';
import type { Day } from '../../shared/clock.ts';
import { linesOf, unpack, wholeLinesOf } from '../../shared/crypto/open-sealed.ts';
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
    let bit = hash(id);
    const step = stepOf(bit);
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
      let bit = hash(id);
      const step = stepOf(bit);
      for (let probe = 0; probe < probes; probe += 1) {
        if ((words[(bit % filterBits) >>> 5]! & (1 << (bit & 31))) === 0) return false;
        bit = (bit + step) >>> 0;
      }
      return true;
    },
  };
}

/** FNV-1a over UTF-16 units with a final mix. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  value = Math.imul(value ^ (value >>> 15), 0x2c1b3c6d);
  return (value ^ (value >>> 13)) >>> 0;
}

/** How far the probes of an id are apart: what is high in its hash, and no part of the first probe, comes low. */
function stepOf(hash: number): number {
  return ((hash << 16) | (hash >>> 16) | 1) >>> 0;
}

/**
 * Adds (id, day) to `hits` for every archived id that the filter lets pass. A day whose ids cannot be read whole is
 * given to `damaged`, with the error: nothing may be decided about that day in this run.
 */
export async function findArchivedIds(
  store: ObjectStore,
  days: Iterable<readonly [Day, Pick<DayState, 'parts'>]>,
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

interface IdsObject {
  readonly key: string;
  readonly sha256: string;
}

/** The ids in an `ids.gz`; rejects at the end if the object's bytes are not those that the manifest names. */
export async function* idsOf(store: ObjectStore, object: IdsObject): AsyncGenerator<string, void, void> {
  for await (const line of checkedText(store, object, linesOf)) yield line;
}

/** What one `ids.gz` tells of an id. */
export interface IdSighting {
  readonly isThere: boolean;
  /** Of the ids in it that begin as this one does, the first and the last by code point; undefined where none does. */
  readonly near: { readonly first: string; readonly last: string } | undefined;
}

/**
 * Looks for one id in an `ids.gz`, without a string for each of the others: many times as fast as `idsOf`, which it rejects as.
 * `beginning`: how many characters of the id count for `near`.
 */
export async function lookForId(
  store: ObjectStore,
  object: IdsObject,
  id: string,
  beginning: number,
): Promise<IdSighting> {
  const line = Buffer.from(`${id}\n`);
  const start = Buffer.from(id.slice(0, beginning));
  let isThere = false;
  let first: string | undefined;
  let last: string | undefined;
  for await (const lines of checkedText(store, object, wholeLinesOf)) {
    isThere ||= hasLine(lines, line);
    const from = lineThatBegins(lines, start);
    if (from < 0) continue;
    first ??= lines.toString('utf8', from, lines.indexOf(0x0a, from));
    // They are sorted: those that begin so lie together.
    const found = lines.lastIndexOf(Buffer.concat([lineFeed, start]));
    const at = found < 0 ? from : found + 1;
    last = lines.toString('utf8', at, lines.indexOf(0x0a, at));
  }
  return { isThere, near: first === undefined ? undefined : { first, last: last! } };
}

/** Whether one of the lines is this one, LF included. */
function hasLine(lines: Buffer, line: Buffer): boolean {
  for (let at = lines.indexOf(line); at >= 0; at = lines.indexOf(line, at + 1)) {
    if (at === 0 || lines[at - 1] === 0x0a) return true;
  }
  return false;
}

const lineFeed = Buffer.from('\n');

/** Where the first line is that begins so; -1 where none does. `lines` begins with a whole line. */
function lineThatBegins(lines: Buffer, start: Buffer): number {
  if (lines.subarray(0, start.length).equals(start)) return 0;
  const found = lines.indexOf(Buffer.concat([lineFeed, start]));
  return found < 0 ? -1 : found + 1;
}

/** The text of an `ids.gz`, cut as `cut` does; rejects at the end if the object's bytes are not those that the manifest names. */
async function* checkedText<T>(
  store: ObjectStore,
  object: IdsObject,
  cut: (text: AsyncIterable<Uint8Array>) => AsyncIterable<T>,
): AsyncGenerator<T, void, void> {
  const sha256 = createHash('sha256');
  const hashed = async function* () {
    for await (const chunk of store.read(object.key)) {
      sha256.update(chunk);
      yield chunk;
    }
  };
  try {
    yield* cut(unpack(hashed()));
  } catch (cause) {
    if (cause instanceof DaybookError && cause.code !== 'sealed_unreadable') throw cause;
    throw new DaybookError('object_damaged', { detail: `${object.key} cannot be read`, cause });
  }
  if (sha256.digest('hex') !== object.sha256) {
    throw new DaybookError('object_damaged', { detail: `${object.key} is not the object that its manifest names` });
  }
}
