/** The calendar of days, and the table of manifests. */
import { addDays, type Day } from '../../shared/clock.ts';
import { daysNearRetention } from '../day/retention.ts';
import { listableDays } from '../day/verdict.ts';
import type { DayState } from '../ledger/ledger.ts';
import {
  daysLeftOf,
  daysOfMonth,
  eventsOf,
  holeInWords,
  isListedSource,
  type Listed,
  listedOf,
  missingOf,
  standingWithout,
  totalsOf,
  wordsOf,
} from './day-words.ts';
import type { KnownArchive } from './ledger-view.ts';
import {
  type Archives,
  apiFormat,
  type Calendar,
  type CalendarDay,
  type CalendarOfSource,
  type DayStanding,
} from './shapes.ts';

/** From where days are looked at. */
export interface Standpoint {
  readonly today: Day;
  /** The newest day that is over for so long that a night could have closed it. */
  readonly newestClosed: Day;
  /** Names of the sources that this process is configured with. */
  readonly sources: readonly string[];
}

/** At most so many holes are told: the newest. */
const maxHoles = 100;

export function archivesOf({ state, manifests }: KnownArchive, before: number, limit: number): Archives {
  const end = Math.min(before - 1, manifests.length);
  const start = Math.max(0, end - limit);
  return {
    format: apiFormat,
    archive: state,
    manifests: manifests.slice(start, end).reverse(),
    next: start > 0 ? start + 1 : null,
  };
}

export function calendarOf(known: KnownArchive, month: string, only: string | undefined, from: Standpoint): Calendar {
  const { ledger, state } = known;
  const names = [...new Set([...from.sources, ...ledger.sources.keys()])].sort();
  const months = new Set<string>();
  for (const days of ledger.sources.values()) for (const day of days.keys()) months.add(day.slice(0, 7));
  return {
    format: apiFormat,
    archive: state,
    month,
    today: from.today,
    months: [...months].sort(),
    sources: names
      .filter((name) => only === undefined || name === only)
      .map((name) => sourceOf(known, name, month, from)),
    holes: ledger.holes.slice(-maxHoles).map(holeInWords),
  };
}

function sourceOf({ ledger }: KnownArchive, source: string, month: string, from: Standpoint): CalendarOfSource {
  const states = ledger.sources.get(source);
  const isListed = isListedSource(ledger, source);
  const context = { isListed, firstDay: ledger.firstDays[source] ?? null, isConfigured: from.sources.includes(source) };
  const days = daysOfMonth(month).map((day) => {
    const known = states?.get(day);
    return { day, state: known, standing: standingOf(day, known, context, from) };
  });
  return {
    source,
    ...context,
    listEdge: isListed ? addDays(from.today, -listableDays) : null,
    days: days.map(({ day, state, standing }) =>
      calendarDay(day, state, standing, listedOf(ledger, source, state), from.today),
    ),
    totals: totalsOf(days),
  };
}

function standingOf(
  day: Day,
  state: DayState | undefined,
  { firstDay, isConfigured }: { readonly firstDay: Day | null; readonly isConfigured: boolean },
  { newestClosed }: Standpoint,
): DayStanding {
  return state?.verdict ?? standingWithout(day, firstDay, newestClosed, isConfigured);
}

/** One day as the calendar has it; a day's own page shows the same. */
export function calendarDay(
  day: Day,
  state: DayState | undefined,
  standing: DayStanding,
  listed: Listed,
  today: Day,
): CalendarDay {
  const { isListed } = listed;
  const near = state === undefined ? [] : daysNearRetention(new Map([['', new Map([[day, state]])]]), today);
  return {
    day,
    standing,
    events: state === undefined ? null : eventsOf(state),
    counts: state?.counts ?? null,
    missing: state === undefined ? null : missingOf(state),
    bytes: state === undefined ? null : state.parts.reduce((sum, { bytes }) => sum + bytes.ciphertext, 0),
    manifest: state?.manifest.number ?? null,
    listedUntil: isListed ? addDays(day, listableDays) : null,
    daysLeft: isListed ? daysLeftOf(day, today) : null,
    isNearRetention: near.length > 0,
    words: wordsOf(day, standing, state, { ...listed, today }),
  };
}
