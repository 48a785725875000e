/** `drill`: what it restores, and what it finds. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { generateX25519Identity } from 'age-encryption';
import { type Drill, type DrillReport, daysOfDrill, drillArchive } from '../../../compactor/restore/drill-archive.ts';
import { parseIdentities } from '../../../shared/crypto/identities.ts';
import { readSigner } from '../../../shared/crypto/signing.ts';
import { eventsOf, openArchive, pathOf, signedRecord } from '../archive-under-test.ts';
import type { Books } from '../books.ts';
import { prune, pruneTime } from '../ledger/prune-under-test.ts';

const program = fileURLToPath(new URL('../../../compactor/main.ts', import.meta.url));
let books: Books;
beforeEach(async () => {
  books = await openArchive();
});
afterEach(() => books.close());

async function drill(change: Partial<Drill> = {}): Promise<DrillReport> {
  const temporaryDirectory = await mkdtemp(join(tmpdir(), 'daybook-drill-test-'));
  const signer = readSigner(books.signingKey);
  try {
    return await drillArchive({
      store: books.store,
      prefix: '',
      verifyingKeys: new Map([[signer.keyId, { verify: signer.verify }]]),
      identities: parseIdentities(books.identity),
      random: () => 0,
      temporaryDirectory,
      progress: () => {},
      ...change,
    });
  } finally {
    await rm(temporaryDirectory, { recursive: true });
  }
}

const codesOf = ({ failures }: DrillReport) => new Set(failures.map(({ code }) => code));

test('the newest day that has events and another one come back, every event of them', async () => {
  const { ok, days, restored, head } = await drill();
  assert.deepEqual([ok, days, restored.events, head?.number], [true, ['2026-11-18', '2026-11-19'], 14 + 8 + 5, 3]);
});

test('any day may be the other one; pruned days are none', async () => {
  books.at('2026-11-24T03:00:00Z');
  await books.deliver(...eventsOf('2026-11-22', 2, 'newest').map((event) => signedRecord(event)));
  await books.night([{ name: 'billing' }, { name: 'platform' }]);
  const ledger = await books.ledger();
  assert.deepEqual(
    daysOfDrill(ledger, () => 0),
    ['2026-11-19', '2026-11-22'],
  );
  assert.deepEqual(
    daysOfDrill(ledger, () => 0.999),
    ['2026-11-18', '2026-11-22'],
  );
  books.at(pruneTime);
  await prune(books, { eventDays: 31 });
  const pruned = await books.ledger();
  assert.deepEqual(
    daysOfDrill(pruned, () => 0.5),
    ['2026-11-22'],
  );
  assert.deepEqual((await drill()).restored.events, 2);
});

for (const [what, code, damage] of [
  ['damaged', 'object_damaged', (path: string) => fs.appendFileSync(path, 'x')],
  ['missing', 'object_missing', (path: string) => fs.rmSync(path)],
] as const) {
  test(`a part that is ${what} is found with and without a private key`, async () => {
    const [part] = (await books.manifest(1)).sources.platform!['2026-11-19']!.parts;
    damage(pathOf(books, part!.key));
    for (const identities of [parseIdentities(books.identity), undefined]) {
      const report = await drill({ identities });
      assert.deepEqual([report.ok, codesOf(report)], [false, new Set([code])]);
      assert.deepEqual(
        report.failures.map(({ key }) => key),
        [part!.key],
      );
    }
  });
}

test('without a private key every object is hashed and none opened; with a wrong one it says so', async () => {
  const { ok, days, objects, restored } = await drill({ identities: undefined });
  const all = (await books.keys()).length - 3;
  assert.deepEqual([ok, days, objects, restored], [true, [], all, { events: 0, bytes: 0 }]);
  const wrong = parseIdentities(await generateX25519Identity());
  await assert.rejects(drill({ identities: wrong }), { code: 'sealed_unreadable' });
});

test('as a program: OK is exit 0, a fault is exit 3, and the replica can be the one that is tried', async () => {
  fs.writeFileSync(join(books.directory, 'identity.txt'), `${books.identity}\n`);
  const replica = join(books.directory, 'replica');
  fs.cpSync(books.archive, replica, { recursive: true });
  const env = {
    ...{ PATH: process.env.PATH, DAYBOOK_DATA_DIR: books.directory, COMPACTOR_SIGNING_KEY: books.signingKey },
    ...{ LOG_LEVEL: 'error', DAYBOOK_REPLICA_STORE: JSON.stringify({ type: 'directory', params: { path: replica } }) },
  };
  const run = (...args: string[]) =>
    new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
      const child = execFile(
        process.execPath,
        [program, 'drill', ...args],
        { env, cwd: books.directory },
        (_, stdout, stderr) => resolve({ code: child.exitCode, stdout, stderr }),
      );
    });
  const ok = await run('--identity', 'identity.txt');
  assert.equal(ok.code, 0, ok.stderr);
  assert.match(
    ok.stdout,
    /^2026-11-18 and 2026-11-19: 27 events restored, [\d,]+ bytes, of \d+ objects\.\nDRILL OK: .*archive, manifest 3, [\d.]+ s\n$/,
  );
  for (const key of await books.keys('platform/')) fs.appendFileSync(join(replica, key), 'x');
  const failed = await run('--replica');
  assert.equal(failed.code, 3, failed.stderr);
  assert.match(failed.stdout, /^FAILED platform\/.*\(object_damaged\)\n[\s\S]*\nDRILL FAILED: .*replica, manifest 3/);
});
