/**
 * Closes the days of one source. A step takes what the one before it gave: which days, what the list knows, what is
 * archived, one line an event, and then day by day its objects, its entry, its exceptions.
 */
import { addDays, type Day, dayOf } from '../../shared/clock.ts';
import type { AskedScope } from '../../shared/schemes/stripe-scope.ts';
import type { CursorRange } from '../ledger/cursor-ranges.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { DayEntry } from '../ledger/manifest.ts';
import { gathered, isLeader, isOwn, type Night, type Problem } from '../night.ts';
import { keyText, type SortBudget, type Sorter } from '../staging/external-sort.ts';
import { decodeCopy, idKeyOf, type StagedCopy } from '../staging/staged-copy.ts';
import type { Quarantine } from '../stream/quarantine.ts';
import { quarantineLine } from '../stream/read-stream.ts';
import type { Listing, ListsKnown } from '../stripe/list-days.ts';
import { type Closing, isTouched, newestClosedDay, problemOf } from './closing.ts';
import { decideEvents } from './copies.ts';
import { coverageWarnings } from './coverage.ts';
import { type Decided, entryOf } from './day-entry.ts';
import { type DayOutput, openDayOutput } from './day-output.ts';
import { openExceptions, type SourceExceptions } from './exceptions.ts';
import { listDue } from './list-due.ts';
import { type LookedUp, lookUp } from './look-up.ts';
import type { RecoveredEvents } from './publish-recovered.ts';
import { type DayShare, nothingGained, shareOf, sumOf, toldOf } from './share.ts';
import type { StagedSource } from './staged-source.ts';
import { openTwins, type Twins } from './thin.ts';
import { listableDays } from './verdict.ts';
import { openStripeWord, type StripeWord } from './word.ts';

export interface ClosedSource {
  readonly name: string;
  readonly entries: ReadonlyMap<Day, DayEntry>;
  /** Set when this run is the source's first. */
  readonly firstDay?: Day;
  readonly lists: ListsKnown;
  /** What could be asked for; null where there is no list, or its accounts could not be had. Undefined: not configured. */
  readonly asked: AskedScope | null | undefined;
  /** Days that could not be closed; null for all. */
  readonly failed: readonly Day[] | null;
  /** Cursors of records whose day failed or is not touched: they are read again. */
  readonly pending: ReadonlyMap<string, readonly CursorRange[]>;
  readonly errors: readonly Problem[];
  readonly warnings: readonly Problem[];
}

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
    isPruned: (key) => ledger.pruned.has(key),
  };
  const { firstDay, days } = daysToClose(closing, ledger.firstDays[name]);
  const hits = budget.sorter();
  const outputs = new Map<Day, DayOutput>();
  const twins = openTwins(closing);
  let exceptions: SourceExceptions | undefined;
  const errors: Problem[] = [];
  try {
    const listed = await listDue(closing, days);
    errors.push(...listed.errors);
    const lookedUp = await lookUp(closing, hits, lackingIds(closing, listed.listing));
    for (const [day, error] of lookedUp.damaged) errors.push(problemOf(closing, day, error));
    exceptions = openExceptions(closing, listed.listing);
    const word = openStripeWord(closing, listed.listing);
    const decided = await decide(closing, hits, lookedUp, { outputs, exceptions, twins, word, quarantine, recovered });

    const events = () => decideEvents(staged.copies, hits, night);
    const own = new Map<Day, DayShare>();
    const ownFailed = new Set(lookedUp.damaged.keys());
    const failing = async (day: Day, work: () => Promise<void>) => {
      if (ownFailed.has(day)) return;
      try {
        await work();
      } catch (error) {
        ownFailed.add(day);
        errors.push(problemOf(closing, day, error));
      }
    };
    for (const day of [...new Set([...outputs.keys(), ...(listed.listing?.listedAt.keys() ?? [])])].sort()) {
      await failing(day, async () => {
        const output = outputs.get(day);
        const objects = await output?.seal();
        own.set(day, shareOf(output, objects, await exceptions?.hand(day), word.tell(day, events)));
      });
    }
    // Dies here: parts lie there that no manifest names; the repeat writes its own under the next name.

    const shares = await gathered(night, `${name}-closed`, toldOf(decided, own, ownFailed));
    const whole = sumOf(shares);
    for (const day of whole.failed) ownFailed.add(day);
    const entries = new Map<Day, DayEntry>();
    const warnings: Problem[] = [];
    // What all have of a day is put together by one.
    for (const day of isLeader(night.crew) ? [...new Set([...days, ...whole.days.keys()])].sort() : []) {
      await failing(day, async () => {
        const { gain, objects, handed, words } = whole.days.get(day) ?? nothingGained;
        const entry = entryOf(closing, day, listed, whole.decided, gain, objects);
        if (entry === undefined) return;
        for (const each of handed) await exceptions!.take(day, each);
        word.join(day, words);
        const said = await word.say(day, entry, events);
        const sealed = await exceptions!.seal(day, said.entry, said.lost);
        entries.set(day, sealed.entry);
        errors.push(...said.errors, ...sealed.errors);
        warnings.push(...sealed.warnings);
      });
    }
    if (isLeader(night.crew)) warnings.push(...coverageWarnings(closing, listed, entries));
    const failed = new Set((await gathered(night, `${name}-settled`, [...ownFailed])).flat());

    const isLeft = (day: Day) => failed.has(day) || !isTouched(night, day);
    const isAnyLeft = failed.size > 0 || night.days !== undefined;
    return {
      name,
      entries,
      ...(firstDay !== undefined && ledger.firstDays[name] === undefined ? { firstDay } : {}),
      lists: listed.lists,
      asked: closing.source === undefined ? undefined : ((listed.asked === 'unknown' ? null : listed.asked) ?? null),
      failed: [...failed].sort(),
      pending: isAnyLeft ? pendingOf(copiesFor(closing, hits, isLeft)) : new Map(),
      errors,
      warnings,
    };
  } catch (error) {
    // Of several workers none can go on without this one.
    if (night.crew !== undefined) throw error;
    // Staging failed: no day of this source can be trusted to be whole.
    errors.push(problemOf(closing, null, error));
    const pending = pendingOf(everyCopy(staged.copies));
    return { name, entries: new Map(), lists: closing.lists, asked: null, failed: null, pending, errors, warnings: [] };
  } finally {
    for (const output of outputs.values()) await output.discard();
    exceptions?.discard();
    await twins.close();
    hits.close();
    staged.copies.close();
  }
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

/** Ids that are known and were not to be had, by this run's listing or an earlier one's: those that are this worker's. */
function lackingIds({ night, name, states }: Closing, listing: Listing | undefined): Set<string> {
  const now = [...(listing?.missing.values() ?? [])].flatMap((ofDay) => [...ofDay.keys()]);
  const all = [...[...states.values()].flatMap(({ missing }) => missing), ...now];
  return new Set(all.filter((id) => isOwn(night, name, id)));
}

/** Where decided events go. */
interface Gathered {
  readonly outputs: Map<Day, DayOutput>;
  readonly exceptions: SourceExceptions;
  readonly twins: Twins;
  readonly word: StripeWord;
  readonly quarantine: Pick<Quarantine, 'add'>;
  readonly recovered: RecoveredEvents | undefined;
}

/** Decides every event and gathers what each day gets. */
async function decide(
  closing: Closing,
  hits: Sorter,
  { damaged, lacking: notArchived }: LookedUp,
  { outputs, exceptions, twins, word, quarantine, recovered }: Gathered,
): Promise<Decided> {
  const { night, name, staged } = closing;
  const lacking = new Set(notArchived);
  const listed = new Map<Day, number>();
  const own = new Map<Day, number>();
  let events = 0;
  night.progress(`closing ${name}`, events);
  for (const event of decideEvents(staged.copies, hits, night)) {
    const { target } = event;
    for (const day of event.listedIn) {
      listed.set(day, (listed.get(day) ?? 0) + 1);
      if (day === target) own.set(day, (own.get(day) ?? 0) + 1);
    }
    if (lacking.size > 0) lacking.delete(event.id);
    if (damaged.has(target) || !isTouched(night, target)) continue;
    if (event.isUnproven) {
      for (const copy of event.copies()) await putAside(quarantine, copy);
      continue;
    }
    const output = outputs.get(target) ?? openDayOutput(closing, target);
    outputs.set(target, output);
    await output.add(event);
    exceptions.add(event);
    if (event.isThin) await twins.add(event);
    word.add(event);
    recovered?.add(name, event);
    events += 1;
    if (events % 10_000 === 0) night.progress(`closing ${name}`, events);
  }
  const isOfRun = (day: Day) => !damaged.has(day) && isTouched(night, day);
  const twinsOf = new Map<Day, number>();
  await twins.exchange();
  twins.find(
    () => decideEvents(staged.copies, hits, night),
    isOfRun,
    (day, id) => {
      twinsOf.set(day, (twinsOf.get(day) ?? 0) + 1);
      word.leaveOut(day, id);
    },
  );
  return { listed, own, lacking, twins: twinsOf };
}

async function putAside(quarantine: Pick<Quarantine, 'add'>, copy: StagedCopy): Promise<void> {
  const { partition, position, before, after, headerBytes, body } = copy;
  // Stripe's list, which is the one origin without a place in the stream, proves itself.
  if (partition === undefined || position === undefined || before === undefined || after === undefined) return;
  const value = Buffer.concat([headerBytes, Buffer.from(',"data":'), body, Buffer.from('}')]);
  const reason = 'record_unproven: repeats an event that is neither archived nor listed';
  const range = [BigInt(before), BigInt(after)] as const;
  await quarantine.add(quarantineLine(partition, BigInt(position), reason, value), partition, range);
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
  { night, staged }: Closing,
  hits: Sorter,
  isWanted: (day: Day) => boolean,
): Generator<StreamCursors, void, void> {
  for (const event of decideEvents(staged.copies, hits, night)) {
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
