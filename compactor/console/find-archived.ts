/**
 * In which day and part an event is, told by the `ids.gz` objects alone. An id does not tell its day, and an archive of ten years
 * has thousands of such objects. So first a guess: ids of most senders grow with time, so that a search by halves finds the day in
 * some ten looks. Where that finds nothing all days are looked at, the newest first, for as long as there is time.
 */
import { addDays, type Day } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import { mapAhead } from '../../shared/parallel.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import { type IdSighting, lookForId } from '../day/archived-ids.ts';
import type { DayState } from '../ledger/ledger.ts';
import type { ArchivedEvent, ArchiveSearch, EventQuery, Origin } from './event-shapes.ts';
import type { KnownArchive } from './ledger-view.ts';
import type { VerdictLine } from './shapes.ts';

/** What ids of one sender and kind have in common: `evt_1`. */
const beginning = 5;
/** Days on both sides of a guess that are looked at too. */
const around = 3;
/** Fewer days are quickly looked at all. */
const worthGuessing = 32;
const readAhead = 16;
const maxDamaged = 100;

interface DayToLookAt {
  readonly source: string;
  readonly day: Day;
  readonly state: DayState;
}

/** `isOver` says when there is no more time: what was found by then is told. */
export async function findArchived(
  store: ObjectStore,
  known: KnownArchive,
  { id, source, before }: EventQuery,
  isOver: () => boolean,
): Promise<ArchiveSearch> {
  const { ledger } = known;
  const events: ArchivedEvent[] = [];
  const damaged: { source: string; day: Day; message: string }[] = [];
  const looked = new Set<DayState>();
  let lookedObjects = 0;
  const bySource = [...ledger.sources]
    .filter(([name]) => source === undefined || name === source)
    .map(([name, states]) => daysOf(name, states));
  const all = bySource.flat();

  /** The sightings in a day's parts; whatever is found is noted. */
  async function look({ source: name, day, state }: DayToLookAt): Promise<IdSighting['near'][]> {
    looked.add(state);
    const nears: IdSighting['near'][] = [];
    try {
      for (const part of state.parts) {
        const { isThere, near } = await lookForId(store, part.ids, id, beginning);
        lookedObjects += 1;
        nears.push(near);
        if (isThere) events.push(archivedEvent(known, name, day, state, part));
      }
    } catch (error) {
      if (damaged.length < maxDamaged) damaged.push({ source: name, day, message: messageOf(error) });
    }
    return nears;
  }

  async function guess(days: readonly DayToLookAt[]): Promise<void> {
    let low = 0;
    let high = days.length - 1;
    while (low <= high && !isOver() && events.length === 0) {
      const middle = (low + high) >> 1;
      const nears = (await look(days[middle]!)).filter((near) => near !== undefined);
      if (nears.length === 0) break;
      if (nears.every(({ first }) => id < first)) high = middle - 1;
      else if (nears.every(({ last }) => id > last)) low = middle + 1;
      else low = high = middle;
      if (low === high && looked.has(days[low]!.state)) break;
    }
    const near = days.slice(Math.max(0, low - around), low + around + 1).filter(({ state }) => !looked.has(state));
    for (const day of near) {
      if (isOver() || events.length > 0) return;
      await look(day);
    }
  }

  if (before === undefined) {
    for (const days of bySource) if (days.length >= worthGuessing && events.length === 0) await guess(days);
  }

  const rest = all
    .filter(({ state, day }) => !looked.has(state) && (before === undefined || day < before))
    .sort((a, b) => (a.day < b.day ? 1 : -1));
  for await (const _ of mapAhead(
    until(rest, () => isOver() || events.length > 0),
    readAhead,
    look,
  ));

  // Two endpoints may have brought it to two sources: of Stripe's an event is of one day, wherever it is.
  const foundDays = new Set(events.map(({ day }) => day));
  for (const each of all) if (foundDays.has(each.day) && !looked.has(each.state) && !isOver()) await look(each);

  const left = all.filter(({ state, day }) => !looked.has(state) && (before === undefined || day < before));
  const newest = left.reduce<Day | undefined>(
    (found, { day }) => (found === undefined || day > found ? day : found),
    undefined,
  );
  return {
    events,
    missing: all.filter(({ state }) => isMissing(state, id)).map(({ source: name, day }) => ({ source: name, day })),
    looked: lookedObjects,
    total: all.reduce((sum, { state }) => sum + state.parts.length, 0),
    next: newest === undefined ? null : addDays(newest, 1),
    damaged,
  };
}

/** Days with events, the oldest first. */
function daysOf(source: string, states: ReadonlyMap<Day, DayState>): DayToLookAt[] {
  const days = [...states].filter(([, { parts }]) => parts.length > 0);
  return days.map(([day, state]) => ({ source, day, state })).sort((a, b) => (a.day < b.day ? -1 : 1));
}

function isMissing({ missing, generationFailures }: DayState, id: string): boolean {
  return missing.includes(id) || generationFailures.some(({ notice }) => notice === id);
}

function archivedEvent(
  { ledger, histories, manifests }: KnownArchive,
  source: string,
  day: Day,
  state: DayState,
  part: DayState['parts'][number],
): ArchivedEvent {
  return {
    source,
    day,
    verdict: state.verdict,
    part: part.key,
    manifest: part.manifest,
    archivedAt: manifests[part.manifest - 1]!.createdAt,
    origin: originOf(part.manifest, histories.get(source)?.get(day) ?? []),
    pruned: ledger.pruned.get(part.key) ?? null,
  };
}

/** Of the lines that a manifest added: the counts tell where all of them came the same way. */
function originOf(manifest: number, history: readonly VerdictLine[]): Origin {
  const at = history.findIndex((line) => line.manifest === manifest);
  const [line, before] = [history[at], history[at - 1]];
  if (line === undefined) return 'unknown';
  const recovered = line.recovered - (before?.recovered ?? 0);
  if (recovered === 0) return 'delivered';
  return recovered === line.events - (before?.events ?? 0) ? 'recovered' : 'unknown';
}

async function* until<T>(items: Iterable<T>, isOver: () => boolean): AsyncGenerator<T, void, void> {
  for (const item of items) {
    if (isOver()) return;
    yield item;
  }
}
