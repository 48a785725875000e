/** Closes the days of one source: which days, what the list knows, one line an event, the objects, the entries. */
import { addDays, type Day, dayOf } from '../../shared/clock.ts';
import type { CursorRange } from '../ledger/cursor-ranges.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { DayEntry } from '../ledger/manifest.ts';
import type { Night } from '../night.ts';
import { keyText, type SortBudget, type Sorter } from '../staging/external-sort.ts';
import { decodeCopy, idKeyOf, type StagedCopy } from '../staging/staged-copy.ts';
import type { Quarantine } from '../stream/quarantine.ts';
import { quarantineLine } from '../stream/read-stream.ts';
import {
  type ClosedSource,
  type Closing,
  fail,
  folderOf,
  isTouched,
  newestClosedDay,
  report,
  type SourceListing,
  type StagedSource,
} from './closing.ts';
import { decideEvents } from './copies.ts';
import { entriesOf, type ListCounts } from './day-entries.ts';
import { type DayOutput, openDayOutput } from './day-output.ts';
import { openExceptions, type SourceExceptions } from './exceptions.ts';
import { listDue } from './list-due.ts';
import { lookUp } from './look-up.ts';
import type { RecoveredEvents } from './publish-recovered.ts';
import { listableDays } from './verdict.ts';

export async function closeSource(
  night: Night,
  name: string,
  ledger: Ledger,
  staged: StagedSource,
  budget: SortBudget,
  quarantine: Pick<Quarantine, 'add'>,
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
    warnings: [],
    failed: new Set(),
    lacking: new Set(),
    found: new Set(),
    quarantine,
    recovered,
  };
  const { firstDay, days } = daysToClose(closing, ledger.firstDays[name]);
  const outputs = new Map<Day, DayOutput>();
  let listing: SourceListing = { lists: closing.lists };
  let entries: Map<Day, DayEntry>;
  let exceptions: SourceExceptions | undefined;
  const isPruned = (key: string) => ledger.pruned.has(key);
  const sealed = new Map<Day, Awaited<ReturnType<DayOutput['seal']>>>();
  const hits = budget.sorter();
  try {
    for (const { missing } of closing.states.values()) for (const id of missing) closing.lacking.add(id);
    listing = await listDue(closing, days);
    await lookUp(closing, staged.days, hits);
    exceptions = openExceptions(closing, listing.listing);
    const counted = await decide(closing, hits, outputs, exceptions);
    for (const [day, output] of outputs) {
      try {
        if (closing.failed.has(day)) continue;
        const objects = await output.seal(night.store, folderOf(night, name, day), isPruned);
        // Copies of archived events that nobody delivered bring nothing.
        if (objects.parts.length + objects.lateDeliveries.length > 0) sealed.set(day, objects);
      } catch (error) {
        fail(closing, day, error);
      }
    }
    entries = entriesOf(closing, days, outputs, sealed, listing, counted);
    for (const [day, entry] of entries) {
      try {
        entries.set(day, await exceptions.seal(day, entry, isPruned));
      } catch (error) {
        fail(closing, day, error);
        entries.delete(day);
      }
    }
  } catch (error) {
    // Staging failed: no day of this source can be trusted to be whole.
    report(closing, null, error);
    const pending = pendingOf(everyCopy(staged.copies));
    const { errors } = closing;
    return { name, entries: new Map(), lists: closing.lists, asked: null, failed: null, pending, errors, warnings: [] };
  } finally {
    for (const output of outputs.values()) await output.discard();
    await exceptions?.discard();
  }
  const isLeft = (day: Day) => closing.failed.has(day) || !isTouched(night, day);
  const left = closing.failed.size > 0 || night.days !== undefined;
  const pending = left ? pendingOf(copiesFor(closing, hits, isLeft)) : new Map();
  hits.close();
  staged.copies.close();
  const isFirst = firstDay !== undefined && ledger.firstDays[name] === undefined;
  const { lists } = listing;
  const known = listing.asked === 'unknown' ? null : (listing.asked ?? null);
  const asked = closing.source === undefined ? undefined : known;
  const { errors, warnings } = closing;
  return {
    name,
    entries,
    ...(isFirst ? { firstDay } : {}),
    lists,
    asked,
    failed: [...closing.failed].sort(),
    pending,
    errors,
    warnings,
  };
}

/** From the source's first day on every closed day has an entry. */
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

/** How far back a source without a list may begin. */
const maxFirstDays = 30;

/** Decides every event and gathers what each day gets. */
async function decide(
  closing: Closing,
  hits: Sorter,
  outputs: Map<Day, DayOutput>,
  exceptions: SourceExceptions,
): Promise<ListCounts> {
  const { night, name, staged, budget, failed, lacking, recovered } = closing;
  const failures = staged.generationFailures;
  const listed = new Map<Day, number>();
  const own = new Map<Day, number>();
  let events = 0;
  night.progress(`closing ${closing.name}`, events);
  for (const event of decideEvents(staged.copies, hits, night.stagingDirectory, night.acceptRestored)) {
    const { target } = event;
    for (const day of event.listedIn) {
      listed.set(day, (listed.get(day) ?? 0) + 1);
      if (day === target) own.set(day, (own.get(day) ?? 0) + 1);
    }
    if (lacking.size > 0 && lacking.has(event.id)) closing.found.add(event.id);
    if (failed.has(target) || !isTouched(night, target)) continue;
    if (event.isUnproven) {
      for (const copy of event.copies()) await putAside(closing, copy);
      continue;
    }
    let output = outputs.get(target);
    if (output === undefined) {
      output = openDayOutput(target, { directory: night.stagingDirectory, budget, recipients: night.recipients });
      outputs.set(target, output);
    }
    await output.add(event);
    const noted = exceptions.add(event);
    if (noted !== undefined) await noted;
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

async function putAside({ quarantine }: Closing, copy: StagedCopy): Promise<void> {
  const { partition, before, after, headerBytes, body } = copy;
  // Stripe's list, which is the one origin without a place in the stream, proves itself.
  if (partition === undefined || before === undefined || after === undefined) return;
  const value = Buffer.concat([headerBytes, Buffer.from(',"data":'), body, Buffer.from('}')]);
  const reason = 'record_unproven: repeats an event that is neither archived nor listed';
  const range = [BigInt(before), BigInt(after)] as const;
  await quarantine.add(quarantineLine(partition, BigInt(after), reason, value), partition, range);
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
  for (const event of decideEvents(
    closing.staged.copies,
    hits,
    closing.night.stagingDirectory,
    closing.night.acceptRestored,
  )) {
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
