import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { verifyUser } from '@guardian/pan-domain-node/dist/src/panda.js';
import fc from 'fast-check';
import {
  type CookieSource,
  cookieScheme,
  cookieSchemeOf,
  verifyCookieDelivery,
} from '../../../shared/schemes/cookie.ts';
import { isAllowedOrigin, originRules } from '../../../shared/schemes/origins.ts';
import { parsePublicKeys } from '../../../shared/schemes/public-keys.ts';
import type { Secret } from '../../../shared/schemes/secrets.ts';
import { cookieName, cookieOf, cookieSource, type Issuer, newIssuer, payloadOf } from '../../ingest/login-cookie.ts';
import { requireCommand } from '../../require-service.ts';
import { write } from '../crypto/keys.ts';

const fixtures = new URL('../../fixtures/pan-domain/', import.meta.url);
const vectorKey = readFileSync(new URL('public-key.pem', fixtures), 'utf8');
const vectors = JSON.parse(readFileSync(new URL('vectors.json', fixtures), 'utf8'));
const graceMs = 24 * 3_600_000;

const issuer = newIssuer();
const other = newIssuer();

function secretsOf(text: string, notAfterMs?: number): Secret[] {
  const keys = parsePublicKeys(text);
  if ('problem' in keys) throw new Error(keys.problem);
  return keys.map((key) => ({ ...key, notAfterMs }));
}

const own = secretsOf(issuer.pem);

function sourceOf(changes: Readonly<Record<string, unknown>> = {}): CookieSource {
  return cookieScheme.source.parse(cookieSource(issuer, changes));
}

function verify(
  value: string | undefined,
  { source = sourceOf(), secrets = own, nowMs = Date.now(), origin = undefined as string | undefined } = {},
) {
  const cookie = value === undefined ? {} : { cookie: `a=b; ${source.cookie}=${value}; c=d` };
  const result = verifyCookieDelivery(
    { ...cookie, ...(origin === undefined ? {} : { origin }) },
    source,
    secrets,
    nowMs,
  );
  return 'secret' in result ? 'holds' : result.code;
}

test('the cookies of pan-domain-node are taken until 24 hours after they expire, and by exact domain and second factor', () => {
  const source = sourceOf({ emailDomains: ['guardian.co.uk'], multifactor: true });
  const secrets = secretsOf(vectorKey);
  const of = (cookie: string, nowMs: number) => verify(cookie, { source, secrets, nowMs });
  assert.deepEqual(
    [
      of(vectors.cookie, 0),
      of(vectors.cookie, 1234 + graceMs),
      of(vectors.cookie, 1234 + graceMs + 1),
      of(vectors.withoutMultifactor, 0),
      of(vectors.otherDomain, 0),
      of(vectors.cookie.replace('.', '..'), 0),
      of(vectors.cookie.replace('.', ''), 0),
      of(vectors.cookie.slice(0, -2), 0),
      of(`${vectors.cookie.split('.')[0]}.1234`, 0),
      of(`not-base64-data.${vectors.cookie.split('.')[1]}`, 0),
      of(encodeURIComponent(vectors.cookie), 0),
      of(`"${vectors.cookie}"`, 0),
    ],
    [
      'holds',
      'holds',
      'expired_cookie',
      'invalid_user',
      'invalid_user',
      'invalid_cookie',
      'invalid_cookie',
      'invalid_cookie',
      'invalid_cookie',
      'invalid_cookie',
      'holds',
      'holds',
    ],
  );
  const anyFactor = sourceOf({ emailDomains: ['guardian.co.uk'] });
  assert.equal(verify(vectors.withoutMultifactor, { source: anyFactor, secrets, nowMs: 0 }), 'holds');
});

for (const [what, value, code] of [
  ['no cookie', undefined, 'no_cookie'],
  ['an empty cookie', '', 'invalid_cookie'],
  ['a cookie of another issuer', cookieOf(other), 'invalid_cookie'],
  ['a payload that was changed', cookieOf(issuer).replace(/^.{8}/, 'AAAAAAAA'), 'invalid_cookie'],
  [
    'an address that only contains the domain',
    cookieOf(issuer, payloadOf({ email: 'x@example.test.evil.net' })),
    'invalid_user',
  ],
  ['an address of a subdomain', cookieOf(issuer, payloadOf({ email: 'x@sub.example.test' })), 'invalid_user'],
  [
    'an address of a domain that ends alike',
    cookieOf(issuer, payloadOf({ email: 'x@notexample.test' })),
    'invalid_user',
  ],
  [
    'an address with the domain before the at',
    cookieOf(issuer, payloadOf({ email: 'example.test@evil.net' })),
    'invalid_user',
  ],
  ['an address with two ats', cookieOf(issuer, payloadOf({ email: 'x@evil.net@example.test' })), 'invalid_user'],
  ['no address', cookieOf(issuer, payloadOf({ email: '' })), 'invalid_cookie'],
  ['a domain in capitals', cookieOf(issuer, payloadOf({ email: 'X@EXAMPLE.test' })), 'holds'],
  [
    'a name with another address in it',
    cookieOf(issuer, payloadOf({ firstName: 'x&email=x@example.test', email: 'x@evil.net' })),
    'invalid_cookie',
  ],
  [
    'a name with another end in it',
    cookieOf(issuer, payloadOf({ lastName: 'x&expires=9999999999999', expires: 0 })),
    'invalid_cookie',
  ],
  ['a payload without an end', cookieOf(issuer, payloadOf({ expires: undefined })), 'invalid_cookie'],
  ['an end that is not a number', cookieOf(issuer, payloadOf({ expires: '1e99' })), 'invalid_cookie'],
  ['an end in the past', cookieOf(issuer, payloadOf({ expires: Date.now() - graceMs - 1000 })), 'expired_cookie'],
  ['a second factor that is neither', cookieOf(issuer, payloadOf({ multifactor: 'TRUE' })), 'invalid_cookie'],
  [
    'a payload that is not UTF-8',
    cookieOf(issuer, Buffer.concat([Buffer.from([0xff]), Buffer.from(payloadOf())])),
    'invalid_cookie',
  ],
] as const) {
  test(`${what}: ${code}`, () => assert.equal(verify(value), code));
}

test('a page may send only from an origin of the source, whatever its cookie; a program names none', () => {
  const cookie = cookieOf(issuer);
  assert.equal(verify(cookie, { origin: 'https://app.example.test' }), 'holds');
  assert.equal(verify(cookie, { origin: 'https://evil.net' }), 'origin_refused');
  assert.equal(verify(cookie, { origin: 'null' }), 'origin_refused');
  assert.equal(verify(undefined, { origin: 'https://evil.net' }), 'origin_refused');
});

test('without a key nothing can be said, and a key that has ended verifies nothing', () => {
  assert.equal(verify(cookieOf(issuer), { secrets: [] }), 'cookie_key_unavailable');
  assert.equal(verify(cookieOf(issuer), { secrets: secretsOf(issuer.pem, Date.now() - 1) }), 'invalid_cookie');
  assert.equal(verify(cookieOf(issuer), { secrets: [...secretsOf(other.pem), ...own] }), 'holds');
});

test('origins are a domain with its subdomains by https at the usual port, or one origin as it is', () => {
  const rules = originRules.parse(['example.test', 'https://tool.example.net:8443', 'http://localhost:3000']);
  const allowed = (origin: string) => isAllowedOrigin(origin, rules);
  for (const origin of [
    'https://example.test',
    'https://app.example.test',
    'https://a.b.example.test',
    'https://tool.example.net:8443',
    'http://localhost:3000',
  ]) {
    assert.ok(allowed(origin), origin);
  }
  for (const origin of [
    '',
    'null',
    'http://app.example.test',
    'https://app.example.test:8443',
    'https://notexample.test',
    'https://example.test.evil.net',
    'https://evil.net/.example.test',
    'https://evil.net#.example.test',
    'https://x@app.example.test',
    'https://evil.net https://app.example.test',
    'https://tool.example.net',
    'http://localhost',
    'example.test',
  ]) {
    assert.ok(!allowed(origin), origin);
  }
  for (const wrong of [
    '*',
    'test',
    '.example.test',
    'Example.test',
    'http://example.test',
    'https://example.test/',
    '',
  ]) {
    assert.ok(!originRules.safeParse([wrong]).success, wrong);
  }
});

test('evidence holds without the cookie: no name and no address is in it, and another signature or digest does not hold', () => {
  const value = cookieOf(issuer);
  const result = cookieSchemeOf(sourceOf()).verify(
    { headers: { cookie: `${cookieName}=${value}` }, path: '/events', body: Buffer.from('') },
    own,
    Date.now(),
  );
  assert.ok('secret' in result);
  const { signedheaders } = result;
  assert.match(signedheaders, /^cookie: loginAuth=sha256-[\w+/]{43}=\.[\w+/]+=*$/);
  assert.ok(!signedheaders.includes(value.split('.')[0]!));
  const holds = (text: string, secrets: readonly Secret[] = own) =>
    cookieScheme.holds(
      { id: 'any', headers: { cookie: text.slice('cookie: '.length) }, path: '/events', body: Buffer.from('') },
      secrets,
    );
  assert.equal(holds(signedheaders), true);
  assert.equal(holds(signedheaders, secretsOf(other.pem)), false);
  assert.equal(
    holds(signedheaders.replace(/sha256-./, (text) => (text.endsWith('A') ? 'sha256-B' : 'sha256-A'))),
    false,
  );
  assert.equal(holds(signedheaders.slice(0, -8)), false);
  assert.equal(holds(`cookie: loginAuth=${value}`), false);
});

test('openssl says the same of the evidence', (t) => {
  if (!requireCommand(t, 'openssl')) return;
  const result = verifyCookieDelivery({ cookie: `${cookieName}=${cookieOf(issuer)}` }, sourceOf(), own, Date.now());
  const [, digest, signature] = /sha256-(.*)\.(.*)$/.exec('secret' in result ? result.signedheaders : '')!;
  const given = ['-in', write('digest', Buffer.from(digest!, 'base64'))];
  given.push('-sigfile', write('signature', Buffer.from(signature!, 'base64')), '-pkeyopt', 'digest:sha256');
  const check = (pem: string) =>
    spawnSync('openssl', ['pkeyutl', '-verify', '-pubin', '-inkey', write('key.pem', pem), ...given]).status;
  assert.equal(check(issuer.pem), 0);
  assert.notEqual(check(other.pem), 0);
});

test('what is taken here is taken by pan-domain-node, and what it refuses is refused', () => {
  const word = fc.stringMatching(/^[A-Za-z0-9 .'-]{1,12}$/);
  const odd = fc.constantFrom(
    '',
    '&',
    '=',
    'a=b&c=d',
    '&email=x@example.test',
    '%26',
    '+',
    'ü😀',
    '&expires=9999999999999',
    '\u0000',
  );
  const text = fc.oneof({ weight: 8, arbitrary: word }, { weight: 1, arbitrary: odd });
  const email = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom('a@example.test', 'b.c@example.test') },
    fc.constantFrom('a@evil.net', 'a@example.test.evil.net', 'example.test', 'a@@example.test', 'A@Example.Test'),
  );
  const nowMs = 1_800_000_000_000;
  const expires = fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: nowMs - 2 * graceMs, max: nowMs + 2 * graceMs }) },
    fc.constantFrom('', 'x', '-1', '1e13'),
  );
  const login = fc.record({
    firstName: text,
    lastName: text,
    email,
    system: word,
    authedIn: word,
    expires,
    multifactor: fc.constantFrom('true', 'false', 'true', 'yes'),
  });
  const breaking = fc.oneof(
    { weight: 4, arbitrary: fc.constant(null) },
    fc.tuple(fc.nat(), fc.constantFrom('A', '.', '=', ' ', '%', '-')),
  );
  const counts = { taken: 0, refused: 0 };
  // It says on the console what it cannot read.
  const { error } = console;
  console.error = () => {};
  try {
    fc.assert(
      fc.property(login, fc.constantFrom(true, true, false), breaking, (fields, isOwn, broken) => {
        let cookie = cookieOf(isOwn ? issuer : other, payloadOf(fields));
        if (broken !== null) {
          const at = broken[0] % cookie.length;
          cookie = cookie.slice(0, at) + broken[1] + cookie.slice(at + 1);
        }
        const ours = verify(cookie, { nowMs });
        // It knows no days of grace, and compares addresses as the caller says.
        const before = Number(fields.expires) < nowMs ? nowMs - graceMs : nowMs;
        const { status } = oracle(cookie, issuer, before);
        if (ours === 'holds') {
          assert.equal(status, 'Authorised', cookie);
          counts.taken++;
        } else counts.refused++;
        if (status === 'Invalid Cookie') assert.equal(ours, 'invalid_cookie', cookie);
      }),
      { numRuns: 400 },
    );
  } finally {
    console.error = error;
  }
  assert.ok(counts.taken > 40 && counts.refused > 100, JSON.stringify(counts));
});

function oracle(cookie: string, { pem }: Issuer, nowMs: number) {
  // It throws where there is no signature at all.
  if (!cookie.includes('.')) return { status: 'Invalid Cookie' };
  return verifyUser(cookie, pem, new Date(nowMs), ({ email }) => email.toLowerCase().endsWith('@example.test'));
}

test('public keys are read from PEM and from a settings file with keys that are about to go; a private one is refused', () => {
  const keyids = (text: string) => secretsOf(text).map(({ keyid }) => keyid);
  const both = [...keyids(issuer.pem), ...keyids(other.pem)];
  assert.deepEqual(keyids(`# two\n${issuer.pem}\n${other.pem}`), both);
  assert.deepEqual(
    keyids(`# made today\n\npublicKey=${issuer.base64}\nalsoAccept.0.publicKey=${other.base64}\nx=y\n`),
    both,
  );
  assert.deepEqual(keyids(`publicKey = ${issuer.base64}\r\n`), both.slice(0, 1));
  assert.deepEqual(keyids(`${issuer.pem}${issuer.pem}`), both.slice(0, 1));
  const problem = (text: string) => {
    const parsed = parsePublicKeys(text);
    return 'problem' in parsed ? parsed.problem : 'taken';
  };
  const privatePem = issuer.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const privateText = privatePem.replaceAll(/-----.*-----|\n/g, '');
  assert.match(problem(privatePem), /private key/);
  assert.match(problem(`${issuer.pem}${privatePem}`), /private key/);
  assert.match(problem(`privateKey=${privateText}\npublicKey=${issuer.base64}`), /private key/);
  for (const text of [privatePem, `privateKey=${privateText}`])
    assert.ok(!problem(text).includes(privateText.slice(0, 20)));
  assert.match(problem(''), /neither a PEM block/);
  assert.match(problem('<html>'), /neither a PEM block/);
  assert.match(problem('publicKey=AAAA'), /not an RSA key/);
  assert.match(problem(newIssuer(1024).pem), /not an RSA key of 2048 bits/);
});
