/** What becomes of a command's output: a reader that goes away, a disk that is full, and names that would move a terminal. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { visibleLines, visibleText } from '../../../shared/program/visible-text.ts';
import { openArchive } from '../../compactor/archive-under-test.ts';
import type { Books } from '../../compactor/books.ts';
import { root } from '../../house/source-files.ts';

let books: Books;
let environment: Record<string, string>;
before(async () => {
  books = await openArchive();
  writeFileSync(join(books.directory, 'identity.txt'), `${books.identity}\n`);
  environment = {
    PATH: process.env.PATH!,
    DAYBOOK_DATA_DIR: books.directory,
    DAYBOOK_STORE: JSON.stringify({ type: 'directory', params: { path: books.archive } }),
    DAYBOOK_SOURCES: '[{"name":"platform","scheme":"stripe","secrets":["whsec_x"]}]',
    COMPACTOR_VERIFYING_KEYS: createPublicKey(books.signingKey).export({ type: 'spki', format: 'pem' }).toString(),
  };
});
after(() => books.close());

function run(program: 'ingest' | 'compactor', args: readonly string[], to: string) {
  const script = `"$@" 2>stderr ${to}; exit \${PIPESTATUS[0]}`;
  const { status } = spawnSync(
    'bash',
    ['-c', script, 'bash', process.execPath, join(root, program, 'main.ts'), ...args],
    {
      cwd: books.directory,
      env: environment,
    },
  );
  return { status, stderr: readFileSync(join(books.directory, 'stderr'), 'utf8') };
}

const opened = ['--identity', 'identity.txt'];
const commands: readonly (readonly ['ingest' | 'compactor', ...string[]])[] = [
  ['compactor', '--help'],
  ['compactor', 'list'],
  ['compactor', 'list', '--json'],
  ['compactor', 'verify'],
  ['compactor', 'verify', '--json', ...opened],
  ['compactor', 'restore', ...opened],
  ['compactor', 'restore', '--dry-run'],
  ['compactor', 'decrypt', '--archive', ...opened, '--output', '-', '**/*.jsonl.gz.age'],
  ['compactor', 'decrypt', '--archive', '--json', '--output', 'ids', '**/*.ids.gz'],
  ['compactor', 'prune', '--evidence-days', '31'],
  ['compactor', 'doctor'],
  ['ingest', '--help'],
  ['ingest', 'doctor'],
  ['ingest', 'spool', 'inspect'],
];

for (const [program, ...args] of commands) {
  test(`${program} ${args.join(' ')}: a reader that has gone ends it without a word`, () => {
    const { status, stderr } = run(program, args, '| true');
    // doctor finds things to mend here, and says so by its code all the same; help is printed without a wait.
    const expected = args[0] === 'doctor' ? [1, 2, 141] : args[0] === '--help' ? [0, 141] : [141];
    // The summary of what did go to stdout, and of what did not, is for stderr.
    assert.equal(stderr, '');
    assert.ok(expected.includes(status!), String(status));
  });
}

test('verify of a broken archive says 3, also where nobody reads on', () => {
  const path = join(books.archive, 'manifests', '00000002.jsonl');
  const bytes = readFileSync(path);
  rmSync(path);
  writeFileSync(path, Buffer.concat([bytes.subarray(0, 40), Buffer.from('x'), bytes.subarray(41)]));
  try {
    assert.deepEqual(run('compactor', ['verify'], '| true'), { status: 3, stderr: '' });
  } finally {
    rmSync(path);
    writeFileSync(path, bytes);
  }
});

test('output that cannot be written for another reason is a failure with a code, and no stack', {
  skip: !existsSync('/dev/full'),
}, () => {
  for (const args of [['list'], ['verify', '--json'], ['restore', ...opened]]) {
    const { status, stderr } = run('compactor', args, '>/dev/full');
    assert.equal(status, 2, args.join(' '));
    assert.match(stderr, /^daybook-compactor: stdout cannot be written: ENOSPC\noutput_failed: .*\n$/);
  }
});

test('a stderr that nobody reads changes nothing', () => {
  const script = '"$@" 2> >(true) >stdout; exit $?';
  const command = ['compactor', 'main.ts'];
  const { status } = spawnSync(
    'bash',
    ['-c', script, 'bash', process.execPath, join(root, ...command), 'restore', ...opened],
    {
      cwd: books.directory,
      env: environment,
    },
  );
  assert.equal(status, 0);
});

test('names of files come out harmless, on stdout, on stderr and in JSON, whose meaning stays', () => {
  const name = 'a\u001b]0;title\u0007\n\u009b31m\u202e.ids.gz';
  const folder = join(books.directory, name);
  mkdirSync(folder);
  const said = run('compactor', ['decrypt', name, `${name}/${name}`], '>stdout').stderr;
  assert.ok(said.includes('a\\u001b]0;title\\u0007\\u000a\\u009b31m\\u202e.ids.gz: there is no such file'), said);
  const usage = run('compactor', ['list', `--${name}`], '>stdout').stderr;
  for (const text of [said, usage]) assert.doesNotMatch(text, /(?!\n)[\p{Cc}\p{Cf}]/u);
  assert.deepEqual(JSON.parse(visibleLines(JSON.stringify({ name, other: '\u{e0001}' }))), {
    name,
    other: '\u{e0001}',
  });
  assert.equal(visibleText('Zoë 日本 😀'), 'Zoë 日本 😀');
});
