import assert from 'node:assert/strict';
import { after, beforeEach, test } from 'node:test';
import { keyidOf } from '../../shared/schemes/secrets.ts';
import { stripeEvents } from '../stripe/events.ts';
import { signatureHeader } from '../stripe/webhook-sender.ts';
import {
  envelopes,
  memoryWriter,
  post,
  startIngest,
  stripeEvent,
  stripeHeaders,
  stripeSecret,
} from './ingest-under-test.ts';

const writer = memoryWriter();
const ingest = await startIngest({ writer });
after(() => ingest.close());
beforeEach(() => {
  writer.records.length = 0;
});

const nowSeconds = () => Math.floor(Date.now() / 1000);

async function deliver(event: unknown, source = 'platform') {
  const body = typeof event === 'string' ? event : JSON.stringify(event);
  return post(`${ingest.url}/webhooks/${source}`, stripeHeaders(body), body);
}

test('real events are stored as received, to the byte, under their own id', async () => {
  const events = stripeEvents({ count: 60, seed: 1, fromSeconds: nowSeconds() - 3000, toSeconds: nowSeconds() });
  for (const { text } of events) {
    const answer = await deliver(text);
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.json, { received: true });
  }
  const stored = envelopes(writer);
  assert.equal(stored.length, events.length);
  for (const [index, { header, data, key }] of stored.entries()) {
    const event = events[index]!;
    assert.equal(data, event.text);
    assert.equal(header.id, event.id);
    assert.equal(header.type, event.type);
    assert.equal(header.subject, event.objectId);
    assert.equal(key, event.objectId ?? event.id);
    assert.equal(header.time, new Date(event.createdSeconds * 1000).toISOString());
  }
});

test('the envelope says who sent what, how it was signed and when it came', async () => {
  const body = JSON.stringify(stripeEvent());
  const headers = stripeHeaders(body);
  const before = Date.now();
  await post(`${ingest.url}/webhooks/platform?retry=1`, headers, body);
  const { receivedat, data, ...rest } = JSON.parse(Buffer.from(writer.records[0]!.value).toString());
  assert.deepEqual(data, JSON.parse(body));
  assert.ok(Date.parse(receivedat) >= before && Date.parse(receivedat) <= Date.now());
  assert.match(receivedat, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  delete (rest as Record<string, unknown>).time;
  assert.deepEqual(rest, {
    specversion: '1.0',
    id: 'evt_1',
    source: '/stripe/platform',
    type: 'invoice.paid',
    subject: 'in_1',
    datacontenttype: 'application/json',
    via: 'webhook',
    scheme: 'stripe',
    signedheaders: `stripe-signature: ${headers['stripe-signature']}`,
    path: '/webhooks/platform',
    keyid: keyidOf(stripeSecret),
  });
});

test('a thin event is stored with its created time verbatim, its related object as subject and its id as key', async () => {
  const created = new Date().toISOString();
  const answer = await deliver({
    id: 'evt_thin',
    object: 'v2.core.event',
    type: 'v1.billing.meter.error_report_triggered',
    created,
    livemode: false,
    related_object: { id: 'mtr_1', type: 'billing.meter' },
  });
  assert.equal(answer.status, 200);
  const [stored] = envelopes(writer);
  assert.deepEqual([stored!.header.time, stored!.header.subject, stored!.key], [created, 'mtr_1', 'evt_thin']);
});

test('the key is the object id up to 128 characters, else the event id, else its SHA-256', async () => {
  const object = (id: unknown) => ({ data: { object: { id } } });
  await deliver(stripeEvent({ id: 'evt_a', ...object('x'.repeat(128)) }));
  await deliver(stripeEvent({ id: 'evt_b', ...object('x'.repeat(129)) }));
  await deliver(stripeEvent({ id: 'evt_c', ...object(7) }));
  await deliver(stripeEvent({ id: 'evt_d', data: null }));
  await deliver(stripeEvent({ id: 'e'.repeat(129), ...object('') }));
  const keys = envelopes(writer).map(({ key }) => key);
  assert.deepEqual(keys.slice(0, 4), ['x'.repeat(128), 'evt_b', 'evt_c', 'evt_d']);
  assert.match(keys[4]!, /^[0-9a-f]{64}$/);
});

for (const [what, body, code, pointers] of [
  ['nothing', '', 'body_malformed', []],
  ['no JSON', '{"id":', 'body_malformed', []],
  ['two values', '{}{}', 'body_malformed', []],
  ['an array', '[]', 'body_malformed', []],
  ['null', 'null', 'body_malformed', []],
  ['a string', '"evt_1"', 'body_malformed', []],
  ['NaN', '{"id":NaN}', 'body_malformed', []],
  ['a byte order mark', `\uFEFF${JSON.stringify(stripeEvent())}`, 'body_malformed', []],
  ['201 levels', `${'{"a":'.repeat(200)}{}${'}'.repeat(200)}`, 'body_malformed', []],
  ['a million levels', '['.repeat(1_000_000), 'body_malformed', []],
  ['no fields', '{}', 'event_invalid', ['#/id', '#/type', '#/created']],
  [
    'its fields under __proto__',
    `{"__proto__":${JSON.stringify(stripeEvent())}}`,
    'event_invalid',
    ['#/id', '#/type', '#/created'],
  ],
  ['an id that is a number', JSON.stringify(stripeEvent({ id: 1 })), 'event_invalid', ['#/id']],
  ['an empty id', JSON.stringify(stripeEvent({ id: '' })), 'event_invalid', ['#/id']],
  ['an id of 256 characters', JSON.stringify(stripeEvent({ id: 'x'.repeat(256) })), 'event_invalid', ['#/id']],
  ['an id with a line feed', JSON.stringify(stripeEvent({ id: 'a\nb' })), 'event_invalid', ['#/id']],
  ['an id with a lone surrogate', JSON.stringify(stripeEvent({ id: 'a\ud800' })), 'event_invalid', ['#/id']],
  ['an empty type', JSON.stringify(stripeEvent({ type: '' })), 'event_invalid', ['#/type']],
  [
    'a type that would fill the envelope',
    JSON.stringify(stripeEvent({ type: 'x'.repeat(1025) })),
    'event_invalid',
    ['#/type'],
  ],
  ['a created in fractions', JSON.stringify(stripeEvent({ created: 1.5 })), 'event_invalid', ['#/created']],
  ['a negative created', JSON.stringify(stripeEvent({ created: -1 })), 'event_invalid', ['#/created']],
  ['a created beyond all numbers', '{"id":"e","type":"t","created":1e400}', 'event_invalid', ['#/created']],
  ['a created as text', JSON.stringify(stripeEvent({ created: '1' })), 'event_invalid', ['#/created']],
  [
    'a thin event with seconds',
    JSON.stringify(stripeEvent({ object: 'v2.core.event' })),
    'event_invalid',
    ['#/created'],
  ],
  [
    'a thin event of 30 February',
    JSON.stringify(stripeEvent({ object: 'v2.core.event', created: '2026-02-30T00:00:00Z' })),
    'event_invalid',
    ['#/created'],
  ],
] as const) {
  test(`a signed body that is ${what} is refused as ${code}, and nothing is stored`, async () => {
    const answer = await deliver(body);
    assert.equal(answer.status, 400);
    assert.equal(answer.json.code, code);
    assert.deepEqual(answer.json.errors?.map(({ pointer }) => pointer) ?? [], pointers);
    assert.equal(writer.records.length, 0);
  });
}

test('a byte order mark is named: the stripe package would call it a wrong signature', async () => {
  const { json } = await deliver(`\uFEFF${JSON.stringify(stripeEvent())}`);
  assert.match(String(json.detail), /byte order mark/);
});

test('a body that is not UTF-8 is refused although its signature is right', async () => {
  const body = Buffer.concat([Buffer.from('{"id":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')]);
  const answer = await post(`${ingest.url}/webhooks/platform`, stripeHeaders(body), body);
  assert.equal(answer.status, 400);
  assert.equal(answer.json.code, 'body_malformed');
});

test('200 levels, huge numbers, duplicate names and lone surrogates are stored as they are', async () => {
  const now = nowSeconds();
  const bodies = [
    JSON.stringify(stripeEvent()).replace('"in_1"', `${'['.repeat(197)}${']'.repeat(197)}`),
    JSON.stringify(stripeEvent()).replace('"in_1"', '12345678901234567890, "x": [1.10, -0, 1e400]'),
    `{"id":"evt_first","id":"evt_last","type":"a","created":0,"created":${now}}`,
    `{"id":"evt_s","type":"\\ud800","created":${now},"x":"\\uDFFF"}`,
  ];
  for (const body of bodies) assert.equal((await deliver(body)).status, 200, body);
  assert.deepEqual(
    envelopes(writer).map(({ data }) => data),
    bodies,
  );
  assert.equal(envelopes(writer)[2]!.header.id, 'evt_last');
});

test('a missing, malformed, wrong, stale or future signature is 400 with its own code, before anything is parsed', async () => {
  const body = '{"not": JSON';
  const url = `${ingest.url}/webhooks/platform`;
  const json = { 'content-type': 'application/json' };
  for (const [headers, code] of [
    [json, 'signature_missing'],
    [{ ...json, 'stripe-signature': 't=1' }, 'signature_malformed'],
    [{ ...json, 'stripe-signature': signatureHeader({ body, secrets: ['whsec_other'] }) }, 'signature_mismatch'],
    [stripeHeaders(`${body} `), 'signature_mismatch'],
    [stripeHeaders(body, nowSeconds() - 302), 'signature_stale'],
    [stripeHeaders(body, nowSeconds() + 302), 'signature_in_future'],
  ] as const) {
    const answer = await post(url, headers, body);
    assert.equal(answer.status, 400);
    assert.equal(answer.json.code, code);
  }
  assert.equal(writer.records.length, 0);
});

test('the mode of a source is checked against livemode, which must then be there', async () => {
  const answers = [];
  for (const [source, livemode] of [
    ['live', true],
    ['live', false],
    ['sandbox', true],
    ['sandbox', false],
    ['live', undefined],
    ['live', 'true'],
    ['platform', undefined],
  ] as const) {
    const { status, json } = await deliver(stripeEvent({ livemode }), source);
    answers.push([source, livemode, status, json.code]);
  }
  assert.deepEqual(answers, [
    ['live', true, 200, undefined],
    ['live', false, 403, 'wrong_mode'],
    ['sandbox', true, 403, 'wrong_mode'],
    ['sandbox', false, 200, undefined],
    ['live', undefined, 400, 'event_invalid'],
    ['live', 'true', 400, 'event_invalid'],
    ['platform', undefined, 200, undefined],
  ]);
  assert.equal(writer.records.length, 3);
});

test('a source with accounts gets both modes by design: the other one is answered 200, not stored, and counted', async () => {
  const { status, json } = await deliver(stripeEvent({ livemode: false }), 'connect');
  assert.equal(status, 200);
  assert.deepEqual(json, { received: true, stored: false });
  assert.equal(writer.records.length, 0);
  const line = ingest.log.at(-1)!;
  assert.deepEqual([line.source, line.stored, line.records], ['connect', false, 0]);
  assert.deepEqual([line.eventId, line.type], ['evt_1', 'invoice.paid'], 'who asks why it is not there finds it');

  assert.deepEqual((await deliver(stripeEvent({ livemode: true }), 'connect')).json, { received: true });
  assert.equal(writer.records.length, 1);
});

test('the log line of a request names the event, also of one that is refused, and of none whose sender is not proven', async () => {
  const named = () => {
    const { eventId, type, events } = ingest.log.at(-1)!;
    return [eventId, type, events];
  };
  await deliver(stripeEvent({ id: 'evt_taken' }));
  assert.deepEqual(named(), ['evt_taken', 'invoice.paid', 1]);
  await deliver(stripeEvent({ id: 'evt_ahead', created: nowSeconds() + 999 }));
  assert.deepEqual(named(), ['evt_ahead', 'invoice.paid', 1]);
  // As long as may be, with what would break a line or a terminal.
  await deliver(stripeEvent({ type: `\n\u001b[2J"${'x'.repeat(900)}` }));
  assert.deepEqual([String(named()[1]).length, String(named()[1]).slice(0, 6)], [255, '\n\u001b[2J"']);
  const body = JSON.stringify(stripeEvent());
  await post(`${ingest.url}/webhooks/platform`, { ...stripeHeaders(body), 'stripe-signature': 't=1,v1=00' }, body);
  assert.deepEqual(named(), [undefined, undefined, undefined]);
});

test('a created more than 5 minutes ahead is 422; one of any age is taken', async () => {
  for (const created of [nowSeconds() + 310, 1e300, 8_640_000_000_001]) {
    const { status, json } = await deliver(stripeEvent({ created }));
    assert.equal(status, 422);
    assert.equal(json.code, 'time_out_of_range');
    assert.deepEqual(json.errors?.[0]?.pointer, '#/created');
  }
  const thin = { object: 'v2.core.event', created: new Date(Date.now() + 310_000).toISOString() };
  assert.equal((await deliver(stripeEvent(thin))).status, 422);
  for (const created of [0, nowSeconds() - 90 * 86_400, nowSeconds() + 290]) {
    assert.equal((await deliver(stripeEvent({ created }))).status, 200);
  }
  assert.equal(envelopes(writer)[0]!.header.time, '1970-01-01T00:00:00.000Z');
});

test('malformed comes before the wrong mode, the wrong mode before the time', async () => {
  const codes = [];
  for (const changes of [
    { id: '', livemode: true, created: nowSeconds() + 999 },
    { livemode: true, created: nowSeconds() + 999 },
    { created: nowSeconds() + 999 },
  ]) {
    codes.push((await deliver(stripeEvent(changes), 'sandbox')).json.code);
  }
  assert.deepEqual(codes, ['event_invalid', 'wrong_mode', 'time_out_of_range']);
});
