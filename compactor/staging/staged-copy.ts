/**
 * One copy of an event on its way through the night: as it came from the stream, or from Stripe's list.
 *
 * Sorted by (id, receipt, body): the sort key is the id, NUL, the time of receipt (`~` for a listed copy: after all
 * deliveries); the payload begins with the body, so that ties are in the body's order:
 *   body, NUL, envelope header as it came without its closing brace (empty for a listed copy), scope, cursors, trailer
 * The scope is JSON, empty where there is none; the cursors are joined by spaces. The trailer (big
 * endian): u8 origin, kind and whether it is thin, f64 instant, and as u32 where header, scope and cursors begin. Two stream records that are equal
 * in every byte are equal up to the scope.
 */
import { type Day, dayOf } from '../../shared/clock.ts';
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
  /** A thin event of Stripe (`v2.core.event`). */
  readonly isThin?: boolean;
  /** The copy's own UTC day: that of its instant. */
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
const trailerBytes = 1 + 8 + 3 * 4;
const origins: readonly Origin[] = ['delivered', 'republished', 'listed'];
const ofEvents = 0x80;
const ofThin = 0x40;

/** The payload's pieces, to be joined. */
export function encodeCopy(body: Buffer, headerBytes: Buffer, facts: CopyFacts): Buffer[] {
  const { origin, kind, isThin = false, instantMs, scope } = facts;
  const { partition = absent, position = absent, before = absent, after = absent } = facts;
  const scopeText = scope === undefined ? '' : JSON.stringify([scope.mode ?? null, ...scope.accounts]);
  const cursors = `${partition} ${position} ${before} ${after}`;
  const headerAt = body.length + nul.length;
  const scopeAt = headerAt + headerBytes.length;
  const rest = Buffer.allocUnsafe(Buffer.byteLength(scopeText) + Buffer.byteLength(cursors) + trailerBytes);
  const cursorsFrom = rest.write(scopeText);
  let at = cursorsFrom + rest.write(cursors, cursorsFrom);
  at = rest.writeUInt8(origins.indexOf(origin) | (kind === 'events' ? ofEvents : 0) | (isThin ? ofThin : 0), at);
  at = rest.writeDoubleBE(instantMs, at);
  at = rest.writeUInt32BE(headerAt, at);
  at = rest.writeUInt32BE(scopeAt, at);
  rest.writeUInt32BE(scopeAt + cursorsFrom, at);
  return [body, nul, headerBytes, rest];
}

export function decodeCopy(id: string, payload: Buffer): StagedCopy {
  return new DecodedCopy(id, payload);
}

/** A class, since there are millions of them and most are asked for a little of what they tell. */
class DecodedCopy implements StagedCopy {
  readonly id: string;
  readonly origin: Origin;
  readonly kind: 'stripe' | 'events';
  readonly isThin: boolean;
  readonly instantMs: number;
  readonly body: Buffer;
  readonly #payload: Buffer;
  readonly #headerAt: number;
  readonly #scopeAt: number;
  #header: EnvelopeHeader | undefined;

  constructor(id: string, payload: Buffer) {
    const trailerAt = payload.length - trailerBytes;
    const bits = payload[trailerAt]!;
    this.id = id;
    this.origin = origins[bits & ~(ofEvents | ofThin)]!;
    this.kind = (bits & ofEvents) === 0 ? 'stripe' : 'events';
    this.isThin = (bits & ofThin) !== 0;
    this.instantMs = payload.readDoubleBE(trailerAt + 1);
    this.#payload = payload;
    this.#headerAt = payload.readUInt32BE(trailerAt + 9);
    this.#scopeAt = payload.readUInt32BE(trailerAt + 13);
    this.body = payload.subarray(0, this.#headerAt - nul.length);
  }

  get day(): Day {
    return dayOf(this.instantMs);
  }

  get record(): Buffer {
    return this.#payload.subarray(0, this.#scopeAt);
  }

  get headerBytes(): Buffer {
    return this.#payload.subarray(this.#headerAt, this.#scopeAt);
  }

  header(): EnvelopeHeader {
    this.#header ??= JSON.parse(`${this.#payload.toString('utf8', this.#headerAt, this.#scopeAt)}}`) as EnvelopeHeader;
    return this.#header;
  }

  get scope(): EventScope | undefined {
    return scopeOf(this.#payload.toString('utf8', this.#scopeAt, this.#cursorsAt));
  }

  get partition(): string | undefined {
    return this.#cursor(0);
  }

  get position(): string | undefined {
    return this.#cursor(1);
  }

  get before(): string | undefined {
    return this.#cursor(2);
  }

  get after(): string | undefined {
    return this.#cursor(3);
  }

  get #cursorsAt(): number {
    return this.#payload.readUInt32BE(this.#payload.length - 4);
  }

  #cursor(which: number): string | undefined {
    const text = this.#payload.toString('utf8', this.#cursorsAt, this.#payload.length - trailerBytes).split(' ')[which];
    return text === absent ? undefined : text;
  }
}

/** Most copies of a source have the same: the last answer is remembered. */
let lastScope: { readonly text: string; readonly scope: EventScope } | undefined;

function scopeOf(text: string): EventScope | undefined {
  if (text === '') return undefined;
  if (text === lastScope?.text) return lastScope.scope;
  const [mode, ...accounts] = JSON.parse(text) as [EventScope['mode'] | null, ...string[]];
  lastScope = { text, scope: { mode: mode ?? undefined, accounts } };
  return lastScope.scope;
}
