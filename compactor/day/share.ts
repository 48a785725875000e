/**
 * What one worker has of a source's days, as it tells it to the others, and the sum of what all have. Pure. Every event is one
 * worker's, so numbers add up and ids are nobody else's; a worker that makes the night alone has it all.
 */
import type { Day } from '../../shared/clock.ts';
import type { Decided } from './day-entry.ts';
import type { DayGain, DayObjects } from './day-output.ts';
import type { HandedExceptions } from './exceptions.ts';
import type { WordShare } from './word.ts';

/** Of one day. */
export interface DayShare {
  readonly gain: DayGain | undefined;
  readonly objects: DayObjects | undefined;
  /** What it has against the day, where another worker is to write it. */
  readonly handed: readonly HandedExceptions[];
  /** What it knows of Stripe's word on the day. */
  readonly words: readonly WordShare[];
}

/** Of a source, as JSON can tell it. */
export interface SourceShare {
  readonly days: readonly (readonly [Day, DayShare])[];
  readonly listed: readonly (readonly [Day, number])[];
  readonly own: readonly (readonly [Day, number])[];
  readonly twins: readonly (readonly [Day, number])[];
  readonly lacking: readonly string[];
  readonly failed: readonly Day[];
}

export const nothingGained: DayShare = { gain: undefined, objects: undefined, handed: [], words: [] };

export function shareOf(
  gain: DayGain | undefined,
  objects: DayObjects | undefined,
  handed: HandedExceptions | undefined,
  word: WordShare | undefined,
): DayShare {
  return {
    gain: gain && gainOf(gain),
    objects,
    handed: handed === undefined ? [] : [handed],
    words: word === undefined ? [] : [word],
  };
}

function gainOf(gain: DayGain): DayGain {
  const { delivered, recovered, deliveryLines, differing, accounts, ownAccount, modes, generationFailures } = gain;
  const counts = { delivered, recovered, deliveryLines, differing };
  return { ...counts, accounts: [...accounts], ownAccount, modes: [...modes], generationFailures };
}

export function toldOf(
  { listed, own, twins, lacking }: Decided,
  days: ReadonlyMap<Day, DayShare>,
  failed: ReadonlySet<Day>,
): SourceShare {
  return {
    ...{ days: [...days], listed: [...listed], own: [...own], twins: [...twins] },
    ...{ lacking: [...lacking], failed: [...failed] },
  };
}

export function sumOf(shares: readonly SourceShare[]): {
  readonly days: ReadonlyMap<Day, DayShare>;
  readonly decided: Decided;
  readonly failed: readonly Day[];
} {
  const days = new Map<Day, DayShare>();
  for (const [day, share] of shares.flatMap((of) => of.days)) days.set(day, sumOfDay(days.get(day), share));
  return {
    days,
    decided: {
      listed: sumOfCounts(shares.flatMap(({ listed }) => listed)),
      own: sumOfCounts(shares.flatMap(({ own }) => own)),
      twins: sumOfCounts(shares.flatMap(({ twins }) => twins)),
      lacking: new Set(shares.flatMap(({ lacking }) => lacking)),
    },
    failed: shares.flatMap(({ failed }) => failed),
  };
}

function sumOfDay(a: DayShare | undefined, b: DayShare): DayShare {
  if (a === undefined) return b;
  return {
    gain: a.gain === undefined || b.gain === undefined ? (a.gain ?? b.gain) : sumOfGains(a.gain, b.gain),
    objects:
      a.objects === undefined || b.objects === undefined
        ? (a.objects ?? b.objects)
        : {
            parts: [...a.objects.parts, ...b.objects.parts],
            lateDeliveries: [...a.objects.lateDeliveries, ...b.objects.lateDeliveries],
          },
    handed: [...a.handed, ...b.handed],
    words: [...a.words, ...b.words],
  };
}

function sumOfGains(a: DayGain, b: DayGain): DayGain {
  return {
    delivered: a.delivered + b.delivered,
    recovered: a.recovered + b.recovered,
    deliveryLines: a.deliveryLines + b.deliveryLines,
    differing: a.differing + b.differing,
    accounts: [...a.accounts, ...b.accounts],
    ownAccount: a.ownAccount || b.ownAccount,
    modes: [...a.modes, ...b.modes],
    generationFailures: [...a.generationFailures, ...b.generationFailures],
  };
}

function sumOfCounts(counts: readonly (readonly [Day, number])[]): Map<Day, number> {
  const sum = new Map<Day, number>();
  for (const [day, count] of counts) sum.set(day, (sum.get(day) ?? 0) + count);
  return sum;
}
