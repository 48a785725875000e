/** `link` against a real S3 server (test/services/s3.sh), and what it refuses without one. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, createPublicKey } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as rest } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DeleteObjectCommand } from '@aws-sdk/client-s3';
import { dayDetailOf } from '../../../compactor/console/day-detail.ts';
import { encodeManifest, type Manifest, manifestKey } from '../../../compactor/ledger/manifest.ts';
import { readSigner } from '../../../shared/crypto/signing.ts';
import { openStore } from '../../../shared/store/open.ts';
import { openS3Client } from '../../../shared/store/s3/client.ts';
import type { S3Params } from '../../../shared/store/s3/settings.ts';
import { openS3Store } from '../../../shared/store/s3/store.ts';
import { bodyOf, readWhole } from '../../../shared/store/store.ts';
import { createBucket } from '../../services/s3-buckets.ts';
import { startService } from '../../services/service.ts';
import { eventsOf, openArchive, signedRecord } from '../archive-under-test.ts';
import { type Books, openBooks } from '../books.ts';
import { placesOf } from '../console/places.ts';

const program = fileURLToPath(new URL('../../../compactor/main.ts', import.meta.url));

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function link(books: Books, store: unknown, args: readonly string[]): Promise<Outcome> {
  const env = {
    PATH: process.env.PATH,
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'testsecret',
    LOG_LEVEL: 'trace',
    DAYBOOK_DATA_DIR: join(books.directory, 'absent'),
    DAYBOOK_STORE: JSON.stringify(store),
    COMPACTOR_VERIFYING_KEYS: createPublicKey(books.signingKey).export({ type: 'spki', format: 'pem' }).toString(),
  };
  return new Promise((resolve) => {
    execFile(process.execPath, [program, 'link', ...args], { env, cwd: books.directory }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code as number), stdout, stderr });
    });
  });
}

test('a directory store has no links: it says so, with what to do instead', async () => {
  const books = await openArchive();
  try {
    const { code, stderr } = await link(books, { type: 'directory', params: { path: books.archive } }, ['x']);
    assert.equal(code, 1);
    assert.match(stderr, /has no links: they need an S3 store\nusage: Copy the file/);
  } finally {
    await books.close();
  }
});

const service = await startService<{ readonly endpoint: string }>('s3.sh');
if (service !== undefined) {
  after(() => service.stop());
  linkTests(service.facts.endpoint);
}

function linkTests(endpoint: string): void {
  let books: Books;
  let params: S3Params;
  let store: { readonly type: 's3'; readonly params: S3Params };
  /** Keys of the day's objects, by the manifest. */
  let keys: string[];

  before(async () => {
    params = await createBucket(endpoint);
    store = { type: 's3', params };
    books = await openBooks({ store: (await openStore(store, '')).store });
    const events = eventsOf('2026-11-19', 5, 'linked');
    await books.deliver(...events.map((event) => signedRecord(event)), {
      key: 'x',
      value: Buffer.from('no envelope'),
    });
    await books.night([{ name: 'platform' }]);
    const { sources, quarantine } = await books.manifest(1);
    const [part] = sources.platform!['2026-11-19']!.parts;
    keys = [part!.key, part!.ids.key, part!.deliveries!.key, ...quarantine.map(({ key }) => key)];
  });
  after(() => books.close());

  const linksOf = async (...args: readonly string[]) => {
    const { code, stdout, stderr } = await link(books, store, [...args, '--json']);
    assert.equal(code, 0, stderr);
    assert.equal(stderr, '', 'nothing of a link is logged');
    return JSON.parse(stdout).links as Record<'key' | 'url' | 'expiresAt' | 'sha256', string>[];
  };
  const linkOf = async (...args: readonly string[]) => (await linksOf(...args))[0]!;
  const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

  test('whoever has a link fetches the very object, without credentials, and can compare its SHA-256', async () => {
    const links = await linksOf(...keys);
    assert.equal(keys.length, 4);
    assert.deepEqual(
      links.map(({ key }) => key),
      keys,
    );
    for (const { key, url, sha256: named, expiresAt, ...rest } of links) {
      assert.deepEqual(
        Object.keys(rest).sort(),
        ['endsWithCredentials', 'manifest', ...(key.startsWith('quarantine/') ? [] : ['day', 'source'])].sort(),
      );
      const answer = await fetch(url);
      assert.equal(answer.status, 200);
      const bytes = Buffer.from(await answer.arrayBuffer());
      assert.deepEqual(bytes, await readWhole(books.store, key));
      assert.equal(sha256(bytes), named);
      const lasts = Date.parse(expiresAt) - Date.now();
      assert.ok(lasts > 3_500_000 && lasts <= 3_600_000, `an hour: ${lasts} ms`);
    }
  });

  test("the console's page of a day has a link of a quarter of an hour to each of its objects", async () => {
    const { view } = placesOf(books);
    const detail = await dayDetailOf(await view.look(), 'platform', '2026-11-19', '2026-11-22', books.store.link);
    const [part] = detail.parts;
    const linked = [
      [part!.link, part!.sha256.ciphertext],
      [part!.ids.link, part!.ids.sha256],
      [part!.deliveries!.link, part!.deliveries!.sha256.ciphertext],
    ] as const;
    for (const [given, named] of linked) {
      assert.equal(sha256(Buffer.from(await (await fetch(given!.url)).arrayBuffer())), named);
      const lasts = Date.parse(given!.expiresAt) - Date.now();
      assert.ok(lasts > 800_000 && lasts <= 900_000, `a quarter of an hour: ${lasts} ms`);
    }
  });

  test('--source and --day are all objects of that day; the text has URL, end, SHA-256 and manifest of each', async () => {
    const links = await linksOf('--source', 'platform', '--day', '2026-11-19');
    assert.deepEqual(
      links.map(({ key }) => key),
      keys.slice(0, 3),
    );
    const { stdout } = await link(books, store, ['--source', 'platform', '--day', '2026-11-19', '--expires', '7d']);
    for (const { key, sha256 } of links) {
      assert.ok(stdout.includes(`${key}\n  url       ${endpoint}/`), stdout);
      assert.ok(stdout.includes(`  sha256    ${sha256}\n  manifest  1\n`));
    }
    assert.match(stdout, /X-Amz-Expires=604800/);
  });

  test('a link opens its object alone, to read alone, and only as it was signed', async () => {
    const { url } = await linkOf(keys[0]!);
    const other = url.replace(encodeURI(keys[0]!), encodeURI(keys[2]!));
    assert.notEqual(other, url);
    for (const tampered of [
      other,
      url.replace('X-Amz-Expires=3600', 'X-Amz-Expires=360000'),
      url.replace(/(X-Amz-Signature=)(.)/, (_, name, digit) => `${name}${digit === '0' ? '1' : '0'}`),
      url.split('?')[0]!,
    ]) {
      const answer = await fetch(tampered);
      assert.equal(answer.status, 403, tampered);
      await answer.arrayBuffer();
    }
    for (const method of ['PUT', 'DELETE']) {
      const answer = await fetch(url, { method });
      assert.equal(answer.status, 403, method);
      await answer.arrayBuffer();
    }
    assert.equal((await fetch(url)).status, 200);
  });

  test('a link that has expired is refused', async () => {
    const { url, expiresAt } = await linkOf(keys[0]!, '--expires', '2s');
    let status = 200;
    while (status === 200 && Date.now() < Date.parse(expiresAt) + 20_000) {
      const answer = await fetch(url);
      await answer.arrayBuffer();
      status = answer.status;
      await rest(50);
    }
    assert.equal(status, 403);
    assert.ok(Date.now() >= Date.parse(expiresAt), 'and not before');
  });

  test('credentials that end before the link does end it with them, and it says so', async (t) => {
    const expiration = new Date(Date.now() + 600_000).toISOString();
    const answer = { Version: 1, AccessKeyId: 'test', SecretAccessKey: 'testsecret', Expiration: expiration };
    const config = join(books.directory, 'aws-config');
    const file = join(books.directory, 'credentials.json');
    fs.writeFileSync(file, JSON.stringify(answer));
    fs.writeFileSync(config, `[profile ending]\ncredential_process = cat ${file}\n`);
    const kept = { ...process.env };
    t.after(() => {
      process.env = kept;
    });
    Object.assign(process.env, { AWS_PROFILE: 'ending', AWS_CONFIG_FILE: config });
    delete process.env.AWS_ACCESS_KEY_ID;
    delete process.env.AWS_SECRET_ACCESS_KEY;
    const opened = openS3Store(params, '');
    t.after(() => opened.close());
    const linked = await opened.link!(keys[0]!, 3600);
    assert.deepEqual([linked.expiresAt, linked.endsWithCredentials], [expiration, true]);
    assert.equal((await opened.link!(keys[0]!, 60)).endsWithCredentials, false);
  });

  for (const [what, args, message] of [
    ['an object that no manifest names', ['platform/other.jsonl.gz.age'], /no manifest names/],
    ['a manifest', ['manifests/00000001.jsonl'], /no manifest names/],
    [
      'a day that is not archived',
      ['--source', 'platform', '--day', '2026-01-01'],
      /no objects of platform 2026-01-01/,
    ],
    ['nothing', [], /give object keys, or --source and --day/],
    ['half of a place', ['--day', '2026-11-19'], /give object keys/],
    ['both', ['x', '--source', 'platform', '--day', '2026-11-19'], /give object keys/],
    ['more than a week', ['x', '--expires', '8d'], /--expires takes/],
    ['no time at all', ['x', '--expires', '0s'], /--expires takes/],
    ['a time without a unit', ['x', '--expires', '60'], /--expires takes/],
  ] as const) {
    test(`there is no link to ${what}: exit 1`, async () => {
      const { code, stdout, stderr } = await link(books, store, args);
      assert.deepEqual([code, stdout], [1, '']);
      assert.match(stderr, message);
    });
  }

  test('an object that is pruned has no link, and it is said: exit 1', async () => {
    const signer = readSigner(books.signingKey);
    const { head } = await books.ledger();
    const { quarantine, ...last } = await books.manifest(head!.number);
    const manifest: Manifest = {
      ...last,
      ...{ number: head!.number + 1, previous: { number: head!.number, sha256: head!.sha256 } },
      ...{ quarantine: [], sources: {}, pruned: [{ key: keys[2]!, rule: 'evidenceDays=31' }] },
    };
    const bytes = await encodeManifest(manifest, signer);
    assert.equal(quarantine.length, 1);
    await books.store.create(manifestKey('', manifest.number), bodyOf(bytes));
    const { code, stderr } = await link(books, store, [keys[2]!]);
    assert.equal(code, 1);
    assert.match(stderr, /was pruned: manifest 2 says so/);
    const links = await linksOf('--source', 'platform', '--day', '2026-11-19');
    assert.deepEqual(
      links.map(({ key }) => key),
      keys.slice(0, 2),
    );
  });

  test('an object that is not there has no link: exit 3', async () => {
    const client = openS3Client(params);
    const key = keys[1]!;
    await client.send(new DeleteObjectCommand({ Bucket: params.bucket, Key: key }));
    client.destroy();
    const { code, stdout, stderr } = await link(books, store, [keys[0]!, key]);
    assert.deepEqual([code, stdout], [3, '']);
    assert.match(stderr, /object_missing/);
  });
}
