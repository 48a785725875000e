/**
 * One copy of an event on its way through the night: as it came from the stream, or from Stripe's list.
 *
 * Sorted by (id, receipt, body): the sort key is the id, NUL, the time of receipt (`~` for a listed copy: after all
 * deliveries); the payload begins with the body, so that ties are in the body's order:
 *   body, NUL, envelope header JSON (empty for a listed copy), NUL, trailer JSON
 * Neither JSON text can hold a raw NUL, so both are found from the end. Two stream records that are equal in every byte
 * are equal up to the trailer.
 */
import type { Day } from '../shared/clock.ts';
import type { EnvelopeHeader } from '../shared/envelope.ts';
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
  /** The `account` that a delivered Stripe event names. */
  readonly account?: string;
  /** Where it stands in the stream. */
  readonly partition?: string;
  readonly before?: string;
  readonly after?: string;
}

export interface StagedCopy extends CopyFacts {
  readonly id: string;
  readonly body: Buffer;
  /** The envelope's header as JSON text; empty for a listed copy. */
  readonly headerText: string;
  /** Body and header: two copies of which these are equal are one record, published twice. */
  readonly record: Buffer;
}

export function copyKey(id: string, receivedAt: string | undefined): string {
  return sortKey(`${id}\0${receivedAt ?? '~'}`);
}

/** The sort key's part that is the id. */
export function idKeyOf(key: string): string {
  return key.slice(0, key.indexOf('\0'));
}

export function encodeCopy(body: Uint8Array, header: EnvelopeHeader | undefined, facts: CopyFacts): Buffer {
  const tail = `\0${header === undefined ? '' : JSON.stringify(header)}\0${JSON.stringify(facts)}`;
  return Buffer.concat([body, Buffer.from(tail)]);
}

export function decodeCopy(id: string, payload: Buffer): StagedCopy {
  const trailerAt = payload.lastIndexOf(0);
  const headerAt = payload.lastIndexOf(0, trailerAt - 1);
  const facts: CopyFacts = JSON.parse(payload.toString('utf8', trailerAt + 1));
  return {
    ...facts,
    id,
    body: payload.subarray(0, headerAt),
    headerText: payload.toString('utf8', headerAt + 1, trailerAt),
    record: payload.subarray(0, trailerAt),
  };
}
