/** What was put on the stream, as the model of the simulation knows it: read by rules of its own, not by the product's. */

import assert from 'node:assert/strict';
import { type Day, dayOf } from '../../shared/clock.ts';
import { parseStreamKeys } from '../../shared/crypto/stream-seal.ts';
import { readEnvelope, sealAgain } from '../../shared/envelope.ts';
import { canonicalJson } from '../../shared/json/canonical-json.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';

export interface Sent {
  readonly key: string;
  readonly value: Uint8Array;
  /** No envelope that could be archived, whatever the day of the run. */
  readonly isGarbage: boolean;
  readonly source: string;
  readonly kind: 'stripe' | 'events';
  readonly id: string;
  /** Its own day: of the time that it claims, else of its receipt. */
  readonly day: Day;
  readonly instantMs: number;
  readonly receivedAt: string;
  /** The body as received. */
  readonly body: string;
  readonly via: string;
  /** Whether somebody delivered it: published and restored records were not. */
  readonly isDelivered: boolean;
  /** The line of evidence that belongs to it. */
  readonly evidence: string;
  /** Its line in the archive, were it the copy that is kept; `receipt` stands for a time that is not claimed. */
  line(receipt: string): string;
  readonly claimsTime: boolean;
  readonly account: string | undefined;
}

/** A record that is not an envelope, or none that could be archived. */
export function sentGarbage(key: string, value: Uint8Array): Sent {
  return {
    key,
    value,
    isGarbage: true,
    source: '',
    kind: 'events',
    id: '',
    day: '',
    instantMs: Number.NaN,
    receivedAt: '',
    body: '',
    via: '',
    isDelivered: false,
    evidence: '',
    line: () => '',
    claimsTime: false,
    account: undefined,
  };
}

/** What honest writers seal with; the second one is of before. */
export const streamKeys = parseStreamKeys(`${'n'.repeat(32)} ${'b'.repeat(32)}`)!;

/** Sealed, as ingest and the compactor do. An envelope is JSON as a whole, its data the last member. */
export function sentRecord({ key, value: given }: AppendRecord): Sent {
  const envelope = readEnvelope(given);
  assert.ok('header' in envelope);
  const value = envelope.seal === undefined ? sealAgain(envelope, streamKeys[given.byteLength % 2]) : given;
  const text = Buffer.from(value).toString();
  const { data, ...header } = JSON.parse(text);
  const body = text.slice(text.indexOf(',"data":') + 8, -1);
  const [, kind, source] = header.source.split('/');
  const { id, type, subject, time, receivedat, via, scheme, keyid, signedheaders, path } = header;
  const instantMs = Date.parse(time ?? receivedat);
  const account = kind === 'stripe' ? (data.object === 'v2.core.event' ? data.context : data.account) : undefined;
  return {
    key,
    value,
    isGarbage: false,
    source,
    kind,
    id,
    day: dayOf(instantMs),
    instantMs,
    receivedAt: receivedat,
    body,
    via,
    isDelivered: via === 'webhook' || via === 'events',
    evidence: JSON.stringify({ id, receivedat, via, scheme, keyid, signedheaders, path, body }),
    claimsTime: time !== undefined,
    account: account ?? undefined,
    line(receipt) {
      if (kind === 'stripe') return canonicalJson(body);
      const members = { datacontenttype: 'application/json', id, source: header.source, specversion: '1.0' };
      const around = JSON.stringify({ ...members, subject, time: time ?? receipt, type });
      return canonicalJson(`${around.slice(0, -1)},"data":${body}}`);
    },
  };
}
