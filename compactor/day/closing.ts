/** What the steps of one source's closing are given. None of them changes it, but that the listing stages what it finds. */
import { type Day, dayMs, dayOf } from '../../shared/clock.ts';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import type { Mode } from '../../shared/schemes/stripe-scope.ts';
import type { DayState } from '../ledger/ledger.ts';
import type { Night, NightSource, Problem } from '../night.ts';
import type { SortBudget } from '../staging/external-sort.ts';
import type { ListsKnown } from '../stripe/list-days.ts';
import type { StagedSource } from './staged-source.ts';

export interface Closing {
  readonly night: Night;
  readonly name: string;
  /** Undefined where it is not configured any more. */
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
  /** Whether an object was pruned, so that its name is not given again. */
  isPruned(key: string): boolean;
}

/** The newest day that ended at least the lag ago. */
export function newestClosedDay(now: Date, lagSeconds: number): Day {
  return dayOf(now.getTime() - lagSeconds * 1000 - dayMs);
}

export function isTouched(night: Night, day: Day): boolean {
  return night.days === undefined || night.days.has(day);
}

/** Logs a failure, and says it as the report does. `place`: which of a source's lists or accounts failed. */
export function problemOf({ night, name }: Closing, day: Day | null, error: unknown, place?: string): Problem {
  night.log.error(
    { err: error, source: name, day, place },
    day === null ? 'a source could not be done whole' : 'a day could not be closed',
  );
  const code = error instanceof DaybookError ? error.code : 'day_failed';
  const message = place === undefined ? messageOf(error) : `${place}: ${messageOf(error)}`;
  return { code, source: name, day, message };
}

export function folderOf(night: Pick<Night, 'prefix' | 'dayPath'>, source: string, day: Day): string {
  const [year, month, date] = day.split('-') as [string, string, string];
  const path = night.dayPath.replaceAll('%Y', year).replaceAll('%m', month).replaceAll('%d', date);
  return `${night.prefix}${source}/${path}`;
}
