/** What every object store keeps. A store's test joins with a factory; each test gets a new, empty store. */
import assert from 'node:assert/strict';
import { createHash, hash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { bodyOf, type ObjectBody, type ObjectStore, readWhole } from '../../shared/store/store.ts';

export interface StoreUnderTest {
  /** The store; each call opens it again. */
  open(): Promise<ObjectStore>;
  remove(): Promise<void>;
}

export function objectStoreContract(name: string, factory: () => Promise<StoreUnderTest>): void {
  const promise = (sentence: string, check: (store: ObjectStore, under: StoreUnderTest) => Promise<void>) =>
    test(`${name}: ${sentence}`, async () => {
      const under = await factory();
      const store = await under.open();
      try {
        await check(store, under);
      } finally {
        await store.close();
        await under.remove();
      }
    });

  promise('a created object is there with its bytes, also when opened again', async (store, under) => {
    const bytes = randomBytes(10_000);
    assert.equal(await store.create('a/b/object.age', bodyOf(bytes)), 'created');
    assert.deepEqual(await store.head('a/b/object.age'), { bytes: 10_000 });
    const again = await under.open();
    assert.deepEqual(await readWhole(again, 'a/b/object.age'), bytes);
    assert.deepEqual(await keysOf(again, ''), ['a/b/object.age']);
    await again.close();
  });

  promise('an empty object is an object', async (store) => {
    assert.equal(await store.create('empty', bodyOf(Buffer.alloc(0))), 'created');
    assert.deepEqual(await store.head('empty'), { bytes: 0 });
    assert.equal((await readWhole(store, 'empty')).byteLength, 0);
    assert.equal(await store.create('empty', bodyOf(Buffer.from('x'))), 'exists');
  });

  promise('a second create answers `exists` and changes nothing, with the same bytes or others', async (store) => {
    assert.equal(await store.create('k', bodyOf(Buffer.from('first'))), 'created');
    assert.equal(await store.create('k', bodyOf(Buffer.from('first'))), 'exists');
    assert.equal(await store.create('k', bodyOf(Buffer.from('another'))), 'exists');
    assert.equal(String(await readWhole(store, 'k')), 'first');
  });

  promise('of 20 creates of one key at once exactly one wins, and its bytes are whole', async (store, under) => {
    const other = await under.open();
    const bodies = Array.from({ length: 20 }, () => randomBytes(300_000));
    const outcomes = await Promise.all(
      bodies.map((bytes, index) => (index % 2 === 0 ? store : other).create('race/key', inPieces(bytes, 10_000))),
    );
    assert.equal(outcomes.filter((outcome) => outcome === 'created').length, 1);
    assert.equal(outcomes.filter((outcome) => outcome === 'exists').length, 19);
    assert.deepEqual(await readWhole(store, 'race/key'), bodies[outcomes.indexOf('created')]);
    assert.deepEqual(await keysOf(store, ''), ['race/key']);
    await other.close();
  });

  promise('a missing object has no head and cannot be read', async (store) => {
    await store.create('there/object', bodyOf(Buffer.from('x')));
    for (const key of ['missing', 'there/missing', 'there', 'no/folder/object']) {
      assert.equal(await store.head(key), undefined, key);
      await assert.rejects(readWhole(store, key), { code: 'object_missing' }, key);
      await assert.rejects(drain(store.read(key, { from: 0, to: 1 })), { code: 'object_missing' }, key);
    }
  });

  promise('a range gives the bytes from `from` to before `to`', async (store) => {
    const bytes = randomBytes(700_000);
    await store.create('object', bodyOf(bytes));
    for (const [from, to] of [
      [0, 1],
      [0, 700_000],
      [5, 10],
      [262_143, 524_289],
      [699_999, 700_000],
      [699_990, 800_000],
    ] as const) {
      assert.deepEqual(await drain(store.read('object', { from, to })), bytes.subarray(from, to), `${from} to ${to}`);
    }
  });

  promise('keys are listed by prefix, in ascending order of their UTF-8 bytes', async (store) => {
    const keys = [
      'manifests/00000001.jsonl',
      'manifests/00000010.jsonl',
      'manifests/00000002.jsonl',
      'a/b-c/d',
      'a/b/c',
      'a/b/d/e',
      'a/b.d',
      'a/b0',
      'a/bc/d',
      'a-b',
      'Z',
      'uni/\uff5e',
      'uni/😀',
      'uni/é',
      'uni/z',
    ];
    for (const key of keys) await store.create(key, bodyOf(Buffer.from(key)));
    const expected = (prefix: string) =>
      keys.filter((key) => key.startsWith(prefix)).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    for (const prefix of [
      '',
      'a',
      'a/',
      'a/b',
      'a/b/',
      'a/b/c',
      'manifests/',
      'manifests/0000000',
      'uni/',
      'x',
      'x/y',
    ]) {
      assert.deepEqual(await keysOf(store, prefix), expected(prefix), `prefix ${prefix}`);
    }
  });

  promise('an empty store lists nothing', async (store) => {
    assert.deepEqual(await keysOf(store, ''), []);
    assert.deepEqual(await keysOf(store, 'manifests/'), []);
  });

  promise('keys may hold any characters', async (store) => {
    const keys = [
      'with space',
      'per%20cent',
      'plus+',
      'hash#?q=1&x',
      '"quotes\'',
      'back\\slash',
      'ünï/cödé',
      '.hidden',
      '...',
      'a:b*',
    ];
    for (const key of keys) assert.equal(await store.create(`odd/${key}`, bodyOf(Buffer.from(key))), 'created', key);
    for (const key of keys) assert.equal(String(await readWhole(store, `odd/${key}`)), key);
    assert.deepEqual(new Set(await keysOf(store, 'odd/')), new Set(keys.map((key) => `odd/${key}`)));
  });

  promise('keys with empty parts, dots alone, NUL or broken Unicode are refused, whatever is asked', async (store) => {
    for (const key of ['', '/a', 'a/', 'a//b', '.', '..', 'a/../b', './a', '../a', 'a/..', 'nul\0', 'half\ud800']) {
      const refused = { code: 'object_key_invalid' };
      await assert.rejects(store.create(key, bodyOf(Buffer.from('x'))), refused, JSON.stringify(key));
      await assert.rejects(store.head(key), refused, JSON.stringify(key));
      await assert.rejects(readWhole(store, key), refused, JSON.stringify(key));
    }
    await assert.rejects(keysOf(store, '../'), { code: 'object_key_invalid' });
    assert.deepEqual(await keysOf(store, ''), []);
  });

  promise('a body that fails half-way leaves nothing, and its error comes out', async (store) => {
    const broken = new Error('the body broke');
    const failing: ObjectBody = {
      bytes: 500_000,
      async *open() {
        yield randomBytes(250_000);
        throw broken;
      },
    };
    await assert.rejects(store.create('half/object', failing), (error) => error === broken);
    assert.equal(await store.head('half/object'), undefined);
    assert.deepEqual(await keysOf(store, ''), []);
    assert.equal(await store.create('half/object', bodyOf(Buffer.from('whole'))), 'created');
  });

  for (const [what, bytes] of [
    ['fewer', 1_001],
    ['more', 999],
  ] as const) {
    promise(`a body that gives ${what} bytes than it said leaves nothing`, async (store) => {
      await assert.rejects(store.create('object', { ...bodyOf(randomBytes(1_000)), bytes }));
      assert.equal(await store.head('object'), undefined);
    });
  }

  promise('a large object streams through', async (store) => {
    const piece = randomBytes(1024 * 1024);
    const pieces = 24;
    const large: ObjectBody = {
      bytes: pieces * piece.byteLength,
      async *open() {
        for (let n = 0; n < pieces; n++) yield piece;
      },
    };
    assert.equal(await store.create('large', large), 'created');
    const expected = createHash('sha256');
    for (let n = 0; n < pieces; n++) expected.update(piece);
    const read = createHash('sha256');
    for await (const chunk of store.read('large')) read.update(chunk);
    assert.equal(read.digest('hex'), expected.digest('hex'));
  });

  promise('a reader may stop half-way and keep what it has', async (store) => {
    const bytes = randomBytes(2_000_000);
    await store.create('object', bodyOf(bytes));
    const kept: Uint8Array[] = [];
    for await (const chunk of store.read('object')) {
      kept.push(chunk);
      if (kept.length === 2) break;
    }
    const start = Buffer.concat(kept);
    assert.equal(hash('sha256', start), hash('sha256', bytes.subarray(0, start.byteLength)));
  });
}

export async function keysOf(store: ObjectStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of store.list(prefix)) keys.push(key);
  return keys;
}

async function drain(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const read: Uint8Array[] = [];
  for await (const chunk of chunks) read.push(chunk);
  return Buffer.concat(read);
}

function inPieces(bytes: Uint8Array, pieceBytes: number): ObjectBody {
  return {
    bytes: bytes.byteLength,
    async *open() {
      for (let from = 0; from < bytes.byteLength; from += pieceBytes) {
        await new Promise(setImmediate);
        yield bytes.subarray(from, from + pieceBytes);
      }
    },
  };
}
