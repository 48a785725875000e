/**
 * A signature scheme, whole: its part of a source's settings, how a delivery is verified, how evidence is checked again, and
 * what doctor says of it. A new one is a file beside this and a line in schemes.ts: ingest receives it at /webhooks/<source>,
 * the night archives it, `verify --secrets` and doctor know it.
 */
import type { z } from 'zod';
import type { Proven, Refusal } from './secret-match.ts';
import type { Secret } from './secrets.ts';

/** By their names in lower case, as Node gives them. */
export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

/** What a signature may cover. */
export interface SignedRequest {
  readonly headers: Headers;
  /** As sent, without host and query. */
  readonly path: string;
  readonly body: Uint8Array;
}

/** A delivery as it was kept. The headers are those of `signedheaders` alone. */
export interface Evidence extends SignedRequest {
  /** Of the event that it is said to have brought. */
  readonly id: string;
}

/** What a body says of its event. Each member is checked before it is believed. */
export interface EventFacts {
  /** Undefined: the event is known by its content. Only what is signed may be an id. */
  readonly id?: unknown;
  readonly type: unknown;
  readonly subject?: unknown;
  /** RFC 3339. */
  readonly time?: unknown;
}

/** What the text of a secret shows to be wrong with it; `said` goes on after the secret's name. */
export interface SecretFault {
  readonly status: 'warning' | 'problem';
  readonly said: string;
  readonly hint: string;
}

export interface Scheme {
  /** Whose it is, for people: `GitHub`. */
  readonly sender: string;
  /** `webhooks`: one for each source, which the signature has to cover the body for. `events`: one for all callers. */
  readonly routes: readonly ('webhooks' | 'events')[];
  /** What its records are: Stripe's events, or any other. */
  readonly kind: 'stripe' | 'events';
  /** A source of this scheme: `name`, `scheme`, `secrets` or `publicKeys`, and what else it takes. */
  readonly source: z.ZodType;
  /** Sets of names in lower case: a signed request has all of one set. Any one of them tells that it is of this scheme. */
  readonly headers: readonly (readonly string[])[];
  /** Browsers send its header by themselves, to whatever host it belongs to: alone it does not tell of the scheme. */
  readonly isAmbient?: true;
  /** In which a caller may say which source it is. */
  readonly callerHeader?: string;
  /** A body is one event, never an array of them: the signed id is its. */
  readonly oneEvent?: boolean;
  /** The hint where a request is not signed as it should be; undefined: that of the error's code. */
  readonly howToSign?: string;
  /** The rules of delivery: an active secret, a time near now where one is signed. Never throws, never parses the body. */
  verify(request: SignedRequest, secrets: readonly Secret[], nowMs: number): Proven | Refusal;
  /** Whether one of the secrets signed this evidence, whenever that was, and for the event that it is kept for. */
  holds(evidence: Evidence, secrets: readonly Secret[]): boolean;
  checkSecret(text: string): readonly SecretFault[];
  /** A new secret for senders of the scheme. Absent: the sender makes it. */
  makeSecret?(): string;
  /** Of a body that is an object. Those of Stripe and of /events are read by ingest/schemes. */
  describe?(headers: Headers, event: Readonly<Record<string, unknown>>): EventFacts;
  /** What the sender wants to read beside that its event was received. */
  answer?(event: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> | undefined;
}

/** The one value of a header: Node joins repeated ones, and a list is for set-cookie alone. */
export function headerOf(headers: Headers, name: string): string | undefined {
  return headers[name] as string | undefined;
}

/** Whether a request has any of the scheme's headers. */
export function isSignedBy(scheme: Pick<Scheme, 'headers'>, headers: Headers): boolean {
  return scheme.headers.some((set) => set.some((name) => headers[name]));
}

/** The first set that a request has whole. */
export function wholeSetOf<S extends readonly string[]>(sets: readonly S[], headers: Headers): S | undefined {
  return sets.find((set) => set.every((name) => headers[name]));
}

/** Why a request cannot even be looked at by the scheme; undefined where all its headers are there. */
export function missingCredentials(
  scheme: Pick<Scheme, 'headers'>,
  headers: Headers,
): 'credentials_missing' | 'credentials_incomplete' | undefined {
  if (wholeSetOf(scheme.headers, headers) !== undefined) return undefined;
  return isSignedBy(scheme, headers) ? 'credentials_incomplete' : 'credentials_missing';
}
