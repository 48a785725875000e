import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkSecrets } from '../../../ingest/doctor/check-secrets.ts';
import { checkSize } from '../../../ingest/doctor/check-spool.ts';
import { keyidOf } from '../../../shared/schemes/secrets.ts';
import { type Source, sourcesSchema } from '../../../shared/schemes/sources.ts';

const nowMs = Date.UTC(2026, 10, 20, 12);
const hourMs = 3_600_000;
const good = `whsec_${'a'.repeat(32)}`;

interface Given {
  readonly name?: string;
  readonly scheme?: 'stripe' | 'panda';
  /** Text, and in how many hours it ends. */
  readonly secrets: readonly (readonly [text: string, endsInHours?: number])[];
}

function look(...given: readonly Given[]) {
  const resolved = given.map(({ name = 'platform', scheme = 'stripe', secrets }) => ({
    source: sourcesSchema.parse([{ name, scheme, secrets: ['x'] }])[0] as Source,
    secrets: secrets.map(([text, endsInHours]) => ({
      text,
      keyid: keyidOf(text),
      notAfterMs: endsInHours === undefined ? undefined : nowMs + endsInHours * hourMs,
    })),
  }));
  const found = checkSecrets(resolved, nowMs);
  for (const { message } of found) {
    for (const [text] of given.flatMap(({ secrets }) => secrets)) assert.equal(message.includes(text), false);
  }
  return found;
}

test('sound secrets are one finding', () => {
  const found = look({ secrets: [[good]] }, { name: 'billing', scheme: 'panda', secrets: [['a-long-enough-secret']] });
  assert.deepEqual(
    found.map(({ status, message }) => [status, message]),
    [['ok', '2 sources, 2 secrets: nothing is wrong with them by their looks']],
  );
});

for (const [name, given, status, message] of [
  [
    'an API key',
    { secrets: [['sk_live_abcdefghijklmnop']] },
    'problem',
    /is a secret API key of live mode, no signing secret/,
  ],
  [
    'a publishable key',
    { secrets: [['pk_test_abcdefghijklmnop']] },
    'problem',
    /is a publishable API key of test mode/,
  ],
  ["an endpoint's id", { secrets: [['we_1abcdefghijklmnop']] }, 'problem', /is a webhook endpoint's id/],
  ['white space', { secrets: [[`${good}\n`]] }, 'problem', /has white space or quotes around it/],
  ['quotes', { secrets: [[`"${good}"`]] }, 'problem', /has white space or quotes around it/],
  ['another text', { secrets: [['something else altogether']] }, 'warning', /does not begin with whsec_/],
  ['a secret cut off', { secrets: [['whsec_abc']] }, 'warning', /looks cut off/],
  ['a short secret of servers', { scheme: 'panda', secrets: [['changeme']] }, 'warning', /fewer than 16 characters/],
  ["Stripe's secret for servers", { scheme: 'panda', secrets: [[good]] }, 'warning', /not made for panda/],
  ['one that ends next year', { secrets: [[good], [`${good}b`, 9000]] }, 'ok', /ends at 2027/],
  [
    'one that ends in three days',
    { secrets: [[good], [`${good}b`, 75]] },
    'warning',
    /secrets\[1\] of platform .* ends in 3 days/,
  ],
  ['one that ends tonight', { secrets: [[good], [`${good}b`, 9]] }, 'warning', /ends in 9 h, at 2026-11-20T21:00/],
  [
    'one that has ended',
    { secrets: [[good], [`${good}b`, -1]] },
    'warning',
    /has ended: its notAfter was 2026-11-20T11:00/,
  ],
  ['the same secret twice', { secrets: [[good], [good]] }, 'warning', /platform lists the secret [0-9a-f]{16} twice/],
] as const) {
  test(`${name} among the secrets is told by its place, never by its text`, () => {
    const [found] = look(given as Given);
    assert.equal(found!.status, status);
    assert.match(found!.message, message);
  });
}

test('a source whose secrets have all ended is a problem, one whose secrets will end a warning', () => {
  const ended = look({ secrets: [[good, -1]] });
  assert.equal(ended[1]!.status, 'problem');
  assert.match(ended[1]!.message, /takes nothing$/);
  const ending = look({
    secrets: [
      [good, 24],
      [`${good}b`, 48],
    ],
  });
  assert.match(ending.at(-1)!.message, /takes nothing after 2026-11-22T12:00:00.000Z/);
});

test('a secret that two sources share is told with both names', () => {
  const [found] = look({ secrets: [[good]] }, { name: 'connect', secrets: [[good]] });
  assert.match(found!.message, /^platform and connect share the secret/);
});

for (const [name, size, status, message] of [
  ['an empty spool', {}, 'ok', /nothing waits/],
  ['a spool that drains', { records: 7, bytes: 700, oldestSeconds: 3 }, 'ok', /7 records are on their way/],
  ['a spool that is nearly full', { records: 7, bytes: 850 }, 'warning', /nearly full: 850 B of 1000 B/],
  ['records that wait for long', { records: 7, oldestSeconds: 1800 }, 'warning', /the oldest for 30 minutes/],
  ['dead letters', { dead: 2 }, 'warning', /2 dead letters/],
] as const) {
  test(`${name} is told`, () => {
    const [found] = checkSize({ records: 0, bytes: 0, oldestSeconds: 0, dead: 0, ...size }, 1000);
    assert.equal(found!.status, status);
    assert.match(found!.message, message);
  });
}
