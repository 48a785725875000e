import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { parseCapture } from '../../../ingest/doctor/captured-request.ts';
import { requestChecks } from '../../../ingest/doctor/explain-request.ts';
import type { ResolvedSource } from '../../../ingest/schemes/resolved-source.ts';
import { type Finding, findAll } from '../../../shared/doctor/finding.ts';
import { keyidOf } from '../../../shared/schemes/secrets.ts';
import { secretsOf, sourcesSchema } from '../../../shared/schemes/sources.ts';
import { thinEvent } from '../../stripe/thin-events.ts';
import { signatureHeader, stripeSignatureHeader } from '../../stripe/webhook-sender.ts';
import { stripeEvent } from '../ingest-under-test.ts';

const receivedAtMs = Date.UTC(2026, 10, 20, 12);
const nowSeconds = receivedAtMs / 1000;
const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const otherSecret = 'whsec_ofTheOtherEndpointAndNoOther99';
const endedSecret = 'whsec_thatHasEndedSomeTimeAgo1234567';
const pandaVector = { secret: 'changeme', date: 'Tue, 16 May 2023 10:36:38 GMT', path: '/event' };
const pandaToken = 'HMAC jKYKl/BNhd/l1Erpps6kL7kQIq3mGgztNQhbHaq0XP8=';
const pandaMs = Date.UTC(2023, 4, 16, 10, 36, 38);

const sources = resolve([
  { name: 'platform', scheme: 'stripe', secrets: [secret, { value: endedSecret, notAfter: '2026-11-19T00:00:00Z' }] },
  { name: 'connect', scheme: 'stripe', secrets: [otherSecret], mode: 'live', accounts: ['acct_1'] },
  { name: 'live', scheme: 'stripe', secrets: [secret], mode: 'live' },
  { name: 'billing', scheme: 'panda', secrets: [pandaVector.secret] },
  { name: 'editor', scheme: 'panda', secrets: ['the secret of the editor'] },
]);

function resolve(given: unknown): ResolvedSource[] {
  return sourcesSchema.parse(given).map((source) => ({
    source,
    secrets: secretsOf(source, source.name, {}, []),
  }));
}

const body = `${JSON.stringify(stripeEvent({ created: nowSeconds - 3, amount: 'Überweisung </b>' }), null, 2)}`;
const compactBody = JSON.stringify(JSON.parse(body));

interface Sent {
  readonly method?: string;
  readonly target?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  readonly atMs?: number;
  readonly sources?: readonly ResolvedSource[];
}

/** All that was ever said, for the last test. */
const said: string[] = [];

async function explain(sent: Sent): Promise<Finding[]> {
  const { method = 'POST', target = '/webhooks/platform', headers = {}, body: bytes = body } = sent;
  const given = { 'content-type': 'application/json', ...headers };
  const head = Object.entries(given).map(([name, value]) => `${name}: ${value}\r\n`);
  const capture = Buffer.concat([
    Buffer.from(`${method} ${target} HTTP/1.1\r\n${head.join('')}\r\n`),
    Buffer.from(bytes),
  ]);
  const findings = await findAll(
    requestChecks({
      request: parseCapture(capture),
      sources: sent.sources ?? sources,
      maxBodyBytes: 1_048_576,
      nowMs: sent.atMs ?? receivedAtMs,
    }),
  );
  said.push(JSON.stringify(findings));
  return findings;
}

const ofSignature = (findings: readonly Finding[]) => findings.filter(({ check }) => check === 'signature');
const signed = (text = body, key = secret, seconds = nowSeconds) => ({
  'stripe-signature': stripeSignatureHeader(text, key, seconds),
});
const signedBy = (key: Buffer | string, text = body) => {
  const digest = createHmac('sha256', key).update(`${nowSeconds}.${text}`).digest('hex');
  return { 'stripe-signature': `t=${nowSeconds},v1=${digest}` };
};

test('a request that is taken has nothing but findings that are ok', async () => {
  const findings = await explain({ headers: signed() });
  assert.deepEqual(new Set(findings.map(({ status }) => status)), new Set(['ok']));
  assert.match(ofSignature(findings)[0]!.message, /^the signature holds, by secrets\[0\] of platform/);
});

for (const [name, sent, code, message, hint] of [
  ['no header', { headers: {} }, 'signature_missing', /is not there$/, /proxy/],
  ['an empty header', { headers: { 'stripe-signature': '' } }, 'signature_missing', /is empty$/, /proxy/],
  [
    'a header under another name',
    { headers: { 'x-amzn-remapped-signature': signed()['stripe-signature'] } },
    'signature_missing',
    /under the name x-amzn-remapped-signature/,
    /own name/,
  ],
  [
    'v0 alone',
    { headers: { 'stripe-signature': signed()['stripe-signature'].replace('v1', 'v0') } },
    'signature_malformed',
    /a v0 signature and no v1/,
    /took v1 away/,
  ],
  [
    'a header with spaces between its items',
    { headers: { 'stripe-signature': signed()['stripe-signature'].replace(',', ', ') } },
    'signature_malformed',
    /was changed on the way/,
    /as it came/,
  ],
  [
    'two headers in one',
    {
      headers: {
        'stripe-signature': `${signed()['stripe-signature']}, ${signed(body, otherSecret)['stripe-signature']}`,
      },
    },
    'signature_malformed',
    /two Stripe-Signature headers/,
    /second one/,
  ],
  [
    'a header cut short',
    { headers: { 'stripe-signature': signed()['stripe-signature'].slice(0, 40) } },
    'signature_malformed',
    /malformed\. A v1 is not 64/,
    /64 hex digits/,
  ],
  [
    'an expired secret',
    { headers: signed(body, endedSecret) },
    'signature_secret_expired',
    /passed at 2026-11-19/,
    /roll/,
  ],
  [
    'a signature of an hour ago',
    { headers: signed(body, secret, nowSeconds - 3600) },
    'signature_stale',
    /made at 2026-11-20T11:00:00.000Z, 3600 s before it was received/,
    /this machine's clock is ahead/,
  ],
  [
    'a signature ten minutes ahead',
    { headers: signed(body, secret, nowSeconds + 600) },
    'signature_in_future',
    /600 s after it was received/,
    /clock is behind/,
  ],
  [
    "another endpoint's secret",
    { headers: signed(body, otherSecret) },
    'signature_mismatch',
    new RegExp(`by secrets\\[0\\] of connect \\(keyid ${keyidOf(otherSecret)}\\), not by one of platform`),
    /\/webhooks\/connect/,
  ],
  [
    "a secret of a source that is not a Stripe's",
    { headers: signed(body, 'the secret of the editor') },
    'signature_mismatch',
    /a source of scheme panda/,
    /scheme stripe/,
  ],
  [
    'the secret decoded from base64, as Standard Webhooks reads it',
    { headers: signedBy(Buffer.from(secret.slice(6), 'base64')) },
    'signature_mismatch',
    /by secrets\[0\] of platform .* decoded from base64/,
    /Stripe uses the whole text/,
  ],
  [
    'the secret without its prefix',
    { headers: signedBy(secret.slice(6)) },
    'signature_mismatch',
    /without its prefix/,
    /whole text/,
  ],
  [
    'a line feed behind the secret',
    { headers: signedBy(`${secret}\n`) },
    'signature_mismatch',
    /line feed behind it/,
    /echo/,
  ],
  [
    'a secret nobody knows',
    { headers: signed(body, 'whsec_unknown') },
    'signature_mismatch',
    /no secret of DAYBOOK_SOURCES made this signature, over these bytes or any of \d+ ways/,
    /sha256sum \| cut -c1-16/,
  ],
  [
    'a Standard Webhooks sender',
    {
      headers: {
        'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
        'webhook-timestamp': '1614265330',
        'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
      },
      body: '{"test": 2432232314}',
    },
    'signature_missing',
    /signed by Standard Webhooks, with secrets\[0\] of platform .*, and was sent to a webhook of another scheme/,
    /no source of its scheme is configured/,
  ],
  [
    'a GitHub sender',
    { headers: { 'x-hub-signature-256': 'sha256=0' } },
    'signature_missing',
    /signed by GitHub/,
    /give this source the scheme of its sender/,
  ],
  [
    "a server's request at a webhook",
    { headers: { 'x-gu-tools-hmac-token': pandaToken, 'x-gu-tools-hmac-date': pandaVector.date } },
    'signature_missing',
    /by panda-hmac, and was sent to a webhook/,
    /\/events/,
  ],
  [
    'a Stripe request at /events',
    { target: '/events', headers: signed() },
    'credentials_missing',
    /signed by Stripe, with secrets\[0\] of platform .*, and was sent to the route for servers/,
    /platform, connect, live/,
  ],
] as const) {
  test(`${name} is said to be why a webhook is refused`, async () => {
    const [first] = ofSignature(await explain(sent as Sent));
    assert.deepEqual([first!.status, first!.code], ['problem', code]);
    assert.match(first!.message, message);
    assert.match(first!.hint, hint);
  });
}

test('white space, quotes, a missing prefix and the wrong kind of key in the configuration are found', async () => {
  for (const [configured, how] of [
    [` ${secret}\n`, /without the white space or quotes/],
    [`"${secret}"`, /without the white space or quotes/],
    [secret.slice(6), /with whsec_ before it/],
  ] as const) {
    const own = resolve([{ name: 'platform', scheme: 'stripe', secrets: [configured] }]);
    const [first] = ofSignature(await explain({ headers: signed(), sources: own }));
    assert.match(first!.message, how);
  }
  for (const [configured, kind] of [
    ['sk_live_51ABCDEFGHIJKLMNOP', 'secret API key'],
    ['rk_test_51ABCDEFGHIJKLMNOP', 'restricted API key'],
    ['pk_live_51ABCDEFGHIJKLMNOP', 'publishable API key'],
    ['we_1ABCDEFGHIJKLMNOP', "webhook endpoint's id"],
  ] as const) {
    const own = resolve([{ name: 'platform', scheme: 'stripe', secrets: [configured] }]);
    const found = (await explain({ headers: signed(), sources: own })).find(({ check }) => check === 'secrets');
    assert.equal(found!.status, 'problem');
    assert.match(found!.message, new RegExp(`is a ${kind}( of (live|test) mode)?, no signing secret`));
    assert.doesNotMatch(found!.message, /51ABC|1ABC/);
  }
});

const escaped = body.replaceAll(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
for (const [name, received, sentBody, change] of [
  ['parsed and written compact', compactBody, body, /parsed and written again/],
  [
    'parsed and written by Python',
    compactBody.replaceAll(/([:,])(?=["{[\d])/g, '$1 '),
    body,
    /parsed and written again/,
  ],
  ['parsed and written with four spaces', JSON.stringify(JSON.parse(body), null, 4), body, /parsed and written again/],
  ['parsed and indented, where it was sent compact', body, compactBody, /parsed and written again/],
  ['freed of its escapes', compactBody, escaped, /parsed and written again/],
  ['given a line feed', `${body}\n`, body, /given a line feed/],
  ['robbed of its line feed', body, `${body}\n`, /robbed of the line feed/],
  ['given CRLF', body.replaceAll('\n', '\r\n'), body, /from LF to CRLF/],
  ['robbed of CR', body, body.replaceAll('\n', '\r\n'), /from CRLF to LF/],
  ['given a byte order mark', `\ufeff${body}`, body, /given a byte order mark/],
  ['robbed of its byte order mark', body, `\ufeff${body}`, /robbed of its byte order mark/],
  ['read as Latin-1', Buffer.from(Buffer.from(body).toString('latin1')), body, /Latin-1/],
  ['put into base64', Buffer.from(body).toString('base64'), body, /base64/],
  ['made a JSON string', JSON.stringify(body), body, /JSON string/],
] as const) {
  test(`a body that was ${name} on the way is told by the variant that verifies`, async () => {
    const found = ofSignature(await explain({ headers: signed(sentBody), body: received }));
    assert.deepEqual(
      found.map(({ code }) => code),
      ['signature_mismatch'],
    );
    assert.match(found[0]!.message, change);
    assert.match(found[0]!.hint, /no body parser/);
  });
}

test('both are said where the body was changed and the secret is of another source', async () => {
  const found = ofSignature(await explain({ headers: signed(body, otherSecret), body: compactBody }));
  assert.equal(found.length, 2);
  assert.match(found[0]!.message, /parsed and written again/);
  assert.match(found[1]!.message, /of connect/);
});

test('any real event that was parsed and written compact is told, whatever its numbers look like', async () => {
  const folder = new URL('../../fixtures/stripe-events/', import.meta.url);
  const names = readdirSync(folder).filter((name) => name.endsWith('.json'));
  for (const name of names) {
    const event = JSON.stringify(JSON.parse(readFileSync(new URL(name, folder), 'utf8')), null, 2);
    const changed = JSON.stringify(JSON.parse(event));
    const [first] = ofSignature(await explain({ headers: signed(event), body: changed }));
    assert.match(first!.message, /parsed and written again/, name);
  }
});

test('what an unproven body says of itself is told where no secret fits', async () => {
  const thin = thinEvent({ id: 'evt_thin', created: '2026-11-20T12:00:00.000Z' }).notification;
  const unknown = (text: string, more: Sent = {}) =>
    explain({ headers: signed(text, 'whsec_unknown'), body: text, ...more });
  const told = async (text: string, more?: Sent) =>
    ofSignature(await unknown(text, more)).map(({ message }) => message);
  assert.match((await told(thin))[1]!, /thin event \(v2\.core\.event\)/);
  assert.match(
    (await told(body, { target: '/webhooks/live' }))[1]!,
    /livemode false, and live is a source of live mode/,
  );
  assert.match((await told(JSON.stringify(stripeEvent({ account: 'acct_9' }))))[1]!, /connected account/);
  assert.match((await told(''))[1]!, /the body is empty/);
  assert.match((await told('not json'))[1]!, /not JSON/);
  const withThin = resolve([{ name: 'platform', scheme: 'stripe', secrets: [secret], thinEvents: true }]);
  assert.match(
    (await told(body, { sources: withThin }))[1]!,
    /snapshot event, and the source is set up for thin events/,
  );
});

test('route, method, form and mode are told beside the signature, each with its code', async () => {
  const codes = async (sent: Sent) =>
    (await explain({ headers: signed(), ...sent })).map(({ check, code }) => `${check} ${code}`);
  assert.ok((await codes({ method: 'GET' })).includes('request method_not_allowed'));
  assert.ok((await codes({ target: '/webhooks/nobody' })).includes('request unknown_source'));
  assert.ok((await codes({ target: '/webhooks/billing' })).includes('request unknown_source'));
  assert.ok((await codes({ target: '/' })).includes('request unknown_route'));
  assert.ok((await codes({ target: '/api/webhooks/platform' })).includes('request unknown_route'));
  assert.ok((await codes({ target: '/webhooks/platform/' })).includes('request unknown_route'));
  assert.ok(
    (await codes({ headers: { ...signed(), 'content-type': 'text/plain' } })).includes(
      'request unsupported_media_type',
    ),
  );
  assert.ok(
    (await codes({ headers: { ...signed(), 'content-encoding': 'gzip' } })).includes(
      'request unsupported_content_encoding',
    ),
  );
  assert.ok((await codes({ target: '/webhooks/live' })).includes('event wrong_mode'));
  const large = `"${'x'.repeat(1_048_576)}"`;
  assert.ok((await codes({ headers: signed(large), body: large })).includes('request body_too_large'));
  const invalid = JSON.stringify({ ...stripeEvent(), id: 7 });
  assert.ok((await codes({ headers: signed(invalid), body: invalid })).includes('event event_invalid'));
  // Where the path is wrong, the secrets still say whose it is.
  const [first] = ofSignature(await explain({ target: '/webhooks/nobody', headers: signed() }));
  assert.deepEqual([first!.status, first!.hint], ['warning', "Let the endpoint's URL end in /webhooks/platform."]);
});

test('the other mode at a source with accounts is by design, and no problem', async () => {
  const findings = await explain({ target: '/webhooks/connect', headers: signed(body, otherSecret) });
  assert.match(findings.at(-1)!.message, /of the other mode/);
  assert.equal(
    findings.some(({ status }) => status === 'problem'),
    false,
  );
});

test('Content-Length tells a body that was cut short, and where a capture ends', async () => {
  const bytes = Buffer.byteLength(body);
  const cut = await explain({ headers: { ...signed(), 'content-length': `${bytes}` }, body: body.slice(0, 50) });
  assert.match(cut[0]!.message, /the body has 50 bytes, and Content-Length says \d+/);
  const longer = await explain({ headers: { ...signed(), 'content-length': `${bytes}` }, body: `${body}\n` });
  assert.equal(longer[0]!.status, 'warning');
  assert.match(ofSignature(longer)[0]!.message, /the signature holds/);
});

const pandaBody = JSON.stringify({ app: 'a', stage: 'PROD', type: 't', value: 1, eventTime: '2023-05-16T10:36:00Z' });

function panda(headers: Record<string, string>, more: Sent = {}): Sent {
  const given = { 'x-gu-tools-hmac-date': pandaVector.date, 'x-gu-tools-hmac-token': pandaToken, ...headers };
  return { target: '/event', headers: given, body: pandaBody, atMs: pandaMs, ...more };
}

function tokenOf(text: string, key: string | Buffer = pandaVector.secret): Record<string, string> {
  return { 'x-gu-tools-hmac-token': `HMAC ${createHmac('sha256', key).update(text).digest('base64')}` };
}

test('the public vector of panda-hmac is taken', async () => {
  const findings = await explain(panda({}));
  assert.deepEqual(new Set(findings.map(({ status }) => status)), new Set(['ok']));
});

const { date } = pandaVector;
for (const [name, sent, code, message, hint] of [
  [
    'no token',
    panda({ 'x-gu-tools-hmac-token': '' }),
    'credentials_incomplete',
    /^X-Gu-Tools-HMAC-Token is not there/,
    /both/,
  ],
  [
    'no header at all',
    panda({ 'x-gu-tools-hmac-token': '', 'x-gu-tools-hmac-date': '' }),
    'credentials_missing',
    /Token and X-Gu-Tools-HMAC-Date are not there/,
    /Send/,
  ],
  ['an old date', panda({}, { atMs: pandaMs + 600_000 }), 'date_stale', /600 s before the receipt/, /clock/],
  ['a date ahead', panda({}, { atMs: pandaMs - 600_000 }), 'date_in_future', /600 s after the receipt/, /clock/],
  [
    'the alias of the path',
    panda({}, { target: '/events' }),
    'token_mismatch',
    /another path: the path \/event$/,
    /: \/events;/,
  ],
  [
    'a query in the path',
    panda(tokenOf(`${date}\n/event?a=1`), { target: '/event?a=1' }),
    'token_mismatch',
    /with its query/,
    /query/,
  ],
  [
    'a prefix that a proxy took away',
    panda({ ...tokenOf(`${date}\n/gateway/event`), 'x-forwarded-prefix': '/gateway' }),
    'token_mismatch',
    /another path: the path \/gateway\/event/,
    /leave the path/,
  ],
  [
    'a usual prefix',
    panda(tokenOf(`${date}\n/api/events`)),
    'token_mismatch',
    /another path: the path \/api\/events/,
    /leave the path/,
  ],
  [
    'the path before a proxy',
    panda({ ...tokenOf(`${date}\n/x/y`), 'x-original-uri': '/x/y?z=1' }),
    'token_mismatch',
    /another path: the path before a proxy/,
    /leave the path/,
  ],
  [
    'the whole URL',
    panda({ ...tokenOf(`${date}\nhttps://h.example/event`), host: 'h.example' }),
    'token_mismatch',
    /URL with its host/,
    /host/,
  ],
  ['no line feed', panda(tokenOf(`${date}/event`)), 'token_mismatch', /one line feed/, /in this order/],
  ['the path first', panda(tokenOf(`/event\n${date}`)), 'token_mismatch', /path before the date/, /in this order/],
  [
    "another service's secret",
    panda({ ...tokenOf(`${date}\n/event`), 'x-gu-tools-service-name': 'editor' }),
    'token_mismatch',
    /by secrets\[0\] of billing .*another service/,
    /should be billing/,
  ],
  [
    'an unknown service',
    panda({ 'x-gu-tools-service-name': 'nobody' }),
    'service_unknown',
    /no source of scheme panda/,
    /DAYBOOK_SOURCES/,
  ],
  [
    'a line feed behind the secret',
    panda(tokenOf(`${date}\n/event`, 'changeme\n')),
    'token_mismatch',
    /line feed behind/,
    /echo/,
  ],
  [
    'an unknown secret',
    panda(tokenOf(`${date}\n/event`, 'unknown')),
    'token_mismatch',
    /no secret of the panda sources/,
    /sha256sum/,
  ],
  [
    'a token without its word',
    panda({ 'x-gu-tools-hmac-token': pandaToken.slice(5) }),
    'token_malformed',
    /right, by secrets\[0\] of billing/,
    /HMAC/,
  ],
  [
    'a token in hex',
    panda({ 'x-gu-tools-hmac-token': `HMAC ${Buffer.from(pandaToken.slice(5), 'base64').toString('hex')}` }),
    'token_malformed',
    /right, by/,
    /no hex/,
  ],
  [
    'a token in base64url',
    panda({ 'x-gu-tools-hmac-token': pandaToken.replaceAll('/', '_').replaceAll('+', '-').replace(/=$/, '') }),
    'token_malformed',
    /right, by/,
    /base64url/,
  ],
  [
    'no token at all in it',
    panda({ 'x-gu-tools-hmac-token': 'HMAC x' }),
    'token_malformed',
    /not the form/,
    /32 bytes/,
  ],
  [
    'an ISO date',
    panda({ ...tokenOf('2023-05-16T10:36:38Z\n/event'), 'x-gu-tools-hmac-date': '2023-05-16T10:36:38Z' }),
    'date_malformed',
    /an ISO 8601 date; the token is right for it/,
    /Here: Tue, 16 May 2023 10:36:38 GMT/,
  ],
  ['a number as date', panda({ 'x-gu-tools-hmac-date': '1684233398' }), 'date_malformed', /a number$/, /RFC 7231/],
] as const) {
  test(`${name} is said to be why a server's request is refused`, async () => {
    const [first] = ofSignature(await explain(sent as Sent));
    assert.deepEqual([first!.status, first!.code], ['problem', code]);
    assert.match(first!.message, message);
    assert.match(first!.hint, hint);
  });
}

test("a server's secret past its notAfter is named", async () => {
  const own = resolve([
    { name: 'billing', scheme: 'panda', secrets: ['new one', { value: 'changeme', notAfter: '2023-05-01T00:00:00Z' }] },
  ]);
  const [first] = ofSignature(await explain(panda({}, { sources: own })));
  assert.equal(first!.code, 'token_secret_expired');
  assert.match(first!.message, /secrets\[1\] of billing .* 2023-05-01/);
});

test('a prefix before /events is told together with the path that was signed', async () => {
  const findings = await explain(panda(tokenOf(`${date}\n/events`), { target: '/api/events' }));
  assert.equal(findings[0]!.code, 'unknown_route');
  assert.match(ofSignature(findings)[0]!.message, /another path: the path \/events$/);
});

test('whatever is captured, the explanation ends and is not a fault of its own', async () => {
  const texts = fc.oneof(fc.string({ unit: 'binary' }), fc.json(), fc.constant(body));
  const headers = fc.oneof(fc.stringMatching(/^[ -~]*$/), fc.constant(signed()['stripe-signature']));
  const target = fc.oneof(fc.constantFrom('/webhooks/platform', '/event', '*'), fc.stringMatching(/^\/[!-~]*$/));
  await fc.assert(
    fc.asyncProperty(texts, headers, target, async (text, header, path) => {
      const given = { 'stripe-signature': header, 'x-gu-tools-hmac-token': header, 'x-gu-tools-hmac-date': header };
      for (const { code, message } of await explain({ target: path, headers: given, body: text })) {
        assert.notEqual(code, 'internal_error', message);
      }
    }),
    { numRuns: 200 },
  );
});

test('a byte order mark before a captured request is left out, one in its body is not', () => {
  const capture = parseCapture(Buffer.from('\ufeffPOST /webhooks/platform HTTP/1.1\r\nHost: a\r\n\r\n\ufeff{}'));
  assert.equal(capture.path, '/webhooks/platform');
  assert.equal(capture.body.toString(), '\ufeff{}');
});

test('a file that is not a captured request is refused as such', () => {
  for (const text of [
    '',
    'hello',
    '{"id":1}\n\n',
    'POST /events HTTP/1.1\nno header\n\n',
    'POST /events HTTP/1.1\r\n',
  ]) {
    assert.throws(() => parseCapture(Buffer.from(text)), { code: 'usage' });
  }
});

after(() => {
  // Of all that was said in this file: no secret, no signature, no content of a body.
  const all = said.join('\n');
  const expected = signatureHeader({ body, secrets: [secret], timestampSeconds: nowSeconds }).slice(-64);
  for (const text of [
    secret,
    otherSecret,
    endedSecret,
    secret.slice(6),
    'of the editor',
    expected,
    pandaToken.slice(5),
    'berweisung',
  ]) {
    assert.equal(all.includes(text), false, text);
  }
  assert.ok(said.length > 100);
});
