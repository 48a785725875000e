/** Legal holds: days whose objects no prune may name, from the manifest that says `holds` to the one that says `released`. */
import type { Day } from '../../shared/clock.ts';

export interface Hold {
  /** Under which it is released. */
  readonly name: string;
  /** Null: every source. */
  readonly source: string | null;
  /** The first and the last day, each included; null: without end. Days that are archived later are held too. */
  readonly from: Day | null;
  readonly to: Day | null;
  readonly reason: string;
}

/** A hold that the day is under; undefined: none. */
export function holdOn<H extends Hold>(holds: Iterable<H>, source: string, day: Day): H | undefined {
  for (const hold of holds) {
    if (hold.source !== null && hold.source !== source) continue;
    if ((hold.from === null || day >= hold.from) && (hold.to === null || day <= hold.to)) return hold;
  }
  return undefined;
}

export function describeHold({ name, source, from, to, reason }: Hold): string {
  return `${name}: ${source ?? 'every source'}, ${from ?? 'the first day'} to ${to ?? 'any later day'} (${reason})`;
}
