/**
 * The cookie of pan-domain authentication, which browsers send to every host of a domain: `base64(payload).base64(signature)`,
 * where the signature is RSA PKCS#1 v1.5 with SHA-256 over the payload's bytes, and the payload is
 * `firstName=…&lastName=…&email=…&system=…&authedIn=a,b&expires=<ms>&multifactor=true|false`, nothing of it escaped.
 *
 * It says who is logged in and nothing of the request: neither body, path nor time. Whoever has it can send anything until it
 * ends, so it is never kept. Evidence has the SHA-256 of the payload in its place, which is what the signature is made over:
 * it can be checked again with the public key alone, and holds neither name nor e-mail address.
 *
 * Stricter than pan-domain-node where that is lax: the address must be of a domain and not only contain it, the user is looked
 * at after `expires` too, and no field may be there twice (a name with `&email=` in it would be another's address).
 */
import { isUtf8 } from 'node:buffer';
import { constants, createHash, publicDecrypt } from 'node:crypto';
import { z } from 'zod';
import { domainName, isAllowedOrigin, originRules } from './origins.ts';
import { parsePublicKeys, publicKeyReference } from './public-keys.ts';
import { type Headers, headerOf, type Scheme } from './scheme.ts';
import { type Proven, type Refusal, verifyWithActive } from './secret-match.ts';
import type { Secret } from './secrets.ts';
import { name } from './source-members.ts';

/** How long after `expires` the cookie is taken: a page that is open cannot send its reader to log in again. */
export const cookieGraceMs = 24 * 3_600_000;

type CookieRefusal = Refusal<
  'no_cookie' | 'invalid_cookie' | 'expired_cookie' | 'invalid_user' | 'origin_refused' | 'cookie_key_unavailable'
>;

const source = z.strictObject({
  name,
  scheme: z.literal('cookie'),
  /** Of the cookie. */
  cookie: z.string().regex(/^[\w!#$%&'*+.^`|~-]+$/, 'is not the name of a cookie'),
  /** Those that are not written here are read again each minute. */
  publicKeys: z.array(publicKeyReference).min(1, 'needs at least one public key'),
  /** An address must be of one of them; their subdomains are others. */
  emailDomains: z
    .array(z.string().regex(domainName, 'is not a domain in lower case, as example.com'))
    .min(1, 'names no domain'),
  /** Whether who has no second factor is refused. */
  multifactor: z.boolean().default(false),
  /** The pages that may send. */
  origins: originRules,
  /** Whether GET /accessed is an event of this source. */
  accessed: z.boolean().default(false),
});
export type CookieSource = z.infer<typeof source>;

/** The rules of delivery. Never throws. */
export function verifyCookieDelivery(
  headers: Headers,
  { cookie, emailDomains, multifactor, origins }: CookieSource,
  secrets: readonly Secret[],
  nowMs: number,
): Proven | CookieRefusal {
  const origin = headerOf(headers, 'origin');
  // Browsers name it with every POST; a program without one acts for itself.
  if (origin !== undefined && !isAllowedOrigin(origin, origins)) return { code: 'origin_refused' };
  const value = cookieNamed(headerOf(headers, 'cookie') ?? '', cookie);
  if (value === undefined) return { code: 'no_cookie' };
  const parsed = parseCookie(value);
  if (parsed === undefined) return invalid('It is not payload and signature in base64, joined by a dot.');
  if (secrets.length === 0) return { code: 'cookie_key_unavailable' };

  const result = verifyWithActive(secrets, nowMs, 'invalid_cookie' as CookieRefusal['code'], (candidates) => {
    const secret = signerOf(parsed, candidates);
    if (secret === undefined) return invalid('None of the public keys made its signature.');
    return { secret, signedheaders: `cookie: ${cookie}=sha256-${parsed.digest}.${parsed.signature}` };
  });
  if (!('secret' in result)) return result;

  const user = parseUser(parsed.payload);
  if (user === undefined) return invalid('Its payload is not that of a login.');
  if (user.expiresMs + cookieGraceMs < nowMs) {
    return { code: 'expired_cookie', detail: `It ended ${Math.floor((nowMs - user.expiresMs) / 1000)} s ago.` };
  }
  if (!emailDomains.includes(user.emailDomain)) {
    return { code: 'invalid_user', detail: 'The address is not of a domain that is taken.' };
  }
  if (multifactor && !user.multifactor) return { code: 'invalid_user', detail: 'There was no second factor.' };
  return result;
}

function invalid(detail: string): CookieRefusal {
  return { code: 'invalid_cookie', detail };
}

/** Of the first cookie of that name: browsers send the one of the longest path first. */
function cookieNamed(header: string, name: string): string | undefined {
  for (const pair of header.split(';')) {
    const text = pair.trim();
    if (!text.startsWith(`${name}=`)) continue;
    const value = text.slice(name.length + 1).replace(/^"(.*)"$/, '$1');
    try {
      // Libraries that set cookies escape `=`, `+` and `/`.
      return decodeURIComponent(value);
    } catch {
      return value;
    }
  }
  return undefined;
}

interface ParsedCookie {
  readonly payload: Buffer;
  /** Of the payload, SHA-256 in base64. */
  readonly digest: string;
  /** In base64. */
  readonly signature: string;
}

function parseCookie(value: string): ParsedCookie | undefined {
  const dot = value.lastIndexOf('.');
  const [payload, signature] = [value.slice(0, Math.max(dot, 0)), value.slice(dot + 1)];
  if (!isBase64(payload) || !isBase64(signature)) return undefined;
  const bytes = Buffer.from(payload, 'base64');
  return { payload: bytes, digest: createHash('sha256').update(bytes).digest('base64'), signature };
}

function isBase64(text: string): boolean {
  return text !== '' && Buffer.from(text, 'base64').toString('base64') === text;
}

/** What stands before a SHA-256 in what PKCS#1 v1.5 signs (RFC 8017, section 9.2, note 1). */
const digestInfo = Buffer.from('3031300d060960864801650304020105000420', 'hex');

function signerOf(
  { digest, signature }: Omit<ParsedCookie, 'payload'>,
  secrets: readonly Secret[],
): Secret | undefined {
  const signed = Buffer.concat([digestInfo, Buffer.from(digest, 'base64')]);
  return secrets.find(({ text }) => {
    try {
      const key = { key: text, padding: constants.RSA_PKCS1_PADDING };
      return publicDecrypt(key, Buffer.from(signature, 'base64')).equals(signed);
    } catch {
      // It is of another key's length, or not padded as a signature is.
      return false;
    }
  });
}

interface CookieUser {
  readonly emailDomain: string;
  readonly expiresMs: number;
  readonly multifactor: boolean;
}

const fields = ['firstName', 'lastName', 'email', 'system', 'authedIn', 'expires', 'multifactor'] as const;

function parseUser(payload: Buffer): CookieUser | undefined {
  if (!isUtf8(payload)) return undefined;
  const pairs = payload
    .toString()
    .split('&')
    .map((pair) => [pair.split('=', 1)[0]!, pair.slice(pair.indexOf('=') + 1)] as const);
  if (fields.some((field) => pairs.filter(([name]) => name === field).length !== 1)) return undefined;
  const values = new Map(pairs);
  if (fields.some((field) => values.get(field) === '')) return undefined;
  const expires = values.get('expires')!;
  const multifactor = values.get('multifactor')!;
  if (!/^\d{1,15}$/.test(expires) || !/^(?:true|false)$/.test(multifactor)) return undefined;
  const [, emailDomain = ''] = /^[^@\s]+@([^@\s]+)$/.exec(values.get('email')!) ?? [];
  return {
    emailDomain: emailDomain.toLowerCase(),
    expiresMs: Number(expires),
    multifactor: multifactor === 'true',
  };
}

/** Of all its sources together; what one of them asks for is known of that source alone, hence `cookieSchemeOf`. */
export const cookieScheme = {
  sender: 'a browser',
  routes: ['events'],
  kind: 'events',
  source,
  headers: [['cookie']],
  isAmbient: true,
  verify: () => ({ code: 'no_cookie' }),
  // It signs who was logged in, and nothing of what was sent: it cannot prove whose event it is.
  holds: ({ headers }, secrets) => {
    const [, digest, signature] = /=sha256-([\w+/]{43}=)\.([\w+/]+=*)$/.exec(headerOf(headers, 'cookie') ?? '') ?? [];
    return digest !== undefined && signerOf({ digest, signature: signature! }, secrets) !== undefined;
  },
  checkSecret: (text) => {
    const parsed = parsePublicKeys(text);
    return 'problem' in parsed ? [{ status: 'problem', said: parsed.problem, hint: 'Give the public key.' }] : [];
  },
} satisfies Scheme;

export function cookieSchemeOf(asked: CookieSource): Scheme {
  const verify: Scheme['verify'] = ({ headers }, secrets, nowMs) =>
    verifyCookieDelivery(headers, asked, secrets, nowMs);
  return { ...cookieScheme, verify };
}
