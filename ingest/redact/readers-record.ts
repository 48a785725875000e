/**
 * A record of the stream as its readers get it: one JSON document by the names of the Elastic Common Schema, under the
 * event's id as key. What proves the delivery (signed headers, path, received bytes) is the archive's alone.
 */

import type { StreamKeys } from '../../shared/crypto/stream-seal.ts';
import { checkSeal, type Envelope, readEnvelope, sourceOf } from '../../shared/envelope.ts';
import { modeOf } from '../../shared/schemes/stripe-scope.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';
import { type JsonObject, NotRedactable, parseBody, redactBody } from './redact-body.ts';
import type { RuleFinder } from './rules.ts';

export interface RecordRedaction {
  readonly ruleOf: (source: string, type: string) => RuleFinder;
  readonly hashKey: string | undefined;
  /** Where given, what none of them sealed is not passed on. */
  readonly streamKeys: StreamKeys | undefined;
}

const ecsVersion = '8.17.0';

/** What readers get of a record's value, or why they get nothing: a reason that holds nothing of the record. */
export function readersRecord(
  value: Uint8Array,
  redaction: RecordRedaction,
): AppendRecord | { readonly reason: string } {
  const envelope = readEnvelope(value);
  if ('reason' in envelope) return envelope;
  if (redaction.streamKeys !== undefined) {
    const seal = checkSeal(envelope, redaction.streamKeys);
    if (seal !== 'holds') return { reason: `record_unsealed: the seal is ${sealWords[seal]}` };
  }
  try {
    return { key: envelope.header.id, value: Buffer.from(documentOf(envelope, redaction)) };
  } catch (error) {
    if (error instanceof NotRedactable) return { reason: error.message };
    throw error;
  }
}

const sealWords = { absent: 'not there', 'unknown key': 'of an unknown key', broken: 'not of this record' } as const;

function documentOf({ header, instantMs, data }: Envelope, { ruleOf, hashKey }: RecordRedaction): string {
  const { kind, name: source } = sourceOf(header)!;
  const isStripe = kind === 'stripe';
  const body = parseBody(data);
  if (isStripe && body.id !== header.id) throw new NotRedactable('data has another id than the envelope');
  const mode = isStripe && typeof body.livemode === 'boolean' ? modeOf(body.livemode) : undefined;
  const redacted = redactBody(body, ruleOf(source, header.type), hashKey);
  const at = new Date(instantMs).toISOString();
  const head = JSON.stringify({
    '@timestamp': at,
    ecs: { version: ecsVersion },
    event: {
      id: header.id,
      kind: 'event',
      category: ['api'],
      type: ['info'],
      action: header.type,
      created: header.time === undefined ? undefined : at,
      ingested: header.receivedat,
      provider: isStripe ? 'stripe' : providerOf(body, source),
    },
    daybook: {
      source,
      via: header.via,
      scheme: header.scheme,
      keyid: header.keyid,
      mode,
      // The id of one of Stripe's objects. Of other senders it may be anything: it is in `data`, where rules apply.
      subject: isStripe ? header.subject : undefined,
    },
  });
  return `${head.slice(0, -1)},"${isStripe ? 'stripe' : 'data'}":${redacted}}`;
}

/** The application that sent it, where the events of the source say so, after redaction. */
function providerOf({ app }: JsonObject, source: string): string {
  return typeof app === 'string' && app !== '' ? app : source;
}
