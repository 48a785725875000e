/** Whatever a sender sends, the answer is one of the interface's: never a 500, a hang or a crash. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { readEnvelope } from '../../shared/envelope.ts';
import {
  cloudEvent,
  defaultSources,
  memoryWriter,
  pandaHeaders,
  post,
  serverEvent,
  startIngest,
  stripeEvent,
  stripeHeaders,
} from './ingest-under-test.ts';
import { cookieName, cookieOf, cookieSource, newIssuer, payloadOf } from './login-cookie.ts';
import { senders } from './schemes/senders.ts';

const writer = memoryWriter();
const issuer = newIssuer();
const cookies = cookieSource(issuer, { accessed: true });
const sources = [...defaultSources, ...Object.values(senders).map(({ source }) => source), cookies];
const ingest = await startIngest({ writer, sources });
after(() => ingest.close());

const refusals = new Set([400, 401, 403, 404, 405, 413, 415, 422]);

/** Sends header values that fetch would refuse, as latin-1. */
function send(path: string, headers: Record<string, string>, body: Uint8Array, method = 'POST'): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = request(`${ingest.url}${path}`, { method, headers }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode!));
    });
    outgoing.on('error', reject).end(body);
  });
}

function allReadable(): void {
  for (const { value } of writer.records.splice(0)) assert.ok('header' in readEnvelope(value));
}

const headerValue = fc.oneof(
  fc.constantFrom('', '=', ',', 't=', 'v1=', 'HMAC ', 'HMAC =', 'Tue, 16 May 2023 10:36:38 GMT', '; ', '__proto__'),
  fc.string({ maxLength: 200 }).map((text) => text.replace(/[^\t\x20-\x7e\x80-\xff]/g, '')),
  fc.array(fc.constantFrom('t=1', `v1=${'a'.repeat(64)}`, 'v0=x', ' ', '=', ',', 't=99999999999999999999')).map(String),
);
const headerName = fc.constantFrom(
  'stripe-signature',
  'x-gu-tools-hmac-token',
  'x-gu-tools-hmac-date',
  'x-gu-tools-service-name',
  'content-type',
  'cookie',
  'origin',
  ...Object.values(senders).flatMap(({ signature, timestamp, id }) =>
    [signature, timestamp, id].filter((name) => name !== undefined),
  ),
);

const paths = [
  ...['/webhooks/platform', '/webhooks/live', '/events', '/event', '/webhooks/x'],
  ...Object.keys(senders).map((name) => `/webhooks/${name}`),
];

test('no header makes more of a request than a refusal', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...paths),
      fc.dictionary(headerName, headerValue, { maxKeys: 5 }),
      fc.uint8Array({ maxLength: 50 }),
      async (path, headers, body) => {
        const status = await send(path, { 'content-type': 'application/json', ...headers }, body);
        assert.ok(refusals.has(status), `${status}`);
      },
    ),
    { numRuns: 300 },
  );
  assert.equal(writer.records.length, 0);
});

test('no payload that its issuer signed, and nothing done to a cookie, makes more than a refusal or an event', async () => {
  const pieces = fc.constantFrom('', '.', '=', ';', ' ', '%', '%zz', '"', ',', `${cookieName}=`, 'sha256-', '\u00ff');
  const changes = fc.dictionary(
    fc.constantFrom('email', 'expires', 'multifactor', 'firstName'),
    fc.oneof(fc.string({ maxLength: 40 }), fc.constantFrom('', '&', '=', '@', '1e400', '-1', '9'.repeat(15))),
    { maxKeys: 2 },
  );
  await fc.assert(
    fc.asyncProperty(
      changes,
      fc.nat(),
      pieces,
      fc.constantFrom('/events', '/accessed'),
      async (login, at, piece, path) => {
        const whole = `${cookieName}=${cookieOf(issuer, payloadOf(login))}`;
        const place = at % whole.length;
        const headers = { cookie: whole.slice(0, place) + piece + whole.slice(place) };
        const isPixel = path === '/accessed';
        const status = isPixel
          ? await send(`${path}?app=a&path=b`, headers, Buffer.from(''), 'GET')
          : await send(
              path,
              { 'content-type': 'application/json', ...headers },
              Buffer.from(JSON.stringify(cloudEvent())),
            );
        assert.ok(status === (isPixel ? 204 : 201) || refusals.has(status), `${status}`);
        allReadable();
      },
    ),
    { numRuns: 300 },
  );
});

const oddText = fc.constantFrom(
  '',
  '\u0000',
  '\ud800',
  'a\nb',
  '__proto__',
  'constructor',
  'x'.repeat(300),
  '😀',
  '\uFEFF',
);
const oddNumber = fc.constantFrom(0, -0, -1, 1.5, 1e21, 1e308, Number.MAX_SAFE_INTEGER, 253402300800, 8.64e15);
const oddValue = fc.oneof(oddText, oddNumber, fc.boolean(), fc.constant(null), fc.jsonValue({ maxDepth: 3 }));
const odd = (base: () => Record<string, unknown>) => {
  const fields = [
    ...Object.keys(base()),
    '__proto__',
    'toString',
    'livemode',
    'object',
    'related_object',
    'time',
    'subject',
  ];
  return fc
    .dictionary(fc.constantFrom(...fields), oddValue, { maxKeys: 3 })
    .map((changes) => ({ ...base(), ...changes }));
};

/** JSON text with what JSON.stringify would not write: other numbers, repeated names, raw bytes. */
const rough = fc.constantFrom(
  (text: string) => text,
  (text: string) => text.replace(/:\d+/, ':1e400'),
  (text: string) => text.replace(/:\d+/, ':12345678901234567890123'),
  (text: string) => text.replace(/:\d+/, ':-0.0e-0'),
  (text: string) => text.replace('{', '{"id":"first","__proto__":{"id":"x","type":"y"},'),
  (text: string) => `\n\t ${text}\r\n`,
  (text: string) => text.replace(/"/, '"\\ud800'),
  (text: string) => text.slice(0, -1),
  (text: string) => `\uFEFF${text}`,
  (text: string) => `${'['.repeat(5000)}${text}`,
  (text: string) => text.replace(/:("[^"]*"|\d+)/, `:${'{"a":'.repeat(150)}1${'}'.repeat(150)}`),
);
const broken = fc.option(fc.tuple(fc.nat(), fc.nat(255)), { freq: 5 });

function bytesOf(value: unknown, roughen: (text: string) => string, breaking: [number, number] | null): Buffer {
  const body = Buffer.from(roughen(JSON.stringify(value)));
  if (breaking !== null && body.length > 0) body[breaking[0] % body.length] = breaking[1];
  return body;
}

test('no signed webhook body makes more than a refusal, and what is taken is an envelope that can be read', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('platform', 'live', 'connect'),
      fc.oneof(odd(stripeEvent), fc.jsonValue()),
      rough,
      broken,
      async (source, event, roughen, breaking) => {
        const body = bytesOf(event, roughen, breaking);
        const { status } = await post(`${ingest.url}/webhooks/${source}`, stripeHeaders(body), body);
        assert.ok(status === 200 || refusals.has(status), `${status}`);
        allReadable();
      },
    ),
    { numRuns: 500 },
  );
});

test('no signed body on /events makes more than a refusal, and what is taken is an envelope that can be read', async () => {
  const event = fc.oneof(odd(serverEvent), odd(cloudEvent));
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('application/json', 'application/cloudevents+json', 'application/cloudevents-batch+json'),
      fc.oneof(event, fc.array(event, { maxLength: 4 }), fc.jsonValue()),
      rough,
      broken,
      async (mediaType, value, roughen, breaking) => {
        const body = bytesOf(value, roughen, breaking);
        const headers = { ...pandaHeaders(), 'content-type': mediaType };
        const { status } = await post(`${ingest.url}/events`, headers, body);
        assert.ok(status === 201 || refusals.has(status), `${status}`);
        allReadable();
      },
    ),
    { numRuns: 500 },
  );
});

const senderName = fc.constantFrom(...Object.keys(senders));

test('no body that a sender of another scheme signs makes more than a refusal, and what is taken can be read', async () => {
  await fc.assert(
    fc.asyncProperty(
      senderName,
      fc.oneof(
        odd(cloudEvent),
        odd(() => ({ type: 't', action: 'opened', challenge: 'c', event: { type: 'e' } })),
        fc.jsonValue(),
      ),
      rough,
      broken,
      async (name, event, roughen, breaking) => {
        const body = bytesOf(event, roughen, breaking);
        const { status } = await post(`${ingest.url}/webhooks/${name}`, senders[name]!.sign(body), body);
        assert.ok(status === 200 || refusals.has(status), `${status}`);
        allReadable();
      },
    ),
    { numRuns: 500 },
  );
});

test('no header beside those of a signed request makes more than a refusal, and what is taken can be read', async () => {
  const body = '{"type":"t"}';
  await fc.assert(
    fc.asyncProperty(
      senderName,
      fc.dictionary(
        fc.oneof(headerName, fc.constantFrom('x-github-event', 'x-shopify-topic', 'x-slack-retry-num')),
        headerValue,
        { maxKeys: 3 },
      ),
      async (name, headers) => {
        const status = await send(`/webhooks/${name}`, { ...senders[name]!.sign(body), ...headers }, Buffer.from(body));
        assert.ok(status === 200 || refusals.has(status), `${status}`);
        allReadable();
      },
    ),
    { numRuns: 500 },
  );
});

test('bodies around the limit of 1 MiB are taken up to it', async () => {
  for (const [bytes, status] of [
    [1_048_575, 200],
    [1_048_576, 200],
    [1_048_577, 413],
  ] as const) {
    const empty = JSON.stringify(stripeEvent({ padding: '' }));
    const body = empty.replace('"padding":""', `"padding":"${'x'.repeat(bytes - empty.length)}"`);
    assert.equal((await post(`${ingest.url}/webhooks/platform`, stripeHeaders(body), body)).status, status);
  }
});

test('an array of as many events as fit into 1 MiB is taken whole', async () => {
  writer.records.length = 0;
  const body = JSON.stringify(
    Array.from({ length: 17_000 }, (_, n) => cloudEvent({ id: `${n}`, source: 's', type: 't' })),
  );
  assert.ok(body.length < 1_048_576);
  const { status, json } = await post(`${ingest.url}/events`, pandaHeaders(), body);
  assert.equal(status, 201);
  assert.equal(json.accepted, 17_000);
  assert.equal(writer.records.length, 17_000);
});
