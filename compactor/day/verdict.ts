/** What a day's verdict is and when its list is asked for (FORMAT.md, Verdicts). Pure: the rules and nothing else. */
import { addDays, type Day, dayOf } from '../../shared/clock.ts';
import { type AskedScope, isCovered, type NeededScope } from '../../shared/schemes/stripe-scope.ts';
import type { Verdict } from '../ledger/manifest.ts';

/** Stripe retries a delivery for three days (PROTOCOLS.md, Facts about Stripe): a listing from then on tells for good. */
const settledAfterDays = 3;
/** Days back from today that Stripe's 30 days still hold whole. */
export const listableDays = 29;
/** Ages in days at which a complete day is listed once more. */
const recheckDays = [7, 28] as const;

export interface DayFacts extends NeededScope {
  readonly listedAt: string | null;
  readonly missing: readonly string[];
  readonly generationFailures: readonly unknown[];
}

export function isListable(day: Day, today: Day): boolean {
  return day >= addDays(today, -listableDays) && day < today;
}

/** Whether its list was asked for so late that it tells for good. */
export function isSettled(day: Day, listedAt: string | null): boolean {
  return listedAt !== null && dayOf(new Date(listedAt)) >= addDays(day, settledAfterDays);
}

/**
 * The first that holds: incomplete, unreconciled, unverifiable, provisional, complete. `asked` is what can be asked for the
 * source's missed events: undefined where there is no list.
 */
export function verdictOf(day: Day, facts: DayFacts, asked: AskedScope | undefined, today: Day): Verdict {
  if (facts.missing.length > 0 || facts.generationFailures.length > 0) return 'incomplete';
  const settled = isSettled(day, facts.listedAt);
  // A listing that settled the day stays its proof, also where the key was taken away since.
  if (asked === undefined && !settled) return 'unreconciled';
  if (asked !== undefined && !isCovered(facts, asked)) return 'unreconciled';
  if (settled) return 'complete';
  return isListable(day, today) || day >= today ? 'provisional' : 'unverifiable';
}

/** Whether a closed, listable day is to be listed in this run. `state` is undefined for a day without an entry. */
export function isDue(
  day: Day,
  state: { readonly verdict: Verdict; readonly listedAt: string | null } | undefined,
  getsNewLine: boolean,
  today: Day,
): boolean {
  if (state === undefined || getsNewLine) return true;
  const listedOn = state.listedAt === null ? undefined : dayOf(new Date(state.listedAt));
  if (state.verdict !== 'complete') return listedOn === undefined || listedOn < today;
  return recheckDays.some((age) => {
    const recheck = addDays(day, age);
    return today >= recheck && (listedOn === undefined || listedOn < recheck);
  });
}
