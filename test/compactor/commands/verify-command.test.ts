/** `verify` and `list` as programs: what they print, how they exit, and that they write nothing. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { ArchiveReport } from '../../../compactor/verify/verify-archive.ts';
import { depthOf, openResume } from '../../../compactor/verify/verify-resume.ts';
import { forgeManifests, openArchive, pandaRecord, pathOf, secretsFile } from '../archive-under-test.ts';
import type { Books } from '../books.ts';

const program = fileURLToPath(new URL('../../../compactor/main.ts', import.meta.url));
let books: Books;
let identityFile: string;
let secretsPath: string;

before(async () => {
  books = await openArchive();
  identityFile = join(books.directory, 'identity.txt');
  secretsPath = join(books.directory, 'secrets.json');
  fs.writeFileSync(identityFile, `# made by a test\n${books.identity}\n`);
  fs.writeFileSync(secretsPath, JSON.stringify(secretsFile));
});
after(() => books.close());

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(args: readonly string[], change: Record<string, string> = {}): Promise<Outcome> {
  const env = {
    DAYBOOK_DATA_DIR: join(books.directory, 'absent'),
    DAYBOOK_STORE: JSON.stringify({ type: 'directory', params: { path: books.archive } }),
    COMPACTOR_VERIFYING_KEYS: createPublicKey(books.signingKey).export({ type: 'spki', format: 'pem' }).toString(),
    ...change,
  };
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], { env, cwd: books.directory }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code as number), stdout, stderr });
    });
  });
}

const everything = () => fs.readdirSync(books.directory, { recursive: true }).sort();

test('verify prints a table, then OK, and exits 0; it makes no file and no folder', async () => {
  const there = everything();
  const { code, stdout, stderr } = await run(['verify', '-i', identityFile, '--secrets', secretsPath]);
  assert.equal(stderr, '');
  assert.equal(code, 0);
  assert.match(stdout, /^source +day +verdict +events +check\n/);
  assert.match(stdout, /\nplatform +2026-11-18 +unreconciled +14 +ok\n/);
  assert.match(stdout, /\nOK: 3 manifests, 14 objects, 27 events, 31 deliveries with a signature that holds\.\n/);
  assert.match(stdout, /For information:\n {2}manifest 3 is the newest here/);
  assert.deepEqual(everything(), there);
});

test('verify --json is one document', async () => {
  const { code, stdout } = await run(['verify', '--json']);
  assert.equal(code, 0);
  const report: ArchiveReport = JSON.parse(stdout);
  assert.deepEqual([report.ok, report.manifests, report.objects, report.breaks], [true, 3, 14, []]);
  assert.deepEqual(report.deliveries, { checked: 0, failed: 0, unknownSecret: 0 });
});

test('verify of a source and a day shows that day alone; of what is not there it exits 1', async () => {
  const { code, stdout } = await run(['verify', '--source', 'platform', '--day', '2026-11-19']);
  assert.equal(code, 0);
  assert.match(
    stdout,
    /^source +day +verdict +events +check\nplatform +2026-11-19 +unreconciled +8 +ok\n\nOK: 3 manifests, 3 /,
  );
  const absent = await run(['verify', '--day', '2026-12-24']);
  assert.deepEqual([absent.code, absent.stdout], [1, '']);
  assert.match(absent.stderr, /the archive has no entry of 2026-12-24/);
});

test('verify --resume goes on from its file, keeps it where it is interrupted, and removes it when it is done', async () => {
  const state = join(books.directory, 'state.json');
  const resumed = openResume(state, books.archive, depthOf(false, undefined));
  const { sha256, number } = (await books.ledger()).head!;
  resumed.begin({ number, sha256, createdAt: '' }, [sha256]);
  resumed.proven('platform', '2026-11-19', 3, {
    deliveries: { checked: 0, failed: 0, unknownSecret: 0 },
    hasCloudEvents: false,
  });
  // A file that cannot be read, and is not a missing one: the store fails.
  const [part] = (await books.manifest(1)).sources.platform!['2026-11-18']!.parts;
  const path = pathOf(books, part!.key);
  fs.renameSync(path, `${path}.kept`);
  fs.symlinkSync(path, path);
  assert.equal((await run(['verify', '--resume', state])).code, 2);
  fs.rmSync(path);
  fs.renameSync(`${path}.kept`, path);
  const known: { days: object } = JSON.parse(fs.readFileSync(state, 'utf8'));
  assert.ok(Object.keys(known.days).length > 1, 'days are proven beside the one that was');
  const { code, stdout } = await run(['verify', '--resume', state]);
  assert.equal(code, 0, stdout);
  assert.match(stdout, /\d days were proven before the interruption; their ids alone were read again/);
  assert.equal(fs.existsSync(state), false);
});

test('a broken archive exits 3: the first break with its hint, then the others', async () => {
  const [part] = (await books.manifest(1)).sources.platform!['2026-11-18']!.parts;
  const paths = [part!.key, part!.ids.key].map((key) => pathOf(books, key));
  const kept = paths.map((path) => fs.readFileSync(path));
  for (const path of paths) fs.truncateSync(path, 10);
  try {
    const { code, stdout } = await run(['verify']);
    assert.equal(code, 3);
    assert.match(stdout, /\nplatform +2026-11-18 +unreconciled +14 +2 breaks\n/);
    assert.match(stdout, /\nBROKEN .*\n {2}manifest 1, .*ids\.gz: .*\(object_damaged\)\n {2}Restore it/);
    assert.match(stdout, /The others:\n {2}manifest 1, .*: has 10 bytes instead of \d+ \(object_damaged\)\n/);
  } finally {
    for (const [index, path] of paths.entries()) fs.writeFileSync(path, kept[index]!);
  }
});

test('an incomplete day exits 3 when strict, and is told in any case', async () => {
  const incomplete = (verdict: 'incomplete' | 'unreconciled', missing: string[]) =>
    forgeManifests(books, (manifest) => {
      // As of before there were exceptions, which would have to name what is missing.
      const change = { verdict, missing, exceptions: undefined };
      if (manifest.number === 1) Object.assign(manifest.sources.platform!['2026-11-19']!, change);
    });
  await incomplete('incomplete', ['evt_gone']);
  try {
    const lax = await run(['verify']);
    assert.equal(lax.code, 0);
    assert.match(lax.stdout, /platform 2026-11-19 lacks 1 event known of: evt_gone/);
    assert.equal((await run(['verify', '--strict', '--json'])).code, 3);
  } finally {
    await incomplete('unreconciled', []);
  }
  assert.equal((await run(['verify', '--strict'])).code, 0);
});

test('a manifest signed by a key that is not given exits 3 and names the key', async () => {
  const { publicKey } = generateKeyPairSync('ed25519');
  const keys = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const { code, stdout } = await run(['verify'], { COMPACTOR_VERIFYING_KEYS: keys });
  assert.equal(code, 3);
  assert.match(stdout, /manifest 1, manifests\/00000001\.jsonl: .*\(signer_unknown\)/);
  assert.equal((await run(['list'], { COMPACTOR_VERIFYING_KEYS: keys })).code, 3);
});

test('a store that cannot be read exits 2: nothing is known of the archive', async () => {
  const path = join(books.directory, 'loop');
  fs.symlinkSync(path, path);
  const store = { DAYBOOK_STORE: JSON.stringify({ type: 'directory', params: { path } }) };
  const { code, stdout, stderr } = await run(['verify'], store);
  assert.equal(code, 2);
  assert.equal(stdout, '');
  assert.match(stderr, /store_unavailable/);
});

for (const [what, args, change, stderr] of [
  ['--secrets without --identity', ['--secrets', 'x'], {}, /--secrets needs --identity/],
  ['an identity file that is not there', ['--identity', 'none'], {}, /--identity: .*ENOENT/],
  ['an identity file without a key', ['--identity', 'secrets.json'], {}, /identity_invalid/],
  ['a secrets file that is not JSON', ['--identity', 'identity.txt', '--secrets', 'identity.txt'], {}, /is not JSON/],
  ['no verifying key', [], { COMPACTOR_VERIFYING_KEYS: 'none' }, /COMPACTOR_VERIFYING_KEYS/],
] as const) {
  test(`${what} exits 1, and nothing of a file is quoted`, async () => {
    const outcome = await run(['verify', ...args], change);
    assert.equal(outcome.code, 1);
    assert.match(outcome.stderr, stderr);
    assert.doesNotMatch(outcome.stderr + outcome.stdout, /AGE-SECRET-KEY-1[A-Z0-9]|whsec_|secret of/);
  });
}

test('a secrets file with another shape exits 1', async () => {
  const path = join(books.directory, 'other.json');
  fs.writeFileSync(path, JSON.stringify([{ name: 'platform', scheme: 'stripe', secrets: [] }]));
  const { code, stderr } = await run(['verify', '--identity', identityFile, '--secrets', path]);
  assert.equal(code, 1);
  assert.match(stderr, /--secrets 0\.secrets: needs at least one secret/);
});

test('list prints the days and what is still in the stream alone, and writes nothing', async () => {
  const there = everything();
  const { code, stdout } = await run(['list']);
  assert.equal(code, 0);
  assert.match(
    stdout,
    /^2026-11 +9 +0 +0 +0 +0 +9 +27$[\s\S]*^2026-11 platform\n.*\n2026-11-18 +unreconciled +14 +0 +– +4 +\d.* kB +2$/m,
  );
  assert.match(
    stdout,
    /\nNewest archived day: 2026-11-22\nWhat waits in the stream was not asked: there is no embedded stream in .*\n$/,
  );
  assert.deepEqual(everything(), there);
});

test('list shows the days that were asked for alone, and refuses a day or a verdict that is not one', async () => {
  const asked = async (...args: string[]) => {
    const { code, stdout } = await run(['list', '--json', ...args]);
    return code === 0
      ? JSON.parse(stdout).days.map(({ source, day }: Record<string, string>) => `${source} ${day}`)
      : code;
  };
  assert.deepEqual(await asked('--source', 'platform', '--from', '2026-11-19', '--to', '2026-11-20'), [
    'platform 2026-11-19',
    'platform 2026-11-20',
  ]);
  assert.equal((await asked('--verdict', 'unreconciled')).length, 9);
  assert.deepEqual(await asked('--verdict', 'complete'), []);
  assert.match((await run(['list', '--verdict', 'complete'])).stdout, /^None of the archived days/);
  assert.equal(await asked('--verdict', 'good'), 1);
  assert.equal(await asked('--from', '2026-11-31'), 1);
  assert.equal(await asked('--from', '2026-11-20', '--to', '2026-11-19'), 1);
  assert.equal(await asked('--waiting', '--source', 'platform'), 1);
  for (const command of ['list', 'verify']) {
    const { code, stderr } = await run([command, '--source', 'plattform']);
    assert.equal(code, 1);
    assert.match(stderr, /the archive has no source plattform; it has: billing, platform/);
  }
  const DAYBOOK_SOURCES = JSON.stringify([{ name: 'plattform', scheme: 'panda', secrets: ['of a test of these'] }]);
  const known = await run(['list', '--source', 'plattform'], { DAYBOOK_SOURCES });
  assert.deepEqual([known.code, known.stdout.startsWith('None of the archived days')], [0, true], known.stderr);
});

test('run --today and list --waiting say the same, need no key to write, and change nothing', async () => {
  const there = everything();
  const data = { DAYBOOK_DATA_DIR: books.directory };
  const today = await run(['run', '--today', '--json'], data);
  const waiting = await run(['list', '--waiting', '--json'], data);
  assert.deepEqual([today.code, today.stdout], [0, waiting.stdout]);
  assert.ok(Array.isArray(JSON.parse(today.stdout).days));
  assert.deepEqual(everything(), there);
  assert.equal((await run(['run', '--today', '--force'], data)).code, 1);
  assert.equal((await run(['run', '--today'])).code, 2);
});

test('list says that a stream which is down was not asked, and lists the archive all the same', async () => {
  const params = { brokers: ['127.0.0.1:1'], topic: 'events' };
  const stream = { DAYBOOK_STREAM: JSON.stringify({ type: 'kafka', params }) };
  const { code, stdout } = await run(['list'], stream);
  assert.equal(code, 0);
  assert.match(
    stdout,
    /\nNewest archived day: 2026-11-22\nWhat waits in the stream was not asked: .*127\.0\.0\.1:1.*\n$/,
  );
});

test('list --json names the parts with their manifests', async () => {
  // The consumer of these books is another; the ledger alone says what is archived.
  await books.deliver(pandaRecord(6, '2026-11-20'));
  const { stdout } = await run(['list', '--json'], { DAYBOOK_DATA_DIR: books.directory });
  const list = JSON.parse(stdout);
  assert.deepEqual(Object.keys(list), [
    'head',
    'oldestUnarchivedDay',
    'streamUnread',
    'newestArchivedDay',
    'retentionNear',
    'days',
  ]);
  assert.deepEqual([list.oldestUnarchivedDay, list.newestArchivedDay], ['2026-11-20', '2026-11-22']);
  const day = list.days.find(
    ({ source, day }: { source: string; day: string }) => source === 'platform' && day === '2026-11-18',
  );
  assert.deepEqual(Object.keys(day), [
    ...['source', 'day', 'verdict', 'events', 'bytes', 'archivedAt', 'manifest', 'counts', 'uncovered'],
    ...['parts', 'lateDeliveries', 'exceptions', 'pruned'],
  ]);
  const { head } = await books.ledger();
  assert.deepEqual([day.archivedAt, day.manifest.number, head?.number], ['2026-11-21T03:00:00.000Z', 2, 3]);
  assert.match(day.manifest.sha256, /^[0-9a-f]{64}$/);
  const sum = (name: 'plaintext' | 'ciphertext') =>
    day.parts.reduce((total: number, { bytes }: { bytes: Record<string, number> }) => total + bytes[name]!, 0);
  assert.deepEqual(day.bytes, { plaintext: sum('plaintext'), ciphertext: sum('ciphertext') });
  assert.deepEqual(
    day.parts.map(({ manifest, events }: { manifest: number; events: number }) => [manifest, events]),
    [
      [1, 12],
      [2, 2],
    ],
  );
});

test('list of an archive that is not there is empty, and makes nothing', async () => {
  const absent = join(books.directory, 'absent');
  const store = { DAYBOOK_STORE: '{"type":"directory"}' };
  const { code, stdout } = await run(['list', '--json'], store);
  assert.equal(code, 0);
  assert.deepEqual(JSON.parse(stdout), {
    head: null,
    oldestUnarchivedDay: null,
    streamUnread: `there is no embedded stream in ${absent} (DAYBOOK_STREAM, DAYBOOK_DATA_DIR)`,
    newestArchivedDay: null,
    retentionNear: [],
    days: [],
  });
  assert.match((await run(['list'], store)).stdout, /^Nothing is archived yet\./);
  assert.equal((await run(['verify'], store)).code, 3);
  assert.equal((await run(['verify', '--allow-empty'], store)).code, 0);
  assert.equal((await run(['verify', '--expect-head', '1:abc'], store)).code, 1);
  assert.equal(fs.existsSync(absent), false);
});
