/** `replicate` as a program: to a bucket with Object Lock, killed in the middle, and back to a new place. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CreateBucketCommand, PutObjectLockConfigurationCommand } from '@aws-sdk/client-s3';
import { openStore } from '../../../shared/store/open.ts';
import { openS3Client } from '../../../shared/store/s3/client.ts';
import { readWhole } from '../../../shared/store/store.ts';
import { startHttpProxy } from '../../faults/http-proxy.ts';
import { createBucket } from '../../services/s3-buckets.ts';
import { startService } from '../../services/service.ts';
import { openArchive } from '../archive-under-test.ts';
import type { Books } from '../books.ts';
import { prune, pruneTime } from '../ledger/prune-under-test.ts';

const program = fileURLToPath(new URL('../../../compactor/main.ts', import.meta.url));

function run(books: Books, args: readonly string[], change: Readonly<Record<string, string>> = {}) {
  const env = {
    ...{ PATH: process.env.PATH, AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'testsecret' },
    DAYBOOK_DATA_DIR: books.directory,
    COMPACTOR_SIGNING_KEY: books.signingKey,
    LOG_LEVEL: 'error',
    ...change,
  };
  return new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
    const child = execFile(process.execPath, [program, ...args], { env, cwd: books.directory }, (_, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

const directory = (path: string, prefix?: string) =>
  JSON.stringify({ type: 'directory', params: { path, ...(prefix === undefined ? {} : { prefix }) } });

test('without a second store, with the archive itself, with another prefix, and --check --prune: exit 1, and why', async () => {
  const books = await openArchive();
  try {
    for (const [args, replica, message] of [
      [[], undefined, /DAYBOOK_REPLICA_STORE: is required/],
      [[], directory(`${books.archive}/../archive`), /DAYBOOK_REPLICA_STORE: is the store of DAYBOOK_STORE itself/],
      [[], directory(join(books.directory, 'other'), 'folder'), /DAYBOOK_REPLICA_STORE: must have the prefix/],
      [['--check', '--prune'], directory(join(books.directory, 'other')), /does not go with --prune/],
    ] as const) {
      const change = replica === undefined ? {} : { DAYBOOK_REPLICA_STORE: replica };
      const { code, stderr } = await run(books, ['replicate', ...args], change);
      assert.equal(code, 1, stderr);
      assert.match(stderr, message);
    }
    assert.ok(!fs.existsSync(join(books.directory, 'other')));
  } finally {
    await books.close();
  }
});

const service = await startService<{ readonly endpoint: string }>('s3.sh');
after(() => service?.stop());
if (service !== undefined) {
  const { endpoint } = service.facts;

  test('to a bucket with Object Lock, by credentials of its own: killed, resumed, compared, pruned, and back from it', async (t) => {
    const books = await openArchive();
    t.after(() => books.close());
    const params = { ...(await createBucket(endpoint)), bucket: `daybook-replica-${Date.now()}` };
    const { bucket: Bucket } = params;
    const client = openS3Client(params);
    await client.send(new CreateBucketCommand({ Bucket, ObjectLockEnabledForBucket: true }));
    const Rule = { DefaultRetention: { Mode: 'COMPLIANCE', Days: 1 } } as const;
    const ObjectLockConfiguration = { ObjectLockEnabled: 'Enabled', Rule } as const;
    await client.send(new PutObjectLockConfigurationCommand({ Bucket, ObjectLockConfiguration }));
    client.destroy();
    const config = join(books.directory, 'aws-config');
    fs.writeFileSync(config, '[profile replica]\naws_access_key_id = test\naws_secret_access_key = testsecret\n');
    const proxy = await startHttpProxy(endpoint);
    t.after(() => proxy.close());
    const settingsFor = (at: string) => ({
      ...{ AWS_CONFIG_FILE: config, AWS_ACCESS_KEY_ID: 'nobody', AWS_SECRET_ACCESS_KEY: 'nothing' },
      DAYBOOK_REPLICA_STORE: JSON.stringify({ type: 's3', params: { ...params, endpoint: at, profile: 'replica' } }),
    });
    const settings = settingsFor(endpoint);
    const { store } = await openStore({ type: 's3', params }, '');
    t.after(() => store.close());
    const keysThere = () => Array.fromAsync(store.list(''));

    // The bucket goes away when it has taken some objects and one manifest.
    proxy.decide(async ({ method, path }, forward) =>
      method === 'PUT' && path.includes('manifests/00000002') ? { status: 403, headers: {}, body: '' } : forward(),
    );
    const cut = await run(books, ['replicate'], settingsFor(proxy.endpoint));
    assert.equal(cut.code, 2, cut.stdout);
    assert.match(cut.stderr, /store_permission_denied/);
    const half = await keysThere();
    assert.ok(half.includes('manifests/00000001.jsonl') && !half.includes('manifests/00000002.jsonl'));

    const checked = await run(books, ['replicate', '--check'], settings);
    assert.equal(checked.code, 2);
    assert.match(
      checked.stdout,
      /ends with manifest 1, SHA-256 [0-9a-f]{64}\.\nIt lacks 2 manifests of the archive\.\n$/,
    );
    const copied = await run(books, ['replicate'], settings);
    assert.equal(copied.code, 0, copied.stdout + copied.stderr);
    assert.match(copied.stdout, /^Copied 2 manifests and 0 objects, 0 bytes\.\n/);
    assert.deepEqual(await keysThere(), await books.keys());
    for (const key of await books.keys())
      assert.deepEqual(await readWhole(store, key), await readWhole(books.store, key));
    const whole = await run(books, ['replicate', '--check', '--json'], settings);
    assert.deepEqual([whole.code, JSON.parse(whole.stdout).behind], [0, 0], whole.stderr);

    books.at(pruneTime);
    const { objects } = await prune(books, { evidenceDays: 31, eventDays: 31 });
    const ended = await run(books, ['replicate', '--prune'], settings);
    // A server that hides what is locked, as S3 does, and one that refuses: neither loses a byte or holds anything up.
    assert.ok(ended.code === 0 || /removal_refused/.test(ended.stdout), ended.stdout + ended.stderr);
    assert.match(ended.stdout, /ends with manifest 4/);
    if (ended.code === 0)
      assert.equal((await keysThere()).length, (await books.keys()).length, `${objects.length} are hidden`);

    // Back: the replica is the archive, and an empty place takes it.
    const back = join(books.directory, 'back');
    const returned = await run(books, ['replicate'], {
      ...{ DAYBOOK_STORE: JSON.stringify({ type: 's3', params }), DAYBOOK_REPLICA_STORE: directory(back) },
    });
    assert.equal(returned.code, 0, returned.stdout + returned.stderr);
    const verified = await run(books, ['verify'], { DAYBOOK_STORE: directory(back) });
    assert.equal(verified.code, 0, verified.stdout);

    fs.rmSync(join(books.archive, 'manifests/00000004.jsonl'));
    const ahead = await run(books, ['replicate'], settings);
    assert.equal(ahead.code, 3, ahead.stdout);
    assert.match(
      ahead.stdout,
      /FAILED manifests\/00000004\.jsonl: is there, and the archive ends with manifest 3 \(replica_ahead\)/,
    );
  });
}
