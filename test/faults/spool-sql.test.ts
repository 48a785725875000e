/**
 * The sql spool while its database fails, the way to it fails, or another instance dies. Real PostgreSQL, behind a proxy
 * that breaks connections, or killed and started again on the same folder and port.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import pg from 'pg';
import type { BackingStore } from '../../ingest/spool/backing-store.ts';
import { lockOf } from '../../ingest/spool/sql-tables.ts';
import { DaybookError } from '../../shared/errors.ts';
import { lettersOf, numbered, rejectsWith, textsOf } from '../contract/backing-store.ts';
import {
  countsAgree,
  endDrainer,
  type PostgresFacts,
  type SqlSpool,
  sqlSpool,
} from '../ingest/spool/sql-under-test.ts';
import { freePorts, type Service, startService } from '../services/service.ts';
import { openTcpProxy, type TcpProxy } from './tcp-proxy.ts';

const plenty = { maxRecords: 1_000, maxBytes: 64 * 1024 * 1024 };
const impatient = { connectMs: 400, statementMs: 400, queryMs: 700 };

const postgres = await startService<PostgresFacts>('postgres.sh');
if (postgres !== undefined) {
  const [proxyPort] = await freePorts(1);
  const proxy = await openTcpProxy(proxyPort!, postgres.facts.port);
  after(async () => {
    await proxy.close();
    await postgres.stop();
  });
  wayTests(postgres.facts, proxy, proxyPort!);
  restartTests();
}

function wayTests({ port }: PostgresFacts, proxy: TcpProxy, proxyPort: number): void {
  function newSpool(t: TestContext): SqlSpool {
    const spool = sqlSpool(proxyPort, {}, port);
    t.after(() => {
      proxy.set('pass');
      return spool.remove();
    });
    return spool;
  }

  /** A step that fails, and what is true then: where it did not happen, and where it did and only the answer was lost. */
  const steps: {
    readonly name: string;
    readonly run: (store: BackingStore) => Promise<() => Promise<unknown>>;
    readonly notDone: { readonly live: readonly string[]; readonly dead: readonly string[] };
    readonly done: { readonly live: readonly string[]; readonly dead: readonly string[] };
    /** After it was repeated: where that is not the same as `done`. */
    readonly twice?: { readonly live: readonly string[]; readonly dead: readonly string[] };
  }[] = [
    {
      name: 'an append',
      run: async (store) => () => store.append(numbered(10, 2)),
      notDone: { live: ['1', '2', '3'], dead: ['0'] },
      done: { live: ['1', '2', '3', '10', '11'], dead: ['0'] },
      // The sender repeats: copies, which the compactor dedupes.
      twice: { live: ['1', '2', '3', '10', '11', '10', '11'], dead: ['0'] },
    },
    {
      name: 'a commit',
      run: async (store) => {
        const batch = await store.peek({ ...plenty, maxRecords: 2 });
        return () => batch.commit();
      },
      notDone: { live: ['1', '2', '3'], dead: ['0'] },
      done: { live: ['3'], dead: ['0'] },
    },
    {
      name: 'a move to the dead letters',
      run: async (store) => {
        const { records } = await store.peek(plenty);
        return () => store.deadLetter(records[1]!, 'too large');
      },
      notDone: { live: ['1', '2', '3'], dead: ['0'] },
      done: { live: ['1', '3'], dead: ['0', '2'] },
    },
    {
      name: 'a requeue',
      run: async (store) => () => store.requeue([1n]),
      notDone: { live: ['1', '2', '3'], dead: ['0'] },
      done: { live: ['1', '2', '3', '0'], dead: [] },
    },
  ];
  for (const { name, run, notDone, done, twice = done } of steps) {
    for (const fault of ['did not happen', 'happened, and its answer was lost'] as const) {
      test(`sql spool: ${name} that ${fault} rejects, loses nothing and may be repeated`, async (t) => {
        const spool = newSpool(t);
        const store = await spool.open();
        await store.append(numbered(0, 4));
        await store.deadLetter((await store.peek(plenty)).records[0]!, 'no');
        const step = await run(store);
        // A requeue asks for something first: that answer gets through.
        const answers = name === 'a requeue' ? 1 : 0;
        if (fault === 'did not happen') proxy.set('refuse');
        else proxy.set('lose-answers', answers);
        await rejectsWith(step(), 'spool_unavailable');
        proxy.set('pass');
        const state = async () => ({
          live: textsOf((await store.peek(plenty)).records),
          dead: (await lettersOf(store)).map(({ raw }) => Buffer.from(raw).toString()),
        });
        assert.deepEqual(await state(), fault === 'did not happen' ? notDone : done);
        await countsAgree(spool);
        await step();
        assert.deepEqual(await state(), fault === 'did not happen' ? done : twice);
        await countsAgree(spool);
      });
    }
  }

  test('sql spool: a database that never answers holds no call longer than its time, and is used again when it does', async (t) => {
    const spool = newSpool(t);
    const store = await spool.openWith(impatient);
    await store.append(numbered(0, 3));
    const batch = await store.peek(plenty);
    proxy.set('hang');
    const started = performance.now();
    const calls = [
      ...Array.from({ length: 12 }, () => store.append(numbered(100, 1))),
      batch.commit(),
      store.peek(plenty),
      store.size(),
      store.deadLetter(batch.records[0]!, 'no'),
      store.requeue(),
      (async () => void (await lettersOf(store)))(),
    ];
    for (const { status, reason } of (await Promise.allSettled(calls)) as PromiseRejectedResult[]) {
      assert.equal(status, 'rejected');
      assert.ok(reason instanceof DaybookError && reason.code === 'spool_unavailable' && reason.retry, String(reason));
    }
    assert.ok(performance.now() - started < impatient.connectMs + impatient.queryMs + 1_500);
    proxy.set('pass');
    await store.append(numbered(3, 1));
    // What hung may have arrived when the way was free again: it was reported as failed, and may be there.
    const texts = textsOf((await eventually(() => peekSome(store))).records).filter((text) => text !== '100');
    assert.deepEqual(
      texts.filter((text) => text === '3'),
      ['3'],
    );
    await store.append(numbered(4, 1));
  });

  test('sql spool: a store closes though the database hangs', async (t) => {
    const store = await newSpool(t).openWith(impatient);
    await store.append(numbered(0, 1));
    await store.peek(plenty);
    proxy.set('hang');
    const started = performance.now();
    await store.close();
    assert.ok(performance.now() - started < 2_000);
  });

  test('sql spool: an append that waits for a lock is given up by the database, whole, and works when the lock is gone', async (t) => {
    const spool = newSpool(t);
    const store = await spool.openWith(impatient);
    await store.append(numbered(0, 1));
    const other = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database: 'postgres', ssl: false });
    await other.connect();
    try {
      await other.query(`BEGIN; SELECT FROM ${spool.schema}.spool_totals FOR UPDATE`);
      await assert.rejects(store.append(numbered(1, 2)), {
        code: 'spool_unavailable',
        retry: true,
        message: /statement timeout \(57014\)/,
      });
    } finally {
      await other.end();
    }
    await store.append(numbered(3, 1));
    assert.deepEqual(textsOf((await store.peek(plenty)).records), ['0', '3']);
    await countsAgree(spool);
  });

  test('sql spool: a drainer whose connection is lost unseen leaves the drain to another', async (t) => {
    const spool = newSpool(t);
    const [drainer, other] = [await spool.openWith(impatient), await sqlOther(t, spool, port)];
    await drainer.append(numbered(0, 3));
    assert.equal((await drainer.peek(plenty)).records.length, 3);
    assert.equal((await other.peek(plenty)).records.length, 0);
    proxy.set('hang');
    await rejectsWith(drainer.peek(plenty), 'spool_unavailable');
    await endDrainer(spool, lockOf(spool.schema, 'drain'));
    assert.deepEqual(textsOf((await other.peek(plenty)).records), ['0', '1', '2']);
    proxy.set('pass');
    assert.equal((await drainer.peek(plenty)).records.length, 0, 'it does not take it back');
    await drainer.append(numbered(3, 1));
    await (await other.peek(plenty)).commit();
    assert.deepEqual(await countsAgree(spool), { records: 0, dead: 0 });
  });

  test('sql spool: a database that cannot be reached at the start is said, and used as soon as it can', async (t) => {
    const spool = newSpool(t);
    proxy.set('refuse');
    const store = await spool.open();
    const warning = spool.lines.find(({ level }) => level === 40);
    assert.equal(warning?.msg, 'the database of the spool does not answer yet');
    assert.equal(warning.code, 'spool_unavailable');
    for (let call = 0; call < 2; call++) await rejectsWith(store.append(numbered(0, 2)), 'spool_unavailable');
    await assert.rejects(spool.inspect(), { code: 'spool_unavailable' }, 'a command says so at once');
    proxy.set('pass');
    await store.append(numbered(0, 2));
    assert.deepEqual(textsOf((await store.peek(plenty)).records), ['0', '1']);
  });

  test('sql spool: an instance that is killed as it drains leaves the rest to another, and no record is lost', async (t) => {
    const spool = newSpool(t);
    const store = await spool.open();
    const total = 600;
    for (let from = 0; from < total; from += 100) await store.append(numbered(from, 100));
    const drained = new Set<string>();
    const draining = startWorker(spool, 'drain');
    for await (const line of createInterface({ input: draining.stdout! })) {
      drained.add(line.replace('drained ', ''));
      if (drained.size === 200) draining.kill('SIGKILL');
    }
    assert.ok(drained.size >= 200 && drained.size < total, 'it was in the middle');
    while (drained.size < total) {
      const batch = await store.peek(plenty);
      for (const text of textsOf(batch.records)) drained.add(text);
      await batch.commit();
    }
    assert.deepEqual(
      [...drained].map(Number).toSorted((a, b) => a - b),
      [...Array(total).keys()],
    );
    assert.deepEqual(await countsAgree(spool), { records: 0, dead: 0 });
  });
}

/** Another instance of the same spool, which reaches the database by another way. */
async function sqlOther(t: TestContext, spool: SqlSpool, port: number): Promise<BackingStore> {
  const store = await spool.open({ params: { port } });
  t.after(() => store.close());
  return store;
}

function startWorker(spool: SqlSpool, work: 'append' | 'drain'): ChildProcess {
  const settings = JSON.stringify({ type: 'sql', params: spool.params });
  return spawn(process.execPath, [join(import.meta.dirname, '../ingest/spool/sql-appender.ts'), settings, work], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

function restartTests(): void {
  test('sql spool: PostgreSQL killed and started again under appends and drains: whatever was acknowledged is drained', async (t) => {
    const folder = await fs.mkdtemp(join(tmpdir(), 'daybook-postgres-'));
    const [port] = await freePorts(1);
    let server: Service<PostgresFacts> | undefined;
    const start = async () => {
      server = (await startService<PostgresFacts>('postgres.sh', [folder, `${port}`]))!;
    };
    t.after(async () => {
      await server?.stop();
      await fs.rm(folder, { recursive: true });
    });
    await start();
    const spool = sqlSpool(port!);
    const stores = [await spool.open(), await spool.open()];
    const acknowledged = new Set<string>();
    const drained: string[] = [];
    let isStopping = false;
    let failures = 0;
    const isOfSpool = (error: unknown) => {
      assert.ok(error instanceof DaybookError && error.code === 'spool_unavailable' && error.retry, String(error));
      failures++;
    };
    const appending = stores.map(async (store, instance) => {
      for (let number = instance * 1_000_000; !isStopping; number += 3) {
        const records = numbered(number, 3);
        try {
          await store.append(records);
          for (const { value } of records) acknowledged.add(Buffer.from(value).toString());
        } catch (error) {
          isOfSpool(error);
          await turn();
        }
      }
    });
    const draining = stores.map(async (store) => {
      for (;;) {
        try {
          const batch = await store.peek({ ...plenty, maxRecords: 50 });
          drained.push(...textsOf(batch.records));
          await batch.commit();
          if (isStopping && batch.records.length === 0 && (await store.size()).records === 0) return;
        } catch (error) {
          isOfSpool(error);
        }
        await turn();
      }
    });
    const working = Promise.all([...appending, ...draining]);

    for (const how of ['SIGKILL', 'SIGINT'] as const) {
      await grown(() => acknowledged.size, 300, working);
      await grown(() => drained.length, 300, working);
      process.kill(server!.facts.pid, how);
      await server!.ended;
      await grown(() => failures, 3, working);
      await start();
    }
    await grown(() => acknowledged.size, 300, working);
    isStopping = true;
    await working;
    const seen = new Set(drained);
    assert.deepEqual(
      [...acknowledged].filter((text) => !seen.has(text)),
      [],
    );
    assert.deepEqual(await countsAgree(spool), { records: 0, dead: 0 });
    for (const store of stores) await store.close();
    t.diagnostic(`${acknowledged.size} acknowledged, ${drained.length} drained, ${failures} calls failed`);
  });
}

async function peekSome(store: BackingStore) {
  const batch = await store.peek(plenty);
  assert.ok(batch.records.length > 0);
  return batch;
}

async function eventually<T>(work: () => Promise<T>): Promise<T> {
  for (const until = Date.now() + 10_000; ; ) {
    try {
      return await work();
    } catch (error) {
      if (Date.now() > until) throw error;
    }
  }
}

/** Waits until a count has grown by so many; rejects where the work that makes it grow does. */
async function grown(count: () => number, by: number, working: Promise<unknown>): Promise<void> {
  const target = count() + by;
  let failure: unknown;
  working.catch((error) => {
    failure = error;
  });
  while (count() < target) {
    if (failure !== undefined) throw failure;
    await turn();
  }
}
