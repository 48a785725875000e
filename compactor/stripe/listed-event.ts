/** What a list is asked for, and what it gives. */

import type { GenerationFailure } from '../../shared/schemes/stripe-thin-events.ts';
import type { StripeAnswer } from './connection.ts';
import type { PageSize } from './pages.ts';
import type { Attempt } from './retry.ts';

export interface ListedEvent {
  readonly id: string;
  /** Milliseconds since the epoch; NaN where the event has no usable time (it has a `problem` then). */
  readonly createdMs: number;
  /** The event's JSON text, verbatim. */
  readonly text: string;
  /** Why the event cannot be used, though it is known: no usable `created`, or one outside of the window. */
  readonly problem?: string;
  readonly livemode?: boolean;
  /** Of the list of thin events. */
  readonly isThin?: true;
  /** Set where the event announces another one that Stripe failed to generate. */
  readonly generationFailure?: GenerationFailure;
}

export interface ListWindow {
  /** `created` from this second on … */
  readonly fromSeconds: number;
  /** … to before this one. */
  readonly toSeconds: number;
  /** A connected account (`acct_…`) instead of the key's own. */
  readonly account?: string;
  /** Snapshot events alone of which Stripe says this: all its webhooks were delivered, or one is pending or failed. */
  readonly delivered?: boolean;
  /** Snapshot events of these types alone, 20 at most. */
  readonly types?: readonly string[];
  /** The list of thin events (GET /v2/core/events) instead of that of snapshot events. */
  readonly thin?: boolean;
}

/**
 * One GET of a page, repeated where that can help: `pathOf` gives the path for a number of items, `read` says what an
 * answer is. Rejects with a DaybookError.
 */
export type Ask = <T>(
  pathOf: (limit: number) => string,
  size: PageSize,
  account: string | undefined,
  read: (answer: StripeAnswer) => Attempt<T>,
) => Promise<T>;
