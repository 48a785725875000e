/** What the steps of one source's closing share. */
import { type Day, dayMs, dayOf } from '../../shared/clock.ts';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import type { AskedScope, Mode } from '../../shared/schemes/stripe-scope.ts';
import type { GenerationFailure } from '../../shared/schemes/stripe-thin-events.ts';
import type { CursorRange } from '../ledger/cursor-ranges.ts';
import type { DayState } from '../ledger/ledger.ts';
import type { DayEntry } from '../ledger/manifest.ts';
import type { Night, NightSource, Problem } from '../night.ts';
import type { SortBudget, Sorter } from '../staging/external-sort.ts';
import type { Quarantine } from '../stream/quarantine.ts';
import type { Listing, ListsKnown } from '../stripe/list-days.ts';
import type { IdFilter } from './archived-ids.ts';
import type { RecoveredEvents } from './publish-recovered.ts';

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
  /** What could be asked for; null where there is no list, or its accounts could not be had. Undefined: not configured. */
  readonly asked: AskedScope | null | undefined;
  /** Days that could not be closed; null for all. */
  readonly failed: readonly Day[] | null;
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
  readonly warnings: Problem[];
  readonly failed: Set<Day>;
  /** Ids that are known and were not to be had, by this run's listing or an earlier one's, and those of them found. */
  readonly lacking: Set<string>;
  readonly found: Set<string>;
  readonly quarantine: Pick<Quarantine, 'add'>;
  readonly recovered: RecoveredEvents | undefined;
}

export interface SourceListing {
  readonly lists: ListsKnown;
  /** Undefined where nothing was listed. */
  readonly listing?: Listing;
  /** What can be asked for; `unknown` where the accounts are Stripe's to say and could not be had. Undefined: no list. */
  readonly asked?: AskedScope | 'unknown';
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

export function isTouched(night: Night, day: Day): boolean {
  return night.days === undefined || night.days.has(day);
}

export function fail(closing: Closing, day: Day, error: unknown): void {
  closing.failed.add(day);
  report(closing, day, error);
}

/** `place` says which of a source's lists or accounts failed. */
export function report(closing: Closing, day: Day | null, error: unknown, place?: string): void {
  const code = error instanceof DaybookError ? error.code : 'day_failed';
  const message = place === undefined ? messageOf(error) : `${place}: ${messageOf(error)}`;
  closing.errors.push({ code, source: closing.name, day, message });
  closing.night.log.error({ err: error, source: closing.name, day, place }, 'a day could not be closed');
}

export function folderOf(night: Pick<Night, 'prefix' | 'dayPath'>, source: string, day: Day): string {
  const [year, month, date] = day.split('-') as [string, string, string];
  const path = night.dayPath.replaceAll('%Y', year).replaceAll('%m', month).replaceAll('%d', date);
  return `${night.prefix}${source}/${path}`;
}
