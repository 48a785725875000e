import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, beforeEach, test } from 'node:test';
import { canonicalJson } from '../../shared/json/canonical-json.ts';
import { keyidOf } from '../../shared/schemes/secrets.ts';
import {
  cloudEvent,
  envelopes,
  memoryWriter,
  pandaHeaders,
  post,
  serverEvent,
  startIngest,
} from './ingest-under-test.ts';

const writer = memoryWriter();
const ingest = await startIngest({ writer });
after(() => ingest.close());
beforeEach(() => {
  writer.records.length = 0;
});

async function send(body: unknown, headers: Record<string, string> = {}, path = '/events') {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return post(`${ingest.url}${path}`, { ...pandaHeaders(path), ...headers }, text);
}

const contentId = (text: string) =>
  `sha256-${createHash('sha256').update(canonicalJson(text)).digest('hex').slice(0, 32)}`;

test('one event is answered 201 and stored under the SHA-256 of its canonical JSON', async () => {
  const body = JSON.stringify(serverEvent({ id: 'not its id', tags: { a: 'b', n: 1, t: true }, more: [1.1] }));
  const { status, json } = await send(body);
  assert.equal(status, 201);
  assert.deepEqual(json, { status: 'ok', accepted: 1 });
  const [{ key, header, data }] = envelopes(writer) as [ReturnType<typeof envelopes>[0]];
  assert.equal(data, body);
  assert.equal(header.id, contentId(body));
  assert.equal(key, header.id);
  assert.equal(header.source, '/events/billing');
  assert.equal(header.type, 'invoice.sent');
  assert.equal(header.time, JSON.parse(body).eventTime);
  assert.equal(header.subject, undefined);
  assert.equal(header.via, 'events');
  assert.equal(header.scheme, 'panda');
  assert.equal(header.path, '/events');
  assert.equal(header.keyid, keyidOf('changeme'));
  assert.match(header.signedheaders!, /^x-gu-tools-hmac-date: .+ GMT; x-gu-tools-hmac-token: HMAC .+=$/);
});

test('an array is taken whole, each element verbatim in a record of its own, all in one append', async () => {
  const eventTime = new Date().toISOString();
  const elements = [
    `{ "app":"a", "stage":"PROD", "type":"t", "value":12345678901234567890, "eventTime":"${eventTime}" }`,
    `{"value":1.10,"type":"t","stage":"\\u0050ROD","app":"a","eventTime":"${eventTime}"}`,
    JSON.stringify(cloudEvent({ subject: 'in_1', time: eventTime, data: { x: 1 } })),
  ];
  writer.appends.length = 0;
  const { status, json } = await send(`[ ${elements.join(' ,\n')} ]`);
  assert.equal(status, 201);
  assert.deepEqual(json, { status: 'ok', accepted: 3 });
  assert.deepEqual(writer.appends, [3]);
  const stored = envelopes(writer);
  assert.deepEqual(
    stored.map(({ data }) => data),
    elements,
  );
  assert.deepEqual(
    stored.map(({ header }) => header.id),
    [contentId(elements[0]!), contentId(elements[1]!), 'ce-1'],
  );
  assert.equal(stored[2]!.header.subject, 'in_1');
});

test('two elements with the same content are one event, however they are written', async () => {
  const event = serverEvent();
  const reversed = Object.fromEntries(Object.entries(event).reverse());
  await send(`[${JSON.stringify(event)},${JSON.stringify(reversed, null, 2)}]`);
  const [first, second] = envelopes(writer);
  assert.equal(first!.header.id, second!.header.id);
});

test('a CloudEvent keeps id, type, subject and time; null and absent attributes are left out', async () => {
  assert.equal((await send(cloudEvent({ subject: null, time: null, data: null, datacontenttype: 7 }))).status, 201);
  const { header } = envelopes(writer)[0]!;
  assert.deepEqual(
    [header.id, header.type, header.subject, header.time, header.source],
    ['ce-1', 'invoice.sent', undefined, undefined, '/events/billing'],
  );
});

test('the content type of a CloudEvent announces one, that of a batch an array', async () => {
  const one = { 'content-type': 'application/cloudevents+json; charset=UTF-8' };
  const batch = { 'content-type': 'application/cloudevents-batch+json' };
  const answers = [];
  for (const [body, headers] of [
    [cloudEvent(), one],
    [[cloudEvent()], batch],
    [[cloudEvent()], one],
    [cloudEvent(), batch],
    [[], batch],
    [serverEvent(), one],
    [[serverEvent()], batch],
  ] as const) {
    const { status, json } = await send(body, headers);
    answers.push([status, json.code, json.errors?.[0]?.pointer]);
  }
  assert.deepEqual(answers, [
    [201, undefined, undefined],
    [201, undefined, undefined],
    [400, 'body_malformed', undefined],
    [400, 'body_malformed', undefined],
    [400, 'body_malformed', undefined],
    [400, 'event_invalid', '#/specversion'],
    [400, 'event_invalid', '#/0/specversion'],
  ]);
});

for (const [what, body, pointers] of [
  ['an element that is not an object', [serverEvent(), 7, null, []], ['#/1', '#/2', '#/3']],
  ['no fields', {}, ['#/app', '#/stage', '#/type', '#/value', '#/eventTime']],
  ['a field of the wrong type in the second element', [serverEvent(), serverEvent({ app: 1 })], ['#/1/app']],
  ['an empty type', serverEvent({ type: '' }), ['#/type']],
  ['a value that is text', serverEvent({ value: '1' }), ['#/value']],
  ['a value that is null', serverEvent({ value: null }), ['#/value']],
  ['a day that does not exist', serverEvent({ eventTime: '2026-02-30T00:00:00Z' }), ['#/eventTime']],
  ['a time without a zone', serverEvent({ eventTime: '2026-02-20T00:00:00' }), ['#/eventTime']],
  [
    'a time with a million digits',
    serverEvent({ eventTime: `2026-02-20T00:00:00.${'0'.repeat(1025)}Z` }),
    ['#/eventTime'],
  ],
  ['tags that are an array', serverEvent({ tags: ['a'] }), ['#/tags']],
  ['a tag that is an object', serverEvent({ tags: { a: {} } }), ['#/tags']],
  ['tags that are null', serverEvent({ tags: null }), ['#/tags']],
  ['another specversion', cloudEvent({ specversion: '0.3' }), ['#/specversion']],
  ['a CloudEvent without id, source and type', { specversion: '1.0' }, ['#/id', '#/source', '#/type']],
  ['a CloudEvent id with a control character', cloudEvent({ id: 'a\u0085' }), ['#/id']],
  ['a CloudEvent id of 256 characters', cloudEvent({ id: 'x'.repeat(256) }), ['#/id']],
  ['a CloudEvent id of 256 characters of two units each', cloudEvent({ id: '😀'.repeat(256) }), ['#/id']],
  ['a CloudEvent time that is none', cloudEvent({ time: 'yesterday' }), ['#/time']],
  ['a CloudEvent subject that is a number', cloudEvent({ subject: 1 }), ['#/subject']],
] as const) {
  test(`${what} is refused with a pointer, and nothing of the array is stored`, async () => {
    const { status, json } = await send(body);
    assert.equal(status, 400);
    assert.equal(json.code, 'event_invalid');
    assert.deepEqual(
      json.errors?.map(({ pointer }) => pointer),
      pointers,
    );
    assert.equal(writer.records.length, 0);
  });
}

test('an array of wrong elements is answered with a hundred errors at most', async () => {
  const { status, json } = await send(Array.from({ length: 5000 }, () => ({ specversion: '1.0' })));
  assert.equal(status, 400);
  assert.equal(json.errors?.length, 100);
});

test('an id may have 255 characters, whatever they are', async () => {
  for (const character of ['x', '😀']) {
    assert.equal((await send(cloudEvent({ id: character.repeat(255) }))).status, 201);
  }
});

test('an empty array is malformed', async () => {
  const { status, json } = await send([]);
  assert.deepEqual([status, json.code], [400, 'body_malformed']);
});

test('a claimed time may be 5 minutes ahead and 30 days old, or not claimed at all', async () => {
  const at = (minutes: number) => new Date(Date.now() + minutes * 60_000).toISOString();
  const day = 24 * 60;
  const answers = [];
  for (const body of [
    serverEvent({ eventTime: at(4.9) }),
    serverEvent({ eventTime: at(-30 * day + 1) }),
    cloudEvent({ time: at(-30 * day + 1) }),
    cloudEvent(),
    serverEvent({ eventTime: at(5.1) }),
    serverEvent({ eventTime: at(-30 * day - 1) }),
    [serverEvent(), cloudEvent({ time: at(-30 * day - 1) })],
    // Another member of that name claims nothing.
    cloudEvent({ eventTime: at(999) }),
    serverEvent({ time: at(999) }),
  ]) {
    const { status, json } = await send(body);
    answers.push([status, json.code, json.errors?.[0]?.pointer]);
  }
  assert.deepEqual(answers, [
    [201, undefined, undefined],
    [201, undefined, undefined],
    [201, undefined, undefined],
    [201, undefined, undefined],
    [422, 'time_out_of_range', '#/eventTime'],
    [422, 'time_out_of_range', '#/eventTime'],
    [422, 'time_out_of_range', '#/1/time'],
    [201, undefined, undefined],
    [201, undefined, undefined],
  ]);
});

test('the token says which source it is; the service name narrows it to one', async () => {
  const editor = pandaHeaders('/events', 'editor-secret');
  const old = pandaHeaders('/events', 'billing-old');
  await send(serverEvent(), editor);
  await send(serverEvent(), old);
  await send(serverEvent(), { ...editor, 'x-gu-tools-service-name': 'editor' });
  assert.deepEqual(
    envelopes(writer).map(({ header }) => [header.source, header.keyid]),
    [
      ['/events/editor', keyidOf('editor-secret')],
      ['/events/billing', keyidOf('billing-old')],
      ['/events/editor', keyidOf('editor-secret')],
    ],
  );
  const wrong = await send(serverEvent(), { ...editor, 'x-gu-tools-service-name': 'billing' });
  assert.deepEqual([wrong.status, wrong.json.code], [403, 'token_mismatch']);
});

test('absent or incomplete credentials are 401 with a challenge, wrong ones 403, before anything is parsed', async () => {
  const { 'content-type': json, ...signed } = pandaHeaders() as Record<string, string>;
  const date = signed['x-gu-tools-hmac-date']!;
  const token = signed['x-gu-tools-hmac-token']!;
  const dated = (ms: number) => pandaHeaders('/events', 'changeme', new Date(Date.now() + ms));
  for (const [headers, status, code] of [
    [{}, 401, 'credentials_missing'],
    [{ 'webhook-id': 'msg_1', 'webhook-timestamp': '1', 'webhook-signature': 'v1,x' }, 403, 'token_mismatch'],
    [{ cookie: 'gutoolsAuth-assym=x.y' }, 401, 'credentials_missing'],
    [{ 'x-gu-tools-service-name': 'nobody' }, 401, 'credentials_missing'],
    [{ 'x-gu-tools-hmac-date': date }, 401, 'credentials_incomplete'],
    [{ 'x-gu-tools-hmac-token': token }, 401, 'credentials_incomplete'],
    [{ ...signed, 'x-gu-tools-service-name': 'nobody' }, 403, 'service_unknown'],
    [{ ...signed, 'x-gu-tools-service-name': 'platform' }, 403, 'service_unknown'],
    [{ ...signed, 'x-gu-tools-service-name': '__proto__' }, 403, 'service_unknown'],
    [{ ...signed, 'x-gu-tools-hmac-token': `${token}x` }, 403, 'token_malformed'],
    [{ ...signed, 'x-gu-tools-hmac-date': new Date().toISOString() }, 403, 'date_malformed'],
    [pandaHeaders('/events', 'wrong'), 403, 'token_mismatch'],
    [pandaHeaders('/event'), 403, 'token_mismatch'],
    [dated(-302_000), 403, 'date_stale'],
    [dated(302_000), 403, 'date_in_future'],
  ] as const) {
    const answer = await post(`${ingest.url}/events`, { ...headers, 'content-type': json! }, '{"not": JSON');
    assert.deepEqual([answer.status, answer.json.code], [status, code]);
    assert.equal(answer.headers.get('www-authenticate'), status === 401 ? 'HMAC' : null);
  }
});

test('/event is the same door; the path is signed without the query', async () => {
  assert.equal((await send(serverEvent(), {}, '/event')).status, 201);
  assert.equal(envelopes(writer)[0]!.header.path, '/event');
  const answer = await post(`${ingest.url}/events?x=1`, pandaHeaders(), JSON.stringify(serverEvent()));
  assert.equal(answer.status, 201);
});
