import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseFixdate, verifyPandaDelivery, verifyPandaToken } from '../../../shared/schemes/panda.ts';
import { keyidOf, type Secret } from '../../../shared/schemes/secrets.ts';

function secret(text: string, notAfterMs?: number): Secret {
  return { text, keyid: keyidOf(text), notAfterMs };
}

const date = 'Tue, 16 May 2023 10:36:38 GMT';
const dateMs = Date.UTC(2023, 4, 16, 10, 36, 38);
const path = '/event';
const changeme = secret('changeme');

function tokenOf(text: string, signedDate = date, signedPath = path): string {
  return `HMAC ${createHmac('sha256', text).update(`${signedDate}\n${signedPath}`).digest('base64')}`;
}

function verdict(
  credentials: { token?: string | undefined; date?: string | undefined; path?: string },
  secrets: readonly Secret[] = [changeme],
  nowMs = dateMs,
): string {
  const given = { token: tokenOf('changeme'), date, path, ...credentials };
  const result = verifyPandaDelivery(given, secrets, nowMs);
  return 'secret' in result ? `ok ${result.secret.text}` : result.code;
}

for (const [text, vectorDate, vectorPath, token] of [
  [
    'secret',
    'Tue, 15 Nov 1994 08:12:00 GMT',
    '/www.theguardian.com/signin',
    '3AQ08uT4ToOISOXWMr68UvzrgrqIx3KK/pKEenwVES8=',
  ],
  ['changeme', date, '/example/path', 'UbTSeObvzrH6xb2oIcn0yAoCQY5ErNSddMDk8rsp/Bs='],
  ['changeme', date, '/event', 'jKYKl/BNhd/l1Erpps6kL7kQIq3mGgztNQhbHaq0XP8='],
  ['updated', date, '/event', 'm+LeUv0AH9d67Je4dmVXpGKcZ29/6unB9OTqa6WQcfA='],
] as const) {
  test(`the public vector of ${text} for ${vectorPath} verifies`, () => {
    const result = verifyPandaToken({ token: `HMAC ${token}`, date: vectorDate, path: vectorPath }, [secret(text)]);
    assert.ok('secret' in result);
    assert.equal(result.signedAtMs, Date.parse(vectorDate));
  });
}

test('a date may be 5 minutes old or ahead, not a millisecond more', () => {
  assert.equal(verdict({}, [changeme], dateMs + 300_000), 'ok changeme');
  assert.equal(verdict({}, [changeme], dateMs + 300_001), 'date_stale');
  assert.equal(verdict({}, [changeme], dateMs - 300_000), 'ok changeme');
  assert.equal(verdict({}, [changeme], dateMs - 300_001), 'date_in_future');
});

test('any active secret verifies, one past its notAfter does not and is said to be the reason', () => {
  const old = secret('old', dateMs - 1);
  assert.equal(verdict({ token: tokenOf('changeme') }, [secret('updated'), changeme]), 'ok changeme');
  assert.equal(verdict({ token: tokenOf('old') }, [changeme, secret('old', dateMs)]), 'ok old');
  assert.equal(verdict({ token: tokenOf('old') }, [changeme, old]), 'token_secret_expired');
  assert.equal(verdict({ token: tokenOf('other') }, [changeme, old]), 'token_mismatch');
  assert.equal(verdict({}, []), 'token_mismatch');
});

for (const [what, credentials, code] of [
  ['neither header', { token: undefined, date: undefined }, 'credentials_missing'],
  ['two empty headers', { token: '', date: '' }, 'credentials_missing'],
  ['no date', { date: undefined }, 'credentials_incomplete'],
  ['no token', { token: undefined }, 'credentials_incomplete'],
  ['a token without its scheme', { token: tokenOf('changeme').slice(5) }, 'token_malformed'],
  ['a scheme in lower case', { token: tokenOf('changeme').toLowerCase() }, 'token_malformed'],
  ['a token without padding', { token: tokenOf('changeme').slice(0, -1) }, 'token_malformed'],
  ['base64url', { token: `HMAC ${'-'.repeat(43)}=` }, 'token_malformed'],
  ['a header sent twice', { token: `${tokenOf('changeme')}, ${tokenOf('changeme')}` }, 'token_malformed'],
  ['a value that would break `signedheaders`', { date: `${date}; ` }, 'date_malformed'],
  ['another path', { path: '/events' }, 'token_mismatch'],
  ['another date', { date: 'Tue, 16 May 2023 10:36:39 GMT' }, 'token_mismatch'],
] as const) {
  test(`${what} is ${code}`, () => assert.equal(verdict(credentials), code));
}

test('a date is an RFC 7231 IMF-fixdate of a day that exists, with its own week day', () => {
  assert.equal(parseFixdate(date), dateMs);
  assert.equal(parseFixdate('Thu, 29 Feb 2024 23:59:59 GMT'), Date.UTC(2024, 1, 29, 23, 59, 59));
  for (const other of [
    '2023-05-16T10:36:38Z',
    'Tuesday, 16-May-23 10:36:38 GMT',
    'Tue May 16 10:36:38 2023',
    'Tue, 16 May 2023 10:36:38 UTC',
    'Tue, 16 May 2023 10:36:38 +0000',
    'Tue, 16 May 2023 10:36 GMT',
    'Wed, 16 May 2023 10:36:38 GMT',
    'Thu, 30 Feb 2023 10:36:38 GMT',
    'Wed, 29 Feb 2023 10:36:38 GMT',
    'Wed, 17 May 2023 24:00:00 GMT',
    'Tue, 16 May 2023 10:60:38 GMT',
    'Tue, 00 May 2023 10:36:38 GMT',
    'Tue, 16 Foo 2023 10:36:38 GMT',
    ' Tue, 16 May 2023 10:36:38 GMT',
    'Tue, 16 May 2023 10:36:38 GMT\n',
    '',
  ]) {
    assert.equal(parseFixdate(other), undefined, other);
  }
});

test('no credentials make the verifier throw, and none that are not signed pass', () => {
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.constantFrom(date, tokenOf('changeme'), tokenOf('x')),
  );
  fc.assert(
    fc.property(
      fc.option(text, { nil: undefined }),
      fc.option(text, { nil: undefined }),
      fc.string(),
      (token, day, at) => {
        const right = token === tokenOf('changeme') && day === date && at === path;
        assert.equal(verdict({ token, date: day, path: at }).startsWith('ok'), right);
      },
    ),
    { numRuns: 2000 },
  );
});
