import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Finding } from '../../../shared/doctor/finding.ts';
import { openEmbeddedWriter } from '../../../shared/stream/embedded/embedded.ts';
import { stripeRecord } from '../../compactor/books.ts';
import { stripeSignatureHeader } from '../../stripe/webhook-sender.ts';
import { spawnIngest, startIngestProcess } from '../ingest-process.ts';
import { stripeEvent } from '../ingest-under-test.ts';

const directory = await mkdtemp(join(tmpdir(), 'daybook-ingest-doctor-'));
after(() => rm(directory, { recursive: true }));
const mainPath = fileURLToPath(new URL('../../../ingest/main.ts', import.meta.url));

const secret = 'whsec_ofTheProcessTestOfDoctor123456';
const sources = JSON.stringify([{ name: 'platform', scheme: 'stripe', secrets: [secret] }]);
const base = {
  DAYBOOK_SOURCES: sources,
  DAYBOOK_DATA_DIR: join(directory, 'data'),
  INGEST_PORT: '0',
  INGEST_ADMIN_PORT: '0',
};

async function doctor(
  options: readonly string[],
  environment: Record<string, string> = base,
  input: string | Buffer = '',
) {
  const env = { PATH: process.env.PATH ?? '', ...environment };
  const child = spawn(process.execPath, [mainPath, 'doctor', ...options], { cwd: directory, env });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  child.stdin.end(input);
  const [code] = await once(child, 'close');
  assert.equal(`${output.stdout}${output.stderr}`.includes(secret), false);
  return { code, ...output };
}

function findingsOf(stdout: string): Finding[] {
  const document = JSON.parse(stdout);
  assert.deepEqual(Object.keys(document), ['findings']);
  return document.findings;
}

const body = JSON.stringify(stripeEvent(), null, 2);
const seconds = Math.floor(Date.now() / 1000);
const head = `POST /webhooks/platform HTTP/1.1\r\nContent-Type: application/json\r\nStripe-Signature: ${stripeSignatureHeader(body, secret, seconds)}\r\n`;

test('a sound installation: exit 0, nothing is made, and no setting but the sources is needed', async () => {
  const { code, stdout } = await doctor(['--json']);
  assert.equal(code, 0, stdout);
  const findings = findingsOf(stdout);
  assert.deepEqual(
    [...new Set(findings.map(({ check }) => check))],
    ['configuration', 'secrets', 'data', 'stream', 'spool', 'listeners'],
  );
  assert.deepEqual(new Set(findings.map(({ status }) => status)), new Set(['ok']));
  assert.equal((await readdir(directory)).includes('data'), false);
});

test('a wrong configuration: exit 1, each problem a finding, in JSON too', async () => {
  const { code, stdout } = await doctor(['--json'], { ...base, INGEST_PORT: 'http', INGEST_TYPO: '1' });
  assert.equal(code, 1);
  assert.deepEqual(
    findingsOf(stdout).map(({ check, code: of, message }) => [check, of, message.split(':')[0]]),
    [
      ['configuration', 'configuration_invalid', 'INGEST_TYPO'],
      ['configuration', 'configuration_invalid', 'INGEST_PORT'],
    ],
  );
});

test('a problem: exit 2, to be read, with what to do', async () => {
  const key = JSON.stringify([{ name: 'platform', scheme: 'stripe', secrets: ['rk_live_abcdefghijklmnop'] }]);
  const { code, stdout } = await doctor([], { ...base, DAYBOOK_SOURCES: key });
  assert.equal(code, 2);
  assert.match(stdout, /^problem {2}secrets +secrets\[0\] of platform \(keyid [0-9a-f]{16}\) is a restricted API key/m);
  assert.match(stdout, /^ +→ Put the endpoint's signing secret/m);
  assert.match(stdout, /\n1 problem, no warnings\.\n$/);
  assert.doesNotMatch(stdout, /abcdefgh/);
});

test('beside a running ingest its ports are its own, and the file of its sources is looked at', async () => {
  const file = join(directory, 'sources.json');
  await writeFile(file, sources);
  await chmod(file, 0o644);
  const environment = { ...base, DAYBOOK_SOURCES: file, DAYBOOK_DATA_DIR: join(directory, 'running') };
  const ingest = await startIngestProcess({ cwd: directory, environment });
  const ports = { INGEST_PORT: `${ingest.port}`, INGEST_ADMIN_PORT: `${ingest.adminPort}` };
  const { code, stdout } = await doctor(['--json'], { ...environment, ...ports });
  const messages = findingsOf(stdout).map(({ message }) => message);
  assert.equal(code, 0, stdout);
  assert.ok(messages.includes('ingest answers on its port, and takes events'));
  assert.ok(messages.includes('ingest answers on its admin port'));
  assert.ok(messages.some((message) => /DAYBOOK_SOURCES: anybody on this machine can use the file/.test(message)));
  assert.ok(messages.includes('nothing waits in the spool'));
  assert.ok(messages.some((message) => /^stream.sqlite takes events/.test(message)));
  const swapped = { INGEST_PORT: ports.INGEST_ADMIN_PORT, INGEST_ADMIN_PORT: ports.INGEST_PORT };
  const other = await doctor(['--json'], { ...environment, ...swapped });
  assert.equal(other.code, 2);
  assert.equal(findingsOf(other.stdout).filter(({ code: of }) => of === 'listener_unavailable').length, 2);
  ingest.process.kill('SIGTERM');
  await ingest.exited;
});

test('where redact has settings: its key, its streams, what waits for it, and its dead letters', async () => {
  const data = join(directory, 'readers');
  const environment = { ...base, DAYBOOK_DATA_DIR: data, DAYBOOK_READERS_STREAM: '{"type":"embedded"}' };
  const said = async (more: Record<string, string> = {}) => {
    const { code, stdout } = await doctor(['--json'], { ...environment, ...more });
    const found = findingsOf(stdout).filter(({ check }) => ['readers', 'dead letters', 'redact'].includes(check));
    return { code, stdout, found: found.map(({ status, check, message }) => `${status} ${check}: ${message}`) };
  };
  const keyless = await said({ DAYBOOK_REDACTION: '{"rules":[{"hash":["a"]}]}' });
  assert.equal(keyless.code, 1);
  assert.match(keyless.stdout, /DAYBOOK_REDACTION_KEY: is required where a rule of DAYBOOK_REDACTION hashes/);

  const none = await said();
  assert.equal(none.code, 0);
  assert.deepEqual(none.found, [
    'ok readers: stream.sqlite is not there yet; the program that starts first makes it',
    'ok dead letters: the folder of the dead letters is not there yet; it is made when it is first used',
    'ok redact: there is no stream yet to read from',
  ]);
  assert.equal((await readdir(directory)).includes('readers'), false);

  await mkdir(data, { mode: 0o700 });
  const writer = await openEmbeddedWriter({ directory: data });
  const receivedAt = new Date(Date.now() - 3_600_000).toISOString();
  await writer.append([stripeRecord(body, { receivedAt }), { key: 's', value: Buffer.from('a stranger') }]);
  await writer.close();
  const waiting = await said();
  assert.match(waiting.found[2]!, /^warning redact: 2 records wait for redact, the oldest since \d{4}-/);
  assert.match(waiting.stdout, /It has not run yet/);

  const { INGEST_PORT: _, DAYBOOK_SOURCES: __, ...settings } = environment;
  const redact = spawnIngest({ cwd: directory, environment: settings, commands: ['redact', '--once'] });
  redact.stderr.resume();
  assert.deepEqual(await once(redact, 'exit'), [0, null]);
  const { code, found } = await said();
  assert.equal(code, 0);
  assert.match(found[0]!, /^ok readers: stream.sqlite takes events/);
  assert.match(found.at(-2)!, /^warning dead letters: redact\/dead-letters.jsonl has \d+ B of dead letters$/);
  assert.equal(found.at(-1), "ok redact: the readers' stream has all that the stream has");
});

test('a captured request comes from a file, from stdin, or as headers and body', async () => {
  const capture = join(directory, 'request');
  await writeFile(capture, `${head}\r\n${body}`);
  await writeFile(join(directory, 'headers'), head);
  await writeFile(join(directory, 'body'), body);
  const signature = async (options: readonly string[], input?: string) => {
    const { code, stdout } = await doctor([...options, '--json'], { DAYBOOK_SOURCES: sources }, input);
    const { status, message } = findingsOf(stdout).find(({ check }) => check === 'signature')!;
    return [code, status, message.split(',')[0]];
  };
  const held = [0, 'ok', 'the signature holds'];
  assert.deepEqual(await signature(['--request', capture]), held);
  assert.deepEqual(await signature(['--request', '-'], `${head}\r\n${body}`), held);
  assert.deepEqual(await signature(['--headers', join(directory, 'headers'), '--body', join(directory, 'body')]), held);
  const later = new Date((seconds + 3600) * 1000).toISOString();
  assert.deepEqual((await signature(['--request', capture, '--at', later])).slice(0, 2), [2, 'problem']);
});

test('options that make no sense are usage errors: exit 1, nothing on stdout', async () => {
  for (const options of [
    ['--request', join(directory, 'none')],
    ['--at', '2026-11-20T00:00:00Z'],
    ['--request', '-', '--at', 'yesterday'],
    ['--request', '-', '--body', 'x'],
    ['--body', 'x'],
  ]) {
    const { code, stdout, stderr } = await doctor(options, base, `${head}\r\n${body}`);
    assert.deepEqual([code, stdout], [1, ''], options.join(' '));
    assert.match(stderr, /usage/);
  }
});
