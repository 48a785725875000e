/** A file that is replaced whole or not at all: each step failing, before and after its effect, and others at work beside it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, type TestContext, test } from 'node:test';
import { replaceFile } from '../../../shared/files/replace-file.ts';

let folder: string;
let path: string;
const old = Buffer.from('old\n');

beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'daybook-replace-'));
  path = join(folder, 'sources.json');
  fs.writeFileSync(path, old);
});
afterEach(() => fs.rmSync(folder, { recursive: true }));

const names = () => fs.readdirSync(folder);
const content = () => fs.readFileSync(path, 'utf8');

test('it has its new content, its mode and its owner, and nothing is left beside it', async () => {
  for (const mode of [0o640, 0o600, 0o444]) {
    fs.chmodSync(path, mode);
    const { uid, gid, ino } = fs.statSync(path);
    await replaceFile(path, fs.readFileSync(path), `new ${mode}\n`);
    const after = fs.statSync(path);
    assert.deepEqual([after.mode & 0o7777, after.uid, after.gid], [mode, uid, gid]);
    assert.notEqual(after.ino, ino);
    assert.equal(content(), `new ${mode}\n`);
    assert.deepEqual(names(), ['sources.json']);
  }
});

test('the owner stays, where this user can give files away', { skip: process.getuid?.() !== 0 }, async () => {
  fs.chownSync(path, 1234, 2345);
  await replaceFile(path, old, 'new\n');
  const { uid, gid } = fs.statSync(path);
  assert.deepEqual([uid, gid, content()], [1234, 2345, 'new\n']);
});

test('of a link what it leads to is replaced', async () => {
  const link = join(folder, 'link.json');
  fs.symlinkSync('sources.json', link);
  await replaceFile(link, old, 'new\n');
  assert.equal(fs.readlinkSync(link), 'sources.json');
  assert.equal(content(), 'new\n');
});

test('what somebody else wrote meanwhile stays, be it in place or by a rename, and also as the last step begins', async (t) => {
  fs.writeFileSync(path, 'theirs');
  await assert.rejects(replaceFile(path, old, 'new\n'), { code: 'file_changed', retry: true });
  assert.equal(content(), 'theirs');
  fs.writeFileSync(path, old);
  const prototype = await handlePrototype();
  const sync = prototype.sync;
  t.mock.method(prototype, 'sync', async function (this: fs.promises.FileHandle) {
    fs.writeFileSync(`${path}~`, 'theirs too');
    fs.renameSync(`${path}~`, path);
    return sync.call(this);
  });
  await assert.rejects(replaceFile(path, old, 'new\n'), { code: 'file_changed' });
  assert.equal(content(), 'theirs too');
  assert.deepEqual(names(), ['sources.json']);
});

test('a file that is gone, or a folder that takes none, is said, and nothing is left', async () => {
  await assert.rejects(replaceFile(join(folder, 'none'), old, 'new'), {
    code: 'output_failed',
    message: /as it was: ENOENT/,
  });
  assert.deepEqual(names(), ['sources.json']);
});

test('a mount that cannot be written is named as such', async (t) => {
  t.mock.method(fs.promises, 'open', async () => {
    throw Object.assign(new Error('read-only'), { code: 'EROFS' });
  });
  await assert.rejects(replaceFile(path, old, 'new'), { code: 'output_failed', hint: /Secret of Kubernetes/ });
  assert.equal(content(), 'old\n');
});

async function handlePrototype(): Promise<fs.promises.FileHandle> {
  const file = await fs.promises.open(tmpdir());
  await file.close();
  return Object.getPrototypeOf(file);
}

type Fail = (work: () => unknown) => never | Promise<never>;
type Break = (t: TestContext, fail: Fail) => Promise<void>;

/** Of a method of a file's handle; `nth`: which call of it. */
const ofHandle =
  (name: 'writeFile' | 'chmod' | 'sync', nth = 1): Break =>
  async (t, fail) => {
    const prototype = await handlePrototype();
    const original = prototype[name] as (...parameters: unknown[]) => Promise<unknown>;
    let calls = 0;
    t.mock.method(prototype, name, function (this: fs.promises.FileHandle, ...parameters: never[]) {
      calls++;
      const work = () => original.apply(this, parameters);
      return calls === nth ? fail(work) : work();
    });
  };

const rename: Break = async (t, fail) => {
  const original = fs.renameSync;
  t.mock.method(fs, 'renameSync', (...parameters: Parameters<typeof original>) => fail(() => original(...parameters)));
};

/** Each with what the file has where the step took effect. */
const steps: [string, Break, string][] = [
  ['the write', ofHandle('writeFile'), 'old\n'],
  ['the mode', ofHandle('chmod'), 'old\n'],
  ['the fsync', ofHandle('sync'), 'old\n'],
  ['the rename', rename, 'new\n'],
];

for (const [step, prepare, persisted] of steps) {
  for (const when of ['before', 'after'] as const) {
    test(`${step} fails ${when} its effect: it is said, the file is whole, and a repeat goes through`, async (t) => {
      await prepare(t, (work) => {
        const thrown = () => {
          throw Object.assign(new Error('injected'), { code: 'EIO' });
        };
        if (when === 'before') return thrown();
        const done = work();
        return (done instanceof Promise ? done.then(thrown) : thrown()) as Promise<never>;
      });
      await assert.rejects(replaceFile(path, old, 'new\n'), { code: 'output_failed', message: /EIO/ });
      t.mock.restoreAll();
      assert.equal(content(), when === 'after' ? persisted : 'old\n');
      assert.deepEqual(names(), ['sources.json']);
      await replaceFile(path, fs.readFileSync(path), 'newer\n');
      assert.equal(content(), 'newer\n');
    });
  }
}

for (const when of ['before', 'after'] as const) {
  test(`the fsync of the folder fails ${when} its effect: the new content is there, and that is said`, async (t) => {
    await ofHandle('sync', 2)(t, async (work) => {
      if (when === 'after') await work();
      throw Object.assign(new Error('injected'), { code: 'EIO' });
    });
    await assert.rejects(replaceFile(path, old, 'new\n'), {
      code: 'output_failed',
      message: /has its new content.*EIO/,
    });
    assert.equal(content(), 'new\n');
    assert.deepEqual(names(), ['sources.json']);
  });
}
