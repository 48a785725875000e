/** Which days are due for a listing, and what Stripe lists of them. */
import { type Day, dayOf } from '../../shared/clock.ts';
import { type AskedScope, accountOfContext } from '../../shared/schemes/stripe-scope.ts';
import type { Problem } from '../night.ts';
import { type CopyFacts, copyKey, encodeCopy } from '../staging/staged-copy.ts';
import { type Listing, type ListsKnown, listDays, listsOf, wrongMode } from '../stripe/list-days.ts';
import { type Closing, problemOf } from './closing.ts';
import { decideEvents } from './copies.ts';
import { lookUp } from './look-up.ts';
import { isDue, isListable } from './verdict.ts';

export interface SourceListing {
  readonly lists: ListsKnown;
  /** Undefined where nothing was listed. */
  readonly listing?: Listing;
  /** What can be asked for; `unknown` where the accounts are Stripe's to say and could not be had. Undefined: no list. */
  readonly asked?: AskedScope | 'unknown';
  readonly errors: readonly Problem[];
}

const noHeader = Buffer.alloc(0);

/** Lists the days that are due and stages what is found beside the deliveries. */
export async function listDue(closing: Closing, days: ReadonlySet<Day>): Promise<SourceListing> {
  const { night, name, source, staged, modeBefore } = closing;
  const isThin = Object.keys(closing.lists).some((list) => list.startsWith('v2'));
  const withThin = isThin || staged.hasThin || source?.listing?.thinEvents === true;
  // Once a thin event was seen the list of them is asked for, also where there is no key as yet.
  const known: ListsKnown = withThin && !isThin ? { ...closing.lists, v2: null } : closing.lists;
  if (source?.listing === undefined) return { lists: known, errors: [] };
  const { api, accounts: configured, isOrganisation = false, mode, keyMode } = source.listing;
  let all: readonly string[] = [];
  if (configured === 'all') {
    try {
      all = await api.accounts();
    } catch (error) {
      return { lists: known, asked: 'unknown', errors: [problemOf(closing, null, error, 'connected accounts')] };
    }
  }
  const lists = listsOf(configured, all, withThin);
  const asked = {
    accounts: [...(configured === 'all' ? all : configured)].map(accountOfContext).sort(),
    // Of an organisation's one account the list is what it would be for that account's own key.
    ownAccount: configured !== 'all' && configured.length === (isOrganisation ? 1 : 0),
    mode: keyMode ?? modeBefore ?? null,
  };
  if (mode !== undefined && keyMode !== undefined && mode !== keyMode) {
    return { lists: known, asked, errors: [problemOf(closing, null, wrongMode(mode, keyMode))] };
  }
  const { due, passed } = await daysToList(closing, days);
  const unknown = lists.some((list) => (closing.lists[list.name] ?? null) === null);
  if (due.length === 0 && (passed.length === 0 || !unknown)) return { lists: known, asked, errors: [] };
  let events = 0;
  night.progress(`listing ${name}`, events);
  const listing = await listDays(source.listing, lists, { due, passed }, closing.lists, night.clock, (event, body) => {
    const { id, createdMs: instantMs, generationFailure } = event;
    const isThin = event.isThin === true;
    const facts: CopyFacts = { origin: 'listed', kind: 'stripe', isThin, day: dayOf(instantMs), instantMs };
    const thin = generationFailure && { generationFailure };
    staged.stage(copyKey(id, undefined), encodeCopy(body, noHeader, facts), id, facts, thin);
    events += 1;
    if (events % 1000 === 0) night.progress(`listing ${name}`, events);
  });
  // A run of some days alone does not make up for all that were listed without a list.
  const whole = (list: string, since: string | null) => (night.days === undefined ? since : (known[list] ?? null));
  return {
    lists: Object.fromEntries(Object.entries(listing.lists).map(([list, since]) => [list, whole(list, since)])),
    listing,
    asked: { ...asked, mode: listing.mode ?? asked.mode },
    errors: listing.failures.map(({ error, place }) => problemOf(closing, null, error, place)),
  };
}

/** The days that are due, and those that were listed before and are not. */
async function daysToList(closing: Closing, days: ReadonlySet<Day>): Promise<{ due: Day[]; passed: Day[] }> {
  const { night, states, staged, today } = closing;
  const listable = [...days].filter((day) => isListable(day, today));
  const due = new Set(listable.filter((day) => night.force || isDue(day, states.get(day), false, today)));
  const undecided = listable.filter((day) => !due.has(day) && staged.days.has(day));
  if (undecided.length > 0) {
    const withNewLines = await daysWithNewLines(closing);
    for (const day of undecided) if (withNewLines.has(day)) due.add(day);
  }
  return { due: [...due], passed: listable.filter((day) => !due.has(day) && states.get(day)?.listedAt != null) };
}

/** Days in which a staged copy has an id that is not archived. Of a day whose ids are damaged the look-up to come tells. */
async function daysWithNewLines(closing: Closing): Promise<Set<Day>> {
  const hits = closing.budget.sorter();
  try {
    await lookUp(closing, hits);
    const days = new Set<Day>();
    for (const event of decideEvents(closing.staged.copies, hits, closing.night)) {
      if (event.line !== undefined) days.add(event.target);
    }
    return days;
  } finally {
    hits.close();
  }
}
