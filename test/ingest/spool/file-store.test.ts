import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { openSpool } from '../../../ingest/spool/open-spool.ts';
import { systemClock } from '../../../shared/clock.ts';
import { DaybookError } from '../../../shared/errors.ts';
import { backingStoreContract, numbered, rejectsWith, textsOf } from '../../contract/backing-store.ts';
import { killAfter } from '../../contract/kill-after.ts';

const log = pino({ level: 'silent' });

backingStoreContract('file spool', async () => {
  const dataDirectory = await fs.mkdtemp(join(tmpdir(), 'daybook-spool-'));
  return {
    open: ({ maxBytes, clock }) =>
      openSpool({ type: 'file', params: { maxBytes } }, { dataDirectory, clock, log, use: 'drain' }),
    inspect: () =>
      openSpool(
        { type: 'file' },
        { dataDirectory, clock: { now: () => new Date('2026-11-21T12:00:00.000Z') }, log, use: 'inspect' },
      ),
    isDurable: true,
    async breakDown(t) {
      const real = DatabaseSync.prototype.exec;
      const failing = t.mock.method(DatabaseSync.prototype, 'exec', function (this: DatabaseSync, sql: string) {
        if (sql === 'COMMIT') throw Object.assign(new Error('disk I/O error'), { errcode: 10 });
        real.call(this, sql);
      });
      return async () => failing.mock.restore();
    },
    startAppender: () =>
      spawn(process.execPath, [join(import.meta.dirname, 'appender.ts'), dataDirectory, 'append'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      }),
    remove: () => fs.rm(dataDirectory, { recursive: true }),
  };
});

const plenty = { maxRecords: 1_000, maxBytes: 64 * 1024 * 1024 };

/** A data directory that goes with the test, its spool's folder, and how to open it. */
async function fileSpool(t: TestContext) {
  const dataDirectory = await fs.mkdtemp(join(tmpdir(), 'daybook-spool-'));
  const opened: { close(): Promise<void> }[] = [];
  t.after(async () => {
    for (const store of opened) await store.close();
    await fs.rm(dataDirectory, { recursive: true });
  });
  return {
    dataDirectory,
    folder: join(dataDirectory, 'spool'),
    async open(use: 'drain' | 'inspect' = 'drain') {
      const store = await openSpool({ type: 'file' }, { dataDirectory, clock: systemClock, log, use });
      opened.push(store);
      return store;
    },
  };
}

/** The reserve left out. */
async function sizeOfFiles(folder: string): Promise<number> {
  const names = (await fs.readdir(folder)).filter((name) => name !== 'reserve');
  const sizes = await Promise.all(names.map(async (name) => (await fs.stat(join(folder, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

test('file spool: the folder is 0700 and every file in it 0600', async (t) => {
  const { folder, open } = await fileSpool(t);
  const store = await open();
  await store.append(numbered(0, 3));
  assert.equal((await fs.stat(folder)).mode & 0o777, 0o700);
  const names = await fs.readdir(folder);
  assert.deepEqual(names.map((name) => name.replace(/[0-9a-f]{16}/, '…')).sort(), [
    'drain.lock',
    'reserve',
    'spool-1-….sqlite',
    'spool-1-….sqlite-next',
    'spool-1-….sqlite-shm',
    'spool-1-….sqlite-wal',
  ]);
  for (const name of names) assert.equal((await fs.stat(join(folder, name))).mode & 0o777, 0o600, name);
});

test('file spool: WAL and synchronous=FULL hold for the connection that appends', async (t) => {
  const { folder, open } = await fileSpool(t);
  const statements: string[] = [];
  const real = DatabaseSync.prototype.exec;
  t.mock.method(DatabaseSync.prototype, 'exec', function (this: DatabaseSync, sql: string) {
    statements.push(sql);
    real.call(this, sql);
  });
  const store = await open();
  await store.close();
  // Of the file in the making, and of the one in use.
  assert.ok(statements.filter((sql) => sql.includes('PRAGMA synchronous = FULL')).length >= 2);
  const name = (await fs.readdir(folder)).find((one) => one.endsWith('.sqlite'))!;
  const database = new DatabaseSync(join(folder, name), { readOnly: true });
  assert.equal(database.prepare('PRAGMA journal_mode').get()?.journal_mode, 'wal');
  database.close();
});

test('file spool: a second ingest on one spool is refused, also by another process, until the first is gone', async (t) => {
  const { dataDirectory, open } = await fileSpool(t);
  const first = await open();
  const isInUse = (error: unknown) => error instanceof DaybookError && error.code === 'spool_in_use';
  await assert.rejects(open(), isInUse);
  await first.append(numbered(0, 1));
  await first.close();
  const child = spawn(process.execPath, [join(import.meta.dirname, 'appender.ts'), dataDirectory, 'append'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let refused = false;
  child.stdout.once('data', async () => {
    refused = await open().then(
      () => false,
      (error) => isInUse(error),
    );
    child.kill('SIGKILL');
  });
  await new Promise((resolve) => child.once('exit', resolve));
  assert.ok(refused);
  await open();
});

test('file spool: a folder that cannot be made is an error that says so', async (t) => {
  const { dataDirectory, folder, open } = await fileSpool(t);
  await fs.writeFile(folder, 'in the way');
  await rejectsWith(open(), 'spool_unavailable');
  await fs.rm(folder);
  await open();
  assert.ok((await fs.readdir(dataDirectory)).includes('spool'));
});

test('file spool: room of delivered records is used again, and given back when the spool has run empty', async (t) => {
  const { folder, open } = await fileSpool(t);
  const store = await open();
  const records = Array.from({ length: 100 }, (_, n) => ({ key: `k${n}`, value: Buffer.alloc(30_000, n) }));
  let largest = 0;
  for (let round = 0; round < 12; round++) {
    await store.append(records);
    if (round < 5) continue;
    await (await store.peek({ maxRecords: 100, maxBytes: 100_000_000 })).commit();
    if (round === 5) largest = await sizeOfFiles(folder);
    assert.ok((await sizeOfFiles(folder)) <= largest * 1.6, 'five hundred records wait at most');
  }
  assert.ok(largest > 15_000_000);
  for (;;) {
    const batch = await store.peek(plenty);
    if (batch.records.length === 0) break;
    await batch.commit();
  }
  assert.ok((await sizeOfFiles(folder)) < 1_000_000, `${await sizeOfFiles(folder)} bytes are left`);
  await store.append(numbered(0, 3));
  assert.deepEqual(textsOf((await store.peek(plenty)).records), ['0', '1', '2']);
});

test('file spool: a command beside a spool that was never used finds nothing and makes nothing', async (t) => {
  const { dataDirectory, open } = await fileSpool(t);
  const beside = await open('inspect');
  assert.deepEqual(await beside.size(), { records: 0, bytes: 0, oldestSeconds: 0, dead: 0 });
  assert.equal(await beside.requeue(), 0);
  for await (const letter of beside.deadLetters()) assert.fail(`${letter.sequence}`);
  assert.deepEqual(await fs.readdir(dataDirectory), []);
});

test('file spool: after a kill a command looks and requeues, and what waits is still there for ingest', async (t) => {
  const { dataDirectory, open } = await fileSpool(t);
  const child = spawn(process.execPath, [join(import.meta.dirname, 'appender.ts'), dataDirectory, 'append'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const told = Number((await killAfter(child, 20)).at(-1)) + 1;
  const beside = await open('inspect');
  const { records } = await beside.size();
  assert.ok(records >= told);
  assert.equal(await beside.requeue(), 0);
  const store = await open();
  assert.ok((await store.size()).records >= records);
});

test('file spool: one that was removed while it is in use takes nothing more, and gives what it has', async (t) => {
  const { folder, open } = await fileSpool(t);
  const store = await open();
  await store.append(numbered(0, 2));
  const name = (await fs.readdir(folder)).find((one) => one.endsWith('.sqlite'))!;
  await fs.rm(join(folder, name));
  await rejectsWith(store.append(numbered(2, 2)), 'spool_unavailable');
  const batch = await store.peek(plenty);
  assert.deepEqual(textsOf(batch.records), ['0', '1']);
  await batch.commit();
});
