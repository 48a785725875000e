/** Which of the staged ids are archived, and in which day. */
import { addDays, type Day } from '../../shared/clock.ts';
import { keyText, type Sorter } from '../staging/external-sort.ts';
import { findArchivedIds } from './archived-ids.ts';
import { type Closing, fail } from './closing.ts';
import { lookAheadDays, lookBackDays } from './copies.ts';

/** Finds which staged ids are archived: for Stripe in any day, for others within the window of the look-up. */
export async function lookUp(closing: Closing, stagedDays: ReadonlySet<Day>, hits: Sorter): Promise<void> {
  const { night, states, staged, lacking, found } = closing;
  if (staged.copies.entries === 0 && lacking.size === 0) return;
  const sorted = [...stagedDays].sort();
  const isNear = (day: Day) =>
    sorted.length > 0 && day >= addDays(sorted[0]!, -lookBackDays) && day <= addDays(sorted.at(-1)!, lookAheadDays);
  // Ids that were not to be had are Stripe's.
  const isStripe = staged.hasStripe || lacking.size > 0;
  const days = [...states].filter(([day]) => isStripe || isNear(day));
  for (const id of lacking) staged.ids.add(id);
  const noted: Pick<Sorter, 'add'> = {
    add(key, payload) {
      const id = keyText(key);
      if (lacking.has(id)) found.add(id);
      hits.add(key, payload);
    },
  };
  await findArchivedIds(night.store, days, staged.ids, lacking.size > 0 ? noted : hits, (day, error) => {
    // What was read of its ids may be wrong, so nothing is decided about that day. Stripe's copies of one event are all
    // of one day; any other event of the days around could be a copy of one archived there, so they wait as well.
    const around = (other: Day) => day >= addDays(other, -lookBackDays) && day <= addDays(other, lookAheadDays);
    const failed = [day, ...(staged.hasStripe ? [] : sorted.filter(around))];
    for (const each of new Set(failed)) if (!closing.failed.has(each)) fail(closing, each, error);
  });
}
