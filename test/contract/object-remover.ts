/** What every remover of objects keeps. A store's test joins with a factory; each test gets a new, empty store. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bodyOf, type ObjectRemover, type ObjectStore } from '../../shared/store/store.ts';
import { keysOf } from './object-store.ts';

export interface RemoverUnderTest {
  readonly store: ObjectStore;
  readonly remover: ObjectRemover;
  close(): Promise<void>;
}

export function objectRemoverContract(name: string, factory: () => Promise<RemoverUnderTest>): void {
  const promise = (sentence: string, check: (under: RemoverUnderTest) => Promise<void>) =>
    test(`${name}: ${sentence}`, async () => {
      const under = await factory();
      try {
        await check(under);
      } finally {
        await under.remover.close();
        await under.store.close();
        await under.close();
      }
    });
  const small = bodyOf(Buffer.from('bytes'));

  promise('a removed object has no head, cannot be read and is not listed; its neighbours stay', async (under) => {
    const { store, remover } = under;
    const keys = ['a/b', 'a/b.c', 'a/b0', 'a/d/e'];
    for (const key of keys) await store.create(key, small);
    await remover.remove('a/b');
    assert.equal(await store.head('a/b'), undefined);
    await assert.rejects(Array.fromAsync(store.read('a/b')), { code: 'object_missing' });
    assert.deepEqual(await keysOf(store, ''), keys.slice(1));
  });

  promise('to remove what is not there is done already, also twice, also in folders that are not', async (under) => {
    const { store, remover } = under;
    await store.create('a/b', small);
    for (const key of ['a/b', 'a/b', 'a/none', 'no/folder/object']) await remover.remove(key);
    assert.deepEqual(await keysOf(store, ''), []);
  });

  promise('the key of a removed object is free', async ({ store, remover }) => {
    await store.create('a/b', small);
    await remover.remove('a/b');
    assert.equal(await store.create('a/b', bodyOf(Buffer.from('other'))), 'created');
    assert.equal(Buffer.concat(await Array.fromAsync(store.read('a/b'))).toString(), 'other');
  });

  promise('keys that are none are refused, and nothing is removed', async ({ store, remover }) => {
    await store.create('a/b', small);
    for (const key of ['', '/a', 'a/', 'a//b', '.', '..', 'a/../a/b', './a/b', '../a', 'nul\0', 'half\ud800']) {
      await assert.rejects(remover.remove(key), { code: 'object_key_invalid' }, JSON.stringify(key));
    }
    assert.deepEqual(await keysOf(store, ''), ['a/b']);
  });
}
