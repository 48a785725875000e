/** What the lists of a source do not hold, by name: a verdict alone does not tell whose list is lacking. */
import type { Day } from '../../shared/clock.ts';
import { notCovered } from '../../shared/schemes/stripe-scope.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { DayEntry } from '../ledger/manifest.ts';
import type { Problem } from '../night.ts';
import { nameOfList } from '../stripe/list-days.ts';
import type { Closing } from './closing.ts';
import type { SourceListing } from './list-due.ts';

/** Names in a sentence; more are counted. */
const maxNamed = 3;

/** `acct_b, acct_c, acct_d and 2 more`. */
export function firstOf(names: readonly string[]): string {
  const more = names.length - maxNamed;
  return `${names.slice(0, maxNamed).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

/** What was delivered and is in no list that the newest manifest with a word on the source asked; none where there is no list. */
export function uncoveredOf(
  { asked }: Pick<Ledger, 'asked'>,
  source: string,
  needed: Pick<DayEntry, 'accounts' | 'ownAccount' | 'modes'>,
): string[] {
  const scope = asked[source];
  return scope == null ? [] : notCovered(needed, scope);
}

/** The lists that were not asked yet for days which were listed without them. */
export function pendingLists(lists: SourceListing['lists']): string[] {
  return Object.entries(lists).flatMap(([list, since]) => (since === null ? [nameOfList(list)] : []));
}

/** Of this run's entries, and of the days that are complete without a list that is asked now. */
export function coverageWarnings(
  { name, source, states }: Closing,
  { asked, lists }: SourceListing,
  entries: ReadonlyMap<Day, DayEntry>,
): Problem[] {
  if (source?.listing === undefined) return [];
  const warnings: Problem[] = [];
  const say = (code: Problem['code'], message: string) => warnings.push({ code, source: name, day: null, message });
  const delivered = new Map<Day, string[]>();
  if (asked !== undefined && asked !== 'unknown') {
    for (const [day, entry] of entries) delivered.set(day, notCovered(entry, asked));
  }
  const uncovered = [...delivered].filter(([, names]) => names.length > 0);
  if (uncovered.length > 0) {
    const names = [...new Set(uncovered.flatMap(([, names]) => names))];
    const days = uncovered.map(([day]) => day);
    say('account_unlisted', `${firstOf(names)}: delivered on ${firstOf(days)}, and not listed`);
  }
  const verdicts = new Map([...states, ...entries].map(([day, { verdict }]) => [day, verdict]));
  const complete = [...verdicts.values()].filter((verdict) => verdict === 'complete').length;
  const pending = pendingLists(lists);
  if (complete > 0 && pending.length > 0) {
    const days = complete === 1 ? '1 complete day is' : `${complete} complete days are`;
    const it = pending.length === 1 ? ['was', 'it'] : ['were', 'them'];
    say('list_pending', `${firstOf(pending)} ${it[0]} not asked for all days yet: ${days} so without ${it[1]}`);
  }
  return warnings;
}
