/**
 * THE PATH of a legal hold: said by a manifest, and ended by one. What is held no prune names any more; where the store can
 * keep an object from everybody (S3 Object Lock), it is told to as well.
 *
 * A hold is said first and set in the bucket second: who dies in between has a hold that prune keeps, and repeats it. The
 * other way about objects would be locked for a reason that no manifest tells, and nobody would know what to release.
 * A release is the other way about for the same reason: until its manifest is there the hold is in force, and a repeat goes on.
 */
import { DaybookError, messageOf } from '../../shared/errors.ts';
import { inParallel } from '../../shared/parallel.ts';
import type { Logger } from '../../shared/program/log.ts';
import type { ObjectHolder } from '../../shared/store/store.ts';
import { appendSaying, type GrowMeans, type LedgerPlace, loadToGrow, untilWon } from './grow-ledger.ts';
import { type Hold, holdOn } from './holds.ts';
import { type Ledger, prunableOf } from './ledger.ts';
import { unknownSource } from './unknown-source.ts';

export interface HoldReport {
  /** The one that says so: of an earlier run, where a hold is repeated. */
  readonly manifest: number;
  /** Every hold that is in force now. */
  readonly holds: readonly Hold[];
  /** Days with an entry that a hold keeps. */
  readonly days: number;
  /** Objects of these that were pruned before: gone, or about to be. */
  readonly pruned: number;
  /** Objects whose legal hold was set or ended in the bucket; null where the store has no such thing. */
  readonly inBucket: number | null;
}

export interface HoldMeans extends GrowMeans {
  /** Undefined: the store keeps nobody from deleting. */
  readonly holder: ObjectHolder | undefined;
  /** Sources that are configured: one may have no event yet. */
  readonly configured: readonly string[];
}

/**
 * Safe to run at any time beside anything, and to repeat. Rejects with `usage` where the name is taken by another hold or
 * not in force, or neither the archive nor the configuration has the source; with `legal_hold_failed` where the bucket could not be told; else as a night does where the ledger is broken,
 * behind, or contended: nothing is said then.
 */
export function holdArchive(
  place: LedgerPlace & { readonly log: Logger },
  means: HoldMeans,
  change: { readonly hold: Hold } | { readonly release: string },
): Promise<HoldReport> {
  return untilWon(place.log, async () => {
    const ledger = await loadToGrow(place, means);
    if (ledger.head === undefined) throw new DaybookError('usage', { detail: 'there is no archive yet' });
    return 'hold' in change ? begin(place, means, ledger, change.hold) : end(place, means, ledger, change.release);
  });
}

async function begin(place: LedgerPlace, means: HoldMeans, ledger: Ledger, hold: Hold): Promise<HoldReport | 'lost'> {
  const before = ledger.held.get(hold.name);
  if (before !== undefined && !isSame(before, hold)) {
    throw new DaybookError('usage', { detail: `another hold ${hold.name} is in force already` });
  }
  // A mistyped one would keep nothing, and nobody would see it until it is pruned.
  if (before === undefined && hold.source !== null && !ledger.sources.has(hold.source)) {
    if (!means.configured.includes(hold.source)) throw unknownSource(hold.source, ledger);
  }
  const number = before?.manifest ?? (await appendSaying(place, ledger, { holds: [hold] }, means.signer));
  if (number === 'lost') return 'lost';
  // Dies here: it is in force, and prune keeps to it; a repeat sets it in the bucket.
  const inBucket = await setInBucket(means.holder, ledger, hold, () => true);
  const holds = [...[...ledger.held.values()].filter(({ name }) => name !== hold.name), hold];
  return { manifest: number, holds, ...heldDays(ledger, holds), inBucket };
}

async function end(place: LedgerPlace, means: HoldMeans, ledger: Ledger, name: string): Promise<HoldReport | 'lost'> {
  const hold = ledger.held.get(name);
  if (hold === undefined) throw new DaybookError('usage', { detail: `a hold ${name} is not in force` });
  const holds = [...ledger.held.values()].filter((other) => other.name !== name);
  // What another hold keeps is set, not left: one that came since may have been undone by an attempt before this one.
  const inBucket = await setInBucket(
    means.holder,
    ledger,
    hold,
    (source, day) => holdOn(holds, source, day) !== undefined,
  );
  // Dies here: it is in force, and no prune names what others may delete by now; a repeat goes on.
  const number = await appendSaying(place, ledger, { released: [name] }, means.signer);
  if (number === 'lost') return 'lost';
  return { manifest: number, holds, ...heldDays(ledger, holds), inBucket };
}

function isSame(one: Hold, other: Hold): boolean {
  return (['source', 'from', 'to', 'reason'] as const).every((member) => one[member] === other[member]);
}

const requestsAtOnce = 8;

async function setInBucket(
  holder: ObjectHolder | undefined,
  ledger: Ledger,
  hold: Hold,
  isHeld: (source: string, day: string) => boolean,
): Promise<number | null> {
  if (holder === undefined) return null;
  const objects = [...ledger.sources].flatMap(([source, days]) =>
    [...days]
      .filter(([day]) => holdOn([hold], source, day) !== undefined)
      .flatMap(([day, state]) =>
        [...prunableOf(state), ...state.parts.map(({ ids }) => ids)].map(({ key }) => ({
          key,
          held: isHeld(source, day),
        })),
      ),
  );
  let count = 0;
  await inParallel(objects, requestsAtOnce, async ({ key, held }) => {
    if ((await holder.set(key, held)) === 'set') count += 1;
  });
  return count;
}

/** A night that died before it came to this, or could not: those after it do it for it, for so many manifests. */
const manifestsBack = 7;

/**
 * Sets the legal hold on what the newest manifests name of held days: nights go on archiving such days. Resolves with what
 * is to be said where that fails; never rejects, for the night is written.
 */
export async function holdNewObjects(
  openHolder: () => Promise<ObjectHolder | undefined>,
  { head, held, sources }: Ledger,
): Promise<string | undefined> {
  if (held.size === 0 || head === undefined) return undefined;
  const isNew = ({ manifest }: { readonly manifest: number }) => manifest > head.number - manifestsBack;
  const keys = [...sources].flatMap(([source, days]) =>
    [...days]
      .filter(([day]) => holdOn(held.values(), source, day) !== undefined)
      .flatMap(([, { parts, lateDeliveries, exceptions }]) => [
        ...parts.filter(isNew).flatMap(({ key, ids, deliveries }) => [key, ids.key, deliveries?.key ?? []].flat()),
        ...[...lateDeliveries, ...exceptions].filter(isNew).map(({ key }) => key),
      ]),
  );
  if (keys.length === 0) return undefined;
  try {
    const holder = await openHolder();
    if (holder === undefined) return undefined;
    try {
      await inParallel(keys, requestsAtOnce, async (key) => void (await holder.set(key, true)));
    } finally {
      await holder.close();
    }
  } catch (error) {
    return messageOf(error);
  }
  return undefined;
}

function heldDays({ sources, pruned }: Ledger, holds: readonly Hold[]): { days: number; pruned: number } {
  const found = { days: 0, pruned: 0 };
  for (const [source, days] of sources) {
    for (const [day, state] of days) {
      if (holdOn(holds, source, day) === undefined) continue;
      found.days += 1;
      found.pruned += prunableOf(state).filter(({ key }) => pruned.has(key)).length;
    }
  }
  return found;
}
