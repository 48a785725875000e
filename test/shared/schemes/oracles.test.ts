/**
 * The senders' own libraries as oracles: what they sign is taken here, and what is taken here they take too. The seed of a run
 * and its counts are printed; SEED repeats one. Slack and Shopify have no small library of their own: node's HMAC is theirs.
 */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { sign as signGithub, verify as verifyGithub } from '@octokit/webhooks-methods';
import fc from 'fast-check';
import { Webhook as StandardWebhook } from 'standardwebhooks';
import { Webhook as SvixWebhook } from 'svix';
import type { Headers } from '../../../shared/schemes/scheme.ts';
import { type SchemeName, schemeOf } from '../../../shared/schemes/schemes.ts';
import { keyidOf, type Secret } from '../../../shared/schemes/secrets.ts';

const atSeconds = 1_800_000_000;
const numRuns = 2000;
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

function taken(name: SchemeName, headers: Headers, body: string, secrets: readonly string[]): boolean {
  const candidates: Secret[] = secrets.map((text) => ({ text, keyid: keyidOf(text), notAfterMs: undefined }));
  const request = { headers, path: '/', body: Buffer.from(body) };
  return 'secret' in schemeOf(name).verify(request, candidates, atSeconds * 1000);
}

interface Counts {
  runs: number;
  taken: number;
  refusedByBoth: number;
  /** By us alone, where the library is laxer. */
  refusedHere: number;
}

/** What we take, the oracle takes. */
function compare(counts: Counts, ours: boolean, theirs: boolean, what: unknown): void {
  counts.runs += 1;
  assert.ok(!ours || theirs, `taken here and refused by the library: ${JSON.stringify(what)}`);
  if (ours) counts.taken += 1;
  else if (theirs) counts.refusedHere += 1;
  else counts.refusedByBoth += 1;
}

function report(t: TestContext, counts: Counts): void {
  t.diagnostic(`seed ${seed}: ${JSON.stringify(counts)}`);
  assert.ok(counts.taken > counts.runs / 10, 'few were taken: the run says little');
  assert.ok(counts.refusedByBoth > counts.runs / 10, 'few were refused: the run says little');
}

const none = (): Counts => ({ runs: 0, taken: 0, refusedByBoth: 0, refusedHere: 0 });
const body = fc.jsonValue().map((value) => JSON.stringify({ value }));
const key = fc
  .uint8Array({ minLength: 24, maxLength: 64 })
  .map((bytes) => `whsec_${Buffer.from(bytes).toString('base64')}`);
const messageId = fc.stringMatching(/^[\w.:-]{1,40}$/);
/** What happens to a value on the way: mostly nothing. */
const bend = fc.oneof(
  { weight: 30, arbitrary: fc.constant((text: string) => text) },
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      (text: string) => text.toUpperCase(),
      (text: string) => text.slice(0, -1),
      (text: string) => `${text} `,
      (text: string) => ` ${text}`,
      (text: string) => `v1,${'A'.repeat(43)}= ${text}`,
      (text: string) => `${text} v1a,xyz v2,`,
      (text: string) => `${text},${text}`,
      (text: string) => `${text}.5`,
      (text: string) => `0${text}`,
      () => '',
    ),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 60 }).map((text) => () => text) },
);
const isOther = fc.nat(3).map((n) => n === 0);
const offset = fc.oneof(fc.integer({ min: -310, max: 310 }), fc.constantFrom(-301, -300, 300, 301, -99_999, 99_999));

for (const [name, Library, prefix] of [
  ['standardwebhooks', StandardWebhook, 'webhook'],
  ['svix', SvixWebhook, 'svix'],
] as const) {
  test(`what ${name} signs is taken, and what is taken ${name} takes`, (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: atSeconds * 1000 });
    const counts = none();
    const property = fc.property(
      ...([key, key, messageId, body, offset, fc.tuple(bend, bend, bend), isOther] as const),
      (secret, other, id, text, ahead, [bendId, bendTime, bendSignature], byOther) => {
        const at = atSeconds + ahead;
        const signature = new Library(byOther ? other : secret).sign(id, new Date(at * 1000), text);
        const headers = {
          [`${prefix}-id`]: bendId(id),
          [`${prefix}-timestamp`]: bendTime(`${at}`),
          [`${prefix}-signature`]: bendSignature(signature),
        };
        const ours = taken('standard', headers, text, [secret]);
        let theirs = true;
        try {
          new Library(secret).verify(text, headers);
        } catch {
          theirs = false;
        }
        compare(counts, ours, theirs, { headers, text, secret });
        const isAsSent = Object.values(headers).join() === [id, `${at}`, signature].join();
        if (isAsSent) assert.equal(ours, theirs, JSON.stringify({ headers, text, secret }));
      },
    );
    fc.assert(property, { numRuns, seed });
    report(t, counts);
  });
}

test('what @octokit/webhooks-methods signs is taken, and what is taken it takes', async (t) => {
  const counts = none();
  const property = fc.asyncProperty(
    ...([fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), body, bend, isOther] as const),
    async (secret, other, text, bent, byOther) => {
      const value = bent(await signGithub(byOther ? other : secret, text));
      const ours = taken('github', { 'x-hub-signature-256': value }, text, [secret]);
      const theirs = value !== '' && (await verifyGithub(secret, text, value));
      compare(counts, ours, theirs, { value, text, secret });
      assert.equal(ours, theirs);
    },
  );
  await fc.assert(property, { numRuns, seed });
  report(t, counts);
});

for (const [name, header, oracle] of [
  ['shopify', 'x-shopify-hmac-sha256', (secret: string, text: string) => hmac(secret, text, 'base64')],
  [
    'slack',
    'x-slack-signature',
    (secret: string, text: string) => `v0=${hmac(secret, `v0:${atSeconds}:${text}`, 'hex')}`,
  ],
] as const) {
  test(`${name}: taken is what node's HMAC makes, and nothing else`, (t) => {
    const counts = none();
    const property = fc.property(
      ...([fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), body, bend, isOther] as const),
      (secret, other, text, bent, byOther) => {
        const value = bent(oracle(byOther ? other : secret, text));
        const headers = {
          [header]: value,
          ...(name === 'slack' ? { 'x-slack-request-timestamp': `${atSeconds}` } : {}),
        };
        const theirs = value === oracle(secret, text);
        const ours = taken(name, headers, text, [secret]);
        compare(counts, ours, theirs, { value, text, secret });
        assert.equal(ours, theirs);
      },
    );
    fc.assert(property, { numRuns, seed });
    report(t, counts);
  });
}

function hmac(secret: string, text: string, encoding: 'hex' | 'base64'): string {
  return createHmac('sha256', secret).update(text).digest(encoding);
}
