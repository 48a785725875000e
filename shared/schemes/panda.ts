/**
 * The HMAC headers of panda-hmac: `X-Gu-Tools-HMAC-Token: HMAC <base64 of HMAC-SHA256(secret, date + "\n" + path)>`
 * beside `X-Gu-Tools-HMAC-Date`, an RFC 7231 IMF-fixdate that is signed as written. `path` has neither host nor query.
 *
 * It signs neither body nor method and has no nonce: whoever sees a request can send another body with its headers for
 * ten minutes. Over TLS from servers alone, and Standard Webhooks is to be preferred.
 */
import { createHmac } from 'node:crypto';
import { z } from 'zod';
import { keyFaults, makeKey } from './key-faults.ts';
import { headerOf, type Scheme, type SignedRequest } from './scheme.ts';
import { equalInConstantTime, type Match, type Refusal, verifyWithActive } from './secret-match.ts';
import { hmacKeys, type Secret } from './secrets.ts';
import { name, secrets } from './source-members.ts';

export const pandaToleranceSeconds = 300;

/** A request's credentials; `path` as sent, without the query. */
export interface PandaCredentials {
  readonly token: string | undefined;
  readonly date: string | undefined;
  readonly path: string;
}

type PandaRefusal = Refusal<
  | 'credentials_missing'
  | 'credentials_incomplete'
  | 'token_malformed'
  | 'date_malformed'
  | 'token_mismatch'
  | 'token_secret_expired'
  | 'date_stale'
  | 'date_in_future'
>;

/** The rules of delivery: an active secret, and a date within 5 minutes of now, past and future. Never throws. */
export function verifyPandaDelivery(
  credentials: PandaCredentials,
  secrets: readonly Secret[],
  nowMs: number,
): Match | PandaRefusal {
  const result = verifyWithActive(secrets, nowMs, 'token_secret_expired' as PandaRefusal['code'], (candidates) =>
    verifyPandaToken(credentials, candidates),
  );
  if (!('secret' in result)) return result;
  const ageSeconds = (nowMs - result.signedAtMs) / 1000;
  if (ageSeconds > pandaToleranceSeconds)
    return { code: 'date_stale', detail: `Dated ${Math.floor(ageSeconds)} s ago.` };
  if (ageSeconds < -pandaToleranceSeconds) {
    return { code: 'date_in_future', detail: `Dated ${Math.ceil(-ageSeconds)} s ahead of this clock.` };
  }
  return result;
}

const keyOf = hmacKeys();

/** Whether one of the secrets made the token, whenever that was. */
export function verifyPandaToken(
  { token, date, path }: PandaCredentials,
  secrets: readonly Secret[],
): Match | PandaRefusal {
  if (!token && !date) return { code: 'credentials_missing' };
  if (!token || !date) {
    return { code: 'credentials_incomplete', detail: `The ${token ? 'date' : 'token'} header is not there.` };
  }
  if (!tokenShape.test(token)) return { code: 'token_malformed' };
  const signedAtMs = parseFixdate(date);
  if (signedAtMs === undefined) return { code: 'date_malformed' };
  for (const secret of secrets) {
    const expected = createHmac('sha256', keyOf(secret)!).update(`${date}\n${path}`).digest('base64');
    if (equalInConstantTime(`HMAC ${expected}`, token)) {
      return { secret, signedAtMs, signedheaders: `x-gu-tools-hmac-date: ${date}; x-gu-tools-hmac-token: ${token}` };
    }
  }
  return { code: 'token_mismatch' };
}

/** 32 bytes in base64. Neither this nor a fixdate can hold `; `, so both can stand in `signedheaders`. */
const tokenShape = /^HMAC [A-Za-z0-9+/]{43}=$/;
const fixdateShape = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** Epoch milliseconds of an IMF-fixdate (RFC 7231 §7.1.1.1), undefined for other forms and for days that are none. */
export function parseFixdate(text: string): number | undefined {
  if (!fixdateShape.test(text)) return undefined;
  const instant = Date.parse(text);
  // The way back finds 30 February, a wrong week day and 24:00:00, all of which Date.parse takes.
  return !Number.isNaN(instant) && new Date(instant).toUTCString() === text ? instant : undefined;
}

const tokenHeader = 'x-gu-tools-hmac-token';
const dateHeader = 'x-gu-tools-hmac-date';

export const pandaScheme = {
  sender: 'panda-hmac',
  routes: ['events'],
  kind: 'events',
  source: z.strictObject({ name, scheme: z.literal('panda'), secrets }),
  headers: [[tokenHeader, dateHeader]],
  callerHeader: 'x-gu-tools-service-name',
  howToSign:
    'Send both X-Gu-Tools-HMAC-Date, an RFC 7231 date such as Tue, 15 Nov 1994 08:12:00 GMT, and X-Gu-Tools-HMAC-Token: HMAC, a space, and in base64 the 32 bytes of the HMAC-SHA256 of that date as sent, a line feed, and the path without host and query.',
  verify: (request, secrets, nowMs) => verifyPandaDelivery(credentialsOf(request), secrets, nowMs),
  // It does not sign the body, so it cannot prove whose event it is.
  holds: (evidence, secrets) => 'secret' in verifyPandaToken(credentialsOf(evidence), secrets),
  checkSecret: (text) => keyFaults(text, 'panda'),
  makeSecret: makeKey,
} satisfies Scheme;

function credentialsOf({ headers, path }: SignedRequest): PandaCredentials {
  return { token: headerOf(headers, tokenHeader), date: headerOf(headers, dateHeader), path };
}
