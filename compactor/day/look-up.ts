/** Which of the staged ids are archived, and in which day. */
import { addDays, type Day } from '../../shared/clock.ts';
import { ownParts } from '../night.ts';
import { keyText, type Sorter } from '../staging/external-sort.ts';
import { findArchivedIds } from './archived-ids.ts';
import type { Closing } from './closing.ts';
import { lookAheadDays, lookBackDays } from './copies.ts';

export interface LookedUp {
  /** Those of the wanted ids that are not archived. */
  readonly lacking: ReadonlySet<string>;
  /** Days about which nothing may be decided in this run, with the error. */
  readonly damaged: ReadonlyMap<Day, unknown>;
}

/**
 * Adds to `hits` which staged ids are archived: for Stripe in any day, for others within the window of the look-up.
 * `wanted`: ids of Stripe's that were not to be had, looked up likewise.
 */
export async function lookUp(
  { night, states, staged }: Closing,
  hits: Sorter,
  wanted: ReadonlySet<string> = new Set(),
): Promise<LookedUp> {
  const lacking = new Set(wanted);
  const damaged = new Map<Day, unknown>();
  if (staged.copies.entries === 0 && wanted.size === 0) return { lacking, damaged };
  const sorted = [...staged.days].sort();
  const isNear = (day: Day) =>
    sorted.length > 0 && day >= addDays(sorted[0]!, -lookBackDays) && day <= addDays(sorted.at(-1)!, lookAheadDays);
  const isStripe = staged.hasStripe || wanted.size > 0;
  const days = [...states]
    .filter(([day]) => isStripe || isNear(day))
    .map(([day, { parts }]) => [day, { parts: ownParts(night, parts) }] as const);
  for (const id of wanted) staged.ids.add(id);
  const noted: Pick<Sorter, 'add'> = {
    add(key, payload) {
      lacking.delete(keyText(key));
      hits.add(key, payload);
    },
  };
  await findArchivedIds(night.store, days, staged.ids, wanted.size > 0 ? noted : hits, (day, error) => {
    // What was read of its ids may be wrong, so nothing is decided about that day. Stripe's copies of one event are all
    // of one day; any other event of the days around could be a copy of one archived there, so they wait as well.
    const around = (other: Day) => day >= addDays(other, -lookBackDays) && day <= addDays(other, lookAheadDays);
    for (const each of [day, ...(staged.hasStripe ? [] : sorted.filter(around))]) {
      if (!damaged.has(each)) damaged.set(each, error);
    }
  });
  return { lacking, damaged };
}
