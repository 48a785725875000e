/** Days that come near the end of Stripe's list before they are settled: what is not done by then stays undone. */
import { addDays, type Day } from '../../shared/clock.ts';
import type { Verdict } from '../ledger/manifest.ts';
import { isListable, listableDays } from './verdict.ts';

/**
 * Age in days from which a day is warned of. A night on D+4 settles a day, the one on D+29 is the last that can: six
 * nights are left to mend what hinders.
 */
const warnedFromDays = 24;

export interface DayNearRetention {
  readonly source: string;
  readonly day: Day;
  readonly verdict: Verdict;
  /** The last UTC day on which Stripe lists it whole. */
  readonly listedUntil: Day;
}

/** Provisional and incomplete days from D+24 to D+29, by source and day. */
export function daysNearRetention(
  sources: ReadonlyMap<string, ReadonlyMap<Day, { readonly verdict: Verdict }>>,
  today: Day,
): DayNearRetention[] {
  const near: DayNearRetention[] = [];
  for (const [source, days] of sources) {
    for (const [day, { verdict }] of days) {
      const isOpen = verdict === 'provisional' || verdict === 'incomplete';
      if (!isOpen || day > addDays(today, -warnedFromDays) || !isListable(day, today)) continue;
      near.push({ source, day, verdict, listedUntil: addDays(day, listableDays) });
    }
  }
  const name = ({ source, day }: DayNearRetention) => `${source} ${day}`;
  return near.sort((a, b) => (name(a) < name(b) ? -1 : 1));
}
