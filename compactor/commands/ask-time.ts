import type { ObjectStore } from '../../shared/store/store.ts';
import type { AskTime } from '../ledger/prove-time.ts';
import type { StripeApi } from '../stripe/list-events.ts';

/** The store's last answer has a date where the store is a server; where it is none, Stripe is asked once. */
export async function askTime(store: ObjectStore, stripe: readonly StripeApi[]): ReturnType<AskTime> {
  const answer = store.answered?.();
  if (answer?.date !== undefined) return [{ whose: store.location, answer }];
  const ofStripe = await stripe[0]?.askTime?.();
  return ofStripe === undefined ? [] : [{ whose: 'Stripe', answer: ofStripe }];
}
