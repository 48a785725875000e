/** Every call of the file system that a create makes fails once before its effect, and once after it. */
import assert from 'node:assert/strict';
import files from 'node:fs';
import fs, { type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mock, test } from 'node:test';
import { DaybookError } from '../../shared/errors.ts';
import { openDirectoryStore } from '../../shared/store/directory/store.ts';
import { bodyOf, readWhole } from '../../shared/store/store.ts';
import { keysOf } from '../contract/object-store.ts';
import { type Fault, faultyStore } from './faulty.ts';

const bytes = Buffer.from('the whole object');
const key = 'platform/2026/11/20/part.age';

interface DiskFault {
  readonly at: number;
  readonly way: Fault;
  readonly code: string;
}

/** Runs `work` with a disk whose call number `at` fails; gives the names of the calls made. */
async function onFaultyDisk(fault: DiskFault | undefined, work: () => Promise<void>): Promise<string[]> {
  const calls: string[] = [];
  const mocks: { mock: { restore(): void } }[] = [];
  const replace = <T extends object>(target: T, name: keyof T & string, label: string) => {
    const real = target[name] as (...parameters: unknown[]) => Promise<unknown>;
    const faulty = async (...parameters: unknown[]) => {
      const fails = calls.push(label) - 1 === fault?.at;
      const error = Object.assign(new Error(`injected ${fault?.code}`), { code: fault?.code });
      // A file that is not closed would be closed by the garbage collector, with a warning.
      if (fails && fault?.way === 'before' && name !== 'close') throw error;
      const result = await real.apply(target, parameters);
      if (fails && name === 'open') await (result as FileHandle).close();
      if (fails) throw error;
      if (name === 'open') {
        const what = parameters[1] === 'wx' ? 'file' : 'folder';
        for (const step of ['writeFile', 'sync', 'close'] as const) {
          replace(result as FileHandle, step, `${step} of ${what}`);
        }
      }
      return result;
    };
    mocks.push(mock.method(target, name as never, faulty as never));
  };
  for (const name of ['mkdir', 'open', 'link', 'rm', 'readdir'] as const) replace(fs, name, name);
  try {
    await work();
  } finally {
    for (const one of mocks) one.mock.restore();
  }
  return calls;
}

const isFolderSync = (name: string) => name === 'sync of folder';

async function inNewFolder(work: (root: string) => Promise<void>): Promise<void> {
  const folder = await fs.mkdtemp(join(tmpdir(), 'daybook-store-faults-'));
  try {
    await work(join(folder, 'archive'));
  } finally {
    await fs.rm(folder, { recursive: true });
  }
}

test('wherever the disk fails a create, nothing torn is seen and a repeat ends with the whole object', async () => {
  let calls: string[] = [];
  await inNewFolder(async (root) => {
    calls = await onFaultyDisk(undefined, async () => {
      await openDirectoryStore(root).create(key, bodyOf(bytes));
    });
  });
  const link = calls.indexOf('link');
  const steps = calls.filter((name) => name === 'link' || name.endsWith('of file'));
  assert.deepEqual(
    steps,
    ['writeFile of file', 'sync of file', 'close of file', 'link'],
    'durable before it has a name',
  );
  assert.equal(calls.slice(link).filter(isFolderSync).length, 5, 'each folder up to the root');

  for (const [at, name] of calls.entries()) {
    for (const way of ['before', 'after'] as const) {
      for (const code of ['ENOSPC', 'EIO']) {
        await inNewFolder(async (root) => {
          const where = `call ${at} ${name} ${way} ${code}`;
          const store = openDirectoryStore(root);
          let outcome: unknown;
          await onFaultyDisk({ at, way, code }, async () => {
            outcome = await store.create(key, bodyOf(bytes)).catch((error: unknown) => error);
          });
          if (name === 'rm') assert.equal(outcome, 'created', where);
          else {
            assert.ok(outcome instanceof DaybookError, where);
            assert.deepEqual([outcome.code, outcome.retry], ['store_unavailable', true], where);
            assert.equal(outcome.hint.startsWith('Make room on the disk'), code === 'ENOSPC', where);
          }
          const isSeen = at > link || (at === link && way === 'after');
          assert.deepEqual(await keysOf(store, ''), isSeen ? [key] : [], where);
          if (isSeen) assert.deepEqual(await readWhole(store, key), bytes, where);
          assert.equal(await store.create(key, bodyOf(bytes)), isSeen ? 'exists' : 'created', where);
          assert.deepEqual(await readWhole(openDirectoryStore(root), key), bytes, where);
        });
      }
    }
  }
});

test('an `exists` is answered only when the name of what exists is durable', async () => {
  await inNewFolder(async (root) => {
    await openDirectoryStore(root).create(key, bodyOf(bytes));
    const calls = await onFaultyDisk(undefined, async () => {
      assert.equal(await openDirectoryStore(root).create(key, bodyOf(bytes)), 'exists');
    });
    assert.equal(calls.slice(calls.indexOf('link')).filter(isFolderSync).length, 5);
  });
});

test('a disk that fails while reading or listing says so', async () => {
  await inNewFolder(async (root) => {
    const store = openDirectoryStore(root);
    await store.create(key, bodyOf(bytes));
    for (const step of ['open', 'read'] as const) {
      const failing = mock.method(files, step, (...parameters: unknown[]) => {
        const done = parameters.at(-1) as (error: Error) => void;
        done(Object.assign(new Error('injected EIO'), { code: 'EIO' }));
      });
      await assert.rejects(readWhole(store, key), { code: 'store_unavailable', retry: true }, step);
      failing.mock.restore();
    }
    assert.deepEqual(await readWhole(store, key), bytes);
    await onFaultyDisk({ at: 0, way: 'before', code: 'EIO' }, async () => {
      await assert.rejects(keysOf(store, ''), { code: 'store_unavailable', retry: true });
    });
  });
});

test('a store whose create failed after its effect answers `exists` to the repeat', async () => {
  for (const way of ['before', 'after'] as const) {
    await inNewFolder(async (root) => {
      const store = faultyStore(openDirectoryStore(root), (operation, _key, call) =>
        operation === 'create' && call === 1 ? way : undefined,
      );
      await assert.rejects(store.create(key, bodyOf(bytes)), { code: 'store_unavailable', retry: true });
      assert.equal(await store.create(key, bodyOf(bytes)), way === 'before' ? 'created' : 'exists');
      assert.deepEqual(await readWhole(store, key), bytes);
    });
  }
});
