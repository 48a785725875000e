/** Files that are whole or not there, and never over another: each step failing, and others at work beside it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import fsPromises from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { createNewFile } from '../../../shared/files/new-file.ts';

let folder: string;
let path: string;

beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'daybook-new-file-'));
  path = join(folder, 'plain.jsonl');
});
afterEach(() => fs.rmSync(folder, { recursive: true }));

const names = () => fs.readdirSync(folder);
const bytes = Buffer.from('line\n');

test('it is under its name when it is finished, and not before; nothing else is left', async () => {
  const file = await createNewFile(path);
  await file.write(bytes);
  await file.write(bytes);
  assert.equal(names().length, 1);
  assert.equal(fs.existsSync(path), false);
  await file.finish();
  file.abandon();
  assert.equal(fs.readFileSync(path, 'utf8'), 'line\nline\n');
  assert.deepEqual(names(), ['plain.jsonl']);
});

test('of two that are written at once the first to finish has the name, and the other is told', async () => {
  const [first, second] = [await createNewFile(path), await createNewFile(path)];
  await first.write(Buffer.from('first'));
  await second.write(Buffer.from('second'));
  await second.finish();
  await assert.rejects(first.finish(), { code: 'output_exists' });
  first.abandon();
  assert.equal(fs.readFileSync(path, 'utf8'), 'second');
  assert.deepEqual(names(), ['plain.jsonl']);
});

test('a name that is there is told at once, be it a file, a folder or a link to nowhere', async () => {
  for (const make of [
    () => fs.writeFileSync(path, 'mine'),
    () => fs.mkdirSync(path),
    () => fs.symlinkSync(join(folder, 'nowhere'), path),
  ]) {
    make();
    await assert.rejects(createNewFile(path), { code: 'output_exists' });
    assert.deepEqual(names(), ['plain.jsonl']);
    fs.rmSync(path, { recursive: true });
  }
});

test('what is abandoned is gone at once', async () => {
  const file = await createNewFile(path);
  await file.write(bytes);
  file.abandon();
  assert.deepEqual(names(), []);
});

test('a folder that is not there, or takes no files, is said', async () => {
  await assert.rejects(createNewFile(join(folder, 'none', 'x')), { code: 'output_failed', message: /ENOENT/ });
  fs.writeFileSync(path, '');
  await assert.rejects(createNewFile(join(path, 'x')), { code: 'output_failed', message: /ENOTDIR/ });
});

/** Steps of `finish`, each failing before it takes effect, and after. */
const steps: [string, (fail: (work: () => Promise<unknown>) => Promise<never>) => Promise<() => void>][] = [
  ['fsync', replaceFsync],
  ['link', async (fail) => replace(fsPromises, 'link', fail)],
];

for (const [step, prepare] of steps) {
  for (const when of ['before', 'after'] as const) {
    test(`${step} that fails ${when} its effect: it is said, and the name has the whole file or none`, async () => {
      const file = await createNewFile(path);
      await file.write(bytes);
      const undo = await prepare(async (work) => {
        if (when === 'after') await work();
        throw Object.assign(new Error('injected'), { code: 'EIO' });
      });
      try {
        await assert.rejects(file.finish(), { code: 'output_failed', message: /EIO/ });
      } finally {
        undo();
      }
      file.abandon();
      const isLinked = step === 'link' && when === 'after';
      assert.deepEqual(names(), isLinked ? ['plain.jsonl'] : []);
      if (isLinked) assert.equal(fs.readFileSync(path, 'utf8'), 'line\n');
    });
  }
}

type Fail = (work: () => Promise<unknown>) => Promise<never>;

function replace<T extends object>(of: T, name: keyof T, fail: Fail): () => void {
  const original = of[name] as (...args: unknown[]) => Promise<unknown>;
  Object.assign(of, {
    [name]: function (this: unknown, ...args: unknown[]) {
      return fail(() => original.apply(this, args));
    },
  });
  return () => Object.assign(of, { [name]: original });
}

async function replaceFsync(fail: Fail): Promise<() => void> {
  const file = await fsPromises.open(tmpdir());
  await file.close();
  return replace(Object.getPrototypeOf(file) as fsPromises.FileHandle, 'sync', fail);
}
