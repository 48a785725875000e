/** Records of the readers' stream as `daybook-ingest redact` writes them, made of the real events of the fixtures. */
import { eachStripeEvent } from '../stripe/events.ts';

export interface ReadersRecord {
  readonly key: string;
  readonly value: string;
}

/** Received 1.5 s after their own time. The same seed makes the same records. */
export function readersRecords(count: number, seed: string, fromSeconds: number, toSeconds: number): ReadersRecord[] {
  return [...eachStripeEvent({ count, seed, fromSeconds, toSeconds })].map(({ id, createdSeconds, text, type }) => {
    const created = new Date(createdSeconds * 1000).toISOString();
    const ingested = new Date(createdSeconds * 1000 + 1_500).toISOString();
    return recordOf({
      '@timestamp': created,
      ecs: { version: '8.17.0' },
      event: {
        ...{ id, kind: 'event', category: ['api'], type: ['info'], action: type },
        ...{ created, ingested, provider: 'stripe' },
      },
      daybook: { source: 'platform', via: 'webhook', scheme: 'stripe', keyid: '0123456789abcdef', mode: 'test' },
      stripe: JSON.parse(text),
    });
  });
}

export function recordOf(document: {
  readonly event: { readonly id: string };
  readonly [member: string]: unknown;
}): ReadersRecord {
  return { key: document.event.id, value: JSON.stringify(document) };
}
