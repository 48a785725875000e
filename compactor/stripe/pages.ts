/** How a list is walked: how large its pages are, and when a walk is one without an end. */
import { DaybookError } from '../../shared/errors.ts';

/**
 * How many items a page is asked for. One that Stripe cannot make in time, or that is larger than we read, is asked for
 * half as large; after each that came it is twice as large again.
 */
export interface PageSize {
  limit(): number;
  halve(): void;
  grow(): void;
}

export function openPageSize(): PageSize {
  const largest = 100;
  let limit = largest;
  return {
    limit: () => limit,
    halve() {
      limit = Math.max(1, Math.floor(limit / 2));
    },
    grow() {
      limit = Math.min(largest, limit * 2);
    },
  };
}

/** Events that one second can hold, by far: there are lists that never end. */
const maxEventsOfSecond = 20_000;

/**
 * Ends a walk that would have no end. A cursor that comes again means a circle; it is found by Brent's algorithm, which
 * keeps one cursor: a walk may have hundreds of thousands.
 */
export function openWalkGuard(): { goOn(cursor: string, eventsOfSecond: number): void; restart(): void } {
  let kept: string | undefined;
  let steps = 0;
  let power = 1;
  const endless = (what: string) => new DaybookError('stripe_answer_malformed', { detail: `Stripe's list ${what}` });
  return {
    goOn(cursor, eventsOfSecond) {
      if (cursor === kept) throw endless('comes back to a cursor that it had');
      if (eventsOfSecond > maxEventsOfSecond) throw endless(`has more than ${maxEventsOfSecond} events of one second`);
      steps += 1;
      if (steps < power) return;
      kept = cursor;
      power *= 2;
      steps = 0;
    },
    restart() {
      kept = undefined;
      steps = 0;
      power = 1;
    },
  };
}
