/** What a life is like and what befalls its runs, drawn from the seed. */
import { addDays, type Day, dayMs } from '../../shared/clock.ts';
import type { RunPlan } from './compactor-run.ts';
import type { Random } from './random.ts';
import type { Numbering } from './simulated-stream.ts';

/** What a life is like, drawn once. */
export interface Circumstances {
  readonly firstDay: Day;
  readonly numbering: Numbering;
  readonly partitions: number;
  /** Records are kept so long; those of an embedded stream until they are committed, too. */
  readonly retainMs: number;
  readonly keepsUncommitted: boolean;
  readonly publishes: boolean;
  readonly thinEvents: boolean;
  readonly hasConnect: boolean;
  /** From which night on `connect` has a second account. */
  readonly secondAccountFrom: number;
  /** So many nights earlier its events come already. */
  readonly secondAccountLead: number;
  readonly keyMissing: readonly { readonly from: number; readonly to: number; readonly source: string }[];
  /** From which night on `billing` is not configured any more. */
  readonly billingUntil: number;
  readonly busiest: number;
  /** How much goes wrong: 0 to 1. */
  readonly misfortune: number;
}

export function drawCircumstances(random: Random, nights: number): Circumstances {
  const someNights = () => {
    const from = random.chance(0.4) ? 0 : random.between(0, nights);
    return { from, to: from + random.between(1, 40), source: random.pick(['platform', 'connect']) };
  };
  return {
    firstDay: addDays('2026-11-20', random.between(0, 700)),
    numbering: random.chance(0.7) ? 'offsets' : 'sequence numbers',
    partitions: random.between(1, 6),
    retainMs: random.pick([3, 7, 8, 8, 30]) * dayMs,
    keepsUncommitted: random.chance(0.5),
    publishes: random.chance(0.5),
    thinEvents: random.chance(0.5),
    hasConnect: random.chance(0.5),
    secondAccountFrom: random.between(1, nights),
    keyMissing: random.chance(0.4) ? [someNights(), someNights()] : [],
    billingUntil: random.chance(0.2) ? random.between(5, nights) : Number.POSITIVE_INFINITY,
    busiest: random.pick([2, 5, 12]),
    misfortune: random.pick([0.1, 0.5, 1]),
    secondAccountLead: random.pick([0, 3, 45]),
  };
}

/** What goes wrong in a run, and when. */
export function planOf(
  name: string,
  night: Random,
  { misfortune, isStreamNew }: { readonly misfortune: number; readonly isStreamNew: boolean },
): RunPlan {
  const isFaulty = night.chance(0.3 * misfortune);
  // Positions of a stream that is no more are taken back first, so more than one commit may be the last.
  const commits = isStreamNew && night.chance(0.5);
  const dies = commits
    ? { at: 'commit', call: night.between(1, 3), after: night.chance(0.5) }
    : night.chance(0.2 * misfortune)
      ? deathOf(night)
      : undefined;
  return {
    name,
    faultRate: isFaulty ? night.pick([0.003, 0.01, 0.05]) : 0,
    dies,
    losesStagingAt: dies === undefined && night.chance(0.02 * misfortune) ? night.between(1, 60) : undefined,
    rivalAt: night.chance(0.1 * misfortune) ? night.between(1, 80) : undefined,
  };
}

function deathOf(night: Random): RunPlan['dies'] {
  const after = night.chance(0.5);
  const [at, calls] = night.pick([
    ['create', 12],
    ['create', 4],
    ['head', 8],
    ['read', 30],
    ['manifest', 1],
    ['manifest', 1],
    ['commit', 1],
    ['publish', 1],
    ['recordBefore', 2],
    ['stream read', 3],
  ] as const);
  return { at, call: night.between(1, calls + 1), after };
}
