/** The rules of a night (FORMAT.md, Verdicts), written a second time: what the simulation holds the compactor to. */
import type { Verdict } from '../../compactor/ledger/manifest.ts';
import { type Day, startOfDayMs } from '../../shared/clock.ts';

export function ageOf(day: Day, today: Day): number {
  return Math.round((startOfDayMs(today) - startOfDayMs(day)) / 86_400_000);
}

export interface KnownOfDay {
  readonly lacks: boolean;
  /** The accounts that delivered events name. */
  readonly accounts: ReadonlySet<string>;
  /** Every listing of it: the day on which it was made, and whose lists they were. */
  readonly listings: readonly { readonly on: Day; readonly accounts: ReadonlySet<string> }[];
}

/** `asked`: the accounts whose lists are asked for, none for the key's own; undefined: there is no key. */
export function verdictByRules(
  day: Day,
  { lacks, accounts, listings }: KnownOfDay,
  asked: ReadonlySet<string> | undefined,
  today: Day,
): Verdict {
  if (lacks) return 'incomplete';
  const isSettled = listings.some((listing) => ageOf(day, listing.on) >= 3 && accounts.isSubsetOf(listing.accounts));
  if (asked === undefined) return isSettled ? 'complete' : 'unreconciled';
  if (!accounts.isSubsetOf(asked)) return 'unreconciled';
  if (isSettled) return 'complete';
  return ageOf(day, today) > 29 ? 'unverifiable' : 'provisional';
}

/** Whether a day is due for a listing whatever is new of it. */
export function isDueByRules(
  day: Day,
  before: { readonly verdict: Verdict; readonly listedAt: string | null } | undefined,
  today: Day,
): boolean {
  const age = ageOf(day, today);
  if (age < 1 || age > 29) return false;
  if (before === undefined) return true;
  const listedAge = before.listedAt === null ? -1 : ageOf(day, before.listedAt.slice(0, 10));
  if (before.verdict !== 'complete') return listedAge < age;
  return [7, 28].some((recheck) => age >= recheck && listedAge < recheck);
}

/** Whether a day is warned of: not settled, and Stripe lists it whole for five days more at most. */
export function isNearRetention(day: Day, verdict: Verdict, today: Day): boolean {
  const age = ageOf(day, today);
  return (verdict === 'provisional' || verdict === 'incomplete') && age >= 24 && age <= 29;
}
