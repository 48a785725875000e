/** What doctor says of a captured request of each scheme that signs the body. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { parseCapture } from '../../../ingest/doctor/captured-request.ts';
import { requestChecks } from '../../../ingest/doctor/explain-request.ts';
import type { ResolvedSource } from '../../../ingest/schemes/resolved-source.ts';
import { type Finding, findAll } from '../../../shared/doctor/finding.ts';
import { keyidOf } from '../../../shared/schemes/secrets.ts';
import { secretsOf, sourcesSchema } from '../../../shared/schemes/sources.ts';
import { senders } from '../schemes/senders.ts';

const at = Date.UTC(2026, 10, 20, 12) / 1000;
const ended = { github: 'the secret that has ended', standard: 'whsec_dGhlIHNlY3JldCB0aGF0IGhhcyBlbmRlZA==' };
const endedFor = (scheme: string) => (scheme === 'standard' ? ended.standard : ended.github);
const another = 'whsec_YW5vdGhlciBzZWNyZXQgb2YgMjQgYnl0ZXM=';

const sources: ResolvedSource[] = sourcesSchema
  .parse([
    { name: 'platform', scheme: 'stripe', secrets: ['whsec_ofTheEndpointAndNoOther9999'] },
    ...Object.values(senders).map(({ source }) => ({
      ...source,
      secrets: [...source.secrets, { value: endedFor(source.scheme), notAfter: '2026-11-19T00:00:00Z' }],
    })),
    { name: 'partner', scheme: 'standard', secrets: [another] },
  ])
  .map((source) => ({ source, secrets: secretsOf(source, source.name, {}, []) }));

const said: string[] = [];

async function explain(
  target: string,
  headers: Record<string, string>,
  body: string,
  atSeconds = at,
): Promise<Finding[]> {
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const request = parseCapture(Buffer.from(`POST ${target} HTTP/1.1\r\n${head.join('')}\r\n${body}`));
  const findings = await findAll(requestChecks({ request, sources, maxBodyBytes: 1_048_576, nowMs: atSeconds * 1000 }));
  said.push(JSON.stringify(findings));
  return findings.filter(({ check }) => check === 'signature');
}

const body = '{\n  "type": "invoice.paid",\n  "n": 1\n}';

for (const [name, { source, sign, signature, timestamp, id }] of Object.entries(senders)) {
  const target = `/webhooks/${name}`;
  const signed = sign(body, { atSeconds: at });
  const [text] = source.secrets;

  test(`${name}: a request that is taken is said to be signed by its secret`, async () => {
    const [found] = await explain(target, signed, body);
    assert.equal(found!.status, 'ok');
    assert.match(
      found!.message,
      new RegExp(`^the signature holds, by secrets\\[0\\] of ${name} \\(keyid ${keyidOf(text)}\\)`),
    );
  });

  test(`${name}: an unknown secret, one that has ended, and one of another source are told`, async () => {
    const unknown = `whsec_${Buffer.from('a secret that nobody here knows').toString('base64')}`;
    const [first] = await explain(target, sign(body, { atSeconds: at, secret: unknown }), body);
    assert.deepEqual([first!.status, first!.code], ['problem', 'token_mismatch']);
    assert.match(first!.hint, /HMAC.*Compare keyids/);
    const byEnded = sign(body, { atSeconds: at, secret: endedFor(source.scheme) });
    const [second] = await explain(target, byEnded, body);
    assert.equal(second!.code, 'token_secret_expired');
    const [third] = await explain(target, sign(body, { atSeconds: at, secret: another }), body);
    assert.equal(third!.code, 'token_mismatch');
    assert.match(third!.message, /by secrets\[0\] of partner .*, not by one of this source$/);
  });

  test(`${name}: a body that was changed on the way is told by what undoes it, also long after`, async () => {
    for (const received of [at, at + 99_999]) {
      const [added] = await explain(target, signed, `${body}\n`, received);
      assert.equal(added!.code, 'token_mismatch');
      assert.match(added!.message, /given a line feed at its end on the way: .* by secrets\[0\]/);
      const compact = JSON.stringify(JSON.parse(body));
      assert.match((await explain(target, signed, compact, received))[0]!.message, /parsed and written again/);
    }
  });

  test(`${name}: headers that are not there are named`, async () => {
    const [none] = await explain(target, { 'content-type': 'application/json' }, body);
    assert.equal(none!.code, 'credentials_missing');
    assert.match(none!.hint, /HMAC/);
    if (timestamp === undefined) return;
    for (const absent of [signature, timestamp, ...(id === undefined ? [] : [id])]) {
      const [found] = await explain(target, { ...signed, [absent]: '' }, body);
      assert.equal(found!.code, 'credentials_incomplete');
      assert.match(found!.message, new RegExp(`^${absent} is not there: a proxy removed it`));
    }
  });

  if (timestamp !== undefined) {
    test(`${name}: a time that is off is told, and that the signature holds`, async () => {
      for (const [atSeconds, code, words] of [
        [at + 3600, 'date_stale', /the signature holds, .*Signed 3600 s ago/],
        [at - 3600, 'date_in_future', /the signature holds, .*Signed 3600 s ahead/],
      ] as const) {
        const [found] = await explain(target, signed, body, atSeconds);
        assert.equal(found!.code, code);
        assert.match(found!.message, words);
        assert.match(found!.hint, /both clocks\. If the request came at another time, give that as --at/);
      }
    });
  }

  test(`${name}: a request that was sent to a source of Stripe's is told with whose it is`, async () => {
    const found = await explain('/webhooks/platform', signed, body);
    const words = found.map(({ message }) => message).join('\n');
    // The sender of scheme hmac signs the path too: at another one its signature does not hold.
    const by = name === 'hmac' ? '' : String.raw`, with secrets\[0\] of \w+ .*`;
    assert.match(words, new RegExp(`the request is signed by .*${by}, and was sent to a webhook of another scheme`));
    assert.equal(found[0]!.code, 'signature_missing');
  });
}

test('a sender that does not decode the secret of Standard Webhooks is told so', async () => {
  const { source, sign } = senders.standard!;
  const [text] = source.secrets;
  for (const [key, how] of [
    [text, /used as text, not decoded/],
    [text.slice(6), /without whsec_, not decoded/],
  ] as const) {
    const digest = createHmac('sha256', key).update(`msg_1.${at}.${body}`).digest('base64');
    const headers = { ...sign(body, { atSeconds: at }), 'webhook-signature': `v1,${digest}` };
    const [found] = await explain('/webhooks/standard', headers, body);
    assert.match(found!.message, how);
    assert.match(found!.hint, /decodes the base64/);
  }
});

test('a secret that stands for no key is told beside the signature', async () => {
  const own = sources.map((one) =>
    one.source.name === 'standard'
      ? { ...one, secrets: [{ text: 'not base64!', keyid: keyidOf('not base64!'), notAfterMs: undefined }] }
      : one,
  );
  const head = Object.entries(senders.standard!.sign(body, { atSeconds: at })).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  const request = parseCapture(Buffer.from(`POST /webhooks/standard HTTP/1.1\r\n${head.join('')}\r\n${body}`));
  const given = { request, sources: own, maxBodyBytes: 1_048_576, nowMs: at * 1000 };
  const found = await findAll(requestChecks(given));
  const [first] = found.filter(({ check }) => check === 'secrets');
  assert.deepEqual([first!.status, first!.code], ['problem', 'token_mismatch']);
  assert.match(first!.message, /secrets\[0\] of standard .* is not whsec_ and base64/);
});

test('a line feed behind a secret is told', async () => {
  const { source, sign } = senders.github!;
  const [found] = await explain('/webhooks/github', sign(body, { secret: `${source.secrets[0]}\n` }), body);
  assert.match(found!.message, /by secrets\[0\] of github .* with a line feed behind it/);
});

test('at /events a request of Standard Webhooks is explained by its own scheme', async () => {
  const { sign } = senders.standard!;
  const event = JSON.stringify({ specversion: '1.0', id: 'i', source: 's', type: 't' });
  assert.equal((await explain('/events', sign(event, { atSeconds: at }), event))[0]!.status, 'ok');
  assert.equal((await explain('/events', sign(event, { atSeconds: at - 999 }), event))[0]!.code, 'date_stale');
  const [foreign] = await explain('/events', senders.github!.sign(event), event);
  assert.match(foreign!.message, /signed by GitHub, with secrets\[0\] of github .* sent to the route for servers/);
  assert.match(foreign!.hint, /\/webhooks\/<source>: github/);
});

test('nothing that doctor said holds a secret or an expected signature', () => {
  assert.ok(said.length > 50);
  const all = said.join('\n');
  for (const { source, sign, signature } of Object.values(senders)) {
    assert.ok(!all.includes(source.secrets[0].replace(/^whsec_/, '')));
    assert.ok(!all.includes(sign(body, { atSeconds: at })[signature]!.slice(-40)));
  }
});
