import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rotated, withSecrets } from '../../../ingest/keys/edit-sources.ts';
import type { SecretReference } from '../../../shared/schemes/source-members.ts';

const endsAt = '2026-12-05T12:00:00.000Z';
const newest = { file: '/secrets/new' };

test('every previous secret gets the end of the overlap, unless it ends before', () => {
  const references: SecretReference[] = [
    'text',
    { env: 'NAME' },
    { file: '/secrets/old', notAfter: '2027-01-01T00:00:00Z' },
    { value: 'v', notAfter: '2026-12-05T11:59:59+00:00' },
    { value: 'w', notAfter: '2026-12-05T13:30:00+02:00' },
  ];
  const list = rotated(references, newest, endsAt);
  assert.deepEqual(list, [
    newest,
    { value: 'text', notAfter: endsAt },
    { env: 'NAME', notAfter: endsAt },
    { file: '/secrets/old', notAfter: endsAt },
    { value: 'v', notAfter: '2026-12-05T11:59:59+00:00' },
    { value: 'w', notAfter: '2026-12-05T13:30:00+02:00' },
  ]);
  assert.equal(list[4], references[3]);
});

test('a list on one line stays on one line, one of several keeps its indentation, and nothing else is touched', () => {
  const before: SecretReference[] = [{ value: 'old', notAfter: '2026-01-01T00:00:00Z' }, 'x, ]"\\'];
  const after = rotated(before, 'new "quoted"', endsAt);
  const written = JSON.stringify(before[0]);
  const edited = (list: string) =>
    withSecrets(
      `[ {"name":"a","secrets":["x"]},\n{"name" : "billing", "secrets":${list}\t}]\n`,
      'billing',
      before,
      after,
    );
  const around = (list: string) => `[ {"name":"a","secrets":["x"]},\n{"name" : "billing", "secrets":${list}\t}]\n`;
  const last = JSON.stringify(before[1]);
  assert.equal(
    edited(`[${written},${last}]`),
    around(`["new \\"quoted\\"", ${written}, { "value": ${last}, "notAfter": "${endsAt}" }]`),
  );
  assert.equal(
    edited(`[\n      ${written},\n      ${last}\n    ]`),
    around(
      `[\n      "new \\"quoted\\"",\n      ${written},\n      { "value": ${last}, "notAfter": "${endsAt}" }\n    ]`,
    ),
  );
});

test('the source is found by its name alone, whatever else looks like it or like its secrets', () => {
  const secrets = ['["s"]', 's'];
  const sources = [
    { name: 'a', note: '"name":"billing","secrets":["s"]', secrets: ['s'] },
    { accounts: ['["s"]', 's'], deep: { secrets, name: 'billing' }, name: 'billing', secrets },
    { name: 'billing-2', secrets },
  ];
  const list = rotated(secrets, 'n', endsAt);
  for (const indent of [undefined, 1, 2, '\t', ' \r']) {
    const text = JSON.stringify(sources, null, indent).replace('"secrets":["s"],"name"', '"secrets":["s"],"name"');
    const found = JSON.parse(withSecrets(text, 'billing', secrets, list));
    assert.deepEqual(found, [sources[0], { ...sources[1], secrets: list }, sources[2]], JSON.stringify(indent));
  }
});

test('the same text inside a source before it is another', () => {
  const own = '{"name":"billing","secrets":["s"]}';
  const edited = withSecrets(`[{"name":"a","of":${own}},${own}]`, 'billing', ['s'], ['n']);
  assert.equal(edited, `[{"name":"a","of":${own}},${own.replace('"s"', '"n"')}]`);
});

test('a name that is written with escapes is found, and of two members of a name the one that counts', () => {
  const text = '[{"n\\u0061me":"b\\u0069lling","secrets":["no"],"s\\u0065crets":["s"]}]';
  const edited = withSecrets(text, 'billing', ['s'], ['n']);
  assert.equal(edited, '[{"n\\u0061me":"b\\u0069lling","secrets":["no"],"s\\u0065crets":["n"]}]');
});
