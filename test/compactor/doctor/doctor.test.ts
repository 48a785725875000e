/** The program as it is run, its findings of the whole installation and its exit codes. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { complaints, mainPath, openPatient, type Patient } from './doctor-under-test.ts';

let patient: Patient;
before(async () => {
  patient = await openPatient();
});
after(() => patient.close());

test('a sound installation: exit 0, each part looked at, nothing made or written', async () => {
  const filesBefore = await readdir(patient.books.directory, { recursive: true });
  const { code, stdout, stderr, findings } = await patient.doctor();
  assert.deepEqual(complaints(findings), [], stdout);
  assert.deepEqual([code, stderr], [0, '']);
  assert.deepEqual(
    [...new Set(findings.map(({ check }) => check))],
    ['configuration', 'keys', 'data', 'store', 'ledger', 'stream', 'schedule', 'listeners', 'stripe platform'],
  );
  const isJournal = (name: string) => /^stream\.sqlite-(wal|shm)$/.test(name);
  const filesAfter = await readdir(patient.books.directory, { recursive: true });
  assert.deepEqual(
    filesAfter.filter((name) => !isJournal(name)),
    filesBefore.filter((name) => !isJournal(name)),
  );
  const said = findings.map(({ message }) => message).join('\n');
  assert.match(said, /^2 manifests, chained and signed, the newest of .*, by [0-9a-f]{16}$/m);
  assert.match(said, /^platform: 30 days, .*: 28 complete, 2 provisional$/m);
  assert.match(said, /^nothing waits in the stream$/m);
  assert.match(said, /^the last night was at /m);
  assert.match(said, /^Stripe knows the key: it is of account acct_1DaybookFake0001$/m);
  assert.match(said, /^we_1DaybookFake0001 \(hooks\.example\.com\/webhooks\/platform\) sends all events/m);
});

test('to be read: what is wrong with what to do below it, and a count; exit 2 for a problem', async () => {
  const change = { DAYBOOK_SOURCES: patient.source({ apiKey: 'rk_test_wrong' }), COMPACTOR_HOST: '0.0.0.0' };
  const { code, stdout } = await patient.doctor(change, []);
  assert.equal(code, 2);
  assert.match(
    stdout,
    /^problem {2}stripe platform {2}Stripe does not know the key: Stripe answers 401 .*\(stripe_key_refused\)$/m,
  );
  assert.match(stdout, /^ +→ It is mistyped, was rolled, or has expired\. Make a restricted key/m);
  assert.match(stdout, /\n1 problem, 2 warnings\.\n$/);
  assert.match(stdout, /^warning {2}listeners +nobody gets into the console: COMPACTOR_HOST is 0\.0\.0\.0/m);
  assert.doesNotMatch(stdout, /rk_test_wrong/);
});

test('what is wrong in the configuration is named, exit 1, and all else is looked at', async () => {
  const age = patient.books.identity;
  const change = { COMPACTOR_RECIPIENTS: age, COMPACTOR_PORT: 'http', DAYBOOK_TYPO: '1' };
  const { code, findings } = await patient.doctor(change);
  assert.equal(code, 1);
  assert.deepEqual(complaints(findings), [
    'problem configuration: DAYBOOK_TYPO: is not a setting of daybook',
    'problem configuration: COMPACTOR_PORT: is not a whole number',
    'problem configuration: COMPACTOR_RECIPIENTS: line 1: is a private key: take it off this machine and give its public half',
  ]);
  const checks = new Set(findings.map(({ check }) => check));
  for (const name of ['keys', 'store', 'ledger', 'stream', 'schedule', 'stripe platform'])
    assert.ok(checks.has(name), name);
});

test('a data directory without the stream that the ledger stands in is a warning, and nothing is made there', async () => {
  const none = join(patient.books.directory, 'none');
  const { findings } = await patient.doctor({ DAYBOOK_DATA_DIR: none });
  assert.deepEqual(complaints(findings), ['warning stream: the stream that the ledger stands in is not here']);
  assert.equal((await readdir(patient.books.directory)).includes('none'), false);
});

test('an empty archive beside a replica that has manifests: doctor and run say so, and nothing is written', async () => {
  const { books, environment } = patient;
  const [replica, empty] = [join(books.directory, 'replica'), join(books.directory, 'empty')];
  await cp(books.archive, replica, { recursive: true });
  const directory = (path: string) => JSON.stringify({ type: 'directory', params: { path } });
  const change = { DAYBOOK_STORE: directory(empty), DAYBOOK_REPLICA_STORE: directory(replica) };
  const { code, findings } = await patient.doctor(change);
  assert.equal(code, 2);
  assert.deepEqual(
    findings.filter(({ status }) => status === 'problem').map(({ check, code }) => [check, code]),
    [['ledger', 'replica_ahead']],
  );
  assert.ok(findings.some(({ check, message }) => check === 'replica' && message.startsWith('the replica ')));
  const night = await promisify(execFile)(process.execPath, [mainPath, 'run'], {
    ...{ cwd: books.directory, env: { PATH: process.env.PATH, ...environment, ...change } },
  }).catch((error) => error);
  assert.deepEqual([night.code, /replica_ahead/.test(night.stderr)], [3, true], night.stderr);
  assert.deepEqual(existsSync(empty) ? await readdir(empty, { recursive: true }) : [], []);
});

test('an end that was cut off, which an anchor tells, is a problem as it is for a night, and all else is looked at', async () => {
  const { books } = patient;
  const cut = join(books.directory, 'cut');
  await cp(books.archive, cut, { recursive: true });
  await mkdir(join(cut, 'anchors'));
  await writeFile(join(cut, 'anchors/00000003.tsr'), '');
  const { code, findings } = await patient.doctor({
    DAYBOOK_STORE: JSON.stringify({ type: 'directory', params: { path: cut } }),
  });
  assert.equal(code, 2);
  assert.deepEqual(complaints(findings), [
    'problem ledger: manifests/00000003.jsonl is not there, and was witnessed: anchors/00000003.tsr',
  ]);
  assert.ok(findings.some(({ message }) => /^platform: 30 days/.test(message)));
  await rm(cut, { recursive: true });
});

test('nothing is set at all: exit 1, and it ends', async () => {
  const none = Object.fromEntries(Object.keys(patient.environment).map((name) => [name, '']));
  const { code, findings } = await patient.doctor(none);
  assert.equal(code, 1);
  assert.deepEqual(
    findings.filter(({ status }) => status === 'problem').map(({ message }) => message.split(':')[0]),
    ['DAYBOOK_SOURCES', 'COMPACTOR_RECIPIENTS', 'COMPACTOR_SIGNING_KEY'],
  );
});

const otherKey = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({
  type: 'pkcs8',
  format: 'pem',
});

test('a signing key of another kind, or one that cannot be read, is told by its kind', async () => {
  const file = join(patient.books.directory, 'rsa.pem');
  await writeFile(file, otherKey, { mode: 0o600 });
  const rsa = await patient.doctor({ COMPACTOR_SIGNING_KEY_FILE: file });
  assert.match(complaints(rsa.findings)[0]!, /COMPACTOR_SIGNING_KEY: .*must be Ed25519, this is rsa/);
  const none = await patient.doctor({ COMPACTOR_SIGNING_KEY_FILE: join(patient.books.directory, 'none.pem') });
  assert.match(complaints(none.findings)[0]!, /COMPACTOR_SIGNING_KEY_FILE: cannot be read \(ENOENT\)/);
  assert.match(complaints(none.findings).join('\n'), /warning ledger: the ledger is not read: no key is known/);
  assert.deepEqual([rsa.code, none.code], [1, 1]);
});

test('a key file that anybody can read is a warning, and so are recipients that anybody can change', async () => {
  const { COMPACTOR_SIGNING_KEY_FILE: keyFile, COMPACTOR_RECIPIENTS: recipients } = patient.environment;
  const file = join(patient.books.directory, 'recipients');
  await writeFile(file, recipients!);
  await chmod(file, 0o666);
  await chmod(keyFile!, 0o644);
  const { code, findings } = await patient.doctor({ COMPACTOR_RECIPIENTS: file });
  await chmod(keyFile!, 0o600);
  assert.deepEqual(complaints(findings), [
    'warning keys: COMPACTOR_SIGNING_KEY_FILE: anybody on this machine can use the file (0644)',
    'warning keys: COMPACTOR_RECIPIENTS: anybody on this machine can change the file, and add a recipient of their own, and read',
  ]);
  assert.equal(code, 0);
});

test("a port that another program holds is a problem; serve's own is not", async (t) => {
  const answers: Record<string, [number, string]> = {
    '/jobs': [403, '{"code":"job_secret_refused"}'],
    '/metrics': [200, 'daybook_compactor_running 0'],
  };
  const server = createServer((request, response) => {
    const [status, body] = answers[request.url!]!;
    response.writeHead(status).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const port = String((server.address() as AddressInfo).port);
  const own = await patient.doctor({ COMPACTOR_PORT: port });
  assert.ok(own.findings.some(({ message }) => message === 'serve answers on its port'));
  const both = await patient.doctor({ COMPACTOR_PORT: port, COMPACTOR_ADMIN_PORT: port });
  assert.deepEqual(complaints(both.findings), [
    'problem listeners: COMPACTOR_PORT and COMPACTOR_ADMIN_PORT are the same port',
  ]);
  answers['/jobs'] = [200, 'hello'];
  const other = await patient.doctor({ COMPACTOR_PORT: port });
  assert.deepEqual(complaints(other.findings), [
    `problem listeners: another program holds port ${port} (COMPACTOR_PORT)`,
  ]);
  assert.deepEqual([own.code, other.code], [0, 2]);
});
