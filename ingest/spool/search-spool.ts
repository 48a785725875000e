/** Looks for one event in the spool: what waits, then the dead letters, as far as there is time. No body is told. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { isEventId } from '../../shared/envelope.ts';
import { type EventSighting, lookFor } from '../../shared/event-sighting.ts';
import type { BackingStore } from './backing-store.ts';

export interface SpooledEvent extends EventSighting {
  readonly id: string;
  readonly isDeadLetter: boolean;
}

export interface SpoolFindings {
  /** The first hundred. */
  readonly records: readonly SpooledEvent[];
  /** Records and dead letters that were looked at, and whether those were all. */
  readonly looked: number;
  readonly isWhole: boolean;
}

const limitMs = 5_000;
const maxRecords = 100;
/** Between two pauses, in which requests get their turn. */
const lookedAtOnce = 50;

/** Of one id at a time: undefined where another search is under way, or the id is none. Rejects as the spool does. */
export function openSpoolSearch(
  spool: Pick<BackingStore, 'waiting' | 'deadLetters'>,
): (id: string) => Promise<SpoolFindings | undefined> {
  let isSearching = false;
  return async (id) => {
    if (isSearching || !isEventId(id)) return undefined;
    isSearching = true;
    try {
      return await searchSpool(spool, id);
    } finally {
      isSearching = false;
    }
  };
}

async function searchSpool(
  { waiting, deadLetters }: Pick<BackingStore, 'waiting' | 'deadLetters'>,
  id: string,
): Promise<SpoolFindings> {
  const endMs = performance.now() + limitMs;
  const sightingIn = lookFor(id);
  const records: SpooledEvent[] = [];
  let looked = 0;

  async function look(values: AsyncIterable<Uint8Array>, isDeadLetter: boolean): Promise<boolean> {
    for await (const value of values) {
      looked += 1;
      const sighting = sightingIn(value);
      if (sighting !== undefined && records.length < maxRecords) records.push({ id, ...sighting, isDeadLetter });
      if (looked % lookedAtOnce !== 0) continue;
      if (performance.now() > endMs) return false;
      await nextTurn();
    }
    return true;
  }

  const isWhole =
    (await look(valuesOf(waiting(), 'value'), false)) && (await look(valuesOf(deadLetters(), 'raw'), true));
  return { records, looked, isWhole };
}

async function* valuesOf<K extends string>(
  records: AsyncIterable<Readonly<Record<K, Uint8Array>>>,
  name: K,
): AsyncGenerator<Uint8Array, void, void> {
  for await (const record of records) yield record[name];
}
