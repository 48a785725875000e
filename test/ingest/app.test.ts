import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import supertest from 'supertest';
import {
  brokenSpool,
  memorySpool,
  memoryWriter,
  pandaHeaders,
  pandaSecret,
  post,
  serverEvent,
  startIngest,
  stripeEvent,
  stripeHeaders,
  stripeSecret,
  until,
} from './ingest-under-test.ts';

const writer = memoryWriter();
const maxBodyBytes = 4096;
const ingest = await startIngest({ writer, maxBodyBytes });
after(() => ingest.close());
const agent = supertest(ingest.url);

test('a path that is not a route is 404, whatever the method, the case or the slash at its end', async () => {
  for (const path of [
    '/',
    '/webhooks',
    '/webhooks/',
    '/webhooks/a/b',
    '/Events',
    '/events/',
    '/event/x',
    '/metrics',
    '/%zz',
    '//events',
  ]) {
    for (const method of ['get', 'post', 'options', 'delete'] as const) {
      const answer = await agent[method](path);
      assert.deepEqual([answer.status, answer.body.code], [404, 'unknown_route'], `${method} ${path}`);
    }
  }
});

test('a source that is unknown, of another scheme, or cannot be decoded is 404 before the method is looked at', async () => {
  for (const name of ['nobody', 'billing', '__proto__', 'constructor', 'PLATFORM']) {
    for (const method of ['get', 'post'] as const) {
      const answer = await agent[method](`/webhooks/${name}`);
      assert.deepEqual([answer.status, answer.body.code], [404, 'unknown_source'], `${method} ${name}`);
    }
  }
  assert.equal((await agent.post('/webhooks/%E0%A4%A')).status, 404);
});

test('another method is 405 and Allow names those there are', async () => {
  for (const [path, allow, methods] of [
    ['/webhooks/platform', 'POST', ['get', 'put', 'delete', 'options', 'head', 'patch']],
    ['/events', 'POST', ['get', 'put', 'delete', 'options', 'head']],
    ['/event', 'POST', ['get', 'options']],
    ['/healthz', 'GET, HEAD', ['post', 'options', 'delete']],
    ['/readyz', 'GET, HEAD', ['post']],
  ] as const) {
    for (const method of methods) {
      const answer = await agent[method](path);
      assert.deepEqual([answer.status, answer.headers.allow], [405, allow], `${method} ${path}`);
    }
  }
});

test('a media type other than JSON, a charset other than UTF-8 and any content encoding are 415', async () => {
  const body = JSON.stringify(stripeEvent());
  const { 'stripe-signature': signature } = stripeHeaders(body) as Record<string, string>;
  for (const [type, status] of [
    ['application/json', 200],
    ['Application/JSON ; Charset="UTF-8"', 200],
    ['application/json;charset=utf8', 200],
    ['application/json; charset=iso-8859-1', 415],
    ['text/plain', 415],
    ['application/jsonp', 415],
    ['application/x-www-form-urlencoded', 415],
    ['application/cloudevents+json', 415],
    ['', 415],
  ] as const) {
    const answer = await post(
      `${ingest.url}/webhooks/platform`,
      { 'content-type': type, 'stripe-signature': signature! },
      body,
    );
    assert.equal(answer.status, status, type);
    if (status === 415) assert.equal(answer.json.code, 'unsupported_media_type');
  }
  for (const [encoding, status] of [
    ['identity', 200],
    ['gzip', 415],
    ['br', 415],
    ['gzip, identity', 415],
  ] as const) {
    const headers = { ...stripeHeaders(body), 'content-encoding': encoding };
    const answer = await post(`${ingest.url}/webhooks/platform`, headers, body);
    assert.equal(answer.status, status, encoding);
    if (status === 415) assert.equal(answer.json.code, 'unsupported_content_encoding');
  }
  const cloudEvents = { ...pandaHeaders(), 'content-type': 'application/cloudevents+xml' };
  assert.equal((await post(`${ingest.url}/events`, cloudEvents, '{}')).status, 415);
});

test('a body of the limit is read, one byte more is 413, with or without Content-Length', async () => {
  const url = `${ingest.url}/webhooks/platform`;
  const padded = (bytes: number) => {
    const body = JSON.stringify(stripeEvent({ padding: '' }));
    return body.replace('"padding":""', `"padding":"${'x'.repeat(bytes - body.length)}"`);
  };
  for (const [bytes, status] of [
    [maxBodyBytes, 200],
    [maxBodyBytes + 1, 413],
    [1_048_577, 413],
  ] as const) {
    const body = padded(bytes);
    assert.equal((await post(url, stripeHeaders(body), body)).status, status);
    const chunked = await fetch(url, {
      method: 'POST',
      headers: stripeHeaders(body),
      body: new Blob([body]).stream(),
      duplex: 'half',
    });
    assert.equal(chunked.status, status, `${bytes} chunked`);
  }
});

test('answers come in the order of the interface: each fault hides those after it', async (t) => {
  const writer = memoryWriter();
  const ingest = await startIngest({ writer, maxBodyBytes, spool: 'no spool', publishDeadlineMs: 20 });
  t.after(() => ingest.close());
  const tooLarge = 'x'.repeat(maxBodyBytes + 1);
  const json = { 'content-type': 'application/json' };
  const wrong = { ...json, 'stripe-signature': 't=1,v1=0' };
  writer.intercept = () => {
    throw new Error('down');
  };
  const codes = [];
  const future = JSON.stringify(stripeEvent({ livemode: true, created: 2 ** 40 }));
  const late = JSON.stringify(stripeEvent({ livemode: false, created: 2 ** 40 }));
  const fine = JSON.stringify(stripeEvent());
  for (const [method, path, headers, body] of [
    ['PUT', '/nowhere', { 'content-type': 'text/plain' }, tooLarge],
    ['PUT', '/webhooks/nobody', { 'content-type': 'text/plain' }, tooLarge],
    ['PUT', '/webhooks/sandbox', { 'content-type': 'text/plain' }, tooLarge],
    ['POST', '/webhooks/sandbox', { 'content-type': 'text/plain' }, tooLarge],
    ['POST', '/webhooks/sandbox', { ...wrong, 'content-encoding': 'gzip' }, tooLarge],
    ['POST', '/webhooks/sandbox', wrong, tooLarge],
    ['POST', '/webhooks/sandbox', wrong, 'no JSON'],
    ['POST', '/webhooks/sandbox', stripeHeaders('no JSON'), 'no JSON'],
    ['POST', '/webhooks/sandbox', stripeHeaders(future), future],
    ['POST', '/webhooks/sandbox', stripeHeaders(late), late],
    ['POST', '/webhooks/sandbox', stripeHeaders(fine), fine],
  ] as const) {
    const response = await fetch(`${ingest.url}${path}`, { method, headers, body });
    codes.push(((await response.json()) as { code: string }).code);
  }
  assert.deepEqual(codes, [
    'unknown_route',
    'unknown_source',
    'method_not_allowed',
    'unsupported_media_type',
    'unsupported_content_encoding',
    'body_too_large',
    'signature_malformed',
    'body_malformed',
    'wrong_mode',
    'time_out_of_range',
    'spool_full',
  ]);
});

test('an error is a problem document with a stable code, a title, a detail and a hint', async () => {
  const answer = await agent.post('/webhooks/platform').set('content-type', 'application/json').send('{}');
  assert.equal(answer.headers['content-type'], 'application/problem+json');
  assert.deepEqual(Object.keys(answer.body), ['type', 'title', 'status', 'code', 'detail', 'hint']);
  assert.equal(answer.body.type, 'urn:daybook:error:signature_missing');
  assert.equal(answer.body.status, 400);
});

test('a stream that does not acknowledge in time is 200 where the spool takes the event, and it drains into the stream', async () => {
  const slow = memoryWriter();
  const gate = Promise.withResolvers<void>();
  slow.intercept = () => gate.promise;
  const spool = await memorySpool();
  const impatient = await startIngest({ writer: slow, spool, publishDeadlineMs: 20 });
  const body = JSON.stringify(stripeEvent());
  const answer = await post(`${impatient.url}/webhooks/platform`, stripeHeaders(body), body);
  assert.equal(answer.status, 200);
  assert.equal((await spool.size()).records, 1);
  gate.resolve();
  await until(async () => (await spool.size()).records === 0);
  assert.equal(slow.records.length, 2, 'the append that was given up took effect late: a copy');
  await impatient.close();
});

test('where neither the stream nor the spool takes an event it is 503 with Retry-After, and nobody hears why', async (t) => {
  for (const [thrown, code, spool] of [
    [new Error('disk full on volume seven'), 'spool_full', 'no spool'],
    [new SyntaxError('unexpected token in "quoted from the body"'), 'spool_full', 'no spool'],
    [new Error('no route'), 'spool_unavailable', await brokenSpool(new Error('disk full on volume seven'))],
  ] as const) {
    const writer = memoryWriter();
    writer.intercept = () => {
      throw thrown;
    };
    const ingest = await startIngest({ writer, spool, publishDeadlineMs: 20 });
    t.after(() => ingest.close());
    const answer = await post(`${ingest.url}/events`, pandaHeaders(), JSON.stringify(serverEvent()));
    assert.deepEqual([answer.status, answer.json.code], [503, code]);
    assert.match(answer.headers.get('retry-after')!, /^\d+$/);
    const line = ingest.log.find(({ msg }) => msg === 'request')!;
    assert.equal(line.level, 50);
    assert.doesNotMatch(JSON.stringify(answer.json), /volume seven|quoted/);
    if (code === 'spool_unavailable') assert.match(JSON.stringify(line.reasons), /volume seven/);
    assert.doesNotMatch(JSON.stringify(line), /quoted/);
  }
});

test('healthz answers while the process lives, readyz while the stream or the spool takes events, both also to HEAD', async (t) => {
  assert.deepEqual((await agent.get('/healthz')).body, { status: 'ok' });
  assert.deepEqual((await agent.get('/readyz')).body, { status: 'ready' });
  const head = await agent.head('/readyz');
  assert.deepEqual([head.status, head.text], [200, undefined]);

  const away = memoryWriter();
  away.probeError = new Error('down');
  away.intercept = () => {
    throw away.probeError;
  };
  for (const [spool, ready] of [
    [await memorySpool(), 200],
    [await memorySpool(0), 503],
    [await brokenSpool(), 503],
  ] as const) {
    const ingest = await startIngest({ writer: away, spool, publishDeadlineMs: 20 });
    t.after(() => ingest.close());
    const taken = await post(`${ingest.url}/events`, pandaHeaders(), JSON.stringify(serverEvent()));
    assert.equal(taken.status, ready === 200 ? 201 : 503);
    const answer = await fetch(`${ingest.url}/readyz`);
    assert.equal(answer.status, ready);
    if (ready === 503) {
      assert.equal(((await answer.json()) as { code: string }).code, 'stream_unavailable');
      assert.ok(answer.headers.has('retry-after'));
    }
    assert.equal((await fetch(`${ingest.url}/healthz`)).status, 200);
  }
});

test('no answer names the server, and none has an ETag', async () => {
  for (const path of ['/healthz', '/nowhere']) {
    const { headers } = await agent.get(path);
    assert.deepEqual(['x-powered-by' in headers, 'etag' in headers, 'server' in headers], [false, false, false]);
  }
});

test('each request has one log line with its numbers, and never a secret, a header value or the body', async () => {
  const before = ingest.log.length;
  const body = JSON.stringify(stripeEvent({ note: 'only in the body' }));
  const headers = stripeHeaders(body);
  await post(`${ingest.url}/webhooks/platform`, headers, body);
  await post(`${ingest.url}/events`, pandaHeaders(), JSON.stringify([serverEvent(), serverEvent()]));
  await post(`${ingest.url}/webhooks/platform`, stripeHeaders('{"only in the body"'), '{"only in the body"');
  const lines = ingest.log.slice(before);
  assert.deepEqual(
    lines.map(({ msg, method, route, source, status, code, records, stored }) => [
      msg,
      method,
      route,
      source,
      status,
      code,
      records,
      stored,
    ]),
    [
      ['request', 'POST', '/webhooks/:source', 'platform', 200, undefined, 1, true],
      ['request', 'POST', '/events', 'billing', 201, undefined, 2, true],
      ['request', 'POST', '/webhooks/:source', 'platform', 400, 'body_malformed', 0, undefined],
    ],
  );
  assert.equal(lines[0]!.bytes, body.length);
  assert.equal(typeof lines[0]!.latencyMs, 'number');
  const all = JSON.stringify(ingest.log);
  for (const secret of [stripeSecret, pandaSecret, headers['stripe-signature']!, 'only in the body']) {
    assert.ok(!all.includes(secret), secret);
  }
});
