/** Single requests to Stripe's API, by connection.ts. */
import { DaybookError } from '../../shared/errors.ts';
import type { StripeConnection, StripeRequests } from './connection.ts';

export function openStripeRequests(connection: StripeConnection): StripeRequests {
  // Anything else would fail inside the header code, as if Stripe could not be reached.
  if (!/^[\x21-\x7e]+$/.test(connection.apiKey)) {
    throw new DaybookError('stripe_key_refused', { detail: 'The API key is empty or has characters that no key has' });
  }
  let connected: StripeRequests | undefined;
  let isClosed = false;
  return {
    async get(path, account) {
      // The package is large: a night that asks nothing need not load it.
      const { connectStripe } = await import('./connection.ts');
      if (isClosed) throw new Error('the connection to Stripe is closed');
      connected ??= connectStripe(connection);
      return connected.get(path, account);
    },
    close() {
      isClosed = true;
      connected?.close();
    },
  };
}
