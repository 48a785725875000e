import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { dayMs } from '../../../../shared/clock.ts';
import { proveDirectory } from '../../../../shared/store/directory/probe.ts';
import { openDirectoryStore, storeErrorOf } from '../../../../shared/store/directory/store.ts';
import { checkStore, openRemover, openStore } from '../../../../shared/store/open.ts';
import { bodyOf, readWhole } from '../../../../shared/store/store.ts';
import { objectRemoverContract } from '../../../contract/object-remover.ts';
import { keysOf, objectStoreContract } from '../../../contract/object-store.ts';

const newFolder = () => fs.mkdtemp(join(tmpdir(), 'daybook-store-'));

objectStoreContract('directory store', async () => {
  const directory = await newFolder();
  return {
    open: async () =>
      (await openStore({ type: 'directory', params: { path: join(directory, 'archive') } }, directory)).store,
    remove: () => fs.rm(directory, { recursive: true }),
  };
});

objectRemoverContract('directory store', async () => {
  const directory = await newFolder();
  return {
    store: (await openStore({ type: 'directory' }, directory)).store,
    remover: await openRemover({ type: 'directory' }, directory),
    close: () => fs.rm(directory, { recursive: true }),
  };
});

test('directory store: a file system without hard links is told as such, by a create and by doctor', async (t) => {
  const root = await rootOf(t);
  await openDirectoryStore(root).create('first', small);
  assert.deepEqual(
    (await checkStore({ type: 'directory', params: { path: root } }, '')).map(({ status }) => status),
    ['ok', 'ok', 'ok'],
  );
  for (const code of ['EPERM', 'EOPNOTSUPP', 'ENOSYS', 'EIO']) {
    const link = t.mock.method(fs, 'link', async () => {
      throw Object.assign(new Error(code), { code });
    });
    const said = { code: 'store_unavailable', message: `${root} makes no hard link: ${code}` };
    await assert.rejects(openDirectoryStore(root).create('second', small), said);
    const found = await checkStore({ type: 'directory', params: { path: root } }, '');
    assert.ok(found.some(({ status, message }) => status === 'problem' && message === said.message));
    link.mock.restore();
  }
  // One that links over what is there.
  const link = t.mock.method(fs, 'link', async (from: string, to: string) => fs.copyFile(from, to));
  await assert.rejects(proveDirectory(root), { code: 'store_not_create_only', hint: /file system/ });
  link.mock.restore();
  assert.deepEqual((await fs.readdir(root)).sort(), ['.creating', 'first'], 'nothing is left');
});

test('directory store: a file of another user is named, and what that is due to', () => {
  const path = '/srv/archive/manifests/00000002.jsonl';
  const { message, hint, retry } = storeErrorOf(
    Object.assign(new Error('no'), { code: 'EACCES', path }),
    '/srv/archive',
  );
  assert.deepEqual([message, retry], [`${path}: EACCES`, false]);
  assert.match(hint, /ls -l.*chown/);
});

test('directory store: a folder is not removed, nor what a store has not finished', async (t) => {
  const root = await rootOf(t);
  const remover = await openRemover({ type: 'directory', params: { path: root } }, '');
  await openDirectoryStore(root).create('a/b/object', small);
  await fs.writeFile(join(root, '.creating', 'unfinished'), '');
  await assert.rejects(remover.remove('a/b'), { code: 'removal_refused' });
  await assert.rejects(remover.remove('a/b/object/more'), { code: 'removal_refused' });
  await assert.rejects(remover.remove('.creating/unfinished'), { code: 'object_key_invalid' });
  assert.ok((await fs.readdir(join(root, '.creating'))).includes('unfinished'));
  assert.deepEqual(await keysOf(openDirectoryStore(root), ''), ['a/b/object']);
});

async function rootOf(t: TestContext): Promise<string> {
  const directory = await newFolder();
  t.after(() => fs.rm(directory, { recursive: true }));
  return join(directory, 'archive');
}

const small = bodyOf(Buffer.from('bytes'));

test('directory store: only the owner can read or write what it makes', async (t) => {
  const root = await rootOf(t);
  await openDirectoryStore(root).create('a/b/object', small);
  assert.equal((await fs.stat(join(root, 'a/b/object'))).mode & 0o777, 0o600);
  for (const folder of ['', 'a', 'a/b']) assert.equal((await fs.stat(join(root, folder))).mode & 0o777, 0o700);
});

test('directory store: looking alone makes no folder', async (t) => {
  const root = await rootOf(t);
  const store = openDirectoryStore(root);
  assert.deepEqual(await keysOf(store, ''), []);
  assert.equal(await store.head('a/b'), undefined);
  await assert.rejects(readWhole(store, 'a/b'), { code: 'object_missing' });
  await assert.rejects(fs.stat(root), { code: 'ENOENT' });
});

test('directory store: leftovers of dead runs are never listed, and go when they are a day old', async (t) => {
  const root = await rootOf(t);
  const folder = join(root, '.creating');
  await fs.mkdir(folder, { recursive: true });
  const old = new Date(Date.now() - dayMs - 60_000);
  const young = new Date(Date.now() - dayMs + 60_000);
  for (const [name, time] of [
    ['old', old],
    ['young', young],
  ] as const) {
    await fs.writeFile(join(folder, name), 'torn');
    await fs.utimes(join(folder, name), time, time);
  }
  const store = openDirectoryStore(root);
  assert.deepEqual(await keysOf(store, ''), []);
  assert.deepEqual(await keysOf(store, '.c'), []);
  assert.equal((await fs.readdir(folder)).length, 2, 'looking alone removes nothing');

  await store.create('object', small);
  assert.deepEqual(await fs.readdir(folder), ['young']);
  assert.deepEqual(await keysOf(store, ''), ['object']);
});

test('directory store: what is being created cannot be reached by a key', async (t) => {
  const store = openDirectoryStore(await rootOf(t));
  for (const key of ['.creating', '.creating/x']) {
    await assert.rejects(store.create(key, small), { code: 'object_key_invalid' });
    await assert.rejects(store.head(key), { code: 'object_key_invalid' });
  }
  await assert.rejects(keysOf(store, '.creating/'), { code: 'object_key_invalid' });
  assert.equal(await store.create('a/.creating', small), 'created');
  assert.deepEqual(await keysOf(store, ''), ['a/.creating']);
});

test('directory store: an object is not seen before it is whole', async (t) => {
  const root = await rootOf(t);
  const store = openDirectoryStore(root);
  const seen: unknown[] = [];
  await store.create('a/object', {
    bytes: 6,
    async *open() {
      yield Buffer.from('abc');
      seen.push(await store.head('a/object'), await keysOf(store, ''));
      yield Buffer.from('def');
    },
  });
  assert.deepEqual(seen, [undefined, []]);
  assert.deepEqual(await fs.readdir(join(root, '.creating')), []);
});

test('directory store: a name cannot be an object and a folder', async (t) => {
  const store = openDirectoryStore(await rootOf(t));
  await store.create('a/b', small);
  for (const key of ['a', 'a/b/c', 'a/b/c/d']) {
    await assert.rejects(store.create(key, small), { code: 'store_unavailable', retry: false }, key);
  }
  assert.deepEqual(await keysOf(store, ''), ['a/b']);
});

test('directory store: a part of a key that is too long for the disk is refused for good', async (t) => {
  const store = openDirectoryStore(await rootOf(t));
  await assert.rejects(store.create('a'.repeat(300), small), { code: 'store_unavailable', retry: false });
});

test('directory store: folders that are symbolic links are listed as they are read', async (t) => {
  const root = await rootOf(t);
  const store = openDirectoryStore(root);
  await store.create('2026/object', small);
  await fs.rename(join(root, '2026'), `${root}-elsewhere`);
  await fs.symlink(`${root}-elsewhere`, join(root, '2026'));
  await fs.symlink('nowhere', join(root, 'dangling'));
  assert.deepEqual(await keysOf(store, ''), ['2026/object']);
});

test('the archive is a folder of the data directory unless a path is given, and a prefix ends with a slash', async () => {
  const bare = await openStore({ type: 'directory' }, '/data');
  assert.deepEqual([bare.store.location, bare.prefix], ['/data/archive', '']);
  const given = await openStore({ type: 'directory', params: { path: '/elsewhere', prefix: 'a/b' } }, '/data');
  assert.deepEqual([given.store.location, given.prefix], ['/elsewhere', 'a/b/']);
});
