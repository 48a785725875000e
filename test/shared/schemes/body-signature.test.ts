import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { contentId } from '../../../shared/schemes/content-id.ts';
import { hmacSchemeOf } from '../../../shared/schemes/hmac.ts';
import type { Headers, Scheme } from '../../../shared/schemes/scheme.ts';
import { type SchemeName, schemeOf } from '../../../shared/schemes/schemes.ts';
import { keyidOf, type Secret } from '../../../shared/schemes/secrets.ts';
import { sourcesSchema } from '../../../shared/schemes/sources.ts';
import { senders } from '../../ingest/schemes/senders.ts';

function secret(text: string, notAfterMs?: number): Secret {
  return { text, keyid: keyidOf(text), notAfterMs };
}

function verdict(
  scheme: Scheme,
  headers: Headers,
  body: string | Uint8Array,
  secrets: readonly Secret[],
  atSeconds: number,
  path = '/',
): string {
  const result = scheme.verify({ headers, path, body: Buffer.from(body) }, secrets, atSeconds * 1000 + 999);
  return 'secret' in result ? `ok ${result.secret.text}` : result.code;
}

const slackVector =
  'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c';

const standardVector = {
  id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  timestamp: '1614265330',
  signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
};
const named = (prefix: string) =>
  Object.fromEntries(Object.entries(standardVector).map(([member, value]) => [`${prefix}-${member}`, value]));

for (const [what, name, text, headers, body, atSeconds] of [
  [
    'Standard Webhooks',
    'standard',
    'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    named('webhook'),
    '{"test": 2432232314}',
    1614265330,
  ],
  ['Svix', 'standard', 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', named('svix'), '{"test": 2432232314}', 1614265330],
  [
    'GitHub',
    'github',
    "It's a Secret to Everybody",
    { 'x-hub-signature-256': 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17' },
    'Hello, World!',
    0,
  ],
  [
    'Slack',
    'slack',
    '8f742231b10e8888abcd99yyyzzz85a5',
    {
      'x-slack-request-timestamp': '1531420618',
      'x-slack-signature': 'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503',
    },
    slackVector,
    1531420618,
  ],
] as const) {
  test(`the public vector of ${what} verifies, and not with a byte changed`, () => {
    const scheme = schemeOf(name as SchemeName);
    const of = (given: Headers, bytes: string, at: number = atSeconds) =>
      verdict(scheme, given, bytes, [secret(text)], at);
    assert.equal(of(headers, body), `ok ${text}`);
    assert.equal(of(headers, `${body} `), 'token_mismatch');
    assert.equal(verdict(scheme, headers, body, [secret('another')], atSeconds), 'token_mismatch');
    if (atSeconds === 0) return;
    assert.equal(of(headers, body, atSeconds + 300), `ok ${text}`);
    assert.equal(of(headers, body, atSeconds + 301), 'date_stale');
    assert.equal(of(headers, body, atSeconds - 301), 'date_in_future');
  });
}

test('Shopify: the signature is that of openssl dgst -sha256 -hmac hush -binary, in base64', () => {
  const headers = { 'x-shopify-hmac-sha256': 'VnKUjZsLuN5iZWjn5EntcBVCF9kMN43LglzCE1/GSeY=' };
  assert.equal(verdict(schemeOf('shopify'), headers, '{"id":1}', [secret('hush')], 0), 'ok hush');
});

for (const [name, { source, sign, signature, timestamp, id }] of Object.entries(senders)) {
  const scheme =
    source.scheme === 'hmac'
      ? hmacSchemeOf(sourcesSchema.parse([source])[0] as never)
      : schemeOf(source.scheme as SchemeName);
  const [text] = source.secrets;
  const current = secret(text);
  const at = 1_800_000_000;
  const path = `/webhooks/${name}`;
  const body = '{"n":1.10}';
  const other = text.startsWith('whsec_')
    ? `whsec_${Buffer.from('another secret of 24 bytes').toString('base64')}`
    : 'other';
  const of = (headers: Headers, secrets = [current], bytes = body, seconds = at) =>
    verdict(scheme, headers, bytes, secrets, seconds, path);

  test(`${name}: any of several secrets verifies, one past its notAfter does not and is said to be the reason`, () => {
    assert.equal(of(sign(body, { atSeconds: at }), [secret(other), current]), `ok ${text}`);
    const byOld = sign(body, { secret: other, atSeconds: at });
    assert.equal(of(byOld, [current, secret(other, at * 1000 + 999)]), `ok ${other}`);
    assert.equal(of(byOld, [current, secret(other, at * 1000 + 998)]), 'token_secret_expired');
    assert.equal(of(byOld), 'token_mismatch');
    assert.equal(of(sign(body, { atSeconds: at }), []), 'token_mismatch');
  });

  test(`${name}: each header must be there, in its form, and as it was signed`, () => {
    const signed = sign(body, { atSeconds: at });
    for (const header of [signature, timestamp, id]) {
      if (header === undefined) continue;
      const alone = [timestamp, id].every((one) => one === undefined);
      const missing = alone ? 'credentials_missing' : 'credentials_incomplete';
      assert.equal(of({ ...signed, [header]: undefined }), missing);
      assert.equal(of({ ...signed, [header]: '' }), missing);
    }
    const value = signed[signature]!;
    for (const changed of [
      'x',
      value.slice(1),
      value.slice(0, -1),
      `${value}x`,
      `"${value}"`,
      value.replace(/.$/, ';'),
    ]) {
      assert.equal(of({ ...signed, [signature]: changed }), 'token_malformed', changed);
    }
    if (timestamp !== undefined) {
      for (const changed of ['soon', '1e9', '-1', '01', `${at}.0`, ` ${at}`, '9'.repeat(13), `${at}, ${at}`]) {
        assert.equal(of({ ...signed, [timestamp]: changed }), 'date_malformed', changed);
      }
      assert.equal(of({ ...signed, [timestamp]: `${at - 1}` }), 'token_mismatch');
      const allowed = name === 'hmac' ? 60 : 300;
      assert.equal(of(signed, [current], body, at + allowed), `ok ${text}`);
      assert.equal(of(signed, [current], body, at + allowed + 1), 'date_stale');
      assert.equal(of(signed, [current], body, at - allowed), `ok ${text}`);
      assert.equal(of(signed, [current], body, at - allowed - 1), 'date_in_future');
      // The clock is looked at last.
      assert.equal(of(sign(body, { atSeconds: 1, secret: other })), 'token_mismatch');
    }
    if (id !== undefined) {
      for (const changed of ['a b', 'a; b', 'a{', 'a"', 'ä', 'x'.repeat(256)]) {
        assert.equal(of(sign(body, { atSeconds: at, id: changed })), 'token_malformed', changed);
      }
      assert.equal(of(sign(body, { atSeconds: at, id: 'a.b:c-1' })), `ok ${text}`);
      assert.equal(of({ ...signed, [id]: 'msg_2' }), 'token_mismatch');
    }
  });

  test(`${name}: evidence holds years later, for its own event alone, and has nothing that nobody signed`, () => {
    const headers: Record<string, string> = { ...sign(body, { atSeconds: at }), 'x-other': 'unsigned' };
    const result = scheme.verify({ headers, path, body: Buffer.from(body) }, [current], at * 1000);
    assert.ok('secret' in result);
    const kept = Object.fromEntries(result.signedheaders.split('; ').map((one) => one.split(': ') as [string, string]));
    const signedNames = [id, timestamp, signature].filter((one) => one !== undefined);
    assert.deepEqual(Object.keys(kept), signedNames);
    for (const one of signedNames) assert.equal(kept[one], headers[one]);
    const expectedId = id === undefined ? contentId(body) : kept[id]!;
    const expired = secret(text, 0);
    const evidence = { id: expectedId, headers: kept, path, body: Buffer.from(body) };
    assert.equal(scheme.holds(evidence, [expired]), true);
    assert.equal(scheme.holds({ ...evidence, id: 'another' }, [expired]), false);
    assert.equal(scheme.holds({ ...evidence, body: Buffer.from('{"n":1.1}') }, [expired]), false);
    assert.equal(scheme.holds({ ...evidence, headers: {} }, [expired]), false);
    assert.equal(scheme.holds(evidence, [secret(other)]), false);
    assert.equal(scheme.holds({ ...evidence, path: '/elsewhere' }, [expired]), name !== 'hmac');
  });

  test(`${name}: a signed body that is a CloudEvent is known by its own id`, () => {
    const cloudEvent = '{"specversion":"1.0","id":"ce-1","source":"/s","type":"t"}';
    const headers = sign(cloudEvent, { atSeconds: at });
    const evidence = { headers, path, body: Buffer.from(cloudEvent) };
    assert.equal(scheme.holds({ ...evidence, id: 'ce-1' }, [current]), true);
    assert.equal(scheme.holds({ ...evidence, id: 'msg_1' }, [current]), false);
  });

  test(`${name}: no header and no body make it throw, and what was not signed does not pass`, () => {
    const signed = sign(body, { atSeconds: at });
    const names = [signature, timestamp, id].filter((one) => one !== undefined);
    const value = fc.oneof(fc.string({ maxLength: 90 }), fc.constantFrom(...Object.values(signed)));
    let right = 0;
    fc.assert(
      fc.property(
        fc.tuple(
          ...names.map((one) =>
            fc.oneof({ weight: 9, arbitrary: fc.constant(signed[one]!) }, { weight: 1, arbitrary: value }),
          ),
        ),
        fc.oneof({ weight: 9, arbitrary: fc.constant(Buffer.from(body)) }, { weight: 1, arbitrary: fc.uint8Array() }),
        (values, bytes) => {
          const headers = Object.fromEntries(names.map((one, index) => [one, values[index]]));
          const isSigned = names.every((one) => headers[one] === signed[one]) && Buffer.from(bytes).toString() === body;
          const said = verdict(scheme, headers, bytes, [current], at, path);
          assert.equal(said === `ok ${text}`, isSigned);
          right += Number(isSigned);
          scheme.holds({ id: 'x', headers, path, body: bytes }, [current]);
        },
      ),
      { numRuns: 2000 },
    );
    assert.ok(right > 500, `${right} of 2000 were signed: the property says little`);
  });
}

test('of several signatures in webhook-signature the one that holds is kept; other versions count for nothing', () => {
  const { source, sign } = senders.standard!;
  const scheme = schemeOf('standard');
  const at = 1_800_000_000;
  const signed = sign('{}', { atSeconds: at });
  const own = signed['webhook-signature']!;
  const fake = `v1,${'A'.repeat(43)}=`;
  for (const value of [
    `${fake} ${own}`,
    `v1a,xyz ${own} ${fake}`,
    `${own},${' v2,x'.repeat(99)}`.replace(',', ','),
    `${own} `,
  ]) {
    const headers = { ...signed, 'webhook-signature': value };
    const result = scheme.verify(
      { headers, path: '/', body: Buffer.from('{}') },
      [secret(source.secrets[0])],
      at * 1000,
    );
    if (value.includes('=,')) {
      assert.ok('code' in result, value);
      continue;
    }
    assert.ok('secret' in result, value);
    assert.ok(result.signedheaders.endsWith(`webhook-signature: ${own}`));
  }
  for (const value of [own.replace('v1', 'v1a'), own.replace('v1,', ''), own.replace('v1,', 'v1=')]) {
    assert.equal(
      verdict(scheme, { ...signed, 'webhook-signature': value }, '{}', [secret(source.secrets[0])], at),
      'token_malformed',
    );
  }
});

test('a secret of Standard Webhooks that is not base64 stands for no key', () => {
  const scheme = schemeOf('standard');
  const { sign } = senders.standard!;
  const at = 1_800_000_000;
  for (const text of ['whsec_not base64', 'whsec_', 'whsec_abc', 'sk_live_51ABCDEF']) {
    // Node's own reader of base64 takes all of these.
    const headers = sign('{}', { secret: `whsec_${text.replace(/^whsec_/, '')}`, atSeconds: at });
    assert.equal(verdict(scheme, headers, '{}', [secret(text)], at), 'token_mismatch', text);
    assert.equal(scheme.checkSecret(text)[0]?.status, 'problem', text);
  }
  assert.deepEqual(scheme.checkSecret('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'), []);
  assert.deepEqual(scheme.checkSecret('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'), []);
  assert.equal(scheme.checkSecret('whsec_c2hvcnQ=')[0]?.status, 'warning');
  assert.match(scheme.checkSecret('whpk_c2hvcnQ=')[0]!.said, /asymmetric/);
});

test('what GitHub, Shopify and Slack call an event is its type; a type that is not a word is not believed', () => {
  const typeOf = (name: SchemeName, headers: Headers, event: object) =>
    schemeOf(name).describe!(headers, event as Record<string, unknown>).type;
  assert.equal(typeOf('github', { 'x-github-event': 'push' }, {}), 'push');
  assert.equal(typeOf('github', { 'x-github-event': 'issues' }, { action: 'opened' }), 'issues.opened');
  assert.equal(typeOf('github', { 'x-github-event': 'a b' }, { action: 'opened' }), 'github');
  assert.equal(typeOf('github', {}, { action: 'opened' }), 'github');
  assert.equal(typeOf('shopify', { 'x-shopify-topic': 'orders/create' }, {}), 'orders/create');
  assert.equal(typeOf('shopify', { 'x-shopify-topic': 'x y' }, {}), 'shopify');
  assert.equal(typeOf('slack', {}, { type: 'event_callback', event: { type: 'message' } }), 'message');
  assert.equal(typeOf('slack', {}, { type: 'event_callback', event: null }), 'slack');
  assert.equal(typeOf('slack', {}, { type: 'app_rate_limited' }), 'app_rate_limited');
  assert.equal(typeOf('standard', {}, { type: 'user.created' }), 'user.created');
  assert.equal(typeOf('standard', {}, { type: 7 }), 'standard');
});

for (const [algorithm, encoding] of [
  ['sha256', 'hex'],
  ['sha256', 'base64'],
  ['sha512', 'hex'],
  ['sha512', 'base64'],
] as const) {
  test(`hmac takes ${algorithm} in ${encoding}, of the template that the source says`, () => {
    fc.assert(
      fc.property(
        fc.constantFrom(
          '{body}',
          '{timestamp}.{body}',
          'v0:{timestamp}:{body}',
          '{id}|{timestamp}|{body}',
          '{body}{path}',
        ),
        fc.constantFrom('', 'sha=', 'HMAC '),
        fc.string({ minLength: 1 }),
        fc.jsonValue(),
        (template, prefix, key, value) => {
          const body = JSON.stringify({ value });
          const given = {
            ...{ name: 'acme', scheme: 'hmac', secrets: [key], header: 'X-Sig', prefix, encoding, algorithm, template },
            ...(template.includes('{timestamp}') ? { timestampHeader: 'X-Time' } : {}),
            ...(template.includes('{id}') ? { idHeader: 'X-Id' } : {}),
          };
          const scheme = hmacSchemeOf(sourcesSchema.parse([given])[0] as never);
          const text = template
            .replace('{timestamp}', '1800000000')
            .replace('{id}', 'id-7')
            .replace('{path}', '/p')
            .replace('{body}', () => body);
          const digest = createHmac(algorithm, key).update(text).digest(encoding);
          const headers = { 'x-sig': prefix + digest, 'x-time': '1800000000', 'x-id': 'id-7' };
          assert.equal(verdict(scheme, headers, body, [secret(key)], 1_800_000_000, '/p'), `ok ${key}`);
          assert.notEqual(verdict(scheme, headers, `${body}\n`, [secret(key)], 1_800_000_000, '/p'), `ok ${key}`);
        },
      ),
      { numRuns: 200 },
    );
  });
}

test('settings of hmac that do not fit together are named by their member', () => {
  const given = { name: 'acme', scheme: 'hmac', secrets: ['x'], header: 'X-Sig' };
  const faults = (change: object) => {
    const parsed = sourcesSchema.safeParse([{ ...given, ...change }]);
    return parsed.error?.issues.map(({ path }) => path.slice(1).join('.')) ?? [];
  };
  assert.deepEqual(faults({}), []);
  assert.deepEqual(faults({ template: '{timestamp}.{body}', timestampHeader: 'X-Time', toleranceSeconds: 30 }), []);
  for (const [change, members] of [
    [{ header: 'X Sig' }, ['header']],
    [{ header: undefined }, ['header']],
    [{ prefix: 'a; b' }, ['prefix']],
    [{ encoding: 'base32' }, ['encoding']],
    [{ algorithm: 'md5' }, ['algorithm']],
    [{ template: 'body' }, ['template']],
    [{ template: '{body}{body}' }, ['template']],
    [{ template: '{body}.{host}' }, ['template']],
    [{ template: '{timestamp}.{body}' }, ['timestampHeader']],
    [{ template: '{id}.{body}' }, ['idHeader']],
    [{ timestampHeader: 'X-Time' }, ['timestampHeader']],
    [{ idHeader: 'X-Id' }, ['idHeader']],
    [{ toleranceSeconds: 30 }, ['toleranceSeconds']],
    [{ template: '{timestamp}.{body}', timestampHeader: 'X-SIG' }, ['header']],
    [{ template: '{id}{timestamp}.{body}', idHeader: 'X-Id', timestampHeader: 'X-Time' }, ['template']],
    [{ template: '{id}0{timestamp}.{body}', idHeader: 'X-Id', timestampHeader: 'X-Time' }, ['template']],
    [{ template: '{timestamp}.{body}', timestampHeader: 'X-Time', toleranceSeconds: 0 }, ['toleranceSeconds']],
    [{ unknown: 1 }, ['']],
  ] as const) {
    assert.deepEqual(faults(change), members, JSON.stringify(change));
  }
});
