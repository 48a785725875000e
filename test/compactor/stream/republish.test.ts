/** Records made of events: what they have in common with those of ingest, and what is not an event. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { republishedRecord } from '../../../compactor/stream/republish.ts';
import { readEnvelope } from '../../../shared/envelope.ts';

const republishing = { source: 'platform', via: 'list', receivedAt: '2026-12-01T09:00:00.000Z' } as const;
const common = {
  specversion: '1.0',
  datacontenttype: 'application/json',
  receivedat: '2026-12-01T09:00:00.000Z',
  via: 'list',
};

function recordOf(text: string) {
  const record = republishedRecord(text, republishing);
  assert.ok(record !== undefined);
  const envelope = readEnvelope(record.value);
  assert.ok('header' in envelope);
  const { data: _, ...header } = JSON.parse(Buffer.from(record.value).toString());
  return { key: record.key, header, data: envelope.data.toString() };
}

test('a Stripe event keeps its bytes; its object is subject and key', () => {
  const text =
    '{"id": "evt_1", "created": 1763600000, "type": "invoice.paid", "data": {"object": {"id": "in_1", "n": 1.10}}}';
  assert.deepEqual(recordOf(text), {
    key: 'in_1',
    header: {
      ...common,
      ...{ id: 'evt_1', source: '/stripe/platform', type: 'invoice.paid', subject: 'in_1' },
      ...{ time: '2025-11-20T00:53:20.000Z', scheme: 'stripe' },
    },
    data: text,
  });
});

test('a thin event is about its related object, and its key is its id; its time is as written', () => {
  const event = {
    id: 'evt_test_65R9Ijk8dKEYZcXeRWn16R9',
    object: 'v2.core.event',
    type: 'v1.billing.meter.error_report_triggered',
    created: '2026-11-20T10:00:00.123Z',
    related_object: { id: 'mtr_1', type: 'billing.meter' },
  };
  const { key, header } = recordOf(JSON.stringify(event));
  assert.equal(key, event.id);
  assert.deepEqual([header.subject, header.time, header.scheme], ['mtr_1', event.created, 'stripe']);
});

test('of an archive line that is a CloudEvent the data goes out, verbatim', () => {
  const line =
    '{"data":{"data":1.10,"value":true},"datacontenttype":"application/json","id":"a \\"b\\"","source":"/events/platform","specversion":"1.0","subject":"s","time":"2026-11-20T10:00:00+01:00","type":"paid"}';
  const { key, header, data } = recordOf(line);
  assert.equal(data, '{"data":1.10,"value":true}');
  assert.equal(key, 'a "b"');
  assert.deepEqual(header, {
    ...common,
    ...{ id: 'a "b"', source: '/events/platform', type: 'paid', subject: 's', time: '2026-11-20T10:00:00+01:00' },
    scheme: 'none',
  });
});

test('long ids are not subjects and no key', () => {
  const id = 'x'.repeat(1025);
  const text = JSON.stringify({ id: 'evt_1', created: 1, type: 't', data: { object: { id } } });
  const { key, header } = recordOf(text);
  assert.deepEqual([key, header.subject], ['evt_1', undefined]);
});

test('what is not an event as ingest takes them gives no record', () => {
  for (const value of [
    null,
    [],
    'text',
    {},
    { id: 'evt_1', created: 1 },
    { id: 'evt_1', created: 1, type: '' },
    { id: '', created: 1, type: 't' },
    { id: 'a\nb', created: 1, type: 't' },
    { id: 1, created: 1, type: 't' },
    { id: 'evt_1', type: 't' },
    { id: 'evt_1', created: 1.5, type: 't' },
    { id: 'evt_1', created: 1e15, type: 't' },
    { id: 'evt_1', created: 'yesterday', type: 't' },
    { id: 'a', specversion: '1.0', type: 't', data: {} },
    { id: 'a', specversion: '1.0', type: 't', time: '2026-11-20T10:00:00Z' },
  ]) {
    assert.equal(republishedRecord(JSON.stringify(value), republishing), undefined, JSON.stringify(value));
  }
});
