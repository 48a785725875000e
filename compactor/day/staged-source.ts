/** A source's records of one run: staged while the stream is read, and beside them what Stripe lists. */
import type { Day } from '../../shared/clock.ts';
import type { GenerationFailure, ThinFacts } from '../../shared/schemes/stripe-thin-events.ts';
import type { SortBudget, Sorter } from '../staging/external-sort.ts';
import type { CopyFacts } from '../staging/staged-copy.ts';
import type { IdFilter } from './archived-ids.ts';

export interface StagedSource {
  readonly copies: Sorter;
  /** The run's, of all sources together: it has one size. */
  readonly ids: IdFilter;
  readonly days: ReadonlySet<Day>;
  /** Whether a Stripe event is among them: its id is looked up in every archived day. */
  readonly hasStripe: boolean;
  /** Whether a thin event was delivered. */
  readonly hasThin: boolean;
  /** By the notice's id. */
  readonly generationFailures: ReadonlyMap<string, GenerationFailure>;
  /** `thin` is given of a delivered thin event, and of a listed one that announces a failure. */
  stage(key: string, payload: readonly Uint8Array[], id: string, facts: CopyFacts, thin?: ThinFacts): void;
  /** What other workers have of the source counts as if it were here. */
  join(others: StagedFacts): void;
}

/** What is known of a source by what was read of it. */
export interface StagedFacts {
  readonly days: readonly Day[];
  readonly hasStripe: boolean;
  readonly hasThin: boolean;
}

export function factsOf({ days, hasStripe, hasThin }: StagedSource): StagedFacts {
  return { days: [...days].sort(), hasStripe, hasThin };
}

export function stageSource(budget: SortBudget, ids: IdFilter): StagedSource {
  const days = new Set<Day>();
  const generationFailures = new Map<string, GenerationFailure>();
  const copies = budget.sorter();
  let hasStripe = false;
  let hasThin = false;
  return {
    copies,
    ids,
    days,
    generationFailures,
    get hasStripe() {
      return hasStripe;
    },
    get hasThin() {
      return hasThin;
    },
    stage(key, payload, id, { day, kind }, thin) {
      copies.add(key, payload);
      ids.add(id);
      days.add(day);
      hasStripe ||= kind === 'stripe';
      if (thin === undefined) return;
      hasThin = true;
      if (thin.generationFailure !== undefined) generationFailures.set(id, thin.generationFailure);
    },
    join(others) {
      for (const day of others.days) days.add(day);
      hasStripe ||= others.hasStripe;
      hasThin ||= others.hasThin;
    },
  };
}
