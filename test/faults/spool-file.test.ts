/** The file spool's durable steps fail before their effect and after it, its process is killed, its disk is full. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import type { BackingStore } from '../../ingest/spool/backing-store.ts';
import { openSpool } from '../../ingest/spool/open-spool.ts';
import { systemClock } from '../../shared/clock.ts';
import type { ErrorCode } from '../../shared/errors.ts';
import { capturedLog } from '../captured-log.ts';
import { lettersOf, numbered, rejectsWith, textsOf } from '../contract/backing-store.ts';
import { killAfter } from '../contract/kill-after.ts';
import { runOnSmallDisk } from './small-disk.ts';

const plenty = { maxRecords: 1_000, maxBytes: 64 * 1024 * 1024 };
const worker = join(import.meta.dirname, '..', 'ingest', 'spool', 'appender.ts');

async function spoolOf(t: TestContext) {
  const dataDirectory = await fs.mkdtemp(join(tmpdir(), 'daybook-spool-faults-'));
  const opened: BackingStore[] = [];
  t.after(async () => {
    for (const store of opened) await store.close();
    await fs.rm(dataDirectory, { recursive: true });
  });
  return {
    dataDirectory,
    folder: join(dataDirectory, 'spool'),
    async open() {
      const { log, lines } = capturedLog();
      const store = await openSpool({ type: 'file' }, { dataDirectory, clock: systemClock, log, use: 'drain' });
      opened.push(store);
      return { store, lines };
    },
  };
}

const diskFull = 13;
const fsyncFailed = 1034; // SQLITE_IOERR_FSYNC

/** The next COMMITs fail as SQLite does when the disk fails. */
function failCommits(t: TestContext, way: 'before' | 'after', errcode: number, count: number) {
  const real = DatabaseSync.prototype.exec;
  let left = count;
  t.mock.method(DatabaseSync.prototype, 'exec', function (this: DatabaseSync, sql: string) {
    const fails = sql === 'COMMIT' && left > 0;
    if (!fails || way === 'after') real.call(this, sql);
    if (!fails) return;
    left--;
    throw Object.assign(new Error('injected'), { code: 'ERR_SQLITE_ERROR', errcode });
  });
}

test('a commit that finds the disk full uses the room that is kept for it, and appends wait until it is there again', async (t) => {
  const { folder, open } = await spoolOf(t);
  const { store } = await open();
  await store.append(numbered(0, 5));
  failCommits(t, 'before', diskFull, 1);
  await (await store.peek({ ...plenty, maxRecords: 2 })).commit();
  assert.deepEqual(await liveOf(store), ['2', '3', '4']);
  assert.ok(!(await fs.readdir(folder)).includes('reserve'));
  await store.append(numbered(5, 1));
  assert.ok((await fs.stat(join(folder, 'reserve'))).size > 1_000_000);
});

async function liveOf(store: BackingStore): Promise<string[]> {
  return textsOf((await store.peek(plenty)).records);
}

async function deadOf(store: BackingStore): Promise<string[]> {
  return (await lettersOf(store)).map(({ raw }) => Buffer.from(raw).toString());
}

interface Step {
  readonly name: string;
  /** Called with records 0–3 live and record 4 dead. */
  run(store: BackingStore): Promise<unknown>;
  readonly undone: readonly [live: readonly string[], dead: readonly string[]];
  readonly done: readonly [live: readonly string[], dead: readonly string[]];
  /** After a repeat of a step that had been done already. */
  readonly twice?: readonly [live: readonly string[], dead: readonly string[]];
}

const undone = [['0', '1', '2', '3'], ['4']] as const;
const steps: readonly Step[] = [
  {
    name: 'an append',
    run: (store) => store.append(numbered(5, 2)),
    undone,
    done: [['0', '1', '2', '3', '5', '6'], ['4']],
    twice: [['0', '1', '2', '3', '5', '6', '5', '6'], ['4']],
  },
  {
    name: 'a commit',
    run: async (store) => {
      const { records, commit } = await store.peek(plenty);
      await commit(records.filter(({ value }) => '01'.includes(Buffer.from(value).toString())));
    },
    undone,
    done: [['2', '3'], ['4']],
  },
  {
    name: 'a dead letter',
    run: async (store) => {
      const { records } = await store.peek(plenty);
      const second = records.find(({ value }) => Buffer.from(value).toString() === '1');
      if (second !== undefined) await store.deadLetter(second, 'refused');
    },
    undone,
    // Oldest first, by the order in which they were appended.
    done: [
      ['0', '2', '3'],
      ['1', '4'],
    ],
  },
  { name: 'a requeue', run: (store) => store.requeue(), undone, done: [['0', '1', '2', '3', '4'], []] },
];

for (const step of steps) {
  for (const way of ['before', 'after'] as const) {
    for (const [errcode, code] of [
      [diskFull, 'spool_full'],
      [fsyncFailed, 'spool_unavailable'],
    ] as const satisfies (readonly [number, ErrorCode])[]) {
      test(`${step.name} whose commit fails ${way} its effect (${errcode}) is done wholly or not at all, and can be repeated`, async (t) => {
        const { open } = await spoolOf(t);
        const { store, lines } = await open();
        await store.append(numbered(0, 5));
        await store.deadLetter((await store.peek(plenty)).records[4]!, 'refused');
        // On a full disk what is not an append is tried once more, with the room that the reserve gave up.
        failCommits(t, way, errcode, errcode === diskFull && step.name !== 'an append' ? 2 : 1);
        await rejectsWith(step.run(store), code);
        const [live, dead] = way === 'before' ? step.undone : step.done;
        assert.deepEqual([await liveOf(store), await deadOf(store)], [live, dead]);
        await step.run(store);
        const [liveAfter, deadAfter] = (way === 'after' ? step.twice : undefined) ?? step.done;
        assert.deepEqual([await liveOf(store), await deadOf(store)], [liveAfter, deadAfter]);
        const size = await store.size();
        assert.deepEqual([size.records, size.dead], [liveAfter.length, deadAfter.length]);
        await store.close();
        const again = await open();
        assert.deepEqual([await liveOf(again.store), await deadOf(again.store)], [liveAfter, deadAfter]);
        assert.deepEqual([...lines, ...again.lines], [], 'nothing of this is damage');
      });
    }
  }
}

for (const work of ['append', 'drain', 'requeue'] as const) {
  test(`kill -9 at any moment of ${work}, again and again: every told record waits, is dead or was delivered`, async (t) => {
    const { dataDirectory, open } = await spoolOf(t);
    const told = new Set<number>();
    const delivered = new Set<number>();
    let start = 0;
    for (let round = 0; round < 6; round++) {
      const child = spawn(process.execPath, [worker, dataDirectory, work, String(start)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      // Each time at another point of what it does.
      for (const line of await killAfter(child, 5 + 7 * round)) {
        const [first, second] = line.split(' ');
        if (first === 'drained') delivered.add(Number(second));
        else for (let number = Number(first) - 7; number <= Number(first); number++) told.add(number);
      }
      start = (round + 1) * 10_000;
    }
    const { store, lines } = await open();
    const found = new Set((await deadOf(store)).map(numberOf));
    const order = new Map<string, number>();
    for (;;) {
      const batch = await store.peek(plenty);
      if (batch.records.length === 0) break;
      for (const { key, value } of batch.records) {
        const number = numberOf(Buffer.from(value).toString());
        if (work !== 'requeue') assert.ok(number > (order.get(key) ?? -1), 'in order, once');
        order.set(key, number);
        found.add(number);
      }
      await batch.commit();
    }
    const lost = [...told].filter((number) => !found.has(number) && !delivered.has(number));
    assert.deepEqual(lost, []);
    assert.deepEqual(
      lines.filter(({ level }) => level >= 50),
      [],
      'nothing of this is damage',
    );
  });
}

function numberOf(text: string): number {
  return Number(text.split(' ')[0]);
}

test('a file that SQLite finds damaged in mid-use is replaced, and the call that found it succeeds', async (t) => {
  const { folder, open } = await spoolOf(t);
  const { store, lines } = await open();
  await store.append(numbered(0, 50));
  const out = await store.peek({ ...plenty, maxRecords: 10 });
  const real = DatabaseSync.prototype.exec;
  const failing = t.mock.method(DatabaseSync.prototype, 'exec', function (this: DatabaseSync, sql: string) {
    if (sql !== 'COMMIT') return real.call(this, sql);
    failing.mock.restore();
    throw Object.assign(new Error('database disk image is malformed'), { errcode: 11 });
  });
  await store.append(numbered(50, 5));
  const texts = await liveOf(store);
  assert.deepEqual(
    texts,
    Array.from({ length: 55 }, (_, n) => `${n}`),
  );
  await out.commit();
  assert.equal((await liveOf(store)).length, 55, 'a batch of the file before removes nothing of this one');
  const [line, ...others] = lines;
  assert.deepEqual(others, []);
  assert.deepEqual([line?.level, line?.code, line?.recovered, line?.missing], [50, 'spool_damaged', 50, 0]);
  const kept = join(folder, String(line?.keptIn));
  assert.ok(
    (await fs.readdir(kept)).some((name) => name.endsWith('.sqlite')),
    'the damaged file is kept',
  );
  assert.equal((await fs.stat(kept)).mode & 0o777, 0o700);
});

test('a start that died after the new file was made puts the damaged one aside', async (t) => {
  const { folder, open } = await spoolOf(t);
  const first = await open();
  await first.store.append(numbered(0, 3));
  await first.store.close();
  // As salvage leaves it for a moment: both are there, the one with the higher number is whole.
  const name = (await fs.readdir(folder)).find((one) => one.endsWith('.sqlite'))!;
  await fs.copyFile(join(folder, name), join(folder, name.replace('spool-1-', 'spool-2-')));
  await fs.writeFile(join(folder, name), 'damaged');
  await fs.writeFile(join(folder, '.spool-of-a-dead-process.sqlite'), 'in the making');
  const { store, lines } = await open();
  assert.deepEqual(await liveOf(store), ['0', '1', '2']);
  assert.deepEqual(lines, []);
  const names = await fs.readdir(folder);
  assert.ok(names.some((one) => one.startsWith('damaged-')));
  assert.ok(!names.includes(name) && !names.some((one) => one.startsWith('.spool')));
});

test('a disk that fills up is a full spool: nothing is half there, and it takes records again when there is room', async (t) => {
  const { dataDirectory } = await spoolOf(t);
  await runOnSmallDisk(t, 'spool-disk-full.ts', dataDirectory);
});
