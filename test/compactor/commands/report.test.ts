/** `report` as a program: what it says against `verify`, and that the commands which it prints really check it. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Report } from '../../../compactor/console/report-shapes.ts';
import { requireCommand } from '../../require-service.ts';
import { eventsOf, openArchive, pathOf, signedRecord, verify } from '../archive-under-test.ts';
import type { Books } from '../books.ts';

const program = fileURLToPath(new URL('../../../compactor/main.ts', import.meta.url));
let books: Books;
before(async () => {
  books = await openArchive();
  fs.writeFileSync(join(books.directory, 'identity.txt'), `${books.identity}\n`);
  fs.writeFileSync(join(books.directory, 'verifying-key.pem'), publicKey());
});
after(() => books.close());

const publicKey = () => createPublicKey(books.signingKey).export({ type: 'spki', format: 'pem' }).toString();

function report(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const env = {
    DAYBOOK_DATA_DIR: join(books.directory, 'absent'),
    DAYBOOK_STORE: JSON.stringify({ type: 'directory', params: { path: books.archive } }),
    COMPACTOR_VERIFYING_KEYS: publicKey(),
  };
  return new Promise((resolve) => {
    execFile(process.execPath, [program, 'report', ...args], { env, cwd: books.directory }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code as number), stdout, stderr });
    });
  });
}

async function reportOf(...args: string[]): Promise<Report> {
  const { stdout, stderr } = await report(...args, '--json');
  assert.equal(stderr, '');
  return JSON.parse(stdout);
}

function shell(command: string): string {
  return execFileSync('sh', ['-c', `exec 2>&1; ${command}`], { cwd: books.archive, encoding: 'utf8' }).trimEnd();
}

test('the report says of each day what verify found, and lines fit A4', async () => {
  const { sources, totals, isComplete } = await reportOf('--month', '2026-11');
  const proven = await verify(books);
  const said = sources.flatMap(({ source, days }) =>
    days.filter(({ counts }) => counts !== null).map(({ day, standing, events }) => [source, day, standing, events]),
  );
  assert.deepEqual(
    said.sort(),
    proven.days.map(({ source, day, verdict, events }) => [source, day, verdict, events]).sort(),
  );
  assert.deepEqual(
    [totals.events, totals.delivered, totals.recovered, totals.missing, totals.duplicates, isComplete],
    [27, 27, 0, 0, 4, false],
  );
  const { stdout, code } = await report('--month', '2026-11');
  assert.equal(code, 0);
  assert.match(stdout, /^Books of 2026-11\n/);
  assert.match(stdout, /\n27 events: 27 received and 0 recovered; 0 missing\.\n2026-11 was not over/);
  assert.match(stdout, /\nNobody can say of billing, platform what was not delivered/);
  assert.match(stdout, /\n2026-11-18 +unreconciled +14 +14 +0 +0 +– +– +2\n/);
  const [above] = stdout.split('\nTo check it\n');
  for (const line of above!.split('\n')) assert.ok(line.length <= 130, line);
});

test('each command that is printed gives what is printed beside it, and another thing where the archive was changed', async (t) => {
  for (const command of ['age', 'jq', 'openssl', 'sha256sum']) if (!requireCommand(t, command)) return;
  const { checks, manifests } = await reportOf('--month', '2026-11');
  const { stdout } = await report('--month', '2026-11');
  assert.equal(checks.length, 7);
  for (const { title, command, expected } of checks) {
    assert.equal(shell(command), expected, title);
    assert.ok(stdout.includes(`\n${command}\n`), command);
  }
  const ofOne = await reportOf('--month', '2026-11', '--source', 'platform');
  for (const at of [3, 4]) assert.equal(shell(ofOne.checks[at]!.command), ofOne.checks[at]!.expected);

  /** Each of these checks no longer gives what it should. */
  const fails = (key: string, change: (bytes: Buffer) => Buffer | undefined, numbers: readonly number[]) => {
    const path = pathOf(books, key);
    const before = fs.readFileSync(path);
    const changed = change(Buffer.from(before));
    fs.rmSync(path);
    if (changed !== undefined) fs.writeFileSync(path, changed);
    for (const { command, expected, title } of numbers.map((number) => checks[number - 1]!)) {
      assert.notEqual(shell(`{ ${command}\n} || true`), expected, title);
    }
    fs.writeFileSync(path, before);
  };
  const swap = (from: string, to: string) => (bytes: Buffer) => Buffer.from(bytes.toString().replace(from, to));
  const head = `manifests/0000000${manifests.at(-1)!.number}.jsonl`;
  const ids = (await books.keys('platform/')).find((key) => key.endsWith('.ids.gz'))!;
  const part = (await books.keys('platform/')).find((key) => /[0-9a-f]{16}\.jsonl\.gz\.age$/.test(key))!;
  fails('manifests/00000001.jsonl', swap('"delivered":12', '"delivered":11'), [1, 2]);
  fails('manifests/00000002.jsonl', swap('"delivered":14', '"delivered":13'), [4]);
  fails(head, swap('"signature":"', '"signature":"AAAA'), [3]);
  fails(ids, () => undefined, [5]);
  fails(part, (bytes) => bytes.fill(0, bytes.length - 20), [6, 7]);
});

test('a report that was filed is made again, word for word, by its manifest, though the archive went on', async () => {
  const filed = await report('--month', '2026-11', '--source', 'platform');
  const number = /manifest (\d+) of/.exec(filed.stdout)![1]!;
  const again = /--as-of (\d+)\n/.exec(filed.stdout)![1]!;
  assert.equal(again, number);
  books.at('2026-11-24T03:00:00Z');
  await books.deliver(...eventsOf('2026-11-19', 2, 'late').map((event) => signedRecord(event)));
  await books.night([{ name: 'billing' }, { name: 'platform' }]);
  assert.notEqual((await report('--month', '2026-11', '--source', 'platform')).stdout, filed.stdout);
  const repeated = await report('--month', '2026-11', '--source', 'platform', '--as-of', number);
  assert.deepEqual(repeated, filed);
});

test('what is not a month, a source or a manifest is a wrong usage; a month without an entry is said', async () => {
  const wrong = [
    ['--month', '../2026-11'],
    ['--month', '2026-11', '--source', "x'; rm -rf /"],
    ['--month', '2026-11', '--as-of', '99'],
    ['--month', '2026-11', '--source', 'plattform'],
  ];
  const outcomes = await Promise.all(wrong.map((args) => report(...args)));
  assert.deepEqual(
    outcomes.map(({ code, stdout }) => [code, stdout]),
    wrong.map(() => [1, '']),
  );
  assert.match(outcomes.at(-1)!.stderr, /the archive has no source plattform; it has: billing, platform/);
  const { sources, checks, words } = await reportOf('--month', '2020-01');
  assert.deepEqual([sources, checks, words], [[], [], ['The archive has no entry of 2020-01.']]);
});

test('where a manifest is not what it was, nothing is reported, exit 3', async () => {
  const path = pathOf(books, 'manifests/00000001.jsonl');
  const before = fs.readFileSync(path);
  fs.writeFileSync(path, before.toString().replace('"delivered":12', '"delivered":11'));
  try {
    const { code, stdout, stderr } = await report('--month', '2026-11');
    assert.deepEqual([code, stdout], [3, '']);
    assert.match(stderr, /ledger_broken/);
  } finally {
    fs.writeFileSync(path, before);
  }
});
