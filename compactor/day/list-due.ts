/** Which days are due for a listing, and what Stripe lists of them. */
import { type Day, dayOf } from '../../shared/clock.ts';
import { type AskedScope, accountOfContext, type Mode } from '../../shared/schemes/stripe-scope.ts';
import { gathered, type Problem } from '../night.ts';
import { type CopyFacts, copyKey, encodeCopy } from '../staging/staged-copy.ts';
import { type Listing, type ListsKnown, listDays, listsOf, type Take, wrongMode } from '../stripe/list-days.ts';
import type { ListedEvent } from '../stripe/listed-event.ts';
import type { Crew } from '../workers/crew.ts';
import { type Handed, linesHanded, openParcels } from '../workers/hand.ts';
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
    const errors: Problem[] = [];
    const own = await api.accounts().catch((error: unknown) => {
      errors.push(problemOf(closing, null, error, 'connected accounts'));
      return null;
    });
    // Of several workers all go by one answer, and by none where one of them had none.
    const told = await gathered(night, `${name}-accounts`, own);
    if (told.includes(null)) return { lists: known, asked: 'unknown', errors };
    all = told[0]!;
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
  const { crew } = night;
  const parcels = openParcels(night, `${name}-listed`);
  let events = 0;
  night.progress(`listing ${name}`, events);
  const stage = ({ id, createdMs: instantMs, generationFailure, isThin }: Passed, body: Buffer) => {
    const facts: CopyFacts = {
      origin: 'listed',
      kind: 'stripe',
      isThin: isThin === true,
      day: dayOf(instantMs),
      instantMs,
    };
    const thin = generationFailure && { generationFailure };
    staged.stage(copyKey(id, undefined), encodeCopy(body, noHeader, facts), id, facts, thin);
  };
  const take: Take = (event, body) => {
    events += 1;
    if (events % 1000 === 0) night.progress(`listing ${name}`, events);
    const { id, createdMs, generationFailure, isThin } = event;
    const owner = crew?.ownerOf(name, id);
    if (owner === crew?.index) return stage(event, body);
    return parcels.write(owner!, JSON.stringify([{ id, createdMs, generationFailure, isThin }, body.toString()]));
  };
  try {
    const share = { due: shareOf(due, crew), passed: shareOf(passed, crew) };
    const own = await listDays(source.listing, lists, share, closing.lists, night.clock, take);
    const told = await gathered(night, `${name}-listed`, toldOf(own, await parcels.send()));
    if (crew !== undefined) {
      for await (const line of linesHanded(
        night.store,
        crew,
        told.flatMap((of) => of.handed),
      )) {
        const [event, text] = JSON.parse(line) as [Passed, string];
        stage(event, Buffer.from(text));
      }
    }
    const listing = { ...own, ...sumOf(told, own.startedAt) };
    // A run of some days alone does not make up for all that were listed without a list.
    const whole = (list: string, since: string | null) => (night.days === undefined ? since : (known[list] ?? null));
    return {
      lists: Object.fromEntries(Object.entries(listing.lists).map(([list, since]) => [list, whole(list, since)])),
      listing,
      asked: { ...asked, mode: listing.mode ?? asked.mode },
      errors: own.failures.map(({ error, place }) => problemOf(closing, null, error, place)),
    };
  } finally {
    await parcels.discard();
  }
}

/** Of several workers each lists some of the days. */
function shareOf(days: readonly Day[], crew: Crew | undefined): readonly Day[] {
  if (crew === undefined) return days;
  return days.toSorted().filter((_, at) => at % crew.count === crew.index);
}

/** What is told of a listed event beside its text. */
type Passed = Pick<ListedEvent, 'id' | 'createdMs' | 'generationFailure' | 'isThin'>;

/** The days that are due, and those that were listed before and are not. */
async function daysToList(closing: Closing, days: ReadonlySet<Day>): Promise<{ due: Day[]; passed: Day[] }> {
  const { night, states, staged, today } = closing;
  const listable = [...days].filter((day) => isListable(day, today));
  const due = new Set(listable.filter((day) => night.force || isDue(day, states.get(day), false, today)));
  const undecided = listable.filter((day) => !due.has(day) && staged.days.has(day));
  if (undecided.length > 0) {
    // A day is due that gets a line from any worker.
    const own = [...(await daysWithNewLines(closing))];
    const withNewLines = new Set((await gathered(night, `${closing.name}-due`, own)).flat());
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

/** What a worker tells of its listing. */
interface Told extends Pick<Listing, 'lists' | 'isContradicted'> {
  readonly days: readonly Day[];
  /** [day, [id, why]]. */
  readonly missing: readonly (readonly [Day, readonly (readonly [string, string])[]])[];
  readonly mode: Mode | null;
  /** What it listed of others. */
  readonly handed: readonly Handed[];
}

function toldOf({ listedAt, missing, lists, mode, isContradicted }: Listing, handed: readonly Handed[]): Told {
  const all = [...missing].map(([day, ids]) => [day, [...ids]] as const);
  return { days: [...listedAt.keys()], missing: all, lists, mode: mode ?? null, isContradicted, handed };
}

/** Each has listed other days. A list is known once all of them are through. */
function sumOf(told: readonly Told[], startedAt: string): Pick<Listing, 'listedAt' | 'missing' | 'lists' | 'mode'> {
  const missing = new Map<Day, Map<string, string>>();
  for (const [day, ids] of told.flatMap((of) => of.missing)) {
    missing.set(day, new Map([...(missing.get(day) ?? []), ...ids]));
  }
  const isKnown = (list: string) => told.every(({ lists }) => lists[list] != null);
  // Nothing that was asked with that key tells anything, whoever asked.
  const days = told.some(({ isContradicted }) => isContradicted) ? [] : told.flatMap((of) => of.days);
  return {
    listedAt: new Map(days.map((day) => [day, startedAt])),
    missing,
    lists: Object.fromEntries(
      Object.entries(told[0]!.lists).map(([list, since]) => [list, isKnown(list) ? since : null]),
    ),
    mode: told.find(({ mode }) => mode !== null)?.mode ?? undefined,
  };
}
