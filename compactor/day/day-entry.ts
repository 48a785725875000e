/** What a run says of each day of a source: its facts, verdict and counts. */
import type { Day } from '../../shared/clock.ts';
import { type AskedScope, isCovered, type NeededScope } from '../../shared/schemes/stripe-scope.ts';
import type { GenerationFailure } from '../../shared/schemes/stripe-thin-events.ts';
import type { DayCounts, DayEntry, Verdict } from '../ledger/manifest.ts';
import type { Closing } from './closing.ts';
import type { DayGain, DayObjects } from './day-output.ts';
import type { SourceListing } from './list-due.ts';
import { verdictOf } from './verdict.ts';

export interface Decided {
  /** Per day the ids in its list, and those of them whose line lies in that day. */
  readonly listed: ReadonlyMap<Day, number>;
  readonly own: ReadonlyMap<Day, number>;
  /** Per day the lines that nobody delivered, while their twins were (thin.ts). */
  readonly twins: ReadonlyMap<Day, number>;
  /** Ids that are known, and neither archived nor staged. */
  readonly lacking: ReadonlySet<string>;
}

const noCounts: DayCounts = { delivered: 0, recovered: 0, listed: null, notListed: null, differing: 0, duplicates: 0 };

/** The day's entry; undefined where this run has nothing to say of it. */
export function entryOf(
  { source, states, today }: Closing,
  day: Day,
  { listing, asked }: SourceListing,
  decided: Decided,
  output: DayGain | undefined,
  objects: DayObjects | undefined,
): DayEntry | undefined {
  const before = states.get(day);
  const listedAt = listing?.listedAt.get(day);
  const isNew = before === undefined && (source !== undefined || objects !== undefined);
  const needed = neededOf(before, output);
  const wasUnreconciled = before?.verdict === 'unreconciled';
  // Where the accounts could not be had, what was said of the day stays.
  const listed = asked === 'unknown' ? (wasUnreconciled ? nothingAsked : coverOf(needed)) : asked;
  const isListedNow = listed !== undefined && isCovered(needed, listed);
  const lackingNow = [...(listing?.missing.get(day)?.keys() ?? [])];
  const facts = {
    // A listing from before an account of the day was listed is not proof of what that account sent.
    listedAt: listedAt ?? (wasUnreconciled && isListedNow ? null : (before?.listedAt ?? null)),
    ...needed,
    // Once known it stays known until it is archived, also where a later list names it no more.
    missing: [...new Set([...(before?.missing ?? []), ...lackingNow])].filter((id) => decided.lacking.has(id)).sort(),
    generationFailures: failuresOf(before?.generationFailures ?? [], output?.generationFailures ?? []),
  };
  // Once the key is gone nobody can tell whose lists were asked: of a day with accounts what was said of them stays.
  const isDoubtful =
    listed === undefined &&
    needed.accounts.length > 0 &&
    (before?.verdict !== 'complete' || needed.accounts.length > before.accounts.length);
  const proof = isDoubtful ? { ...facts, listedAt: null } : facts;
  // The days of a source that is no longer configured stay as they are, but for what still comes.
  const verdict: Verdict | undefined =
    source === undefined && objects === undefined ? before?.verdict : verdictOf(day, proof, listed, today);
  if (verdict === undefined) return undefined;
  const isShorter = facts.missing.length < (before?.missing.length ?? 0);
  if (!isNew && !isShorter && objects === undefined && listedAt === undefined && verdict === before?.verdict)
    return undefined;
  return {
    parts: objects?.parts ?? [],
    lateDeliveries: objects?.lateDeliveries ?? [],
    verdict,
    ...facts,
    counts: countsOf(before?.counts ?? noCounts, output, {
      isListed: listedAt !== undefined,
      // What could not be had is in Stripe's list all the same.
      listed: (decided.listed.get(day) ?? 0) + lackingNow.length,
      own: decided.own.get(day) ?? 0,
      twins: decided.twins.get(day) ?? 0,
    }),
  };
}

/** What the day's deliveries need to be listed, this run's with those of before. */
function neededOf(before: NeededScope | undefined, output: DayGain | undefined): Required<NeededScope> {
  const union = <T>(a: Iterable<T> = [], b: Iterable<T> = []) => [...new Set([...a, ...b])].sort();
  return {
    accounts: union(before?.accounts, output?.accounts),
    ownAccount: before?.ownAccount === true || output?.ownAccount === true,
    modes: union(before?.modes, output?.modes),
  };
}

const nothingAsked: AskedScope = { accounts: [], ownAccount: false, mode: null };

/** A scope that covers just this. */
function coverOf({ accounts }: NeededScope): AskedScope {
  return { accounts, ownAccount: true, mode: null };
}

/** Each once, by its notice; a notice that tells more takes the place of one that tells less. */
function failuresOf(before: readonly GenerationFailure[], now: readonly GenerationFailure[]): GenerationFailure[] {
  const known = new Map(before.map((failure) => [failure.notice, failure]));
  for (const failure of now) {
    if (known.get(failure.notice)?.eventType == null) known.set(failure.notice, failure);
  }
  return [...known.values()].sort((a, b) => (a.notice < b.notice ? -1 : 1));
}

/** Stripe's word, where it was said. */
export function wordIn({ neverDelivered, unsubscribed, lostAfter2xx }: DayCounts): Partial<DayCounts> {
  if (neverDelivered === undefined || unsubscribed === undefined || lostAfter2xx === undefined) return {};
  return { neverDelivered, unsubscribed, lostAfter2xx };
}

interface Counted {
  readonly isListed: boolean;
  readonly listed: number;
  readonly own: number;
  readonly twins: number;
}

function countsOf(
  before: DayCounts,
  output: DayGain | undefined,
  { isListed, listed, own, twins: found }: Counted,
): DayCounts {
  const delivered = before.delivered + (output?.delivered ?? 0);
  const recovered = before.recovered + (output?.recovered ?? 0);
  const twins = (before.twins ?? 0) + found;
  return {
    delivered,
    recovered,
    ...(twins > 0 ? { twins } : {}),
    ...wordIn(before),
    listed: isListed ? listed : before.listed,
    // To be made exact when their ids are written (exceptions.ts), which adds new lines where nothing was listed.
    notListed: isListed ? delivered + recovered - own : before.notListed,
    differing: before.differing + (output?.differing ?? 0),
    duplicates: before.duplicates + (output?.deliveryLines ?? 0) - (output?.delivered ?? 0),
  };
}
