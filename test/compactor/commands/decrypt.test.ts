/** `decrypt` as a program, on a real archive: what it writes, what it refuses, and what it leaves when it is killed. */
import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import { basename, join } from 'node:path';
import { after, before, beforeEach, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { armor, Encrypter, generateIdentity, identityToRecipient } from 'age-encryption';
import type { Part } from '../../../compactor/ledger/manifest.ts';
import { requireCommand } from '../../require-service.ts';
import { runOnTerminal } from '../../terminal.ts';
import { openArchive, pathOf } from '../archive-under-test.ts';
import type { Books } from '../books.ts';

const endlessWrite = new URL('./endless-write.ts', import.meta.url).href;
const program = fileURLToPath(new URL('../../../compactor/main.ts', import.meta.url));
let books: Books;
let parts: Part[];
let quarantine: string;
/** The folder of each test, and its output. */
let folder: string;
let output: string;
let tests = 0;

before(async () => {
  books = await openArchive();
  fs.writeFileSync(join(books.directory, 'identity.txt'), `# made by a test\n${books.identity}\n`);
  const first = await books.manifest(1);
  parts = ['2026-11-18', '2026-11-19'].map((day) => first.sources.platform![day]!.parts[0]!);
  quarantine = first.quarantine[0]!.key;
});
beforeEach(() => {
  tests += 1;
  folder = join(books.directory, `test-${tests}`);
  output = join(folder, 'out');
  fs.mkdirSync(folder);
});
after(() => books.close());

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const environment = () => ({
  DAYBOOK_DATA_DIR: join(books.directory, 'absent'),
  DAYBOOK_STORE: JSON.stringify({ type: 'directory', params: { path: books.archive } }),
});

function run(...args: readonly string[]): Promise<Outcome> {
  const options = { env: environment(), cwd: folder, maxBuffer: 2 ** 28 };
  return new Promise((resolve) => {
    execFile(process.execPath, [program, 'decrypt', ...args], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code as number), stdout, stderr });
    });
  });
}

const identity = () => ['--identity', join(books.directory, 'identity.txt')];
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const everything = (path: string) => fs.readdirSync(path, { recursive: true }).map(String).sort();
/** Copies objects into the test's folder. */
function copied(...keys: string[]): string[] {
  return keys.map((key) => {
    const path = join(folder, basename(key));
    fs.copyFileSync(pathOf(books, key), path);
    return path;
  });
}

/** A file of the archive's kind, with content of one's own. */
async function seal(content: Uint8Array, recipient?: string): Promise<Uint8Array> {
  const encrypter = new Encrypter();
  encrypter.addRecipient(recipient ?? (await identityToRecipient(books.identity)));
  return encrypter.encrypt(gzipSync(content, { level: 1 }));
}

test('a part becomes the .jsonl beside it, the bytes that its manifest names, readable by its owner alone', async () => {
  const [part] = parts;
  const [path] = copied(part!.key);
  const { code, stdout, stderr } = await run(...identity(), path!);
  assert.deepEqual([code, stderr], [0, '']);
  const plain = path!.replace('.gz.age', '');
  assert.equal(stdout, `${part!.sha256.plaintext}  ${plain}\n`);
  assert.equal(sha256(fs.readFileSync(plain)), part!.sha256.plaintext);
  assert.equal(fs.statSync(plain).mode & 0o777, 0o600);
  assert.deepEqual(everything(folder), [basename(plain), basename(path!)].sort());
});

test('what it gives is what stock age and gunzip give', async (t) => {
  if (!requireCommand(t, 'age') || !requireCommand(t, 'gunzip')) return;
  const keys = (await books.keys()).filter((key) => key.endsWith('.age'));
  assert.ok(keys.some((key) => key.includes('.deliveries.')) && keys.includes(quarantine));
  const { code } = await run(...identity(), '-o', output, ...keys.map((key) => pathOf(books, key)));
  assert.equal(code, 0);
  for (const key of keys) {
    const file = join(books.directory, 'identity.txt');
    const stock = spawnSync('sh', ['-c', 'age -d -i "$0" "$1" | gunzip', file, pathOf(books, key)]).stdout;
    assert.ok(stock.length > 0);
    assert.deepEqual(fs.readFileSync(join(output, basename(key).replace('.gz.age', ''))), stock, key);
  }
});

test('patterns are expanded here too, ids need no identity, and --keep-gzip leaves what is packed packed', async () => {
  const [part] = parts;
  const [path] = copied(part!.key, part!.ids.key, parts[1]!.key);
  const packed = await run(...identity(), '--keep-gzip', '-o', output, '*.jsonl.gz.age');
  assert.equal(packed.code, 0);
  assert.deepEqual(
    everything(output),
    parts.map(({ key }) => basename(key).replace('.age', '')),
  );
  const ids = await run('-o', output, '*.ids.gz');
  assert.equal(ids.code, 0);
  const written = fs.readFileSync(join(output, basename(part!.ids.key).replace('.gz', '')), 'utf8');
  assert.deepEqual(written.trimEnd().split('\n'), await books.lines(part!.ids.key));
  assert.equal((await run(path!)).code, 1, 'a sealed object needs one');
});

test('with --archive keys and patterns are those of the store', async () => {
  const { code, stdout } = await run(...identity(), '--archive', '--json', quarantine, 'platform/**/*.deliveries.*');
  assert.equal(code, 0);
  const { files, failures } = JSON.parse(stdout);
  assert.deepEqual(failures, []);
  const expected = (await books.keys('platform/')).filter((key) => key.includes('.deliveries.'));
  assert.ok(expected.length > 2);
  assert.deepEqual(
    files.map(({ input }: { input: string }) => input),
    [quarantine, ...expected],
  );
  assert.deepEqual(everything(folder).length, files.length);
});

test('- is stdout: the plaintext of all, one after the other, and nothing else', async () => {
  const paths = copied(...parts.map(({ key }) => key));
  const { code, stdout } = await run(...identity(), '-o', '-', ...paths);
  assert.equal(code, 0);
  const lines = (await Promise.all(parts.map(({ key }) => books.lines(key)))).flat();
  assert.equal(stdout, `${lines.join('\n')}\n`);
  assert.equal((await run(...identity(), '-o', '-', '--json', ...paths)).code, 1);
});

test('a reader of stdout that goes away ends it', async () => {
  const path = join(folder, 'large.jsonl.gz.age');
  fs.writeFileSync(path, await seal(Buffer.alloc(8 * 1024 * 1024, 'line\n')));
  const child = spawn(process.execPath, [program, 'decrypt', ...identity(), '-o', '-', path], { env: environment() });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdout.once('data', () => child.stdout.destroy());
  assert.deepEqual(await once(child, 'close'), [141, null]);
  assert.equal(stderr, '');
});

test('nothing is overwritten: the file that is there stays, is named, and the others are done', async () => {
  const paths = copied(...parts.map(({ key }) => key));
  const [first, second] = paths.map((path) => path.replace('.gz.age', ''));
  fs.writeFileSync(first!, 'mine');
  const { code, stdout, stderr } = await run(...identity(), ...paths);
  assert.equal(code, 2);
  assert.equal(fs.readFileSync(first!, 'utf8'), 'mine');
  assert.match(stderr, /is there already \(output_exists\)\n1 failed, 1 done\n/);
  assert.ok(stdout.endsWith(`  ${second}\n`) && !stdout.includes(first!));
  assert.equal((await run(...identity(), ...paths)).code, 2, 'a dangling link and a repeat are refused as well');
  fs.rmSync(first!);
  fs.symlinkSync(join(folder, 'nowhere'), first!);
  assert.equal((await run(...identity(), ...paths)).code, 2);
  assert.equal(fs.existsSync(join(folder, 'nowhere')), false);
});

test('each failure is named, the others are done, and no half file is left', async () => {
  const [whole] = copied(parts[0]!.key);
  const sealed = fs.readFileSync(pathOf(books, parts[1]!.key));
  const stranger = await seal(Buffer.from('x\n'), await identityToRecipient(await generateIdentity()));
  const large = await seal(randomBytes(300_000));
  const files: Record<string, Uint8Array> = {
    'cut.jsonl.gz.age': sealed.subarray(0, sealed.length - 9),
    'late.jsonl.gz.age': large.map((byte, at) => (at === large.length - 100_000 ? byte ^ 1 : byte)),
    'stranger.jsonl.gz.age': stranger,
    'noise.jsonl.gz.age': randomBytes(1000),
    'noise.ids.gz': randomBytes(1000),
    'other.txt': Buffer.from('text'),
  };
  for (const [name, bytes] of Object.entries(files)) fs.writeFileSync(join(folder, name), bytes);
  const asked = ['missing.jsonl.gz.age', 'none-*.age', ...Object.keys(files), whole!];
  const { code, stdout } = await run(...identity(), '--json', '-o', output, ...asked);
  assert.equal(code, 2);
  const report = JSON.parse(stdout);
  assert.deepEqual(
    report.failures.map(({ input, code }: { input: string; code: string }) => [input, code]),
    [
      ['missing.jsonl.gz.age', 'object_missing'],
      ['none-*.age', 'object_missing'],
      ['cut.jsonl.gz.age', 'sealed_unreadable'],
      ['late.jsonl.gz.age', 'sealed_unreadable'],
      ['stranger.jsonl.gz.age', 'sealed_unreadable'],
      ['noise.jsonl.gz.age', 'sealed_unreadable'],
      ['noise.ids.gz', 'sealed_unreadable'],
      ['other.txt', 'object_not_sealed'],
    ],
  );
  assert.deepEqual(
    report.files.map(({ input }: { input: string }) => input),
    [whole],
  );
  assert.deepEqual(everything(output), [basename(whole!).replace('.gz.age', '')]);
});

test('a disk that takes no more bytes leaves no file', async () => {
  const path = join(folder, 'large.jsonl.gz.age');
  fs.writeFileSync(path, await seal(randomBytes(3_000_000)));
  const [small] = copied(parts[0]!.key);
  const args = ['-c', 'ulimit -f 2000 && exec "$0" "$@"', process.execPath, program, 'decrypt', ...identity()];
  const child = spawnSync('sh', [...args, '-o', output, path, small!], { env: environment(), encoding: 'utf8' });
  assert.equal(child.status, 2, child.stderr);
  assert.match(child.stderr, /large\.jsonl\.gz\.age: .* cannot be written: EFBIG \(output_failed\)/);
  assert.deepEqual(everything(output), [basename(small!).replace('.gz.age', '')]);
});

for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  test(`${signal} in the middle leaves nothing under the final name`, async () => {
    // A pipe that is never written to its end: the program waits in the middle of the object.
    const path = join(folder, 'endless.jsonl.gz.age');
    const sealed = await seal(randomBytes(1_000_000));
    fs.writeFileSync(path, sealed.subarray(0, 600_000));
    spawnSync('mkfifo', [join(folder, 'pipe')]);
    const args = ['--import', endlessWrite, program, 'decrypt', ...identity(), '-o', output, path];
    const child = spawn(process.execPath, args, { env: environment(), cwd: folder });
    await once(child.stdout, 'data');
    assert.equal(everything(output).length, 1, 'it writes under another name');
    assert.ok(fs.statSync(join(output, everything(output)[0]!)).size > 0);
    child.kill(signal);
    const [code] = await once(child, 'close');
    assert.equal(code, signal === 'SIGKILL' ? null : 2);
    assert.equal(fs.existsSync(join(output, 'endless.jsonl')), false);
    if (signal === 'SIGTERM') assert.deepEqual(everything(output), []);
  });
}

test('two objects whose plaintexts would have one name: the second is refused', async () => {
  const [path] = copied(parts[0]!.key);
  fs.mkdirSync(join(folder, 'other'));
  fs.copyFileSync(path!, join(folder, 'other', basename(path!)));
  const { code, stderr } = await run(...identity(), '-o', output, path!, join('other', basename(path!)));
  assert.equal(code, 2);
  assert.match(stderr, /^other\/.*output_exists\)\n1 failed, 1 done/);
});

for (const [what, args, stderr] of [
  ['no file', [], /missing required argument/],
  ['an identity file that is not there', ['-i', 'none', 'x.age'], /--identity|there is no such file/],
  ['an output folder that is a file', ['-i', 'id', '-o', 'id/x', 'id.ids.gz'], /--output: .*ENOTDIR/],
] as const) {
  test(`${what} exits with what to mend`, async () => {
    fs.writeFileSync(join(folder, 'id'), `${books.identity}\n`);
    fs.writeFileSync(join(folder, 'id.ids.gz'), '');
    const outcome = await run(...args);
    assert.equal(outcome.code, 1);
    assert.match(outcome.stderr, stderr);
  });
}

// --- passphrases, on a terminal

const passphrase = 'correct horse battery';

/** A locked identity, and an object sealed for it. */
async function lockedKey(t: TestContext, format: 'openssh' | 'pkcs8' | 'age'): Promise<string | undefined> {
  const file = join(folder, 'locked');
  if (format === 'age') {
    const encrypter = new Encrypter();
    encrypter.setPassphrase(passphrase);
    encrypter.setScryptWorkFactor(10);
    fs.writeFileSync(file, armor.encode(await encrypter.encrypt(`${books.identity}\n`)));
    fs.writeFileSync(join(folder, 'day.jsonl.gz.age'), await seal(Buffer.from('{"id":"evt_1"}\n')));
    return file;
  }
  if (!requireCommand(t, 'ssh-keygen') || !requireCommand(t, 'age')) return undefined;
  const words = ['-q', '-t', 'rsa', '-b', '2048', '-N', passphrase, '-f', file];
  assert.equal(spawnSync('ssh-keygen', words).status, 0);
  const input = gzipSync('{"id":"evt_1"}\n');
  const sealed = spawnSync('age', ['-R', `${file}.pub`], { input });
  assert.equal(sealed.status, 0);
  fs.writeFileSync(join(folder, 'day.jsonl.gz.age'), sealed.stdout);
  if (format === 'pkcs8') {
    assert.equal(
      spawnSync('ssh-keygen', ['-p', '-q', '-P', passphrase, '-N', passphrase, '-m', 'PKCS8', '-f', file]).status,
      0,
    );
    assert.match(fs.readFileSync(file, 'utf8'), /BEGIN ENCRYPTED PRIVATE KEY/);
  }
  return file;
}

for (const format of ['openssh', 'pkcs8', 'age'] as const) {
  test(`a passphrase (${format}) is asked for on the terminal, and not shown`, async (t) => {
    const file = await lockedKey(t, format);
    if (file === undefined) return;
    const command = [process.execPath, program, 'decrypt', '-i', file, 'day.jsonl.gz.age'];
    // A wrong one; then one with a slip that is taken back, after a line that is wiped.
    const typed: [string, string][] = [
      [`Passphrase of ${file}: `, 'wrong\r'],
      [`Passphrase of ${file}: `, `nonsense\u0015${passphrase}xé\u007f\u007f\r`],
    ];
    const outcome = await runOnTerminal(t, command, { env: environment(), cwd: folder, typed });
    if (outcome === undefined) return;
    assert.equal(outcome.code, 0, outcome.shown);
    assert.equal(fs.readFileSync(join(folder, 'day.jsonl'), 'utf8'), '{"id":"evt_1"}\n');
    assert.doesNotMatch(outcome.shown, /correct|horse|wrong|nonsense/);
  });
}

test('Ctrl-C at the prompt ends it, and three wrong answers do; nothing is written', async (t) => {
  const file = await lockedKey(t, 'age');
  const command = [process.execPath, program, 'decrypt', '-i', file!, 'day.jsonl.gz.age'];
  const asked = `Passphrase of ${file}: `;
  for (const [typed, expected] of [
    [[[asked, 'abc\u0003']], /identity_needs_passphrase/],
    [
      [
        [asked, 'a\r'],
        [asked, 'b\r'],
        [asked, '\r'],
      ],
      /passphrase_wrong/,
    ],
  ] as [[string, string][], RegExp][]) {
    const outcome = await runOnTerminal(t, command, { env: environment(), cwd: folder, typed });
    if (outcome === undefined) return;
    assert.equal(outcome.code, 1);
    assert.match(outcome.shown, expected);
    assert.deepEqual(everything(folder), ['day.jsonl.gz.age', 'locked']);
  }
});

test('without a terminal a passphrase cannot be asked for: it is said, exit 1', async (t) => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const locked = privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase });
  fs.writeFileSync(join(folder, 'locked.pem'), locked);
  copied(parts[0]!.key);
  if (!requireCommand(t, 'setsid')) return;
  const args = [process.execPath, program, 'decrypt', '-i', 'locked.pem', basename(parts[0]!.key)];
  const child = spawnSync('setsid', ['-w', ...args], { env: environment(), cwd: folder, encoding: 'utf8' });
  assert.equal(child.status, 1);
  assert.match(child.stderr, /no terminal to ask for it\nidentity_needs_passphrase/);
});
