/** Closes the days of one source: which days, what the list knows, one line an event, the objects, the entries. */
import { addDays, type Day, dayMs, dayOf } from '../../shared/clock.ts';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import type { CursorRange } from '../ledger/cursor-ranges.ts';
import type { DayState, Ledger } from '../ledger/ledger.ts';
import type { DayEntry } from '../ledger/manifest.ts';
import type { Night, NightSource, Problem } from '../night.ts';
import { keyText, type SortBudget, type Sorter } from '../staging/external-sort.ts';
import { copyKey, decodeCopy, encodeCopy, idKeyOf } from '../staging/staged-copy.ts';
import { type Listing, type ListsKnown, listDays, listsOf, wrongMode } from '../stripe/list-days.ts';
import type { GenerationFailure } from '../stripe/thin-events.ts';
import { findArchivedIds, type IdFilter } from './archived-ids.ts';
import { decideEvents, lookAheadDays, lookBackDays } from './copies.ts';
import { entriesOf, type ListCounts } from './day-entries.ts';
import { type DayOutput, openDayOutput } from './day-output.ts';
import type { RecoveredEvents } from './publish-recovered.ts';
import type { AskedScope, Mode } from './scope.ts';
import { isDue, isListable, listableDays } from './verdict.ts';

/** A source's records of this run, staged while the stream was read. */
export interface StagedSource {
  readonly copies: Sorter;
  /** The run's, of all sources together: it has one size. */
  readonly ids: IdFilter;
  readonly days: Set<Day>;
  /** Whether a Stripe event is among them: its id is looked up in every archived day. */
  hasStripe: boolean;
  /** Whether a thin event was delivered. */
  hasThin: boolean;
  /** By the notice's id. */
  readonly generationFailures: Map<string, GenerationFailure>;
}

export interface ClosedSource {
  readonly name: string;
  readonly entries: ReadonlyMap<Day, DayEntry>;
  /** Set when this run is the source's first. */
  readonly firstDay?: Day;
  readonly lists: ListsKnown;
  /** What could be asked for; null where there is no list, or its accounts could not be had. */
  readonly asked: AskedScope | null;
  /** Cursors of records whose day failed or is not touched: they are read again. */
  readonly pending: ReadonlyMap<string, readonly CursorRange[]>;
  readonly errors: readonly Problem[];
  readonly warnings: readonly Problem[];
}

/** One source's closing, as its steps share it. */
export interface Closing {
  readonly night: Night;
  readonly name: string;
  readonly source: NightSource | undefined;
  readonly states: ReadonlyMap<Day, DayState>;
  /** Stripe's lists as the ledger knows them. */
  readonly lists: ListsKnown;
  /** Of the list, as an earlier run found it. */
  readonly modeBefore: Mode | undefined;
  readonly staged: StagedSource;
  readonly budget: SortBudget;
  readonly now: Date;
  readonly today: Day;
  readonly errors: Problem[];
  readonly failed: Set<Day>;
  /** Ids that are known and were not to be had, by this run's listing or an earlier one's, and those of them found. */
  readonly lacking: Set<string>;
  readonly found: Set<string>;
  readonly recovered: RecoveredEvents | undefined;
}

/** The newest day that ended at least the lag ago. */
export function newestClosedDay(now: Date, lagSeconds: number): Day {
  return dayOf(now.getTime() - lagSeconds * 1000 - dayMs);
}

export function stageSource(budget: SortBudget, ids: IdFilter): StagedSource {
  return {
    copies: budget.sorter(),
    ids,
    days: new Set(),
    hasStripe: false,
    hasThin: false,
    generationFailures: new Map(),
  };
}

export async function closeSource(
  night: Night,
  name: string,
  ledger: Ledger,
  staged: StagedSource,
  budget: SortBudget,
  recovered?: RecoveredEvents,
): Promise<ClosedSource> {
  const now = night.clock.now();
  const closing: Closing = {
    night,
    name,
    source: night.sources.find((source) => source.name === name),
    states: ledger.sources.get(name) ?? new Map(),
    lists: ledger.lists[name] ?? {},
    modeBefore: ledger.asked[name]?.mode ?? undefined,
    staged,
    budget,
    now,
    today: dayOf(now),
    errors: [],
    failed: new Set(),
    lacking: new Set(),
    found: new Set(),
    recovered,
  };
  const { firstDay, days } = daysToClose(closing, ledger.firstDays[name]);
  const outputs = new Map<Day, DayOutput>();
  let listing: SourceListing = { lists: closing.lists };
  let counted: ListCounts = { listed: new Map(), own: new Map() };
  const sealed = new Map<Day, Awaited<ReturnType<DayOutput['seal']>>>();
  const hits = budget.sorter();
  try {
    for (const { missing } of closing.states.values()) for (const id of missing) closing.lacking.add(id);
    listing = await listDue(closing, days);
    await lookUp(closing, staged.days, hits);
    counted = await decide(closing, hits, outputs);
    for (const [day, output] of outputs) {
      try {
        if (closing.failed.has(day)) continue;
        const objects = await output.seal(night.store, folderOf(night, name, day), (key) => ledger.pruned.has(key));
        // Copies of archived events that nobody delivered bring nothing.
        if (objects.parts.length + objects.lateDeliveries.length > 0) sealed.set(day, objects);
      } catch (error) {
        fail(closing, day, error);
      }
    }
  } catch (error) {
    // Staging failed: no day of this source can be trusted to be whole.
    report(closing, null, error);
    const pending = pendingOf(everyCopy(staged.copies));
    const { errors } = closing;
    return { name, entries: new Map(), lists: closing.lists, asked: null, pending, errors, warnings: [] };
  } finally {
    for (const output of outputs.values()) await output.discard();
  }
  const entries = entriesOf(closing, days, outputs, sealed, listing, counted);
  const isLeft = (day: Day) => closing.failed.has(day) || !isTouched(night, day);
  const left = closing.failed.size > 0 || night.days !== undefined;
  const pending = left ? pendingOf(copiesFor(closing, hits, isLeft)) : new Map();
  hits.close();
  staged.copies.close();
  const isFirst = firstDay !== undefined && ledger.firstDays[name] === undefined;
  const { lists } = listing;
  const asked = listing.asked === undefined || listing.asked === 'unknown' ? null : listing.asked;
  const warnings = notListedWarnings(name, entries);
  return { name, entries, ...(isFirst ? { firstDay } : {}), lists, asked, pending, errors: closing.errors, warnings };
}

/** Of days that are settled: their list covers the account and the mode of what was delivered, and yet does not have it. */
function notListedWarnings(source: string, entries: ReadonlyMap<Day, DayEntry>): Problem[] {
  return [...entries].flatMap(([day, { verdict, counts }]) => {
    const { notListed, delivered } = counts;
    if (verdict !== 'complete' || notListed === null || notListed === 0) return [];
    const message = `${notListed} of ${delivered} delivered events are not in Stripe's list`;
    return [{ code: 'delivered_not_listed' as const, source, day, message }];
  });
}

/** From the source's first day on every closed day has an entry (interface.md, A night). */
function daysToClose(closing: Closing, known: Day | undefined): { firstDay: Day | undefined; days: Set<Day> } {
  const { night, source, states, staged, now, today } = closing;
  const newest = newestClosedDay(now, night.lagSeconds);
  const days = new Set<Day>([...states.keys(), ...staged.days]);
  if (source === undefined) return { firstDay: undefined, days };
  const oldestListable = addDays(today, -listableDays);
  let firstDay = known;
  if (firstDay === undefined && night.days === undefined) {
    // One old event must not make years of empty days: it adds its own day alone.
    const earliest = [...days].filter((day) => day >= addDays(today, -maxFirstDays)).sort()[0];
    firstDay = source.listing !== undefined ? oldestListable : (earliest ?? newest);
  }
  const from = [firstDay, source.listing === undefined ? undefined : oldestListable];
  for (const start of from) {
    if (start === undefined) continue;
    for (let day = start; day <= newest; day = addDays(day, 1)) days.add(day);
  }
  for (const day of days) if (!isTouched(night, day)) days.delete(day);
  return { firstDay, days };
}

function isTouched(night: Night, day: Day): boolean {
  return night.days === undefined || night.days.has(day);
}

/** How far back a source without a list may begin. */
const maxFirstDays = 30;
const noHeader = Buffer.alloc(0);

export interface SourceListing {
  readonly lists: ListsKnown;
  /** Undefined where nothing was listed. */
  readonly listing?: Listing;
  /** What can be asked for; `unknown` where the accounts are Stripe's to say and could not be had. Undefined: no list. */
  readonly asked?: AskedScope | 'unknown';
}

/** Lists the days that are due and stages what is found beside the deliveries. */
async function listDue(closing: Closing, days: ReadonlySet<Day>): Promise<SourceListing> {
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
  for (const id of [...listing.missing.values()].flat()) closing.lacking.add(id);
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
    for (const event of decideEvents(closing.staged.copies, hits, closing.night.stagingDirectory)) {
      if (event.line !== undefined) days.add(event.target);
    }
    return days;
  } finally {
    hits.close();
  }
}

/** Finds which staged ids are archived: for Stripe in any day, for others within the window of the look-up. */
async function lookUp(closing: Closing, stagedDays: ReadonlySet<Day>, hits: Sorter): Promise<void> {
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

/** Decides every event and gathers what each day gets. */
async function decide(closing: Closing, hits: Sorter, outputs: Map<Day, DayOutput>): Promise<ListCounts> {
  const { night, name, staged, budget, failed, lacking, recovered } = closing;
  const failures = staged.generationFailures;
  const listed = new Map<Day, number>();
  const own = new Map<Day, number>();
  let events = 0;
  night.progress(`closing ${closing.name}`, events);
  for (const event of decideEvents(staged.copies, hits, night.stagingDirectory)) {
    const { target } = event;
    for (const day of event.listedIn) {
      listed.set(day, (listed.get(day) ?? 0) + 1);
      if (day === target) own.set(day, (own.get(day) ?? 0) + 1);
    }
    if (lacking.size > 0 && lacking.has(event.id)) closing.found.add(event.id);
    if (failed.has(target) || !isTouched(night, target)) continue;
    let output = outputs.get(target);
    if (output === undefined) {
      output = openDayOutput(target, { directory: night.stagingDirectory, budget, recipients: night.recipients });
      outputs.set(target, output);
    }
    await output.add(event);
    if (failures.size > 0) {
      const failure = failures.get(event.id);
      if (failure !== undefined) output.generationFailures.push(failure);
    }
    recovered?.add(name, event);
    events += 1;
    if (events % 10_000 === 0) night.progress(`closing ${closing.name}`, events);
  }
  return { listed, own };
}

export function folderOf(night: Pick<Night, 'prefix' | 'dayPath'>, source: string, day: Day): string {
  const [year, month, date] = day.split('-') as [string, string, string];
  const path = night.dayPath.replaceAll('%Y', year).replaceAll('%m', month).replaceAll('%d', date);
  return `${night.prefix}${source}/${path}`;
}

interface StreamCursors {
  readonly partition?: string | undefined;
  readonly before?: string | undefined;
  readonly after?: string | undefined;
}

function* everyCopy(copies: Sorter): Generator<StreamCursors, void, void> {
  for (const { key, payload } of copies.sorted()) yield decodeCopy(keyText(idKeyOf(key)), payload);
}

/** The copies of all events that belong to such a day: the same decisions as before, made once more. */
function* copiesFor(
  closing: Closing,
  hits: Sorter,
  isWanted: (day: Day) => boolean,
): Generator<StreamCursors, void, void> {
  for (const event of decideEvents(closing.staged.copies, hits, closing.night.stagingDirectory)) {
    if (isWanted(event.target)) yield* event.copies();
  }
}

function pendingOf(copies: Iterable<StreamCursors>): Map<string, CursorRange[]> {
  const pending = new Map<string, CursorRange[]>();
  for (const { partition, before, after } of copies) {
    if (partition === undefined || before === undefined || after === undefined) continue;
    const ranges = pending.get(partition);
    if (ranges === undefined) pending.set(partition, [[BigInt(before), BigInt(after)]]);
    else ranges.push([BigInt(before), BigInt(after)]);
  }
  return pending;
}

function fail(closing: Closing, day: Day, error: unknown): void {
  closing.failed.add(day);
  report(closing, day, error);
}

/** `place` says which of a source's lists or accounts failed. */
function report(closing: Closing, day: Day | null, error: unknown, place?: string): void {
  const code = error instanceof DaybookError ? error.code : 'day_failed';
  const message = place === undefined ? messageOf(error) : `${place}: ${messageOf(error)}`;
  closing.errors.push({ code, source: closing.name, day, message });
  closing.night.log.error({ err: error, source: closing.name, day, place }, 'a day could not be closed');
}
