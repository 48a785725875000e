import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { type Clock, dayMs } from '../../../../shared/clock.ts';
import { DaybookError } from '../../../../shared/errors.ts';
import { AppendError } from '../../../../shared/stream/append-error.ts';
import { openEmbeddedReader, openEmbeddedWriter } from '../../../../shared/stream/embedded/embedded.ts';
import { openReader, openWriter } from '../../../../shared/stream/open.ts';
import type { Cursor, EventStreamReader, StreamBatch } from '../../../../shared/stream/stream.ts';
import {
  entriesOf,
  eventStreamContract,
  numbered,
  readAll,
  record,
  textOf,
  valuesOf,
} from '../../../contract/event-stream.ts';

const newFolder = () => fs.mkdtemp(join(tmpdir(), 'daybook-stream-'));
const appender = join(import.meta.dirname, 'appender.ts');

eventStreamContract('embedded stream', async () => {
  const directory = await newFolder();
  const clock = { now: () => new Date() };
  const log = pino({ level: 'silent' });
  return {
    openWriter: () => openWriter({ type: 'embedded' }, directory, log),
    openReader: (consumer) => openReader({ type: 'embedded' }, directory, { consumer, clock, log }),
    keepsCommitted: true,
    startAppender: () => spawn(process.execPath, [appender, directory], { stdio: ['ignore', 'pipe', 'inherit'] }),
    remove: () => fs.rm(directory, { recursive: true }),
  };
});

/** A folder that goes with the test, and streams in it that are closed by then. */
async function embedded(t: TestContext) {
  const directory = await newFolder();
  const opened: { close(): Promise<void> }[] = [];
  t.after(async () => {
    for (const one of opened) await one.close();
    await fs.rm(directory, { recursive: true });
  });
  const keep = async <T extends { close(): Promise<void> }>(opening: Promise<T>): Promise<T> => {
    const one = await opening;
    opened.push(one);
    return one;
  };
  return {
    directory,
    path: join(directory, 'stream.sqlite'),
    writer: (partitions?: number) =>
      keep(openEmbeddedWriter({ directory, ...(partitions !== undefined && { partitions }) })),
    reader: (options: { consumer?: string; clock?: Clock; retainMs?: number } = {}) =>
      keep(openEmbeddedReader({ directory, consumer: 'compactor', clock: clockIn(0), ...options })),
  };
}

const clockIn = (laterMs: number): Clock => ({ now: () => new Date(Date.now() + laterMs) });

async function commitAll(reader: EventStreamReader): Promise<Map<string, Cursor>> {
  const { partitions } = await reader.snapshot();
  const ends = new Map([...partitions].map(([partition, { end }]) => [partition, end!]));
  await reader.commit(ends);
  return ends;
}

async function keptOf(reader: EventStreamReader): Promise<number> {
  return valuesOf(await readAll(reader)).length;
}

test('embedded stream: the folder is 0700 and the file 0600, its log too', async (t) => {
  const { directory } = await embedded(t);
  const data = join(directory, 'new', 'data');
  const writer = await openEmbeddedWriter({ directory: data });
  await writer.append(numbered('k', 0, 1));
  assert.equal((await fs.stat(data)).mode & 0o777, 0o700);
  for (const name of ['stream.sqlite', 'stream.sqlite-wal', 'stream.sqlite-shm']) {
    assert.equal((await fs.stat(join(data, name))).mode & 0o777, 0o600, name);
  }
  await writer.close();
  assert.deepEqual(await fs.readdir(data), ['stream.sqlite']);
});

test('embedded stream: WAL and synchronous=FULL hold for every connection', async (t) => {
  const { path, writer } = await embedded(t);
  await writer();
  const database = new DatabaseSync(path);
  assert.equal(database.prepare('PRAGMA journal_mode').get()?.journal_mode, 'wal');
  database.close();
  const statements: string[] = [];
  t.mock.method(DatabaseSync.prototype, 'exec', function (this: DatabaseSync, sql: string) {
    statements.push(sql);
    return this.prepare(sql).run();
  });
  await writer();
  assert.match(statements.join(), /PRAGMA synchronous = FULL/);
});

test('embedded stream: a reader that comes first makes the stream; any number at once make one', async (t) => {
  const { reader, writer } = await embedded(t);
  const all = await Promise.all(Array.from({ length: 8 }, (_, n) => (n % 2 === 0 ? reader() : writer())));
  const ids = new Set<string>();
  for (const one of all) if ('snapshot' in one) ids.add((await one.snapshot()).id);
  assert.equal(ids.size, 1);
});

test('embedded stream: the number of partitions is that of the file', async (t) => {
  const { writer, reader } = await embedded(t);
  await writer(3);
  await (await writer(7)).append(numbered('k', 0, 50));
  const partitions = await readAll(await reader());
  assert.deepEqual([...partitions.keys()], ['0', '1', '2']);
  assert.equal(valuesOf(partitions).length, 50);
});

test('embedded stream: positions count up from 0 without a gap', async (t) => {
  const { writer, reader } = await embedded(t);
  const one = await writer();
  for (let call = 0; call < 10; call++) await one.append(numbered('k', call * 10, 10));
  for (const entries of (await readAll(await reader())).values()) {
    assert.deepEqual(
      entries.map(({ position }) => position),
      entries.map((_, index) => BigInt(index)),
    );
  }
});

test('embedded stream: a batch ends at 512 KiB or 1,000 records', async (t) => {
  const { writer, reader } = await embedded(t);
  const one = await writer();
  await one.append(Array.from({ length: 2_500 }, (_, n) => record('small', `${n}`)));
  await one.append(Array.from({ length: 12 }, () => ({ key: 'small', value: Buffer.alloc(1024 * 1024) })));
  const eyes = await reader();
  const snapshot = await eyes.snapshot();
  const batches: StreamBatch[] = [];
  for (const partition of snapshot.partitions.keys()) {
    for await (const batch of eyes.read(partition, undefined, snapshot)) batches.push(batch);
  }
  assert.equal(batches.flatMap(({ entries }) => entries).length, 2_512);
  // 1,000, 1,000, 500 with the first large one, and eleven large ones.
  assert.equal(batches.length, 14);
  for (const { entries } of batches) {
    assert.ok(entries.length <= 1_000);
    assert.ok(entries.reduce((bytes, { value }) => bytes + value.byteLength, 0) <= 1.5 * 1024 * 1024);
  }
});

test('embedded stream: commit drops what is committed and old, and nothing else', async (t) => {
  const { writer, reader } = await embedded(t);
  const one = await writer();
  await one.append(numbered('k', 0, 100));
  const young = await reader();
  await commitAll(young);
  assert.equal(await keptOf(young), 100, 'committed, but young');

  await one.append(numbered('k', 100, 100));
  const later = await reader({ clock: clockIn(8 * dayMs + 60_000) });
  await later.commit(new Map());
  assert.equal(await keptOf(later), 100, 'the second hundred is old, but not committed');
  await commitAll(later);
  assert.equal(await keptOf(later), 0);
});

test('embedded stream: a record is kept for the whole of its age', async (t) => {
  const { writer, reader } = await embedded(t);
  await (await writer()).append(numbered('k', 0, 10));
  const almost = await reader({ clock: clockIn(8 * dayMs - 60_000) });
  await commitAll(almost);
  assert.equal(await keptOf(almost), 10);
  const shorter = await reader({ clock: clockIn(60_000), retainMs: 30_000 });
  await commitAll(shorter);
  assert.equal(await keptOf(shorter), 0);
});

test('embedded stream: what another consumer has not committed is kept, until it is silent for 30 days', async (t) => {
  const { writer, reader } = await embedded(t);
  await (await writer()).append(numbered('k', 0, 100));
  const slow = await reader({ consumer: 'slow' });
  const { partitions } = await slow.snapshot();
  const [named] = partitions.keys();
  await slow.commit(new Map([[named!, 1n]]));

  const fast = await reader({ consumer: 'fast', clock: clockIn(10 * dayMs) });
  await commitAll(fast);
  assert.equal(await keptOf(fast), 99, 'the one record that both are done with is gone');
  const alone = await reader({ consumer: 'fast', clock: clockIn(31 * dayMs) });
  await commitAll(alone);
  assert.equal(await keptOf(alone), 0);
});

test('embedded stream: positions are not given twice, though all records were dropped and the file reopened', async (t) => {
  const { writer, reader } = await embedded(t);
  const first = await writer();
  await first.append(numbered('k', 0, 3_000));
  const eyes = await reader({ clock: clockIn(9 * dayMs) });
  const ends = await commitAll(eyes);
  assert.equal(await keptOf(eyes), 0);
  await first.close();
  await eyes.close();

  await (await writer()).append(numbered('k', 0, 70));
  const again = await reader();
  const { partitions } = await again.snapshot();
  for (const [partition, { start }] of partitions) assert.equal(start, ends.get(partition));
  const positions = [...(await readAll(again))].map(([partition, entries]) => [partition, entries[0]?.position]);
  for (const [partition, position] of positions) {
    if (position !== undefined) assert.equal(position, ends.get(partition as string));
  }
});

test('embedded stream: a cursor below the oldest record gives a hole, then the records', async (t) => {
  const { writer, reader } = await embedded(t);
  const one = await writer(1);
  await one.append(numbered('k', 0, 30));
  const eyes = await reader({ clock: clockIn(9 * dayMs) });
  const snapshot = await eyes.snapshot();
  await eyes.commit(new Map([['0', 20n]]));

  const batches: StreamBatch[] = [];
  for await (const batch of eyes.read('0', 5n, snapshot)) batches.push(batch);
  assert.deepEqual(
    batches.map(({ hole, entries }) => [hole, entries[0]?.before, entries.length]),
    [[{ from: 5n, to: 20n }, 20n, 10]],
  );
  assert.equal((await entriesOf(eyes, '0', undefined, snapshot)).length, 10, 'from the oldest kept: no hole');
  assert.equal(await eyes.recordBefore('0', 20n), undefined);

  await commitAll(eyes);
  const gone: StreamBatch[] = [];
  for await (const batch of eyes.read('0', 5n, snapshot)) gone.push(batch);
  assert.deepEqual(gone, [{ entries: [], hole: { from: 5n, to: 30n } }]);
});

test('embedded stream: a position past the end is committed as the end', async (t) => {
  const { writer, reader } = await embedded(t);
  const one = await writer(1);
  await one.append(numbered('k', 0, 5));
  const eyes = await reader({ clock: clockIn(9 * dayMs) });
  await eyes.commit(new Map([['0', 1_000n]]));
  assert.deepEqual([...(await eyes.committed())], [['0', 5n]]);
  await one.append(numbered('k', 5, 5));
  await eyes.commit(new Map());
  assert.equal(await keptOf(eyes), 5);
});

test('embedded stream: two processes write while a third reads, commits and drops', async (t) => {
  const { directory, reader } = await embedded(t);
  const eyes = await reader({ clock: clockIn(60_000), retainMs: 0 });
  const children = [0, 1].map(() =>
    spawn(process.execPath, [appender, directory, '150'], { stdio: ['ignore', 'pipe', 'inherit'] }),
  );
  let running = children.length;
  const exits = children.map(async (child) => {
    child.stdout.resume();
    const [code] = await once(child, 'exit');
    running--;
    return code;
  });
  const counts = new Map<string, number>();
  const positions = new Map<string, Cursor>();
  const takeAll = async () => {
    const snapshot = await eyes.snapshot();
    for (const partition of snapshot.partitions.keys()) {
      for (const entry of await entriesOf(eyes, partition, positions.get(partition), snapshot)) {
        const id = textOf(entry).trimEnd();
        counts.set(id, (counts.get(id) ?? 0) + 1);
        positions.set(partition, entry.after);
      }
    }
    await eyes.commit(positions);
  };
  while (running > 0) {
    await takeAll();
    await new Promise(setImmediate);
  }
  await takeAll();
  assert.deepEqual(await Promise.all(exits), [0, 0]);
  assert.equal(counts.size, 600);
  assert.deepEqual([...new Set(counts.values())], [2], 'each of the two wrote each once');
  assert.equal(await keptOf(eyes), 0);
});

test('embedded stream: a file that stays locked refuses the append for now, and takes it later', async (t) => {
  const { path, writer, reader } = await embedded(t);
  const one = await writer();
  const other = new DatabaseSync(path);
  other.exec('BEGIN IMMEDIATE');
  await assert.rejects(one.append(numbered('k', 0, 2)), (error) => {
    assert.ok(error instanceof AppendError);
    assert.deepEqual([error.code, error.retry, error.unacknowledged], ['stream_unavailable', true, [0, 1]]);
    return true;
  });
  await assert.rejects(one.probe(), { code: 'stream_unavailable', retry: true });
  other.exec('ROLLBACK');
  other.close();
  await one.probe();
  await one.append(numbered('k', 0, 2));
  assert.equal(await keptOf(await reader()), 2);
});

test('embedded stream: a file that is removed or replaced while in use takes no more records', async (t) => {
  const { path, writer } = await embedded(t);
  const one = await writer();
  await fs.rename(path, `${path}.old`);
  await assert.rejects(one.append(numbered('k', 0, 1)), { code: 'stream_unavailable', retry: false, hint: /Restart/ });
  await fs.copyFile(`${path}.old`, path);
  await assert.rejects(one.probe(), { code: 'stream_unavailable', retry: false });
  await fs.rename(`${path}.old`, path);
  await one.append(numbered('k', 0, 1));
});

test('embedded stream: a log without its file is kept, not replayed into a new file', async (t) => {
  const { directory, writer } = await embedded(t);
  await (await writer()).append(numbered('k', 0, 1));
  await fs.cp(directory, `${directory}-copy`, { recursive: true });
  t.after(() => fs.rm(`${directory}-copy`, { recursive: true }));
  await fs.rm(join(`${directory}-copy`, 'stream.sqlite'));
  await assert.rejects(openEmbeddedWriter({ directory: `${directory}-copy` }), {
    code: 'stream_damaged',
    hint: /-wal/,
  });
  assert.ok((await fs.readdir(`${directory}-copy`)).includes('stream.sqlite-wal'));
});

const impostors: [string, (path: string) => Promise<void>][] = [
  ['text', (path) => fs.writeFile(path, 'no database at all, '.repeat(1_000))],
  ['empty', (path) => fs.writeFile(path, '')],
  [
    "somebody else's database",
    async (path) => {
      const database = new DatabaseSync(path);
      database.exec('CREATE TABLE other (a); PRAGMA user_version = 1');
      database.close();
    },
  ],
  [
    'the stream of a later version',
    async (path) => {
      await (await openEmbeddedWriter({ directory: dirname(path) })).close();
      const database = new DatabaseSync(path);
      database.exec('PRAGMA user_version = 2');
      database.close();
    },
  ],
];
for (const [what, make] of impostors) {
  test(`embedded stream: a file that is ${what} is refused with a hint, and left as it is`, async (t) => {
    const { path, writer, reader } = await embedded(t);
    await make(path);
    const before = await fs.readFile(path);
    for (const open of [writer, reader]) {
      await assert.rejects(open(), (error) => {
        assert.ok(error instanceof DaybookError);
        assert.deepEqual([error.code, error.retry, error.hint.length > 20], ['stream_damaged', false, true]);
        return true;
      });
    }
    assert.deepEqual(await fs.readFile(path), before);
  });
}

test('embedded stream: a file that lacks a table is refused with a code', async (t) => {
  const { path, writer, reader } = await embedded(t);
  await (await writer()).close();
  const database = new DatabaseSync(path);
  database.exec('DROP TABLE records_2');
  database.close();
  await assert.rejects(writer(), { code: 'stream_unavailable', retry: false, message: /records_2/ });
  await assert.rejects(reader(), { code: 'stream_unavailable', retry: false, message: /records_2/ });
});

test('embedded stream: a path that cannot be opened is unavailable', async (t) => {
  const { path, writer } = await embedded(t);
  await fs.mkdir(path);
  await assert.rejects(writer(), { code: 'stream_unavailable' });
});

test('embedded stream: damaged pages reject reads, appends and commits, and crash nothing', async (t) => {
  const { path, writer, reader } = await embedded(t);
  const one = await writer(1);
  await one.append(Array.from({ length: 200 }, (_, n) => ({ key: 'k', value: Buffer.alloc(3_000, n) })));
  await one.close();
  const file = await fs.open(path, 'r+');
  const { size } = await file.stat();
  const pages = Buffer.alloc(size - 16_384, 0xa5);
  await file.write(pages, 0, pages.byteLength, 16_384);
  await file.close();
  // The first page is whole, so whether opening finds the damage depends on what it reads.
  for (const use of [
    async () => keptOf(await reader()),
    async () => (await reader()).commit(new Map([['0', 10n]])),
    async () => (await writer()).append(numbered('k', 0, 1)),
  ]) {
    await assert.rejects(use(), { code: 'stream_damaged' });
  }
});

test('embedded stream: one damaged page of records stops the reading there', async (t) => {
  const { path, writer, reader } = await embedded(t);
  const one = await writer(1);
  await one.append(Array.from({ length: 2_000 }, (_, n) => ({ key: 'k', value: Buffer.alloc(3_000, `${n} `) })));
  await one.close();
  const file = await fs.open(path, 'r+');
  const { size } = await file.stat();
  const middle = Math.floor(size / 2 / 16_384) * 16_384;
  await file.write(Buffer.alloc(16_384, 0xff), 0, 16_384, middle);
  await file.close();

  const eyes = await reader();
  const snapshot = await eyes.snapshot();
  const read: string[] = [];
  await assert.rejects(
    async () => {
      for await (const { entries } of eyes.read('0', undefined, snapshot)) read.push(...entries.map(textOf));
    },
    { code: 'stream_damaged' },
  );
  assert.ok(read.length < 2_000);
});

test('embedded stream: what lies behind a damaged page is not proven, though the file takes appends', async (t) => {
  const { path, writer } = await embedded(t);
  const one = await writer(1);
  await one.append(Array.from({ length: 2_000 }, (_, n) => ({ key: 'k', value: Buffer.alloc(3_000, `${n} `) })));
  await one.prove();
  await one.close();
  const file = await fs.open(path, 'r+');
  const { size } = await file.stat();
  await file.write(Buffer.alloc(16_384, 0xff), 0, 16_384, Math.floor(size / 4 / 16_384) * 16_384);
  await file.close();
  const again = await writer();
  await again.append(numbered('k', 0, 1));
  await assert.rejects(again.prove(), { code: 'stream_unreadable', retry: true });
});

test('embedded stream: a file whose newest records are gone is not proven', async (t) => {
  const { path, writer } = await embedded(t);
  const one = await writer(1);
  await one.append(numbered('k', 0, 20));
  const database = new DatabaseSync(path);
  database.exec('DELETE FROM records_0 WHERE position < 5');
  await one.prove();
  database.exec('DELETE FROM records_0 WHERE position > 15');
  database.close();
  await assert.rejects(one.prove(), { code: 'stream_unreadable' });
});

test('embedded stream: a damaged file refuses an append with the hint of the damage', async (t) => {
  const { writer } = await embedded(t);
  const one = await writer();
  t.mock.method(DatabaseSync.prototype, 'exec', () => {
    throw Object.assign(new Error('database disk image is malformed'), { code: 'ERR_SQLITE_ERROR', errcode: 779 });
  });
  await assert.rejects(one.append(numbered('k', 0, 1)), (error) => {
    assert.ok(error instanceof AppendError);
    assert.deepEqual([error.retry, error.hint], [false, new DaybookError('stream_damaged').hint]);
    return true;
  });
});

test('embedded stream: a closed writer and a closed reader refuse, and close again', async (t) => {
  const { writer, reader } = await embedded(t);
  const one = await writer();
  const eyes = await reader();
  await one.close();
  await eyes.close();
  await one.close();
  await eyes.close();
  await assert.rejects(one.append(numbered('k', 0, 1)), { code: 'stream_unavailable', retry: false });
  await assert.rejects(eyes.snapshot(), { code: 'stream_unavailable', retry: false });
});
