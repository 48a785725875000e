/** Single requests to Stripe's API, by connection.ts. */
import type { IncomingHttpHeaders } from 'node:http';
import { DaybookError } from '../../shared/errors.ts';

export interface StripeAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The body as sent; `undefined` where it is not UTF-8 or larger than 64 MiB. */
  readonly text: string | undefined;
}

export interface StripeRequests {
  /**
   * GET of a path with its query, for an account in the key's own place where one is given. Rejects only where no whole
   * answer came; never with the key in the error.
   */
  get(path: string, account: string | undefined): Promise<StripeAnswer>;
  /** Ends every connection, also those in use. */
  close(): void;
}

export interface StripeConnection {
  readonly apiKey: string;
  readonly base: URL;
  /** Of a whole exchange. */
  readonly timeoutMs: number;
}

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
