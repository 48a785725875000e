/** An event that is archived, or that Stripe listed, as a stream record again: one that nobody delivered. */
import { parseInstant } from '../../shared/clock.ts';
import type { StreamKey } from '../../shared/crypto/stream-seal.ts';
import { isEventId, maxHeaderCharacters, partitionKeyOf, type Via, writeEnvelope } from '../../shared/envelope.ts';
import { isCloudEventLine } from '../../shared/event-line.ts';
import { memberText } from '../../shared/json/json-text.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';

export interface Republishing {
  /** The configured name of the source. */
  readonly source: string;
  /** Why the record is there: Stripe listed it, or it was restored from the archive. */
  readonly via: Extract<Via, 'list' | 'restore'>;
  /** RFC 3339 UTC with milliseconds. */
  readonly receivedAt: string;
  /** Seals the record. */
  readonly streamKey?: StreamKey | undefined;
}

/**
 * The record around a Stripe event as listed, or around a line of the archive: id, type,
 * subject, time and partition key are those that ingest gave the event when it was delivered. Without `signedheaders`,
 * `path` and `keyid`, since nobody signed it; `scheme` is `stripe` for a Stripe event, else `none`. The compactor drops
 * such a record where its id is archived. Undefined where the text is not an event.
 */
export function republishedRecord(line: string, republishing: Republishing): AppendRecord | undefined {
  const event: unknown = JSON.parse(line);
  if (!isObject(event)) return undefined;
  const { id, type } = event;
  if (typeof id !== 'string' || !isEventId(id) || typeof type !== 'string' || type === '') return undefined;
  return isCloudEventLine(event)
    ? cloudEventRecord(event, id, type, line, republishing)
    : stripeRecord(event, id, type, line, republishing);
}

function stripeRecord(
  event: Record<string, unknown>,
  id: string,
  type: string,
  line: string,
  { source, via, receivedAt: receivedat, streamKey }: Republishing,
): AppendRecord | undefined {
  const { created } = event;
  const isThin = event.object === 'v2.core.event';
  const instantMs = typeof created === 'string' ? parseInstant(created) : secondsMs(created);
  if (instantMs === undefined) return undefined;
  const time = typeof created === 'string' ? created : new Date(instantMs).toISOString();
  const objectId = isThin ? idOf(event.related_object) : isObject(event.data) ? idOf(event.data.object) : undefined;
  const subject = objectId === undefined || objectId.length > maxHeaderCharacters ? {} : { subject: objectId };
  const header = { id, source: `/stripe/${source}`, type, ...subject, time, receivedat, via, scheme: 'stripe' };
  return {
    key: partitionKeyOf(id, isThin ? undefined : objectId),
    value: writeEnvelope(header, Buffer.from(line), streamKey),
  };
}

function cloudEventRecord(
  event: Record<string, unknown>,
  id: string,
  type: string,
  line: string,
  { source, via, receivedAt: receivedat, streamKey }: Republishing,
): AppendRecord | undefined {
  const { time, subject } = event;
  const data = memberText(line, 'data');
  if (data === undefined || typeof time !== 'string' || parseInstant(time) === undefined) return undefined;
  const about = typeof subject === 'string' ? { subject } : {};
  const header = { id, source: `/events/${source}`, type, ...about, time, receivedat, via, scheme: 'none' };
  return { key: partitionKeyOf(id), value: writeEnvelope(header, Buffer.from(data), streamKey) };
}

function secondsMs(created: unknown): number | undefined {
  return typeof created === 'number' && Number.isSafeInteger(created) && Math.abs(created) < 8.64e12
    ? created * 1000
    : undefined;
}

function idOf(object: unknown): string | undefined {
  return isObject(object) && typeof object.id === 'string' ? object.id : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
