/** Stripe's sending half, for tests and the demo: signs an event's body and posts it to an endpoint. */
import { createHmac } from 'node:crypto';
import { Stripe } from 'stripe';

export interface SignOptions {
  readonly body: string | Uint8Array;
  /** As many v1 as secrets: while a secret is being rolled, Stripe signs with both. */
  readonly secrets: readonly string[];
  /** Default: now. */
  readonly timestampSeconds?: number;
}

/** A Stripe-Signature header, made from its description: HMAC-SHA256 of `<t>.<body>` under the secret as it is. */
export function signatureHeader({ body, secrets, timestampSeconds = nowSeconds() }: SignOptions): string {
  const signatures = secrets.map((secret) =>
    createHmac('sha256', secret).update(`${timestampSeconds}.`).update(body).digest('hex'),
  );
  return [`t=${timestampSeconds}`, ...signatures.map((signature) => `v1=${signature}`)].join(',');
}

/** The same header made by the `stripe` package, which knows one secret at a time: the oracle. */
export function stripeSignatureHeader(body: string, secret: string, timestampSeconds = nowSeconds()): string {
  return Stripe.webhooks.generateTestHeaderString({ payload: body, secret, timestamp: timestampSeconds });
}

export interface WebhookAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

/** Posts one event. `signature` replaces the header, to send a wrong one; null sends none. Rejects if nobody answers. */
export async function sendWebhook(
  options: SignOptions & { readonly url: URL | string; readonly signature?: string | null },
): Promise<WebhookAnswer> {
  const { url, body, signature = signatureHeader(options) } = options;
  const headers: Record<string, string> = {
    'content-type': 'application/json; charset=utf-8',
    'user-agent': 'Stripe/1.0 (+https://stripe.com/docs/webhooks)',
  };
  if (signature !== null) headers['stripe-signature'] = signature;
  const bytes = typeof body === 'string' ? Buffer.from(body) : Buffer.from(body);
  const response = await fetch(url, { method: 'POST', headers, body: bytes, redirect: 'manual' });
  return { status: response.status, headers: response.headers, body: await response.text() };
}

function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}
