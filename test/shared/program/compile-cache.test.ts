import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';

const root = join(import.meta.dirname, '../../..');
const isRoot = process.geteuid?.() === 0;
/** Nobody's on this machine, and without root's rights. */
const other = 65_534;

let modules: string;
let own: string;
beforeEach(() => {
  modules = mkdtempSync(join(tmpdir(), 'daybook-modules-'));
  own = join(modules, '.daybook-test');
  chmodSync(modules, 0o755);
});
afterEach(() => rmSync(modules, { recursive: true, force: true }));

/** Starts a program, whose folder of modules is `modules`; what Node tells of its cache. */
function start(environment: Record<string, string> = {}, user?: number): { folder: string; told: string } {
  const script = `
    import { getCompileCacheDir } from 'node:module';
    import { keepCompiled } from '${join(root, 'shared/program/compile-cache.ts')}';
    keepCompiled('test', ${JSON.stringify(modules)});
    await import('${join(root, 'shared/clock.ts')}');
    process.stdout.write('folder ' + getCompileCacheDir());`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    env: { PATH: process.env.PATH, NODE_DEBUG_NATIVE: 'COMPILE_CACHE', ...environment },
    encoding: 'utf8',
    ...(user === undefined ? {} : { uid: user, gid: user }),
  });
  assert.equal(status, 0);
  return { folder: /^folder (.*)$/m.exec(stdout)![1]!, told: stderr };
}

test('what a start compiles the next one takes, from a folder that is of nobody else', () => {
  const first = start();
  assert.ok(first.folder.startsWith(`${own}/`), first.folder);
  assert.equal(statSync(own).mode & 0o777, 0o700);
  assert.doesNotMatch(first.told, /clock\.ts.*was accepted/);
  assert.match(start().told, /clock\.ts was accepted/);
});

test('nothing is taken from a folder that others may write, or read', () => {
  for (const mode of [0o770, 0o707, 0o701, 0o720]) {
    mkdirSync(own);
    chmodSync(own, mode);
    assert.equal(start().folder, 'undefined', mode.toString(8));
    rmSync(own, { recursive: true });
  }
});

test('a link or a file in its place is no folder', () => {
  const elsewhere = join(modules, 'elsewhere');
  mkdirSync(elsewhere, { mode: 0o700 });
  symlinkSync(elsewhere, own);
  assert.equal(start().folder, 'undefined');
  rmSync(own);
  writeFileSync(own, '');
  assert.equal(start().folder, 'undefined');
});

test('where the code or the folder is of another user there is none', {
  skip: !isRoot && 'only root gives files away',
}, () => {
  mkdirSync(own, { mode: 0o700 });
  chownSync(own, other, other);
  assert.equal(start().folder, 'undefined');
  rmSync(own, { recursive: true });
  chownSync(modules, other, other);
  assert.equal(start().folder, 'undefined');
  assert.equal(existsSync(own), false);
});

test('where nothing can be written a program runs without', { skip: !isRoot && 'only root gives files away' }, () => {
  chownSync(modules, other, other);
  chmodSync(modules, 0o555);
  assert.equal(start({}, other).folder, 'undefined');
  rmSync(modules, { recursive: true });
  assert.equal(start().folder, 'undefined');
});

test("Node's own variables win", () => {
  const named = join(modules, 'named');
  const { folder } = start({ NODE_COMPILE_CACHE: named });
  assert.ok(folder.startsWith(`${named}/`), folder);
  assert.equal(existsSync(own), false);
  assert.equal(start({ NODE_DISABLE_COMPILE_CACHE: '1' }).folder, 'undefined');
});

test('each program keeps what it compiled', (t) => {
  if (statSync(join(root, 'node_modules')).uid !== process.geteuid?.())
    return t.skip('node_modules is of another user');
  for (const program of ['ingest', 'compactor']) {
    const told = () =>
      spawnSync(process.execPath, [join(root, program, 'main.ts'), '--version'], {
        env: { PATH: process.env.PATH, NODE_DEBUG_NATIVE: 'COMPILE_CACHE' },
        encoding: 'utf8',
      }).stderr;
    told();
    assert.match(told(), new RegExp(`${program}/command-line\\.ts was accepted`));
  }
});
