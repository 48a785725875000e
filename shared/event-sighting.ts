/** What a stream record says of the event that is looked for, by its id alone: nothing of its body. */
import { type Day, dayOf } from './clock.ts';
import { readEnvelope, sourceOf } from './envelope.ts';

export interface EventSighting {
  readonly source: string;
  readonly type: string;
  /** The day that it claims; null: before 1970. */
  readonly day: Day | null;
  /** RFC 3339 UTC. */
  readonly receivedAt: string;
  /** `webhook`, `events`: somebody delivered it. `list`, `restore`: daybook put it there. */
  readonly via: string;
  readonly scheme: string;
  /** First 16 hex of the SHA-256 of the secret that proved it. */
  readonly keyid: string | null;
  /** Of the body. */
  readonly bytes: number;
}

/** Tells of a record's value whether it is an envelope of this event. Quick where it is not. */
export function lookFor(id: string): (value: Uint8Array) => EventSighting | undefined {
  const needle = JSON.stringify(id);
  return (value) => {
    if (Buffer.from(value.buffer, value.byteOffset, value.byteLength).indexOf(needle) < 0) return undefined;
    const envelope = readEnvelope(value);
    if ('reason' in envelope || envelope.header.id !== id) return undefined;
    const { header, instantMs, data } = envelope;
    return {
      source: sourceOf(header)!.name,
      type: header.type,
      day: instantMs < 0 ? null : dayOf(instantMs),
      receivedAt: header.receivedat,
      via: header.via,
      scheme: header.scheme,
      keyid: header.keyid ?? null,
      bytes: data.length,
    };
  };
}
