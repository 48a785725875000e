/**
 * Signatures by HMAC over the body, as most senders make them. What differs from sender to sender is data: which headers,
 * what is signed, how the digest is written.
 *
 * An id or a time that is signed beside the body is kept apart from it by its form: neither has white space, braces or
 * quotes, a time is digits alone, and the body is a JSON object. So nobody can move the end of one into the next and have
 * the same signed text say something else.
 */
import { createHmac } from 'node:crypto';
import { signedIdOf } from './event-facts.ts';
import { type EventFacts, type Headers, missingCredentials, type Scheme, type SignedRequest } from './scheme.ts';
import { equalInConstantTime, type Proven, type Refusal, verifyWithActive } from './secret-match.ts';
import { hmacKeys, type Secret } from './secrets.ts';

export interface BodySigning {
  /** Names of headers, in lower case. */
  readonly signature: string;
  readonly timestamp?: string | undefined;
  readonly id?: string | undefined;
  /** Stands before the digest: `sha256=`. */
  readonly prefix: string;
  /** The header may hold several signatures, a space between them; those with another prefix count for nothing. */
  readonly several?: boolean;
  readonly encoding: 'hex' | 'base64';
  readonly algorithm: 'sha256' | 'sha512';
  /** What is signed: `{body}`, `{timestamp}`, `{id}`, `{path}`, and the texts between them. */
  readonly template: string;
  /** How far a signed time, in whole seconds, may be from now, past and future. Default: 300. */
  readonly toleranceSeconds?: number | undefined;
}

/** What the rest of a scheme says: whose it is, what an event of it is. */
type Rest = Omit<Scheme, 'kind' | 'headers' | 'verify' | 'holds' | 'describe'> & {
  describe(headers: Headers, event: Readonly<Record<string, unknown>>): EventFacts;
};

/**
 * A scheme that signs the body. `signings`: the first whose headers are all there is that of the request. `keyOf`: the
 * HMAC key that the text of a secret stands for; undefined where it stands for none.
 */
export function bodySignatureScheme<R extends Rest>(
  signings: readonly BodySigning[],
  rest: R,
  keyOf: (secret: string) => string | Buffer | undefined = (secret) => secret,
) {
  const all = signings.map((signing) => ({ signing, names: namesOf(signing), parts: partsOf(signing.template) }));
  const hmacKey = hmacKeys(keyOf);
  const headers = all.map(({ names }) => names);

  function prove(request: SignedRequest, secrets: readonly Secret[]): (Proven & Told) | Refusal {
    const found = all.find(({ names }) => names.every((name) => request.headers[name]));
    if (found === undefined) return { code: missingCredentials({ headers }, request.headers)! };
    const { signing, names, parts } = found;
    const told = read(signing, request.headers);
    if ('code' in told) return told;
    for (const secret of secrets) {
      const key = hmacKey(secret);
      if (key === undefined) continue;
      const hmac = createHmac(signing.algorithm, key);
      for (const part of parts) hmac.update(textOf(part, request, told));
      const expected = hmac.digest(signing.encoding);
      const digest = told.digests.find((one) => equalInConstantTime(expected, one));
      if (digest === undefined) continue;
      // Other signatures in the header prove nothing: whoever sends a signed body once more may add what he likes.
      const value = (name: string) =>
        name === signing.signature ? signing.prefix + digest : (request.headers[name] as string);
      return { ...told, secret, signedheaders: names.map((name) => `${name}: ${value(name)}`).join('; ') };
    }
    return { code: 'token_mismatch' };
  }

  return {
    ...rest,
    kind: 'events',
    headers,
    verify(request, secrets, nowMs) {
      const result = verifyWithActive(secrets, nowMs, 'token_secret_expired' as Refusal['code'], (active) =>
        prove(request, active),
      );
      return 'secret' in result ? (outOfTime(result, nowMs) ?? result) : result;
    },
    holds: ({ id, ...request }, secrets) =>
      'secret' in prove(request, secrets) && signedIdOf(rest, request.headers, request.body) === id,
  } satisfies Scheme & R;
}

/** What the headers say, in its form. */
interface Told {
  readonly digests: readonly string[];
  readonly timestamp: string;
  readonly id: string;
  readonly toleranceSeconds: number;
}

const seconds = /^(?:0|[1-9]\d{0,11})$/;
/** Printable ASCII without space, quote, braces and `;`: it can stand in `signedheaders`, and beside the body. */
const signedId = /^[!#-:<-z|~]{1,255}$/;
const digestShapes = {
  hex: { sha256: /^[0-9a-f]{64}$/, sha512: /^[0-9a-f]{128}$/ },
  base64: { sha256: /^[A-Za-z0-9+/]{43}=$/, sha512: /^[A-Za-z0-9+/]{86}==$/ },
};

/** Of headers that are all there. */
function read(signing: BodySigning, headers: Headers): Told | Refusal {
  const { signature, prefix, toleranceSeconds = 300 } = signing;
  const shape = digestShapes[signing.encoding][signing.algorithm];
  const given = headers[signature] as string;
  const digests = (signing.several ? given.split(' ') : [given])
    .filter((item) => item.startsWith(prefix))
    .map((item) => item.slice(prefix.length))
    .filter((digest) => shape.test(digest));
  if (digests.length === 0) {
    return {
      code: 'token_malformed',
      detail: `${signature} must be ${prefix}<${signing.algorithm} in ${signing.encoding}>.`,
    };
  }
  const id = signing.id === undefined ? '' : (headers[signing.id] as string);
  if (signing.id !== undefined && !signedId.test(id)) {
    return { code: 'token_malformed', detail: `${signing.id} has over 255 characters, or some that no id has.` };
  }
  const timestamp = signing.timestamp === undefined ? '' : (headers[signing.timestamp] as string);
  if (signing.timestamp !== undefined && !seconds.test(timestamp)) {
    return { code: 'date_malformed', detail: `${signing.timestamp} is not a time in whole seconds.` };
  }
  return { digests, timestamp, id, toleranceSeconds };
}

function outOfTime({ timestamp, toleranceSeconds }: Told, nowMs: number): Refusal | undefined {
  if (timestamp === '') return undefined;
  const ageSeconds = Math.floor(nowMs / 1000) - Number(timestamp);
  const allowed = `${toleranceSeconds} s are allowed.`;
  if (ageSeconds > toleranceSeconds) return { code: 'date_stale', detail: `Signed ${ageSeconds} s ago; ${allowed}` };
  if (ageSeconds < -toleranceSeconds) {
    return { code: 'date_in_future', detail: `Signed ${-ageSeconds} s ahead of this clock; ${allowed}` };
  }
  return undefined;
}

/** In the order in which evidence has them. */
function namesOf({ id, timestamp, signature }: BodySigning): string[] {
  return [id, timestamp, signature].filter((name) => name !== undefined);
}

function partsOf(template: string): string[] {
  return template.split(/(\{(?:body|timestamp|id|path)\})/).filter((part) => part !== '');
}

function textOf(part: string, { path, body }: SignedRequest, { timestamp, id }: Told): string | Uint8Array {
  if (part === '{body}') return body;
  if (part === '{timestamp}') return timestamp;
  if (part === '{id}') return id;
  return part === '{path}' ? path : part;
}
