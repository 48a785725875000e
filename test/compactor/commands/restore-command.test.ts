/** `restore` as a program: where it writes, what it says, how it exits, and what it leaves when it is killed. */
import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Part } from '../../../compactor/ledger/manifest.ts';
import { runOnTerminal } from '../../terminal.ts';
import { openArchive, pathOf } from '../archive-under-test.ts';
import type { Books } from '../books.ts';

const endlessWrite = new URL('./endless-write.ts', import.meta.url).href;
const program = fileURLToPath(new URL('../../../compactor/main.ts', import.meta.url));
let books: Books;
let part: Part;
let all: string;
/** The folder of each test. */
let folder: string;
let tests = 0;

before(async () => {
  books = await openArchive();
  fs.writeFileSync(join(books.directory, 'identity.txt'), `${books.identity}\n`);
  const [first, second] = [await books.manifest(1), await books.manifest(2)];
  part = first.sources.platform!['2026-11-18']!.parts[0]!;
  const keys = [
    part,
    second.sources.platform!['2026-11-18']!.parts[0]!,
    first.sources.billing!['2026-11-19']!.parts[0]!,
    first.sources.platform!['2026-11-19']!.parts[0]!,
  ].map(({ key }) => key);
  all = (await Promise.all(keys.map((key) => books.lines(key))))
    .flat()
    .map((line) => `${line}\n`)
    .join('');
});
beforeEach(() => {
  tests += 1;
  folder = join(books.directory, `test-${tests}`);
  fs.mkdirSync(folder);
});
after(() => books.close());

const environment = () => ({
  TMPDIR: books.directory,
  DAYBOOK_DATA_DIR: join(folder, 'data'),
  DAYBOOK_STORE: JSON.stringify({ type: 'directory', params: { path: books.archive } }),
  COMPACTOR_VERIFYING_KEYS: createPublicKey(books.signingKey).export({ type: 'spki', format: 'pem' }).toString(),
});

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(args: readonly string[], change: Record<string, string> = {}): Promise<Outcome> {
  const options = { env: { ...environment(), ...change }, cwd: folder };
  return new Promise((resolve) => {
    execFile(process.execPath, [program, 'restore', ...args], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code as number), stdout, stderr });
    });
  });
}

const identity = () => ['--identity', join(books.directory, 'identity.txt')];
const everything = () => fs.readdirSync(folder, { recursive: true }).map(String).sort();

/** With the part damaged. */
async function damaged<T>(work: () => Promise<T>): Promise<T> {
  const path = pathOf(books, part.key);
  const bytes = fs.readFileSync(path);
  fs.truncateSync(path, 100);
  try {
    return await work();
  } finally {
    fs.writeFileSync(path, bytes);
  }
}

test('that nothing fits is said, and is not a failure', async () => {
  for (const args of [['--dry-run'], identity()]) {
    const { code, stdout, stderr } = await run([...args, '--type', 'nothing.of.this']);
    assert.equal(code, 0);
    if (args.length > 1)
      assert.match(stderr, /Restored 0 events of .*\nNothing in the archive fits what was asked for\.\n$/);
    else assert.doesNotMatch(stdout, /Nothing in the archive/, 'only the lines can tell');
  }
  const none = await run([...identity(), '--id', 'evt_none']);
  assert.match(none.stderr, /Restored 0 events of 0 parts to stdout, 4 more ruled out by their ids\.\n/);
  const { stdout } = await run(['--dry-run', '--day', '2020-01-01']);
  assert.match(stdout, /Nothing in the archive fits what was asked for\.\n$/);
});

test('to a file: its lines, 0600, a summary on stdout, no other file anywhere', async () => {
  const { code, stdout, stderr } = await run([...identity(), '--output', 'all.jsonl']);
  assert.deepEqual([code, stderr], [0, '']);
  assert.equal(fs.readFileSync(join(folder, 'all.jsonl'), 'utf8'), all);
  assert.equal(fs.statSync(join(folder, 'all.jsonl')).mode & 0o777, 0o600);
  assert.match(stdout, /^day +source +events +bytes +sealed +part\n2026-11-18 +platform +12 /);
  assert.match(stdout, /\nRestored 27 events of 4 parts to all\.jsonl\.\n$/);
  assert.deepEqual(everything(), ['all.jsonl']);
});

test('a file that is there is not touched, and nothing is read for it', async () => {
  fs.writeFileSync(join(folder, 'all.jsonl'), 'mine');
  const { code, stderr } = await run([...identity(), '-o', 'all.jsonl'], { DAYBOOK_STORE: '{"type":"directory"}' });
  assert.equal(code, 1);
  assert.match(stderr, /all\.jsonl is there already\noutput_exists/);
  assert.equal(fs.readFileSync(join(folder, 'all.jsonl'), 'utf8'), 'mine');
});

test('to stdout: its lines and nothing else; the summary goes to stderr', async () => {
  const { code, stdout, stderr } = await run([...identity(), '--source', 'platform', '--day', '2026-11-19', '--json']);
  assert.equal(code, 0);
  assert.equal(stdout, all.slice(stdout.length * -1));
  const summary = JSON.parse(stderr);
  assert.deepEqual([summary.events, summary.output, summary.dryRun], [8, '-', false]);
});

test('--json prints one document with these members', async () => {
  const { stdout } = await run([...identity(), '--id', 'evt_none', '--output', 'none.jsonl', '--json']);
  const { parts, ...summary } = JSON.parse(stdout);
  assert.deepEqual(parts, []);
  assert.deepEqual(summary, {
    events: 0,
    exact: true,
    repeated: 0,
    skipped: 4,
    pruned: [],
    notFound: ['evt_none'],
    failures: [],
    dryRun: false,
    output: 'none.jsonl',
    refused: { count: 0, ids: [] },
  });
  assert.equal(fs.readFileSync(join(folder, 'none.jsonl'), 'utf8'), '');
});

test('a dry run needs no identity, says what it would do, and writes nothing', async () => {
  const { code, stdout } = await run(['--dry-run', '--to', '2026-11-18', '-o', 'x.jsonl']);
  assert.equal(code, 0);
  assert.match(stdout, /\nWould restore 14 events of 2 parts\.\n$/);
  const blind = await run(['--dry-run', '--type', 'invoice.*', '--to-stream']);
  assert.match(blind.stdout, /^day +source +at most/);
  assert.match(blind.stdout, /Would restore at most 27 events of 4 parts\. Which of them fit, only their lines tell/);
  assert.deepEqual(everything(), []);
});

test('a damaged part is named, the others are written, exit 3', async () => {
  await damaged(async () => {
    const { code, stdout } = await run([...identity(), '-o', 'rest.jsonl']);
    assert.equal(code, 3);
    assert.match(
      stdout,
      /Restored 15 events of 3 parts to rest\.jsonl\.\nFAILED platform 2026-11-18: .*\(object_damaged\)/,
    );
    assert.ok(all.endsWith(fs.readFileSync(join(folder, 'rest.jsonl'), 'utf8')));
  });
});

test('where nothing can be had no file is made', async () => {
  fs.writeFileSync(join(folder, 'other.txt'), 'AGE-SECRET-KEY-1…');
  assert.equal((await run(['--identity', 'other.txt', '-o', 'x.jsonl'])).code, 1);
  const stranger = spawnSync('age-keygen', ['-o', join(folder, 'stranger.txt')]);
  if (stranger.error === undefined) {
    const { code, stdout } = await run(['--identity', 'stranger.txt', '-o', 'x.jsonl']);
    assert.equal(code, 2);
    assert.match(stdout, /to nowhere\.\nFAILED .*sealed_unreadable/);
  }
  await damaged(async () => {
    const [first] = all.split('\n');
    const { code } = await run([...identity(), '--id', JSON.parse(first!).id, '-o', 'x.jsonl']);
    assert.equal(code, 3);
  });
  assert.equal(fs.existsSync(join(folder, 'x.jsonl')), false);
});

test('a broken chain of manifests is trusted in nothing: exit 3, no file', async () => {
  const path = pathOf(books, 'manifests/00000002.jsonl');
  const bytes = fs.readFileSync(path);
  fs.writeFileSync(path, bytes.toString().replace('"number":2', '"number":3'));
  try {
    const { code, stderr } = await run([...identity(), '-o', 'x.jsonl']);
    assert.equal(code, 3);
    assert.match(stderr, /ledger_broken/);
    assert.deepEqual(everything(), []);
  } finally {
    fs.writeFileSync(path, bytes);
  }
});

test('to the stream: marked as restored, acknowledged, and as often as it is asked for', async () => {
  for (const expected of [27, 54]) {
    const { code, stdout } = await run([...identity(), '--to-stream', '--json']);
    assert.equal(code, 0);
    assert.deepEqual([JSON.parse(stdout).events, JSON.parse(stdout).output], [27, 'stream']);
    const list = spawnSync(
      process.execPath,
      [
        '-e',
        `const { DatabaseSync } = require('node:sqlite');
        const database = new DatabaseSync(${JSON.stringify(join(folder, 'data', 'stream.sqlite'))});
        const tables = database.prepare("SELECT name FROM sqlite_master WHERE name LIKE 'records_%'").all();
        let marked = 0;
        for (const { name } of tables)
          for (const { value } of database.prepare('SELECT value FROM ' + name).all())
            if (Buffer.from(value).includes('"via":"restore"')) marked += 1;
        process.stdout.write(String(marked));`,
      ],
      { encoding: 'utf8' },
    );
    assert.equal(list.stdout, String(expected), list.stderr);
  }
});

for (const [what, args, stderr] of [
  ['no identity', ['-o', 'x'], /--identity is needed/],
  ['two places', ['--to-stream', '-o', 'x'], /exclude each other/],
  ['a range that ends before it begins', ['--from', '2026-03-02', '--to', '2026-03-01'], /later than/],
  ['a day that is none', ['--day', '2026-02-30'], /2026-02-30/],
  ['a source that is not there', [...['--dry-run', '--source', 'platfrom']], /no source platfrom/],
] as const) {
  test(`${what} is a usage error: exit 1`, async () => {
    const outcome = await run(args);
    assert.equal(outcome.code, 1);
    assert.match(outcome.stderr, stderr);
    assert.deepEqual(everything(), []);
  });
}

test('a disk that is full ends it with exit 2, and no file', async () => {
  const limited = ['-c', 'ulimit -f 16 && exec "$0" "$@"', process.execPath, program, 'restore', ...identity()];
  const full = spawnSync('sh', [...limited, '-o', 'x.jsonl'], { env: environment(), cwd: folder, encoding: 'utf8' });
  assert.equal(full.status, 2, full.stderr);
  assert.match(full.stderr, /x\.jsonl cannot be written: EFBIG\noutput_failed/);
  assert.deepEqual(everything(), []);
});

for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  test(`${signal} in the middle leaves nothing under the final name`, async () => {
    const args = ['--import', endlessWrite, program, 'restore', ...identity(), '-o', 'x.jsonl'];
    const child = spawn(process.execPath, args, { env: environment(), cwd: folder });
    await once(child.stdout, 'data');
    assert.equal(everything().length, 1, 'it writes under another name');
    child.kill(signal);
    const [code] = await once(child, 'close');
    assert.equal(code, signal === 'SIGKILL' ? null : 2);
    assert.equal(fs.existsSync(join(folder, 'x.jsonl')), false);
    if (signal === 'SIGTERM') assert.deepEqual(everything(), []);
  });
}

test('on a terminal it shows how far it is', async (t) => {
  const command = [process.execPath, '--import', slow(), program, 'restore', ...identity(), '-o', 'all.jsonl'];
  const outcome = await runOnTerminal(t, command, { env: environment(), cwd: folder, typed: [] });
  if (outcome === undefined) return;
  assert.equal(outcome.code, 0, outcome.shown);
  assert.match(outcome.shown, /events read: \[#+\.*\] \d+ %, \d+ of 27/);
  const wiped = outcome.shown.split('\r\u001b[K').at(-1)!;
  assert.match(wiped, /^day.*\nRestored 27 events/s, 'the bar is gone before the summary');
});

/** A clock on which a second passes at every look. */
function slow(): string {
  return `data:text/javascript,${encodeURIComponent('let now = 0; performance.now = () => (now += 1000);')}`;
}
