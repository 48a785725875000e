import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { pino } from 'pino';
import { openPublicKeys } from '../../../ingest/public-keys/public-keys.ts';
import { listen } from '../../../shared/http/listen.ts';
import { secretsOf, sourcesSchema } from '../../../shared/schemes/sources.ts';
import { createBucket } from '../../services/s3-buckets.ts';
import { startService } from '../../services/service.ts';
import { cookieSource, newIssuer } from '../login-cookie.ts';

const folder = mkdtempSync(join(tmpdir(), 'daybook-public-keys-'));
after(() => rmSync(folder, { recursive: true }));
const s3 = await startService<{ endpoint: string }>('s3.sh');
after(() => s3?.stop());

const first = newIssuer();
const second = newIssuer();
const settingsFile = (...issuers: { base64: string }[]) =>
  issuers.map(({ base64 }, at) => `${at === 0 ? '' : `alsoAccept.${at - 1}.`}publicKey=${base64}\n`).join('\n');
const keyidOfIssuer = ({ pem }: { pem: string }) => keysOf([pem])[0]!.keyid;

function keysOf(publicKeys: readonly unknown[], problems: string[] = []) {
  return secretsOf(sourcesSchema.parse([cookieSource(first, { publicKeys })])[0]!, 'SOURCES[0]', {}, problems);
}

/** Nothing is read by itself: a minute is longer than any test. */
function open(t: TestContext, publicKeys: readonly unknown[], options: { readonly historyDirectory?: string } = {}) {
  const source = sourcesSchema.parse([cookieSource(first, { publicKeys })])[0]!;
  const log: Record<string, unknown>[] = [];
  const reads: boolean[] = [];
  let nowMs = Date.parse('2026-11-20T12:00:00Z');
  const keys = openPublicKeys({
    ...options,
    clock: { now: () => new Date(nowMs) },
    log: pino({}, { write: (line: string) => void log.push(JSON.parse(line)) }),
    onRead: (isRead) => reads.push(isRead),
  });
  t.after(() => keys.close());
  let [followed] = keys.follow([{ source, secrets: secretsOf(source, '', {}, []) }]);
  return {
    ...keys,
    log,
    reads,
    /** As where the sources changed. */
    change(changes: Record<string, unknown>) {
      const changed = sourcesSchema.parse([cookieSource(first, { publicKeys, ...changes })])[0]!;
      [followed] = keys.follow([{ source: changed, secrets: secretsOf(changed, '', {}, []) }]);
    },
    pass: (ms: number) => {
      nowMs += ms;
    },
    /** The keyids that count now; of those that end with their end. */
    now: () =>
      followed!.secrets.map(({ keyid, notAfterMs }) =>
        notAfterMs === undefined ? keyid : `${keyid} until ${new Date(notAfterMs).toISOString()}`,
      ),
  };
}

/** A server whose answer is changed as a test goes on. */
async function serveKey(t: TestContext) {
  const answer = { status: 200, body: settingsFile(first), headers: {} as Record<string, string> };
  const server = createServer((_, response) => response.writeHead(answer.status, answer.headers).end(answer.body));
  const { port } = await listen(server, '127.0.0.1', 0, 'test');
  t.after(() => server.close());
  return { answer, url: `http://127.0.0.1:${port}/example.test.settings.public?token=hidden`, server };
}

test('a key that changes is taken at the next read, and the one before goes on for 24 hours', async (t) => {
  const { answer, url } = await serveKey(t);
  const keys = open(t, [{ url }]);
  assert.deepEqual(keys.now(), []);
  await keys.refresh();
  assert.deepEqual(keys.now(), [keyidOfIssuer(first)]);
  answer.body = settingsFile(second);
  keys.pass(60_000);
  await keys.refresh();
  const until = `${keyidOfIssuer(first)} until 2026-11-21T12:01:00.000Z`;
  assert.deepEqual(keys.now(), [keyidOfIssuer(second), until]);
  // It ends when it was to end, however often is read.
  keys.pass(24 * 3_600_000 - 1);
  await keys.refresh();
  assert.deepEqual(keys.now(), [keyidOfIssuer(second), until]);
  keys.pass(2);
  await keys.refresh();
  assert.deepEqual(keys.now(), [keyidOfIssuer(second)]);
  assert.deepEqual(
    keys.log.map(({ msg, keyid }) => [msg, keyid]),
    [
      ['a public key is taken', keyidOfIssuer(first)],
      ['a public key is gone', keyidOfIssuer(first)],
      ['a public key is taken', keyidOfIssuer(second)],
    ],
  );
});

test('a source that changes keeps what is known of its keys, unless their places change', async (t) => {
  const { answer, url } = await serveKey(t);
  const keys = open(t, [{ url }]);
  await keys.refresh();
  answer.body = settingsFile(second);
  await keys.refresh();
  const both = keys.now();
  assert.equal(both.length, 2);
  keys.change({ emailDomains: ['example.net'] });
  assert.deepEqual(keys.now(), both);
  keys.change({ publicKeys: [{ url: `${url}&other` }, first.pem] });
  assert.deepEqual(keys.now(), [keyidOfIssuer(first)]);
  await keys.refresh();
  assert.deepEqual(keys.now(), [second, first].map(keyidOfIssuer));
});

test('keys that the issuer accepts beside its own count without an end, and a key that comes back has none', async (t) => {
  const { answer, url } = await serveKey(t);
  answer.body = settingsFile(first, second);
  const keys = open(t, [{ url }]);
  await keys.refresh();
  assert.deepEqual(keys.now(), [first, second].map(keyidOfIssuer));
  answer.body = settingsFile(second);
  await keys.refresh();
  answer.body = settingsFile(second, first);
  await keys.refresh();
  assert.deepEqual(keys.now(), [second, first].map(keyidOfIssuer));
});

test('a read that fails leaves the keys as they are; it is counted each time, and said once for each reason', async (t) => {
  const { answer, url, server } = await serveKey(t);
  const keys = open(t, [{ url }]);
  await keys.refresh();
  const whole = answer.body;
  const privateKey = first.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  for (const [status, body] of [
    [500, whole],
    [500, whole],
    [302, whole],
    [200, ''],
    [200, '<html>'],
    [200, 'publicKey=AAAA'],
    [200, privateKey],
    [200, whole.repeat(200)],
  ] as const) {
    Object.assign(answer, { status, body });
    await keys.refresh();
    assert.deepEqual(keys.now(), [keyidOfIssuer(first)], `${status} ${body.slice(0, 20)}`);
  }
  Object.assign(answer, { status: 200, body: whole });
  await keys.refresh();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await keys.refresh();
  assert.deepEqual(keys.now(), [keyidOfIssuer(first)]);
  assert.deepEqual(keys.reads, [true, ...Array(8).fill(false), true, false]);
  const said = keys.log.slice(1).map(({ level, msg, reason = '' }) => `${level} ${msg}: ${reason}`);
  const failed = '40 a public key cannot be read; those at hand go on: ';
  assert.deepEqual(said.slice(0, 7), [
    `${failed}HTTP 500`,
    `${failed}HTTP 302`,
    `${failed}holds neither a PEM block PUBLIC KEY nor a line publicKey=<base64>`,
    `${failed}holds a key that is not an RSA key of 2048 bits or more`,
    `${failed}holds a private key: keep that with who issues the cookies, and give the public half`,
    `${failed}more than 65536 bytes`,
    '30 the public key can be read again: ',
  ]);
  assert.match(said[7]!, /ECONNREFUSED/);
  assert.doesNotMatch(JSON.stringify(keys.log), /hidden|PRIVATE/);
});

test('a file is read again as well; what is written in the settings is not, and stays', async (t) => {
  const path = join(folder, 'key.pem');
  writeFileSync(path, first.pem);
  const keys = open(t, [{ file: path }, { value: second.pem, notAfter: '2027-01-01T00:00:00Z' }]);
  const fixed = `${keyidOfIssuer(second)} until 2027-01-01T00:00:00.000Z`;
  assert.deepEqual(keys.now(), [keyidOfIssuer(first), fixed]);
  const third = newIssuer();
  writeFileSync(path, third.pem);
  await keys.refresh();
  assert.deepEqual(keys.now(), [keyidOfIssuer(third), fixed, `${keyidOfIssuer(first)} until 2026-11-21T12:00:00.000Z`]);
  rmSync(path);
  await keys.refresh();
  assert.equal(keys.now().length, 3);
  assert.deepEqual(keys.reads, [true, false]);
});

test('every key that was taken is kept in a file of its own, as it can be given to verify', async (t) => {
  const { answer, url } = await serveKey(t);
  const historyDirectory = join(folder, 'history');
  const keys = open(t, [{ url }], { historyDirectory });
  await keys.refresh();
  answer.body = settingsFile(second);
  await keys.refresh();
  await keys.refresh();
  const names = [first, second].map((issuer) => `pages-${keyidOfIssuer(issuer)}.pem`);
  assert.deepEqual(readdirSync(historyDirectory).sort(), [...names].sort());
  assert.equal(readFileSync(join(historyDirectory, names[0]!), 'utf8'), first.pem);
  assert.deepEqual(
    keysOf(names.map((name) => ({ file: join(historyDirectory, name) }))).map(({ keyid }) => keyid),
    [first, second].map(keyidOfIssuer),
  );
  writeFileSync(join(folder, 'no-folder'), '');
  const elsewhere = open(t, [{ url }], { historyDirectory: join(folder, 'no-folder') });
  await elsewhere.refresh();
  assert.deepEqual(elsewhere.now(), [keyidOfIssuer(second)]);
  assert.ok(elsewhere.log.some(({ msg }) => msg === 'a public key could not be kept: keep it by hand'));
});

test('an object of a bucket is read again', { skip: s3 === undefined }, async (t) => {
  const { bucket, ...where } = await createBucket(s3!.facts.endpoint);
  const { region = '', endpoint = '', forcePathStyle = true } = where;
  const client = new S3Client({ region, endpoint, forcePathStyle });
  t.after(() => client.destroy());
  const put = (Body: string) => client.send(new PutObjectCommand({ Bucket: bucket, Key: 'a/key.settings', Body }));
  await put(settingsFile(first));
  const keys = open(t, [{ s3: { bucket, key: 'a/key.settings', ...where } }]);
  await keys.refresh();
  assert.deepEqual(keys.now(), [keyidOfIssuer(first)]);
  await put(settingsFile(second, first));
  await keys.refresh();
  assert.deepEqual(keys.now(), [second, first].map(keyidOfIssuer));
  const missing = open(t, [{ s3: { bucket, key: 'nothing', ...where } }]);
  await missing.refresh();
  assert.deepEqual([missing.now(), missing.reads], [[], [false]]);
});

test('settings that cannot be right are named, each by its place', () => {
  const problemsOf = (changes: Record<string, unknown>) =>
    sourcesSchema
      .safeParse([cookieSource(first, changes)])
      .error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`) ?? [];
  assert.deepEqual(problemsOf({}), []);
  for (const [changes, said] of [
    [{ publicKeys: [] }, /^0\.publicKeys: needs at least one/],
    [{ publicKeys: [{ url: 'http://keys.example.test/key' }] }, /^0\.publicKeys\.0\.url: must be https/],
    [{ publicKeys: [{ url: 'https://user:secret@keys.example.test/key' }] }, /^0\.publicKeys\.0\.url: must be https/],
    [{ cookie: 'a;b' }, /^0\.cookie: is not the name of a cookie/],
    [{ origins: [] }, /^0\.origins: names no origin/],
    [{ origins: ['*'] }, /^0\.origins\.0: must be a domain/],
    [{ emailDomains: ['@example.test'] }, /^0\.emailDomains\.0: is not a domain/],
    [{ secrets: ['x'] }, /secrets/],
  ] as const) {
    const problems = problemsOf(changes);
    assert.equal(problems.length, 1, JSON.stringify(changes));
    assert.match(problems[0]!, said);
    assert.doesNotMatch(problems[0]!, /user:secret/);
  }
  const problems: string[] = [];
  assert.deepEqual(keysOf(['no key', { file: join(folder, 'nowhere') }], problems), []);
  assert.match(
    problems.join('\n'),
    /^SOURCES\[0\]\.publicKeys\[0\]: holds neither .*\nSOURCES\[0\]\.publicKeys\[1\]: the file .* cannot be read \(ENOENT\)$/,
  );
});
