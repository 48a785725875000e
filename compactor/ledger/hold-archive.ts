/** THE PATH of a legal hold: said by a manifest, and ended by one. What is held no prune names any more. */
import { DaybookError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/program/log.ts';
import { appendSaying, type GrowMeans, type LedgerPlace, loadToGrow, untilWon } from './grow-ledger.ts';
import { type Hold, holdOn } from './holds.ts';
import { type Ledger, prunableOf } from './ledger.ts';

export interface HoldReport {
  readonly manifest: number;
  /** Every hold that is in force now. */
  readonly holds: readonly Hold[];
  /** Days with an entry that a hold keeps. */
  readonly days: number;
  /** Objects of these that were pruned before: gone, or about to be. */
  readonly pruned: number;
}

/**
 * Safe to run at any time beside anything. Rejects with `usage` where the name is taken, or not in force; else as a night
 * does where the ledger is broken, behind, or contended: nothing is said then.
 */
export function holdArchive(
  place: LedgerPlace & { readonly log: Logger },
  means: GrowMeans,
  change: { readonly hold: Hold } | { readonly release: string },
): Promise<HoldReport> {
  return untilWon(place.log, async () => {
    const ledger = await loadToGrow(place, means);
    const name = 'hold' in change ? change.hold.name : change.release;
    if (ledger.head === undefined) throw new DaybookError('usage', { detail: 'there is no archive yet' });
    if ('hold' in change === ledger.held.has(name)) {
      throw new DaybookError('usage', {
        detail: `a hold ${name} is ${'hold' in change ? 'in force already' : 'not in force'}`,
      });
    }
    const said = 'hold' in change ? { holds: [change.hold] } : { released: [name] };
    const number = await appendSaying(place, ledger, said, means.signer);
    if (number === 'lost') return 'lost';
    // Dies here: it is in force; a repeat says so.
    const others = [...ledger.held.values()].filter((hold) => hold.name !== name);
    const holds = 'hold' in change ? [...others, change.hold] : others;
    return { manifest: number, holds, ...heldDays(ledger, holds) };
  });
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
