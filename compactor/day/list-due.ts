/** Which days are due for a listing, and what Stripe lists of them. */
import { type Day, dayOf } from '../../shared/clock.ts';
import { copyKey, encodeCopy } from '../staging/staged-copy.ts';
import { type ListsKnown, listDays, listsOf, wrongMode } from '../stripe/list-days.ts';
import { type Closing, report, type SourceListing } from './closing.ts';
import { decideEvents } from './copies.ts';
import { lookUp } from './look-up.ts';
import { isDue, isListable } from './verdict.ts';

const noHeader = Buffer.alloc(0);

/** Lists the days that are due and stages what is found beside the deliveries. */
export async function listDue(closing: Closing, days: ReadonlySet<Day>): Promise<SourceListing> {
  const { night, source, states, staged, today } = closing;
  const isThin = Object.keys(closing.lists).some((name) => name.startsWith('v2'));
  const withThin = isThin || staged.hasThin || source?.listing?.thinEvents === true;
  // Once a thin event was seen the list of them is asked for, also where there is no key as yet.
  const known: ListsKnown = withThin && !isThin ? { ...closing.lists, v2: null } : closing.lists;
  if (source?.listing === undefined) return { lists: known };
  const { api, accounts: configured, mode, keyMode } = source.listing;
  let all: readonly string[] = [];
  if (configured === 'all') {
    try {
      all = await api.accounts();
    } catch (error) {
      report(closing, null, error, 'connected accounts');
      return { lists: known, asked: 'unknown' };
    }
  }
  const lists = listsOf(configured, all, withThin);
  const scope = {
    accounts: [...(configured === 'all' ? all : configured)].sort(),
    ownAccount: configured !== 'all' && configured.length === 0,
    mode: keyMode ?? closing.modeBefore ?? null,
  };
  if (mode !== undefined && keyMode !== undefined && mode !== keyMode) {
    report(closing, null, wrongMode(mode, keyMode));
    return { lists: known, asked: scope };
  }
  const listable = [...days].filter((day) => isListable(day, today));
  const due = new Set(listable.filter((day) => night.force || isDue(day, states.get(day), false, today)));
  const undecided = listable.filter((day) => !due.has(day) && staged.days.has(day));
  if (undecided.length > 0)
    for (const day of await daysWithNewLines(closing)) if (undecided.includes(day)) due.add(day);
  const passed = listable.filter((day) => !due.has(day) && states.get(day)?.listedAt != null);
  const unknown = lists.some(({ name }) => (closing.lists[name] ?? null) === null);
  if (due.size === 0 && (passed.length === 0 || !unknown)) return { lists: known, asked: scope };
  let events = 0;
  night.progress(`listing ${closing.name}`, events);
  const listing = await listDays(
    source.listing,
    lists,
    { due: [...due], passed },
    closing.lists,
    night.clock,
    (event, body) => {
      const day = dayOf(event.createdMs);
      const payload = encodeCopy(body, noHeader, { origin: 'listed', kind: 'stripe', day, instantMs: event.createdMs });
      staged.copies.add(copyKey(event.id, undefined), payload);
      staged.ids.add(event.id);
      staged.days.add(day);
      staged.hasStripe = true;
      if (event.generationFailure !== undefined) staged.generationFailures.set(event.id, event.generationFailure);
      events += 1;
      if (events % 1000 === 0) night.progress(`listing ${closing.name}`, events);
    },
  );
  for (const { error, place } of listing.failures) report(closing, null, error, place);
  for (const ofDay of listing.missing.values()) for (const id of ofDay.keys()) closing.lacking.add(id);
  // A run of some days alone does not make up for all that were listed without a list.
  const whole = (name: string, since: string | null) => (night.days === undefined ? since : (known[name] ?? null));
  const since = Object.entries(listing.lists).map(([name, at]) => [name, whole(name, at)]);
  return { lists: Object.fromEntries(since), listing, asked: { ...scope, mode: listing.mode ?? scope.mode } };
}

/** Days in which a staged copy has an id that is not archived. */
async function daysWithNewLines(closing: Closing): Promise<Set<Day>> {
  const hits = closing.budget.sorter();
  try {
    await lookUp(closing, closing.staged.days, hits);
    const days = new Set<Day>();
    for (const event of decideEvents(
      closing.staged.copies,
      hits,
      closing.night.stagingDirectory,
      closing.night.acceptRestored,
    )) {
      if (event.line !== undefined) days.add(event.target);
    }
    return days;
  } finally {
    hits.close();
  }
}
