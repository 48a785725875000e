/** `prune` as a program, and what `list`, `verify`, `run` and `restore` say afterwards; on a directory and on S3. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PutBucketVersioningCommand, S3Client } from '@aws-sdk/client-s3';
import { identityToRecipient } from 'age-encryption';
import type { PruneReport } from '../../../compactor/ledger/prune-archive.ts';
import { openStore, type StoreConfiguration } from '../../../shared/store/open.ts';
import { startHttpProxy } from '../../faults/http-proxy.ts';
import { createBucket } from '../../services/s3-buckets.ts';
import { startService } from '../../services/service.ts';
import { eventsOf, signedRecord } from '../archive-under-test.ts';
import { type Books, openBooks } from '../books.ts';

const program = fileURLToPath(new URL('../../../compactor/main.ts', import.meta.url));
const service = await startService<{ endpoint: string }>('s3.sh');
after(() => service?.stop());

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

type Change = Readonly<Record<string, string | undefined>>;

function runOn(books: Books, store: StoreConfiguration, args: readonly string[], change: Change = {}) {
  const env = {
    ...{ PATH: process.env.PATH, AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'testsecret' },
    DAYBOOK_DATA_DIR: books.directory,
    DAYBOOK_STORE: JSON.stringify(store),
    COMPACTOR_SIGNING_KEY: books.signingKey,
    LOG_LEVEL: 'error',
    ...change,
  };
  return new Promise<Outcome>((resolve) => {
    execFile(process.execPath, [program, ...args], { env, cwd: books.directory }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code as number), stdout, stderr });
    });
  });
}

/** Two days that are years old by the real clock, which is the command's. */
async function fill(books: Books): Promise<void> {
  books.at('2024-03-03T03:00:00Z');
  for (const day of ['2024-03-01', '2024-03-02']) {
    await books.deliver(...eventsOf(day, 5, day).map((event) => signedRecord(event)));
  }
  await books.night([{ name: 'platform' }]);
  fs.writeFileSync(join(books.directory, 'identity.txt'), `${books.identity}\n`);
}

describe('on a directory', () => {
  let books: Books;
  beforeEach(async () => {
    books = await openBooks();
    await fill(books);
  });
  afterEach(() => books.close());
  const run = (args: readonly string[], change?: Change) => runOn(books, { type: 'directory' }, args, change);

  test('without an age nothing is pruned', async () => {
    const { code, stdout } = await run(['prune', '--apply']);
    assert.equal(code, 0);
    assert.equal(stdout, 'Evidence: kept. Events: kept. Ids and manifests: kept.\nNothing to prune.\n');
  });

  test('a dry run shows the days, changes nothing, and needs no signing key', async () => {
    const there = await books.keys();
    const keys = createPublicKey(books.signingKey).export({ type: 'spki', format: 'pem' }).toString();
    const change = { COMPACTOR_SIGNING_KEY: undefined, COMPACTOR_VERIFYING_KEYS: keys, COMPACTOR_EVENT_DAYS: '500' };
    const { code, stdout } = await run(['prune'], change);
    assert.equal(code, 0);
    assert.match(
      stdout,
      /^day +source +parts +events +evidence +deliveries +exceptions\n2024-03-01 +platform +1 +5 +0 +0 +0\n/,
    );
    assert.match(stdout, /\nEvidence: kept\. Events: pruned after 500 days\. Ids and manifests: kept\.\n/);
    assert.match(stdout, /\nWould prune 2 objects\. Nothing was changed: --apply does it\.\n/);
    assert.match(stdout, /\nThe evidence of these days holds the bodies of their delivered events, and is kept\.\n$/);
    assert.deepEqual(await books.keys(), there);
  });

  test('options come before settings; applied, the other commands say what is pruned, each with exit 0', async () => {
    const ages = { COMPACTOR_EVENT_DAYS: '36500', COMPACTOR_EVIDENCE_DAYS: '400' };
    const json = await run(['prune', '--event-days', '500', '--json'], ages);
    const planned: PruneReport = JSON.parse(json.stdout);
    assert.deepEqual(
      [planned.dryRun, planned.evidenceDays, planned.eventDays, planned.objects.length],
      [true, 400, 500, 4],
    );
    const applied = await run(['prune', '--event-days', '500', '--apply'], ages);
    assert.equal(applied.code, 0, applied.stderr);
    assert.match(applied.stdout, /\nManifest 2 written; 4 objects deleted\.\n$/);

    const listed = await run(['list']);
    assert.match(listed.stdout, /\n2024-03-01 +unreconciled +5 .* both\n/);
    const verified = await run(['verify', '--identity', 'identity.txt', '--strict']);
    assert.equal(verified.code, 0, verified.stdout);
    assert.match(verified.stdout, /\nplatform +2024-03-01 +unreconciled +5 +ok, 2 pruned\n/);
    assert.match(verified.stdout, /\n {2}4 objects are pruned, as manifests say\n/);
    const restored = await run(['restore', '-i', 'identity.txt', '-o', 'restored.jsonl']);
    assert.equal(restored.code, 0, restored.stderr);
    assert.match(restored.stdout, /\nPRUNED platform 2024-03-02: 5 events are gone \(eventDays=500, manifest 2\)\n/);
    assert.equal(fs.readFileSync(join(books.directory, 'restored.jsonl'), 'utf8'), '');
    const decrypted = await run(['decrypt', '-i', 'identity.txt', '--archive', planned.objects[0]!.key]);
    assert.deepEqual([decrypted.code, decrypted.stderr.includes('object_missing')], [2, true]);
    const again = await run(['prune', '--apply', '--json'], ages);
    assert.deepEqual([again.code, JSON.parse(again.stdout).manifest], [0, null]);

    const night = await run(['run', '--json'], {
      DAYBOOK_SOURCES: JSON.stringify([{ name: 'platform', scheme: 'stripe', secrets: ['whsec_unused'] }]),
      COMPACTOR_RECIPIENTS: await identityToRecipient(books.identity),
    });
    assert.equal(night.code, 0, night.stdout);
    assert.equal(JSON.parse(night.stdout).manifest, 3);
    assert.equal((await run(['verify', '--identity', 'identity.txt'])).code, 0);
  });

  test('an object that is missing already is not a matter of age: exit 3, and all others are pruned', async () => {
    const [part] = (await books.manifest(1)).sources.platform!['2024-03-01']!.parts;
    fs.rmSync(join(books.archive, part!.key));
    const { code, stdout } = await run(['prune', '--event-days', '31', '--apply']);
    assert.equal(code, 3);
    assert.match(stdout, /\nManifest 2 written; 1 object deleted\.\n/);
    assert.match(stdout, new RegExp(`FAILED ${part!.key}: not pruned, for it is not there.*object_missing`));
    assert.equal((await run(['verify'])).code, 3);
  });

  for (const [what, args, change, stderr] of [
    ['an age under 31 days', ['--event-days', '30'], {}, /an age is 31 to 36500 days, not 30/],
    ['an age that is not a number', ['--evidence-days', '1e3'], {}, /not 1e3/],
    ['an age of 0 among the settings', [], { COMPACTOR_EVIDENCE_DAYS: '0' }, /COMPACTOR_EVIDENCE_DAYS/],
    [
      '--apply without a signing key',
      ['--apply', '--event-days', '31'],
      { COMPACTOR_SIGNING_KEY: 'none' },
      /COMPACTOR_SIGNING_KEY/,
    ],
  ] as const) {
    test(`${what} exits 1, and nothing is touched`, async () => {
      const there = await books.keys();
      const outcome = await run(['prune', ...args], change);
      assert.equal(outcome.code, 1);
      assert.match(outcome.stderr, stderr);
      assert.deepEqual(await books.keys(), there);
    });
  }
});

if (service !== undefined) {
  const { endpoint } = service.facts;
  test('on S3 an object that the server refuses to delete is named: exit 2, all others go, the next prune deletes it', async (t) => {
    const params = await createBucket(endpoint);
    const books = await openBooks({ store: (await openStore({ type: 's3', params }, '')).store });
    const proxy = await startHttpProxy(endpoint);
    t.after(() => Promise.all([proxy.close(), books.close()]));
    await fill(books);
    const locked = (await books.manifest(1)).sources.platform!['2024-03-01']!.parts[0]!.key;
    const body = '<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>locked</Message></Error>';
    const headers = { 'content-type': 'application/xml' };
    proxy.decide(async ({ method, path }, forward) =>
      method === 'DELETE' && path.includes(locked) ? { status: 403, headers, body } : forward(),
    );
    const configuration = { type: 's3', params: { ...params, endpoint: proxy.endpoint } } as const;
    const run = (...args: string[]) => runOn(books, configuration, ['prune', ...args]);
    const refused = await run('--event-days', '31', '--evidence-days', '31', '--apply');
    assert.equal(refused.code, 2);
    assert.match(refused.stdout, /Manifest 2 written; 3 objects deleted\./);
    assert.match(refused.stdout, new RegExp(`FAILED ${locked}: .*AccessDenied.*\\(removal_refused\\)`));
    assert.match(refused.stdout, /1 object still there: left to the next run\./);
    assert.match((await run()).stdout, /1 object pruned by an earlier run still there\./);
    proxy.decide();
    const freed = await run('--apply');
    assert.equal(freed.code, 0, freed.stderr);
    assert.match(
      freed.stdout,
      /No new manifest; 1 object deleted\.\n1 object pruned by an earlier run had been left\./,
    );
  });

  for (const versions of [false, true]) {
    test(`on S3 ${versions ? 'with' : 'without'} versions: pruned, verified with --resume, restored, and nothing else is gone`, async (t) => {
      const params = await createBucket(endpoint);
      if (versions) {
        const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true });
        const VersioningConfiguration = { Status: 'Enabled' } as const;
        await client.send(new PutBucketVersioningCommand({ Bucket: params.bucket, VersioningConfiguration }));
        client.destroy();
      }
      const configuration = { type: 's3', params } as const;
      const books = await openBooks({ store: (await openStore(configuration, '')).store });
      t.after(() => books.close());
      await fill(books);
      const run = (...args: string[]) => runOn(books, configuration, args);
      const there = await books.keys();
      const applied = await run('prune', '--evidence-days', '31', '--event-days', '31', '--apply');
      assert.equal(applied.code, 0, applied.stderr);
      assert.match(applied.stdout, /Manifest 2 written; 4 objects deleted\./);
      assert.equal(/older versions: the bytes of 4 objects/.test(applied.stdout), versions);
      const gone = (await books.manifest(2)).pruned!.map(({ key }) => key);
      assert.deepEqual(
        await books.keys(),
        [...there.filter((key) => !gone.includes(key)), 'manifests/00000002.jsonl'].sort(),
      );
      const verified = await run('verify', '--identity', 'identity.txt', '--resume', 'state.json');
      assert.equal(verified.code, 0, verified.stdout + verified.stderr);
      assert.match(verified.stdout, /4 objects are pruned, as manifests say\n/);
      const restored = await run('restore', '--dry-run');
      assert.match(restored.stdout, /PRUNED platform 2024-03-01: 5 events are gone \(eventDays=31, manifest 2\)/);
    });
  }
}
