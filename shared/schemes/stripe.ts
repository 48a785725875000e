/**
 * Stripe's webhook signature: `Stripe-Signature: t=<unix seconds>,v1=<hex>[,v1=<hex>…][,v0=…]`, where v1 is
 * HMAC-SHA256 of `<t>.<raw body>` keyed with the whole `whsec_…` text (docs.stripe.com/webhooks/signature). While a
 * secret is rolled the header has a v1 for each active secret. Other schemes are ignored: v0 is a fake.
 *
 * Stricter than the `stripe` package where that is lax: one `t` only, no time more than the tolerance ahead, and every
 * v1 must look like one. What is accepted here is accepted there.
 */
import { createHmac } from 'node:crypto';
import { z } from 'zod';
import { headerOf, type Scheme, type SecretFault } from './scheme.ts';
import { secretKind, unquoted } from './secret-kind.ts';
import { equalInConstantTime, type Match, type Refusal, verifyWithActive } from './secret-match.ts';
import { hmacKeys, type Secret } from './secrets.ts';
import { name, secretReference, secrets } from './source-members.ts';

export const stripeToleranceSeconds = 300;

type StripeRefusal = Refusal<
  | 'signature_missing'
  | 'signature_malformed'
  | 'signature_mismatch'
  | 'signature_secret_expired'
  | 'signature_stale'
  | 'signature_in_future'
>;

/** The rules of delivery: an active secret, and a signing time within 300 s of now, past and future. Never throws. */
export function verifyStripeDelivery(
  header: string | undefined,
  body: Uint8Array,
  secrets: readonly Secret[],
  nowMs: number,
): Match | StripeRefusal {
  const result = verifyWithActive(secrets, nowMs, 'signature_secret_expired' as StripeRefusal['code'], (candidates) =>
    verifyStripeSignature(header, body, candidates),
  );
  if (!('secret' in result)) return result;
  const ageSeconds = Math.floor(nowMs / 1000) - result.signedAtMs / 1000;
  if (ageSeconds > stripeToleranceSeconds) return { code: 'signature_stale', detail: `Signed ${ageSeconds} s ago.` };
  if (ageSeconds < -stripeToleranceSeconds) {
    return { code: 'signature_in_future', detail: `Signed ${-ageSeconds} s ahead of this clock.` };
  }
  return result;
}

const keyOf = hmacKeys();

/** Whether one of the secrets made the signature, whenever that was: evidence is checked again years later. */
export function verifyStripeSignature(
  header: string | undefined,
  body: Uint8Array,
  secrets: readonly Secret[],
): Match | StripeRefusal {
  if (header === undefined || header === '') return { code: 'signature_missing' };
  const parsed = parseStripeSignature(header);
  if ('code' in parsed) return parsed;
  for (const secret of secrets) {
    const expected = createHmac('sha256', keyOf(secret)!).update(`${parsed.timestamp}.`).update(body).digest('hex');
    for (const signature of parsed.signatures) {
      if (!equalInConstantTime(expected, signature)) continue;
      // Other items prove nothing: whoever sends a signed body once more may add what he likes to the header.
      const signedheaders = `stripe-signature: t=${parsed.timestamp},v1=${signature}`;
      return { secret, signedAtMs: Number(parsed.timestamp) * 1000, signedheaders };
    }
  }
  return { code: 'signature_mismatch' };
}

/** No space, control character, quote, `;` or `\`: the header can stand in `signedheaders` as it is. */
const item = /^([a-z0-9_]+)=([!#-:<-[\]-~]*)$/;
const seconds = /^(?:0|[1-9]\d{0,11})$/;
const hexDigest = /^[0-9a-f]{64}$/;

function parseStripeSignature(header: string): { timestamp: string; signatures: string[] } | StripeRefusal {
  let timestamp: string | undefined;
  const signatures: string[] = [];
  for (const text of header.split(',')) {
    const match = item.exec(text);
    if (match === null) return malformed('An item is not key=value.');
    const [, key, value = ''] = match;
    if (key === 't') {
      if (timestamp !== undefined) return malformed('There is more than one t.');
      if (!seconds.test(value)) return malformed('t is not a time in whole seconds.');
      timestamp = value;
    } else if (key === 'v1') {
      if (!hexDigest.test(value)) return malformed('A v1 is not 64 lower-case hex digits.');
      signatures.push(value);
    }
  }
  if (timestamp === undefined) return malformed('There is no t.');
  if (signatures.length === 0) return malformed('There is no v1.');
  return { timestamp, signatures };
}

function malformed(detail: string): StripeRefusal {
  return { code: 'signature_malformed', detail };
}

const account = z
  .string()
  .regex(/^acct_\w+(?:\/acct_\w+)*$/, 'is not an account id (acct_…), nor the way to one (acct_…/acct_…)');

const source = z.strictObject({
  name,
  scheme: z.literal('stripe'),
  secrets,
  mode: z.enum(['live', 'test']).optional(),
  apiKey: secretReference.optional(),
  /**
   * Connected accounts whose events are listed in the place of the key's own; `all`: those that Stripe names. For the
   * key of an organisation the accounts in it; a connected account of one of these by the way to it (`acct_1/acct_2`).
   */
  accounts: z.union([z.literal('all'), z.array(account).min(1, 'names no account')]).optional(),
  /** Lists thin events too before the first of them was delivered. */
  thinEvents: z.boolean().optional(),
});

const signatureHeader = 'stripe-signature';

export const stripeScheme = {
  sender: 'Stripe',
  routes: ['webhooks'],
  kind: 'stripe',
  source,
  headers: [[signatureHeader]],
  verify: ({ headers, body }, secrets, nowMs) =>
    verifyStripeDelivery(headerOf(headers, signatureHeader), body, secrets, nowMs),
  holds: ({ id, headers, body }, secrets) =>
    'secret' in verifyStripeSignature(headerOf(headers, signatureHeader), body, secrets) &&
    // The body's signature proves the event that the body is, and no other.
    idOf(body) === id,
  checkSecret,
} satisfies Scheme;

function idOf(body: Uint8Array): unknown {
  try {
    return (JSON.parse(Buffer.from(body).toString()) as { id?: unknown } | null)?.id;
  } catch {
    return undefined;
  }
}

/** Stripe's have 32 characters and more behind the prefix. */
const leastSigningSecret = 24;

function checkSecret(text: string): SecretFault[] {
  const { kind, mode } = secretKind(text);
  const hint = "Put the endpoint's signing secret (whsec_…, in the Dashboard under the endpoint) in its place.";
  if (kind === 'other') {
    return [{ status: 'warning', said: "does not begin with whsec_, as Stripe's signing secrets do", hint }];
  }
  if (kind !== 'signing secret') {
    const said = `is a ${kind}${mode === undefined ? '' : ` of ${mode} mode`}, no signing secret`;
    const leaked = ['secret API key', 'restricted API key', 'secret key of an organisation'].includes(kind);
    return [{ status: 'problem', said, hint: leaked ? `${hint} ingest needs no API key.` : hint }];
  }
  if (unquoted(text).length >= leastSigningSecret) return [];
  const said = "is shorter than any of Stripe's: it looks cut off";
  return [{ status: 'warning', said, hint: 'Copy it again from the Dashboard.' }];
}
