/** `keys list`: what it says of keys, of an ingest that runs, of one that does not, and of secrets that cannot be had. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { KeyList } from '../../../ingest/keys/list.ts';
import { keyidOf } from '../../../shared/schemes/secrets.ts';
import { startIngestProcess } from '../ingest-process.ts';
import { pandaHeaders, post, serverEvent } from '../ingest-under-test.ts';
import { runKeys } from './keys-process.ts';

const directory = fs.mkdtempSync(join(tmpdir(), 'daybook-keys-list-'));
after(() => fs.rmSync(directory, { recursive: true }));

const past = '2026-01-02T03:04:05Z';
const sources = [
  { name: 'billing', scheme: 'panda', secrets: ['one', { value: 'two', notAfter: '2099-01-01T00:00:00+01:00' }] },
  { name: 'platform', scheme: 'stripe', secrets: [{ env: 'NOT_SET' }, { value: 'whsec_old', notAfter: past }] },
];
const path = join(directory, 'sources.json');
fs.writeFileSync(path, JSON.stringify(sources));

async function list(words: readonly string[], environment: Record<string, string> = {}) {
  const outcome = await runKeys(['list', ...words], {
    cwd: directory,
    environment: { DAYBOOK_SOURCES: path, ...environment },
  });
  assert.equal(outcome.code, 0, outcome.stderr);
  for (const secret of ['"one"', 'two', 'whsec_old']) {
    assert.ok(!outcome.stdout.includes(secret) && !outcome.stderr.includes(secret));
  }
  return outcome;
}

test('of an ingest that runs: the last use of each key, and of the unused ones since when; exactly one JSON document', async (t) => {
  const ingest = await startIngestProcess({
    cwd: directory,
    environment: { DAYBOOK_SOURCES: path, NOT_SET: 'whsec_set', DAYBOOK_DATA_DIR: directory, INGEST_PORT: '0' },
  });
  t.after(async () => {
    ingest.process.kill('SIGTERM');
    await ingest.exited;
  });
  const before = Date.now();
  const event = JSON.stringify(serverEvent());
  assert.equal((await post(`${ingest.url}/events`, pandaHeaders('/events', 'two'), event)).status, 201);
  const { stdout } = await list(['--json'], { INGEST_ADMIN_PORT: `${ingest.adminPort}` });
  const { asked, keys } = JSON.parse(stdout) as KeyList;
  assert.deepEqual(asked, [{ url: `http://127.0.0.1:${ingest.adminPort}`, problem: null }]);
  const [one, two, unset, ended] = keys as [
    KeyList['keys'][0],
    KeyList['keys'][0],
    KeyList['keys'][0],
    KeyList['keys'][0],
  ];
  assert.equal(keys.length, 4);
  assert.deepEqual(
    { ...one, unusedSince: '' },
    {
      ...{ source: 'billing', scheme: 'panda', keyid: keyidOf('one'), from: 'sources', notAfter: null, isActive: true },
      ...{ lastUsedAt: null, unusedSince: '', ingests: 1 },
    },
  );
  assert.ok(Date.parse(one.unusedSince!) <= before);
  assert.deepEqual([two.notAfter, two.isActive, two.unusedSince], ['2098-12-31T23:00:00.000Z', true, null]);
  assert.ok(Date.parse(two.lastUsedAt!) >= before - 1);
  assert.deepEqual(
    [unset.keyid, unset.from, unset.lastUsedAt, unset.unusedSince, unset.ingests],
    [null, 'env NOT_SET', null, null, 0],
  );
  assert.deepEqual([ended.notAfter, ended.isActive], ['2026-01-02T03:04:05.000Z', false]);

  // Beside one that is not there: what is known is told, and what is not is not made up.
  const both = await list(['--ingest', `http://127.0.0.1:${ingest.adminPort}`, 'http://127.0.0.1:1', '--json']);
  const partly = JSON.parse(both.stdout) as KeyList;
  assert.match(partly.asked[1]!.problem!, /ECONNREFUSED|bad port/);
  assert.match(both.stderr, /^http:\/\/127\.0\.0\.1:1 does not tell when keys were used: /m);
  assert.deepEqual([partly.keys[0]!.lastUsedAt, partly.keys[0]!.unusedSince], [null, null]);
  assert.equal(partly.keys[1]!.lastUsedAt, two.lastUsedAt);

  const shown = (await list(['--ingest', `http://127.0.0.1:${ingest.adminPort}`])).stdout.split('\n');
  assert.match(shown[0]!, /^source +scheme +keyid +secret in +verifies +last used +ingests that have it$/);
  assert.match(shown[1]!, /^billing +panda +[0-9a-f]{16} +sources +for good +not since 2\S+Z +1 of 1$/);
  assert.match(shown[2]!, /until 2098-12-31T23:00:00Z +2\S+Z +1 of 1$/);
  assert.match(shown[3]!, /^platform +stripe +unknown +env NOT_SET +for good +unknown +0 of 1$/);
  assert.match(shown[4]!, /ended 2026-01-02T03:04:05Z +not since/);
});

test('where no ingest answers, or what answers is none, the last use is unknown', async (t) => {
  const other = createServer((_request, response) => response.end('hello')).listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.after(() => other.close());
  const { port } = other.address() as AddressInfo;
  const { stdout, stderr } = await list([], { INGEST_ADMIN_PORT: `${port}` });
  assert.match(stderr, /does not tell when keys were used: this is not an ingest/);
  assert.match(stdout, /^billing .* for good +unknown +unknown$/m);
});

test('what is not a URL of a listener is a usage error', async () => {
  for (const url of ['10.0.0.5:9464', 'file:///etc/passwd', 'http://']) {
    const { code } = await runKeys(['list', '--ingest', url], {
      cwd: directory,
      environment: { DAYBOOK_SOURCES: path },
    });
    assert.equal(code, 1, url);
  }
});
