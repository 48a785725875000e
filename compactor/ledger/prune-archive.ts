/**
 * THE PATH of a prune (FORMAT.md, Pruned objects): what has reached its age, said by a manifest first, deleted second. Ids
 * are kept for ever, so that an event is not archived once more; manifests and the quarantine are kept too.
 */
import { addDays, type Day, dayOf } from '../../shared/clock.ts';
import { minPruneDays } from '../../shared/config.ts';
import { DaybookError, type ErrorCode, messageOf } from '../../shared/errors.ts';
import { inParallel } from '../../shared/parallel.ts';
import type { Logger } from '../../shared/program/log.ts';
import type { ObjectRemover, ObjectStore } from '../../shared/store/store.ts';
import { appendSaying, type GrowMeans, type LedgerPlace, loadToGrow, untilWon } from './grow-ledger.ts';
import { holdOn } from './holds.ts';
import { type Ledger, loadLedger, prunableOf } from './ledger.ts';
import { exceptionLines, manifestKey } from './manifest.ts';

/** A day's age is the number of days since it; what belongs to an older one than this is pruned. Undefined: nothing is. */
export interface PruneAges {
  /** Deliveries and late deliveries. */
  readonly evidenceDays?: number | undefined;
  /** Parts, and the exceptions beside them, which hold bodies too. */
  readonly eventDays?: number | undefined;
}

export interface Prune extends LedgerPlace {
  readonly ages: PruneAges;
  /** Undefined: a dry run. */
  readonly apply: PruneMeans | undefined;
  readonly log: Logger;
  progress(step: string, count: number, total?: number): void;
}

export interface PruneMeans extends GrowMeans {
  readonly remover: ObjectRemover;
}

export interface ObjectToPrune {
  readonly key: string;
  readonly source: string;
  readonly day: Day;
  readonly kind: 'part' | 'deliveries' | 'lateDeliveries' | 'exceptions';
  /** Lines in it: events, deliveries, or exceptions. */
  readonly lines: number;
  readonly rule: string;
}

export interface PruneFailure {
  readonly code: ErrorCode;
  readonly key: string;
  readonly message: string;
}

/** `prune --json`. */
export interface PruneReport {
  readonly dryRun: boolean;
  readonly evidenceDays: number | null;
  readonly eventDays: number | null;
  /** The manifest that says so; null in a dry run, and where there was nothing new to say. */
  readonly manifest: number | null;
  /** Pruned by this run, or to be. */
  readonly objects: readonly ObjectToPrune[];
  /** Pruned by an earlier run that did not come to their deletion: keys. */
  readonly unfinished: readonly string[];
  /** Objects that are old enough, and that a legal hold keeps. */
  readonly held: number;
  /** Objects deleted. */
  readonly removed: number;
  /** Those of them whose bytes the store keeps as an older version. */
  readonly hidden: number;
  /** Objects pruned that are still there: the next run deletes them. */
  readonly left: number;
  /** Objects that were not pruned, or pruned and not deleted. */
  readonly failures: readonly PruneFailure[];
}

const removalsAtOnce = 4;
const removalsBetweenLooks = 8;

/**
 * Safe to run at any time beside anything, and to kill at any moment. Rejects as a night does where the ledger is broken,
 * behind, or contended, and where the manifest could not be written: nothing is deleted then.
 */
export async function pruneArchive(prune: Prune): Promise<PruneReport> {
  for (const days of Object.values(prune.ages) as (number | undefined)[]) {
    // Stripe's list reaches back 30 days: what is older is settled, or never will be.
    if (days === undefined || days >= minPruneDays) continue;
    throw new DaybookError('usage', { detail: `nothing younger than ${minPruneDays} days is pruned, so not ${days}` });
  }
  return untilWon(prune.log, () => pruneOnce(prune));
}

async function pruneOnce(prune: Prune): Promise<PruneReport | 'lost'> {
  const { clock, store, prefix, ages, apply } = prune;
  const ledger = await loadToGrow(prune, apply);
  const plan = await planOf(store, prefix, ledger, dayOf(clock.now()), ages);
  const said = {
    dryRun: apply === undefined,
    evidenceDays: ages.evidenceDays ?? null,
    eventDays: ages.eventDays ?? null,
    ...plan,
  };
  const still = plan.objects.length + plan.unfinished.length;
  if (apply === undefined) return { ...said, manifest: null, removed: 0, hidden: 0, left: still };

  let number: number | null = null;
  if (plan.objects.length > 0) {
    const pruned = plan.objects.map(({ key, rule }) => ({ key, rule }));
    const written = await appendSaying(prune, ledger, { pruned }, apply.signer);
    if (written === 'lost') return 'lost';
    number = written;
  }
  // Dies here: the ledger says what is pruned, and it is still there. Both verify; the next prune deletes it.

  const keys = [...plan.unfinished, ...plan.objects.map(({ key }) => key)];
  const removals = await removeUnheld(prune, apply.remover, number ?? ledger.head?.number ?? 0, keys);
  // Dies in between: some are gone, the others are deleted by the next prune.

  const { removed, hidden } = removals;
  const failures = [...plan.failures, ...removals.failures];
  return { ...said, manifest: number, removed, hidden, left: still - removed, failures };
}

interface Plan {
  readonly objects: readonly ObjectToPrune[];
  readonly held: number;
  readonly unfinished: readonly string[];
  readonly failures: readonly PruneFailure[];
}

/** What is due and there. What is due and not there is a fault of the archive, which no manifest must cover up. */
async function planOf(store: ObjectStore, prefix: string, ledger: Ledger, today: Day, ages: PruneAges): Promise<Plan> {
  const isHeld = ({ source, day }: ObjectToPrune) => holdOn(ledger.held.values(), source, day) !== undefined;
  const old = [...objectsDue(ledger, today, ages)];
  const due = old.filter(({ object }) => !isHeld(object));
  const wanted = new Set([
    ...ledger.pruned.keys(),
    ...due.flatMap(({ object, ids }) => [object.key, ids ?? []].flat()),
  ]);
  const there = new Set<string>();
  if (wanted.size > 0) for await (const key of store.list(prefix)) if (wanted.has(key)) there.add(key);
  const objects: ObjectToPrune[] = [];
  const failures: PruneFailure[] = [];
  for (const { object, ids } of due) {
    const { key } = object;
    const missing = [key, ids ?? []].flat().find((each) => !there.has(each));
    if (missing === undefined) objects.push(object);
    else {
      const message = `not pruned, for ${missing === key ? 'it' : missing} is not there, and no manifest says why`;
      failures.push({ code: 'object_missing', key, message });
    }
  }
  // Said to be pruned, and still there: a hold that came since keeps it.
  const kept = heldKeys(ledger);
  const unfinished = [...ledger.pruned.keys()].filter((key) => there.has(key) && !kept.has(key)).sort();
  return { objects, held: old.length - due.length, unfinished, failures };
}

/** `number` is that of the newest manifest known. A prune may take hours: a hold that is said meanwhile keeps what is there. */
async function removeUnheld(prune: Prune, remover: ObjectRemover, number: number, keys: readonly string[]) {
  const { store, prefix, verifyingKeys, progress } = prune;
  const sum = { removed: 0, hidden: 0, failures: [] as PruneFailure[] };
  let newest = number;
  let kept: ReadonlySet<string> = new Set();
  for (let at = 0; at < keys.length && sum.failures.every(({ code }) => code === 'removal_refused'); ) {
    const next = manifestKey(prefix, newest + 1);
    try {
      if ((await store.head(next)) !== undefined) {
        const ledger = await loadLedger(store, prefix, verifyingKeys);
        newest = ledger.head!.number;
        kept = heldKeys(ledger);
      }
    } catch (error) {
      // Nobody can tell what is held: the next prune goes on.
      sum.failures.push(failureOf(next, error));
      break;
    }
    const some = keys.slice(at, at + removalsBetweenLooks).filter((key) => !kept.has(key));
    const { removed, hidden, failures } = await removeAll(remover, some, (step, count) =>
      progress(step, sum.removed + count, keys.length),
    );
    sum.removed += removed;
    sum.hidden += hidden;
    sum.failures.push(...failures);
    at += removalsBetweenLooks;
  }
  return sum;
}

export function heldKeys({ held, sources }: Ledger): ReadonlySet<string> {
  const keys = new Set<string>();
  if (held.size === 0) return keys;
  for (const [source, days] of sources) {
    for (const [day, state] of days) {
      if (holdOn(held.values(), source, day) !== undefined) for (const { key } of prunableOf(state)) keys.add(key);
    }
  }
  return keys;
}

/** `ids`: without them, nothing would tell that the part's events are archived. */
function* objectsDue(
  { sources, pruned }: Ledger,
  today: Day,
  { evidenceDays, eventDays }: PruneAges,
): Generator<{ readonly object: ObjectToPrune; readonly ids?: string }, void, void> {
  const isOlder = (day: Day, days: number | undefined) => days !== undefined && day < addDays(today, -days);
  for (const [source, days] of [...sources].sort(([a], [b]) => (a < b ? -1 : 1))) {
    for (const [day, { parts, lateDeliveries, exceptions }] of [...days].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const place = { source, day };
      if (isOlder(day, evidenceDays)) {
        const rule = `evidenceDays=${evidenceDays}`;
        for (const { deliveries } of parts) {
          if (deliveries === null || pruned.has(deliveries.key)) continue;
          const { key, count: lines } = deliveries;
          yield { object: { key, ...place, kind: 'deliveries', lines, rule } };
        }
        for (const { key, count: lines } of lateDeliveries) {
          if (!pruned.has(key)) yield { object: { key, ...place, kind: 'lateDeliveries', lines, rule } };
        }
      }
      if (!isOlder(day, eventDays)) continue;
      const rule = `eventDays=${eventDays}`;
      for (const { key, events: lines, ids } of parts) {
        if (!pruned.has(key)) yield { object: { key, ...place, kind: 'part', lines, rule }, ids: ids.key };
      }
      for (const { key, counts } of exceptions) {
        const lines = exceptionLines({ counts });
        if (!pruned.has(key)) yield { object: { key, ...place, kind: 'exceptions', lines, rule } };
      }
    }
  }
}

/** Goes on after an object that the store refuses to delete; any other failure ends it, and the rest is left. */
export async function removeAll(remover: ObjectRemover, keys: readonly string[], progress: Prune['progress']) {
  const failures: PruneFailure[] = [];
  let removed = 0;
  let hidden = 0;
  let isEnded = false;
  await inParallel(keys, removalsAtOnce, async (key) => {
    if (isEnded) return;
    try {
      if ((await remover.remove(key)) === 'hidden') hidden += 1;
      removed += 1;
      progress('objects deleted', removed, keys.length);
    } catch (error) {
      const failure = failureOf(key, error);
      isEnded ||= failure.code !== 'removal_refused';
      failures.push(failure);
    }
  });
  return { removed, hidden, failures };
}

function failureOf(key: string, error: unknown): PruneFailure {
  return { code: error instanceof DaybookError ? error.code : 'internal_error', key, message: messageOf(error) };
}
