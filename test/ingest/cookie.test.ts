/** Browsers at /events: the login cookie, the answers that a page may read, and the pixel. */
import assert from 'node:assert/strict';
import { after, beforeEach, test } from 'node:test';
import { readEnvelope } from '../../shared/envelope.ts';
import { schemeOf } from '../../shared/schemes/schemes.ts';
import { secretsOf, sourcesSchema } from '../../shared/schemes/sources.ts';
import {
  defaultSources,
  envelopes,
  memoryWriter,
  pandaHeaders,
  post,
  serverEvent,
  startIngest,
  until,
} from './ingest-under-test.ts';
import { cookieName, cookieOf, cookieSource, newIssuer, origin, payloadOf } from './login-cookie.ts';

const issuer = newIssuer();
const other = newIssuer();
const writer = memoryWriter();
const sources = [
  ...defaultSources,
  cookieSource(issuer, { accessed: true }),
  cookieSource(other, { name: 'others', cookie: 'otherAuth', origins: ['other.test'], multifactor: true }),
];
const ingest = await startIngest({ writer, sources });
after(() => ingest.close());
beforeEach(() => {
  writer.records.length = 0;
});

const json = { 'content-type': 'application/json' };
const loggedIn = (payload?: string) => ({ ...json, origin, cookie: `a=b; ${cookieName}=${cookieOf(issuer, payload)}` });

test('a page sends with its cookie, to its own source, and can read the answer', async () => {
  const body = JSON.stringify([serverEvent(), serverEvent({ value: 2 })]);
  const headers = loggedIn();
  const { status, json: answer, headers: answered } = await post(`${ingest.url}/events`, headers, body);
  assert.deepEqual([status, answer], [201, { status: 'ok', accepted: 2 }]);
  assert.equal(answered.get('access-control-allow-origin'), origin);
  assert.equal(answered.get('access-control-allow-credentials'), 'true');
  assert.equal(answered.get('vary'), 'Origin');
  const stored = envelopes(writer);
  assert.deepEqual(
    stored.map(({ header: { source, scheme, via, path } }) => [source, scheme, via, path]),
    Array(2).fill(['/events/pages', 'cookie', 'events', '/events']),
  );

  // The record proves it again, and holds neither the cookie nor who it was.
  const { keyid, signedheaders = '' } = stored[0]!.header;
  const secrets = secretsOf(sourcesSchema.parse([cookieSource(issuer)])[0]!, '', {}, []);
  assert.equal(keyid, secrets[0]!.keyid);
  const evidence = {
    id: 'any',
    headers: { cookie: signedheaders.replace('cookie: ', '') },
    path: '',
    body: Buffer.from(''),
  };
  assert.equal(schemeOf('cookie').holds(evidence, secrets), true);
  const all = JSON.stringify(ingest.log) + writer.records.map(({ value }) => value.toString()).join();
  for (const personal of [
    headers.cookie.split('=')[2]!.split('.')[0]!,
    'test.user',
    Buffer.from('test.user').toString('base64').slice(0, 10),
  ]) {
    assert.ok(!all.includes(personal), personal);
  }
});

for (const [what, headers, status, code, readable] of [
  ['no cookie', { origin }, 401, 'no_cookie', true],
  ['another cookie alone', { origin, cookie: 'a=b' }, 401, 'no_cookie', true],
  ['a cookie without an origin, of no source', { cookie: 'a=b' }, 401, 'no_cookie', false],
  ['a broken cookie', { origin, cookie: `${cookieName}=x.y` }, 403, 'invalid_cookie', true],
  ['a cookie of another issuer', { origin, cookie: `${cookieName}=${cookieOf(other)}` }, 403, 'invalid_cookie', true],
  [
    'an expired cookie',
    { origin, cookie: `${cookieName}=${cookieOf(issuer, payloadOf({ expires: Date.now() - 90_000_000 }))}` },
    403,
    'expired_cookie',
    true,
  ],
  [
    'an address of another domain',
    { origin, cookie: `${cookieName}=${cookieOf(issuer, payloadOf({ email: 'a@evil.net' }))}` },
    403,
    'invalid_user',
    true,
  ],
  ['an origin that is not of the source', { ...loggedIn(), origin: 'https://evil.net' }, 403, 'origin_refused', false],
  ['an origin of another source', { ...loggedIn(), origin: 'https://other.test' }, 401, 'no_cookie', true],
  [
    'a second factor that the source wants',
    { origin: 'https://other.test', cookie: `otherAuth=${cookieOf(other, payloadOf({ multifactor: 'false' }))}` },
    403,
    'invalid_user',
    true,
  ],
] as const) {
  test(`${what} is refused with ${code}, before anything is parsed`, async () => {
    const answer = await post(`${ingest.url}/events`, { ...json, ...headers }, '{"not": JSON');
    assert.deepEqual([answer.status, answer.json.code], [status, code]);
    const { origin: asked } = headers as { origin?: string };
    assert.equal(answer.headers.get('access-control-allow-origin'), readable ? asked : null);
    assert.equal(answer.headers.get('vary'), 'Origin');
    assert.equal(writer.records.length, 0);
  });
}

test('a request that a server signed is judged by that alone, whatever cookie came along', async () => {
  const body = JSON.stringify(serverEvent());
  const taken = await post(
    `${ingest.url}/events`,
    { ...loggedIn(), ...pandaHeaders(), cookie: `${cookieName}=x` },
    body,
  );
  assert.equal(taken.status, 201);
  assert.equal(envelopes(writer)[0]!.header.source, '/events/billing');
  const refused = await post(`${ingest.url}/events`, { ...loggedIn(), ...pandaHeaders('/events', 'wrong') }, body);
  assert.deepEqual([refused.status, refused.json.code], [403, 'token_mismatch']);
  const neither = await post(`${ingest.url}/events`, json, body);
  assert.deepEqual([neither.status, neither.json.code], [401, 'credentials_missing']);
});

test('every refusal can be read by the page, and one that may be tried again says when', async () => {
  const answers = [];
  for (const [headers, body] of [
    [loggedIn(), '{'],
    [{ ...loggedIn(), 'content-type': 'text/plain' }, '{}'],
    [loggedIn(), 'x'.repeat(2_000_000)],
  ] as const) {
    const { status, headers: answered } = await post(`${ingest.url}/events`, headers, body);
    answers.push([status, answered.get('access-control-allow-origin'), answered.get('access-control-expose-headers')]);
  }
  assert.deepEqual(
    answers,
    [400, 415, 413].map((status) => [status, origin, 'Retry-After']),
  );
});

test('a preflight lets pages of the sources send JSON, and tells others that they may not', async () => {
  const preflight = (headers: Record<string, string>, path = '/events') =>
    fetch(`${ingest.url}${path}`, { method: 'OPTIONS', headers });
  for (const path of ['/events', '/event']) {
    const asked = { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' };
    const { status, headers } = await preflight(asked, path);
    assert.equal(status, 204);
    assert.deepEqual(
      ['allow-origin', 'allow-credentials', 'allow-methods', 'allow-headers', 'max-age'].map((name) =>
        headers.get(`access-control-${name}`),
      ),
      [origin, 'true', 'POST', 'Content-Type', '86400'],
    );
    assert.deepEqual([headers.get('vary'), headers.get('content-length')], ['Origin', null]);
  }
  const refused = await preflight({ origin: 'https://example.test.evil.net' });
  assert.equal(refused.status, 403);
  assert.equal(((await refused.json()) as { code: string }).code, 'origin_refused');
  assert.equal(refused.headers.get('access-control-allow-origin'), null);
  const plain = await preflight({});
  assert.deepEqual(
    [plain.status, plain.headers.get('allow'), plain.headers.get('vary')],
    [204, 'POST, OPTIONS', 'Origin'],
  );
  const get = await fetch(`${ingest.url}/events`);
  assert.deepEqual([get.status, get.headers.get('allow')], [405, 'POST, OPTIONS']);
  assert.equal((await preflight({ origin }, '/webhooks/platform')).status, 405);
});

test('without a cookie source nothing of this is there', async (t) => {
  const alone = await startIngest({ writer: memoryWriter() });
  t.after(() => alone.close());
  const { status, headers } = await fetch(`${alone.url}/events`, { method: 'OPTIONS', headers: { origin } });
  assert.deepEqual([status, headers.get('allow'), headers.get('vary')], [405, 'POST', null]);
  const answer = await post(`${alone.url}/events`, loggedIn(), '{}');
  assert.deepEqual([answer.status, answer.json.code, answer.headers.get('vary')], [401, 'credentials_missing', null]);
});

const pixel = (headers: Record<string, string>, query = '?app=workflow&stage=PROD&path=/list', method = 'GET') =>
  fetch(`${ingest.url}/accessed${query}`, { method, headers });

test('the pixel is 204 and never cached; with the cookie of a source that asks for it, it is a CloudEvent', async () => {
  const cookie = { cookie: loggedIn().cookie };
  const referer = `${origin}/list?secret=1#x`;
  const { status, headers } = await pixel({ ...cookie, referer });
  assert.deepEqual([status, headers.get('cache-control'), headers.get('content-length')], [204, 'no-store', null]);
  const [stored] = envelopes(writer);
  const { id, source, type, time, path, scheme, via } = stored!.header;
  assert.deepEqual(
    [source, type, path, scheme, via],
    ['/events/pages', 'daybook.accessed', '/accessed', 'cookie', 'events'],
  );
  const event = JSON.parse(stored!.data);
  assert.deepEqual(event, {
    specversion: '1.0',
    id,
    source: '/accessed',
    type,
    time,
    data: { app: 'workflow', stage: 'PROD', path: '/list', page: `${origin}/list` },
  });
  assert.ok('header' in readEnvelope(writer.records[0]!.value));
  await pixel(cookie, '?app=a&path=b');
  assert.notEqual(envelopes(writer)[1]!.header.id, id);
});

test('a pixel that is not recorded is said: nothing is answered 2xx that a source was to keep', async () => {
  const cookie = { cookie: loggedIn().cookie };
  for (const [headers, query, status, code] of [
    [{}, undefined, 401, 'no_cookie'],
    [{ cookie: `${cookieName}=x.y` }, undefined, 403, 'invalid_cookie'],
    [{ ...cookie, referer: 'https://evil.net/' }, undefined, 403, 'origin_refused'],
    [{ ...cookie, referer: 'about:blank' }, undefined, 403, 'origin_refused'],
    [{ ...cookie, 'sec-fetch-site': 'cross-site' }, undefined, 403, 'origin_refused'],
    [{ ...cookie }, '', 400, 'event_invalid'],
    [{ ...cookie }, `?app=${'x'.repeat(1025)}&path=b`, 400, 'event_invalid'],
  ] as const) {
    const answer = await pixel(headers, query);
    assert.deepEqual([answer.status, ((await answer.json()) as { code: string }).code], [status, code]);
  }
  assert.equal((await pixel(cookie, undefined, 'HEAD')).status, 204);
  assert.equal(writer.records.length, 0);
});

test('where no source asks for it the pixel is 204 for everybody, and nothing is recorded', async (t) => {
  const own = memoryWriter();
  const quiet = await startIngest({ writer: own, sources: [cookieSource(issuer)] });
  t.after(() => quiet.close());
  for (const headers of [{}, loggedIn()]) {
    const answer = await fetch(`${quiet.url}/accessed`, { headers });
    assert.deepEqual([answer.status, answer.headers.get('cache-control')], [204, 'no-store']);
  }
  await until(() => quiet.log.filter(({ msg }) => msg === 'request').length === 2);
  assert.equal(own.records.length, 0);
});
