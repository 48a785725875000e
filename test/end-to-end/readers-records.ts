/** Events of Stripe's, as the stream has them and as its readers get them under the default rules. */
import { readersRecord } from '../../ingest/redact/readers-record.ts';
import { compileRules } from '../../ingest/redact/rules.ts';
import { redactionSchema } from '../../shared/redaction.ts';
import { stripeRecord } from '../compactor/books.ts';
import { eachStripeEvent } from '../stripe/events.ts';

export interface StreamedEvent {
  readonly id: string;
  readonly type: string;
  /** The value of its record of the stream. */
  readonly envelope: Buffer;
}

export interface ReadersRecord {
  readonly key: string;
  readonly value: string;
}

export interface StreamedEventsOptions {
  readonly count: number;
  /** The same seed makes the same events. */
  readonly seed: string;
  readonly fromSeconds: number;
  readonly toSeconds: number;
  /** Changes the body of each. */
  readonly change?: (body: StripeBody) => void;
}

export interface StripeBody {
  readonly data: { readonly object: Record<string, unknown> };
}

/** Received 1.5 s after their own time. */
export function streamedEvents({ change, ...options }: StreamedEventsOptions): StreamedEvent[] {
  return [...eachStripeEvent(options)].map(({ id, type, createdSeconds, text }) => {
    const body = JSON.parse(text);
    change?.(body);
    const receivedAt = new Date(createdSeconds * 1000 + 1_500).toISOString();
    const { value } = stripeRecord(change === undefined ? text : JSON.stringify(body), { receivedAt });
    return { id, type, envelope: Buffer.from(value) };
  });
}

const redaction = { ruleOf: compileRules(redactionSchema.parse({})), hashKey: undefined, streamKeys: undefined };

export function passedOn({ id, envelope }: StreamedEvent): ReadersRecord {
  const record = readersRecord(envelope, redaction);
  if ('reason' in record) throw new Error(`${id}: ${record.reason}`);
  return { key: record.key, value: Buffer.from(record.value).toString() };
}
