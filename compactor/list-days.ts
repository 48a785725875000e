/**
 * Asks Stripe's list for the days that are due. Contiguous days are one walk, newest first; where a walk breaks off, the
 * days that it has passed are listed all the same and the others stay due.
 */
import { addDays, type Clock, type Day, dayOf, startOfDayMs } from '../shared/clock.ts';
import { isEventId } from '../shared/envelope.ts';
import { maxNesting, nestingOf } from '../shared/json-text.ts';
import type { ListedEvent, StripeApi } from './list-events.ts';

export interface ListingSource {
  readonly api: StripeApi;
  /** Connected accounts, each with a list of its own; none: the key's own account. */
  readonly accounts: readonly string[];
}

export interface Listing {
  /** The days listed whole, with the start of their listing. */
  readonly listedAt: ReadonlyMap<Day, string>;
  /** Ids known that could not be had, by the day in whose walk they came. */
  readonly missing: ReadonlyMap<Day, readonly string[]>;
  readonly failures: readonly unknown[];
}

export async function listDays(
  source: ListingSource,
  days: readonly Day[],
  clock: Clock,
  found: (event: ListedEvent, body: Buffer) => void,
): Promise<Listing> {
  const listedAt = new Map<Day, string>();
  const missing = new Map<Day, string[]>();
  const failures: unknown[] = [];
  for (const walk of contiguous(days)) {
    const startedAt = clock.now().toISOString();
    let passed: ReadonlySet<Day> = new Set(walk);
    for (const account of source.accounts.length > 0 ? source.accounts : [undefined]) {
      const { days: reached, failure } = await walkDays(source.api, walk, account, found, missing);
      passed = passed.intersection(reached);
      if (failure !== undefined) failures.push(failure);
    }
    for (const day of passed) listedAt.set(day, startedAt);
  }
  return { listedAt, missing, failures };
}

/** One walk over ascending contiguous days. Answers the days that it has left behind. */
async function walkDays(
  api: StripeApi,
  days: readonly Day[],
  account: string | undefined,
  found: (event: ListedEvent, body: Buffer) => void,
  missing: Map<Day, string[]>,
): Promise<{ days: ReadonlySet<Day>; failure?: unknown }> {
  const first = days[0]!;
  let at = days.at(-1)!;
  const window = {
    fromSeconds: startOfDayMs(first) / 1000,
    toSeconds: startOfDayMs(addDays(at, 1)) / 1000,
    ...(account === undefined ? {} : { account }),
  };
  try {
    for await (const page of api.list(window)) {
      for (const event of page) {
        // Without a time of its own it counts for the day that the walk has reached.
        if (event.problem === undefined) at = dayOf(event.createdSeconds * 1000);
        const body = Buffer.from(event.text);
        if (event.problem === undefined && isEventId(event.id) && nestingOf(body) <= maxNesting) found(event, body);
        else missing.set(at, [...(missing.get(at) ?? []), event.id]);
      }
    }
  } catch (failure) {
    return { days: new Set(days.filter((day) => day > at)), failure };
  }
  return { days: new Set(days) };
}

/** Ascending days as runs without a gap. */
export function contiguous(days: readonly Day[]): Day[][] {
  const walks: Day[][] = [];
  for (const day of days.toSorted()) {
    const walk = walks.at(-1);
    if (walk !== undefined && addDays(walk.at(-1)!, 1) === day) walk.push(day);
    else walks.push([day]);
  }
  return walks;
}
