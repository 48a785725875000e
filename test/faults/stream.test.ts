/** The embedded stream's durable steps fail before their effect and after it: by SQLite, by the disk, by the wrappers. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { dayMs } from '../../shared/clock.ts';
import { AppendError } from '../../shared/stream/append-error.ts';
import { openEmbeddedReader, openEmbeddedWriter } from '../../shared/stream/embedded/embedded.ts';
import { numbered, readAll, textOf, valuesOf } from '../contract/event-stream.ts';
import { faultyReader, faultyWriter } from './faulty.ts';

async function embedded(t: TestContext) {
  const directory = await fs.mkdtemp(join(tmpdir(), 'daybook-stream-faults-'));
  const writer = await openEmbeddedWriter({ directory });
  const clock = { now: () => new Date(Date.now() + 9 * dayMs) };
  const reader = await openEmbeddedReader({ directory, consumer: 'compactor', clock });
  t.after(async () => {
    await writer.close();
    await reader.close();
    await fs.rm(directory, { recursive: true });
  });
  return { directory, writer, reader };
}

/** The next COMMIT, or the one after `skip` others, fails as SQLite does when the disk fails. */
function failCommit(t: TestContext, way: 'before' | 'after', errcode: number, skip = 0) {
  const real = DatabaseSync.prototype.exec;
  let seen = 0;
  return t.mock.method(DatabaseSync.prototype, 'exec', function (this: DatabaseSync, sql: string) {
    const fails = sql === 'COMMIT' && seen++ === skip;
    if (!fails || way === 'after') real.call(this, sql);
    if (fails) throw Object.assign(new Error('injected'), { code: 'ERR_SQLITE_ERROR', errcode });
  });
}

const diskFull = 13;
const fsyncFailed = 1034; // SQLITE_IOERR_FSYNC

for (const way of ['before', 'after'] as const) {
  for (const errcode of [diskFull, fsyncFailed]) {
    test(`an append whose commit fails ${way} its effect (${errcode}) acknowledges nothing, and can be repeated`, async (t) => {
      const { writer, reader } = await embedded(t);
      await writer.append(numbered('early', 0, 10));
      const failing = failCommit(t, way, errcode);
      await assert.rejects(writer.append(numbered('k', 0, 10)), (error) => {
        assert.ok(error instanceof AppendError);
        assert.deepEqual([error.retry, error.unacknowledged], [true, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]);
        return true;
      });
      failing.mock.restore();
      assert.equal(valuesOf(await readAll(reader)).length, way === 'before' ? 10 : 20, 'all of them or none');
      await writer.append(numbered('k', 0, 10));
      const partitions = await readAll(reader);
      assert.equal(valuesOf(partitions).length, way === 'before' ? 20 : 30);
      for (const entries of partitions.values()) {
        assert.deepEqual(
          entries.map(({ position }) => position),
          entries.map((_, index) => BigInt(index)),
        );
      }
    });
  }

  for (const [step, skip] of [
    ['noting the positions', 0],
    ['dropping the first records', 1],
    ['dropping the next', 2],
  ] as const) {
    test(`a commit that fails ${way} ${step} loses no record that is not committed, and can be repeated`, async (t) => {
      const { writer, reader } = await embedded(t);
      await writer.append(numbered('k', 0, 9_000));
      const { partitions } = await reader.snapshot();
      const ends = new Map([...partitions].map(([partition, { end }]) => [partition, end! - 1n]));
      const failing = failCommit(t, way, fsyncFailed, skip);
      await assert.rejects(reader.commit(ends), { code: 'stream_unavailable', retry: true });
      failing.mock.restore();
      const kept = valuesOf(await readAll(reader)).length;
      assert.ok(skip === 0 ? kept === 9_000 : kept <= 9_000 && kept > ends.size, `${kept} kept`);
      assert.deepEqual(
        [...(await reader.committed())],
        step === 'noting the positions' && way === 'before' ? [] : [...ends],
      );

      await reader.commit(ends);
      assert.equal(
        valuesOf(await readAll(reader)).length,
        ends.size,
        'the one of each partition that is not committed',
      );
      assert.deepEqual([...(await reader.committed())], [...ends]);
    });
  }
}

test('a disk that takes no more bytes refuses appends, and every acknowledged record is there', async (t) => {
  const { directory, writer, reader } = await embedded(t);
  await writer.append([{ key: 'z', value: Buffer.from('z 0 ') }]);
  // The limit on the size of a file, in blocks of 512 or 1024 bytes, stands for a full disk: write(2) fails.
  const appender = join(import.meta.dirname, '../shared/stream/embedded/appender.ts');
  const child = spawn('sh', ['-c', 'ulimit -f 8000 && exec "$0" "$@"', process.execPath, appender, directory], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'close');
  const acknowledged: string[] = [];
  let complaint = '';
  child.stderr.on('data', (chunk) => {
    complaint += chunk;
  });
  for await (const line of createInterface({ input: child.stdout })) acknowledged.push(line);
  const [code] = await exited;
  assert.deepEqual([code, complaint], [3, 'stream_unavailable true\n']);
  assert.ok(acknowledged.length > 50);

  const read = new Set([...(await readAll(reader)).values()].flat().map((entry) => textOf(entry).trimEnd()));
  for (const line of acknowledged) assert.ok(read.has(line), line);
  await writer.append(numbered('after', 0, 10));
});

test('faulty wrappers apply a call or not, and fail it either way', async (t) => {
  const { writer, reader } = await embedded(t);
  const faults = new Map([
    [1, 'before'],
    [2, 'after'],
  ] as const);
  const faulty = faultyWriter(writer, (operation, _records, call) =>
    operation === 'append' ? faults.get(call as 1) : undefined,
  );
  for (const kept of [0, 3]) {
    await assert.rejects(faulty.append(numbered('k', 0, 3)), { unacknowledged: [0, 1, 2], retry: true });
    assert.equal(valuesOf(await readAll(reader)).length, kept);
  }
  await faulty.append(numbered('k', 0, 3));
  await faulty.probe();
  assert.equal(valuesOf(await readAll(reader)).length, 6);

  const { partitions } = await reader.snapshot();
  const [named] = partitions.keys();
  const forgetful = faultyReader(reader, (operation, _partition, call) =>
    operation === 'commit' ? faults.get(call as 1) : undefined,
  );
  const positions = new Map([[named!, 0n]]);
  for (const committed of [0, 1]) {
    await assert.rejects(forgetful.commit(positions), { code: 'stream_unavailable', retry: true });
    assert.equal((await reader.committed()).size, committed);
  }
  await forgetful.commit(positions);
});
