import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isActive, resolveSecrets } from '../../../shared/schemes/secrets.ts';

const directory = await mkdtemp(join(tmpdir(), 'daybook-secrets-'));
after(() => rm(directory, { recursive: true }));

test('a secret is found as text, in a value, in the environment and in a file, without the line end', async () => {
  const file = join(directory, 'secret');
  await writeFile(file, 'from a file\n');
  const problems: string[] = [];
  const references = ['as text', { value: 'as value' }, { env: 'SOME' }, { file, notAfter: '2026-01-02T03:04:05Z' }];
  const secrets = resolveSecrets(references, 'secrets', { SOME: 'from env\n' }, problems);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    secrets.map(({ text }) => text),
    ['as text', 'as value', 'from env', 'from a file'],
  );
  assert.equal(secrets[3]!.notAfterMs, Date.UTC(2026, 0, 2, 3, 4, 5));
  assert.equal(secrets[0]!.keyid, createHash('sha256').update('as text').digest('hex').slice(0, 16));
});

test('every secret that cannot be had is named by its place, none by its value', async () => {
  const empty = join(directory, 'empty');
  await writeFile(empty, '\n');
  const problems: string[] = [];
  const references = [
    { env: 'UNSET' },
    'fine',
    { env: 'EMPTY' },
    { file: join(directory, 'nowhere') },
    { file: empty },
  ];
  const secrets = resolveSecrets(references, 'SOURCES[0].secrets', { EMPTY: ' ' }, problems);
  assert.deepEqual(
    secrets.map(({ text }) => text),
    ['fine'],
  );
  assert.deepEqual(
    problems.map((problem) => problem.split(':')[0]),
    ['SOURCES[0].secrets[0]', 'SOURCES[0].secrets[2]', 'SOURCES[0].secrets[3]', 'SOURCES[0].secrets[4]'],
  );
  assert.match(problems[2]!, /ENOENT/);
});

test('a secret is active up to and including its notAfter', () => {
  const secret = { text: 'x', keyid: 'y', notAfterMs: 1000 };
  assert.ok(isActive(secret, 1000));
  assert.ok(!isActive(secret, 1001));
  assert.ok(isActive({ ...secret, notAfterMs: undefined }, Number.MAX_SAFE_INTEGER));
});
