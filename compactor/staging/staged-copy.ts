/**
 * One copy of an event on its way through the night: as it came from the stream, or from Stripe's list.
 *
 * Sorted by (id, receipt, body): the sort key is the id, NUL, the time of receipt (`~` for a listed copy: after all
 * deliveries); the payload begins with the body, so that ties are in the body's order:
 *   body, NUL, envelope header as it came without its closing brace (empty for a listed copy), NUL, facts
 * JSON text holds no raw NUL, so both are found from the end. Two stream records that are equal in every byte are equal
 * up to the facts. Facts are joined by spaces; the accounts, which alone may hold one, are the last.
 */
import type { Day } from '../../shared/clock.ts';
import type { EnvelopeHeader } from '../../shared/envelope.ts';
import type { EventScope } from '../../shared/schemes/stripe-scope.ts';
import { sortKey } from './external-sort.ts';

export type Origin =
  /** A delivery: evidence is kept of it. */
  | 'delivered'
  /** A stream record that nobody delivered: published by an earlier night or a restore. */
  | 'republished'
  /** In Stripe's list. */
  | 'listed';

export interface CopyFacts {
  readonly origin: Origin;
  readonly kind: 'stripe' | 'events';
  /** The copy's own UTC day. */
  readonly day: Day;
  /** Its instant in milliseconds: the claimed time, or of the receipt where none is claimed. */
  readonly instantMs: number;
  /** What list a delivered Stripe event has to be in. */
  readonly scope?: EventScope | undefined;
  /** Where it stands in the stream: its own number there, and the cursors around it. */
  readonly partition?: string | undefined;
  readonly position?: string | undefined;
  readonly before?: string | undefined;
  readonly after?: string | undefined;
}

export interface StagedCopy extends CopyFacts {
  readonly id: string;
  readonly body: Buffer;
  /** Body and header: two copies of which these are equal are one record, published twice. */
  readonly record: Buffer;
  /** The header's bytes without its closing brace, as they came; none of a listed copy. */
  readonly headerBytes: Buffer;
  /** The envelope's header; a listed copy has none. */
  header(): EnvelopeHeader;
}

export function copyKey(id: string, receivedAt: string | undefined): string {
  return sortKey(`${id}\0${receivedAt ?? '~'}`);
}

/** The sort key's part that is the id. */
export function idKeyOf(key: string): string {
  return key.slice(0, key.indexOf('\0'));
}

const nul = Buffer.of(0);
const absent = '-';

/** The payload's pieces, to be joined. */
export function encodeCopy(body: Buffer, headerBytes: Buffer, facts: CopyFacts): Buffer[] {
  const { origin, kind, day, instantMs, scope } = facts;
  const { partition = absent, position = absent, before = absent, after = absent } = facts;
  // As JSON, so that whatever an account holds, no NUL gets in.
  const scopeText = scope === undefined ? '' : JSON.stringify([scope.mode ?? null, ...scope.accounts]);
  const text = `\0${origin} ${kind} ${day} ${instantMs} ${partition} ${position} ${before} ${after} ${scopeText}`;
  return [body, nul, headerBytes, Buffer.from(text)];
}

export function decodeCopy(id: string, payload: Buffer): StagedCopy {
  const factsAt = payload.lastIndexOf(0);
  const headerAt = payload.lastIndexOf(0, factsAt - 1);
  const [origin, kind, day, instantMs, partition, position, before, after, ...scope] = payload
    .toString('utf8', factsAt + 1)
    .split(' ') as [Origin, 'stripe' | 'events', Day, string, string, string, string, string, ...string[]];
  let header: EnvelopeHeader | undefined;
  return {
    id,
    origin,
    kind,
    day,
    instantMs: Number(instantMs),
    partition: partition === absent ? undefined : partition,
    position: position === absent ? undefined : position,
    before: before === absent ? undefined : before,
    after: after === absent ? undefined : after,
    scope: scope[0] === '' ? undefined : scopeOf(scope.join(' ')),
    body: payload.subarray(0, headerAt),
    record: payload.subarray(0, factsAt),
    headerBytes: payload.subarray(headerAt + 1, factsAt),
    header() {
      header ??= JSON.parse(`${payload.toString('utf8', headerAt + 1, factsAt)}}`) as EnvelopeHeader;
      return header;
    },
  };
}

function scopeOf(text: string): EventScope {
  const [mode, ...accounts] = JSON.parse(text) as [EventScope['mode'] | null, ...string[]];
  return { mode: mode ?? undefined, accounts };
}
