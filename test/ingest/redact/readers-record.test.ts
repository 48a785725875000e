import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readersRecord } from '../../../ingest/redact/readers-record.ts';
import { compileRules } from '../../../ingest/redact/rules.ts';
import { parseStreamKeys } from '../../../shared/crypto/stream-seal.ts';
import { type EnvelopeHeader, readEnvelope, sealAgain, writeEnvelope } from '../../../shared/envelope.ts';
import type { AppendRecord } from '../../../shared/stream/stream.ts';
import { eventRecord, stripeRecord } from '../../compactor/books.ts';

const rules = { ruleOf: compileRules({ defaults: true, rules: [] }), hashKey: undefined, streamKeys: undefined };
const event = {
  id: 'evt_1',
  object: 'event',
  type: 'customer.updated',
  created: 1763639998,
  livemode: true,
  data: { object: { id: 'cus_1', email: 'jo@x.example', balance: 1 } },
};

/** Key and document of what readers get. */
function passedOn(record: AppendRecord | { readonly reason: string }): [key: string, document: unknown] {
  if ('reason' in record) assert.fail(record.reason);
  return [record.key, JSON.parse(Buffer.from(record.value).toString())];
}

test('a Stripe event is a document of the Elastic Common Schema under its id, without what proves the delivery', () => {
  const { value } = stripeRecord(JSON.stringify(event), { receivedAt: '2025-11-20T12:00:00.123Z' });
  assert.deepEqual(passedOn(readersRecord(value, rules)), [
    'evt_1',
    {
      '@timestamp': '2025-11-20T11:59:58.000Z',
      ecs: { version: '8.17.0' },
      event: {
        id: 'evt_1',
        kind: 'event',
        category: ['api'],
        type: ['info'],
        action: 'customer.updated',
        created: '2025-11-20T11:59:58.000Z',
        ingested: '2025-11-20T12:00:00.123Z',
        provider: 'stripe',
      },
      daybook: {
        source: 'platform',
        via: 'webhook',
        scheme: 'stripe',
        keyid: '0123456789abcdef',
        mode: 'live',
        subject: 'cus_1',
      },
      stripe: { ...event, data: { object: { id: 'cus_1', balance: 1 } } },
    },
  ]);
});

test('an event of another sender is told of its application, and by its receipt where it claims no time', () => {
  const header: EnvelopeHeader = {
    id: 'a/1',
    source: '/events/billing',
    type: 'user.made',
    subject: 'jo@x.example',
    receivedat: '2025-11-20T12:00:00.123Z',
    via: 'events',
    scheme: 'panda',
  };
  const documentOf = (data: object) => {
    const [key, document] = passedOn(readersRecord(writeEnvelope(header, Buffer.from(JSON.stringify(data))), rules));
    assert.equal(key, 'a/1');
    return document as Record<string, Record<string, unknown>>;
  };
  const document = documentOf({ app: 'shop', value: 1, tags: { firstName: 'Jo', plan: 'x' } });
  assert.equal(document['@timestamp'], '2025-11-20T12:00:00.123Z');
  assert.deepEqual(document.daybook, { source: 'billing', via: 'events', scheme: 'panda' });
  assert.deepEqual(document.data, { app: 'shop', value: 1, tags: { plan: 'x' } });
  assert.equal(document.event!.provider, 'shop');
  assert.equal(Object.hasOwn(document.event!, 'created'), false);
  assert.equal(documentOf({ app: 1 }).event!.provider, 'billing');
  assert.equal(documentOf({}).event!.provider, 'billing');
});

test('readers get a record only where a key of DAYBOOK_STREAM_KEY sealed it', () => {
  const keys = parseStreamKeys(`${'a'.repeat(32)} ${'b'.repeat(32)}`)!;
  const foreign = parseStreamKeys('c'.repeat(32))!;
  const { value } = stripeRecord(JSON.stringify(event));
  const sealed = (key: (typeof keys)[number] | undefined) => {
    const envelope = readEnvelope(value);
    if ('reason' in envelope) assert.fail(envelope.reason);
    return sealAgain(envelope, key);
  };
  const reasonOf = (bytes: Buffer, streamKeys = keys) => {
    const record = readersRecord(bytes, { ...rules, streamKeys });
    return 'reason' in record ? record.reason : undefined;
  };
  assert.equal(reasonOf(sealed(keys[0])), undefined);
  assert.equal(reasonOf(sealed(keys[1])), undefined);
  assert.equal(reasonOf(sealed(undefined)), 'record_unsealed: the seal is not there');
  assert.equal(reasonOf(sealed(foreign[0])), 'record_unsealed: the seal is of an unknown key');
  const bent = Buffer.from(sealed(keys[0]).toString().replace('"balance":1', '"balance":2'));
  assert.equal(reasonOf(bent), 'record_unsealed: the seal is not of this record');
});

test('why a record is not passed on says nothing of what it holds', () => {
  const reasonOf = (value: Uint8Array) => (readersRecord(value, rules) as { readonly reason?: string }).reason;
  const { value } = eventRecord('{"app":"shop"}', { id: 'e1', receivedAt: '2025-11-20T12:00:00.123Z' });
  assert.equal(reasonOf(value), undefined);
  assert.equal(reasonOf(Buffer.from('jo@x.example')), 'no data member');
  assert.equal(reasonOf(Buffer.from('{"jo@x.example,"data":1}')), 'header is not JSON');
  const cut = Buffer.from(Buffer.from(value).toString().replace('"shop"', '"jo@x.example'));
  assert.equal(reasonOf(cut), 'data is not JSON');
  const other = stripeRecord(JSON.stringify(event), { header: { id: 'evt_2' } });
  assert.equal(reasonOf(other.value), 'data has another id than the envelope');
});
