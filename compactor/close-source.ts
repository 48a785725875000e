/** Closes the days of one source: which days, what the list knows, one line an event, the objects, the entries. */
import { addDays, type Day, dayMs, dayOf } from '../shared/clock.ts';
import { DaybookError, messageOf } from '../shared/errors.ts';
import { findArchivedIds, type IdFilter, openIdFilter } from './archived-ids.ts';
import { decideEvents, lookAheadDays, lookBackDays } from './copies.ts';
import type { CursorRange } from './cursor-ranges.ts';
import { type DayOutput, openDayOutput } from './day-output.ts';
import { keyText, type SortBudget, type Sorter } from './external-sort.ts';
import type { DayState, Ledger } from './ledger.ts';
import { type Listing, listDays } from './list-days.ts';
import type { DayCounts, DayEntry, Verdict } from './manifest.ts';
import type { Night, NightSource, Problem } from './night.ts';
import { copyKey, decodeCopy, encodeCopy, idKeyOf } from './staged-copy.ts';
import { isDue, isListable, listableDays, verdictOf } from './verdict.ts';

/** A source's records of this run, staged while the stream was read. */
export interface StagedSource {
  readonly copies: Sorter;
  readonly ids: IdFilter;
  readonly days: Set<Day>;
  /** Whether a Stripe event is among them: its id is looked up in every archived day. */
  hasStripe: boolean;
}

export interface ClosedSource {
  readonly name: string;
  readonly entries: ReadonlyMap<Day, DayEntry>;
  /** Set when this run is the source's first. */
  readonly firstDay?: Day;
  /** Cursors of records whose day failed or is not touched: they are read again. */
  readonly pending: ReadonlyMap<string, readonly CursorRange[]>;
  readonly errors: readonly Problem[];
}

interface Closing {
  readonly night: Night;
  readonly name: string;
  readonly source: NightSource | undefined;
  readonly states: ReadonlyMap<Day, DayState>;
  readonly staged: StagedSource;
  readonly budget: SortBudget;
  readonly now: Date;
  readonly today: Day;
  readonly errors: Problem[];
  readonly failed: Set<Day>;
}

/** The newest day that ended at least the lag ago. */
export function newestClosedDay(now: Date, lagSeconds: number): Day {
  return dayOf(now.getTime() - lagSeconds * 1000 - dayMs);
}

export function stageSource(budget: SortBudget): StagedSource {
  return { copies: budget.sorter(), ids: openIdFilter(), days: new Set(), hasStripe: false };
}

export async function closeSource(
  night: Night,
  name: string,
  ledger: Ledger,
  staged: StagedSource,
  budget: SortBudget,
): Promise<ClosedSource> {
  const now = night.clock.now();
  const closing: Closing = {
    night,
    name,
    source: night.sources.find((source) => source.name === name),
    states: ledger.sources.get(name) ?? new Map(),
    staged,
    budget,
    now,
    today: dayOf(now),
    errors: [],
    failed: new Set(),
  };
  const { firstDay, days } = daysToClose(closing, ledger.firstDays[name]);
  const outputs = new Map<Day, DayOutput>();
  let listing: Listing | undefined;
  let counted: ListCounts = { listed: new Map(), own: new Map() };
  const sealed = new Map<Day, Awaited<ReturnType<DayOutput['seal']>>>();
  const hits = budget.sorter();
  try {
    listing = await listDue(closing, days);
    await lookUp(closing, staged.days, hits);
    counted = await decide(closing, hits, outputs);
    for (const [day, output] of outputs) {
      try {
        if (!closing.failed.has(day)) sealed.set(day, await output.seal(night.store, folderOf(night, name, day)));
      } catch (error) {
        fail(closing, day, error);
      }
    }
  } catch (error) {
    // Staging failed: no day of this source can be trusted to be whole.
    report(closing, null, error);
    return { name, entries: new Map(), pending: pendingOf(everyCopy(staged.copies)), errors: closing.errors };
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
  return { name, entries, ...(isFirst ? { firstDay } : {}), pending, errors: closing.errors };
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
    const earliest = [...days].sort()[0];
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

const noHeader = Buffer.alloc(0);

/** Lists the days that are due and stages what is found beside the deliveries. */
async function listDue(closing: Closing, days: ReadonlySet<Day>): Promise<Listing | undefined> {
  const { night, source, states, staged, today } = closing;
  if (source?.listing === undefined) return undefined;
  const listable = [...days].filter((day) => isListable(day, today));
  const due = new Set(listable.filter((day) => night.force || isDue(day, states.get(day), false, today)));
  const undecided = listable.filter((day) => !due.has(day) && staged.days.has(day));
  if (undecided.length > 0)
    for (const day of await daysWithNewLines(closing)) if (undecided.includes(day)) due.add(day);
  if (due.size === 0) return undefined;
  let events = 0;
  const listing = await listDays(source.listing, [...due], night.clock, (event, body) => {
    const day = dayOf(event.createdSeconds * 1000);
    const instantMs = event.createdSeconds * 1000;
    const payload = encodeCopy(body, noHeader, { origin: 'listed', kind: 'stripe', day, instantMs });
    staged.copies.add(copyKey(event.id, undefined), payload);
    staged.ids.add(event.id);
    staged.days.add(day);
    staged.hasStripe = true;
    events += 1;
    if (events % 1000 === 0) night.progress(`listing ${closing.name}`, events);
  });
  for (const failure of listing.failures) report(closing, null, failure);
  return listing;
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
  const { night, states, staged } = closing;
  if (staged.copies.entries === 0) return;
  const sorted = [...stagedDays].sort();
  const from = addDays(sorted[0]!, -lookBackDays);
  const to = addDays(sorted.at(-1)!, lookAheadDays);
  const days = [...states].filter(([day]) => staged.hasStripe || (day >= from && day <= to));
  await findArchivedIds(night.store, days, staged.ids, hits, (day, error) => {
    // What was read of its ids may be wrong, so nothing is decided about that day. Stripe's copies of one event are all
    // of one day; any other event of the days around could be a copy of one archived there, so they wait as well.
    const around = (other: Day) => day >= addDays(other, -lookBackDays) && day <= addDays(other, lookAheadDays);
    const failed = [day, ...(staged.hasStripe ? [] : sorted.filter(around))];
    for (const each of new Set(failed)) if (!closing.failed.has(each)) fail(closing, each, error);
  });
}

interface ListCounts {
  /** Per day the ids in its list, and those of them whose line lies in that day. */
  readonly listed: ReadonlyMap<Day, number>;
  readonly own: ReadonlyMap<Day, number>;
}

/** Decides every event and gathers what each day gets. */
async function decide(closing: Closing, hits: Sorter, outputs: Map<Day, DayOutput>): Promise<ListCounts> {
  const { night, staged, budget, failed } = closing;
  const listed = new Map<Day, number>();
  const own = new Map<Day, number>();
  let events = 0;
  for (const event of decideEvents(staged.copies, hits, night.stagingDirectory)) {
    const { target } = event;
    for (const day of event.listedIn) {
      listed.set(day, (listed.get(day) ?? 0) + 1);
      if (day === target) own.set(day, (own.get(day) ?? 0) + 1);
    }
    if (failed.has(target) || !isTouched(night, target)) continue;
    let output = outputs.get(target);
    if (output === undefined) {
      output = openDayOutput(target, { directory: night.stagingDirectory, budget, recipients: night.recipients });
      outputs.set(target, output);
    }
    await output.add(event);
    events += 1;
    if (events % 10_000 === 0) night.progress(`closing ${closing.name}`, events);
  }
  return { listed, own };
}

const noCounts: DayCounts = { delivered: 0, recovered: 0, listed: null, notListed: null, differing: 0, duplicates: 0 };

/** The entries that this run has something to say with. */
function entriesOf(
  closing: Closing,
  days: ReadonlySet<Day>,
  outputs: ReadonlyMap<Day, DayOutput>,
  sealed: ReadonlyMap<Day, Awaited<ReturnType<DayOutput['seal']>>>,
  listing: Listing | undefined,
  counted: ListCounts,
): Map<Day, DayEntry> {
  const { source, states, today, failed } = closing;
  const entries = new Map<Day, DayEntry>();
  const accounts = source?.listing === undefined ? undefined : new Set(source.listing.accounts);
  for (const day of [...new Set([...days, ...sealed.keys()])].sort()) {
    if (failed.has(day)) continue;
    const before = states.get(day);
    const output = outputs.get(day);
    const objects = sealed.get(day);
    const listedAt = listing?.listedAt.get(day);
    const isNew = before === undefined && (source !== undefined || objects !== undefined);
    const facts = {
      listedAt: listedAt ?? before?.listedAt ?? null,
      accounts: [...new Set([...(before?.accounts ?? []), ...(output?.accounts ?? [])])].sort(),
      missing: [
        ...new Set([...(listedAt === undefined ? (before?.missing ?? []) : []), ...(listing?.missing.get(day) ?? [])]),
      ].sort(),
    };
    // The days of a source that is no longer configured stay as they are, but for what still comes.
    const verdict: Verdict | undefined =
      source === undefined && objects === undefined ? before?.verdict : verdictOf(day, facts, accounts, today);
    if (verdict === undefined) continue;
    if (!isNew && objects === undefined && listedAt === undefined && verdict === before?.verdict) continue;
    entries.set(day, {
      parts: objects?.parts ?? [],
      lateDeliveries: objects?.lateDeliveries ?? [],
      verdict,
      ...facts,
      counts: countsOf(before?.counts ?? noCounts, output, listedAt !== undefined, counted, day),
    });
  }
  return entries;
}

function countsOf(
  before: DayCounts,
  output: DayOutput | undefined,
  isListed: boolean,
  counted: ListCounts,
  day: Day,
): DayCounts {
  const delivered = before.delivered + (output?.delivered ?? 0);
  const recovered = before.recovered + (output?.recovered ?? 0);
  const notListed = before.notListed === null ? null : before.notListed + (output?.notListed ?? 0);
  return {
    delivered,
    recovered,
    listed: isListed ? (counted.listed.get(day) ?? 0) : before.listed,
    notListed: isListed ? delivered + recovered - (counted.own.get(day) ?? 0) : notListed,
    differing: before.differing + (output?.differing ?? 0),
    duplicates: before.duplicates + (output?.deliveryLines ?? 0) - (output?.delivered ?? 0),
  };
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

function report(closing: Closing, day: Day | null, error: unknown): void {
  const code = error instanceof DaybookError ? error.code : 'day_failed';
  closing.errors.push({ code, source: closing.name, day, message: messageOf(error) });
  closing.night.log.error({ err: error, source: closing.name, day }, 'a day could not be closed');
}
