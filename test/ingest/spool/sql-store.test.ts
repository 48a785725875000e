/** The sql spool against a real PostgreSQL. Faults on the way to it: test/faults/spool-sql.test.ts. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import { checkSpool, spoolTypes } from '../../../ingest/spool/open-spool.ts';
import { lockOf } from '../../../ingest/spool/sql-tables.ts';
import { DaybookError } from '../../../shared/errors.ts';
import {
  backingStoreContract,
  lettersOf,
  numbered,
  record,
  rejectsWith,
  textsOf,
} from '../../contract/backing-store.ts';
import { openTcpProxy } from '../../faults/tcp-proxy.ts';
import { freePorts, startService } from '../../services/service.ts';
import { countsAgree, endDrainer, type PostgresFacts, type SqlSpool, sqlSpool } from './sql-under-test.ts';

const plenty = { maxRecords: 1_000, maxBytes: 64 * 1024 * 1024 };
const migration = readFileSync(join(import.meta.dirname, '../../../ingest/spool/sql/001-spool.sql'), 'utf8');

test('sql spool: every problem of its params is named, with the known ones where one is unknown, and none is quoted', () => {
  const problemsOf = (params: Record<string, unknown>) => {
    const problems: string[] = [];
    checkSpool({ type: 'sql', params }, spoolTypes, problems);
    return problems;
  };
  assert.deepEqual(problemsOf({ url: 'postgres://daybook:s3cret%21@db.example:5433/spool', ssl: true }), []);
  assert.deepEqual(problemsOf({ host: 'db', database: 'spool', user: 'daybook', maxBytes: 5 }), []);
  assert.deepEqual(problemsOf({}), [
    'INGEST_SPOOL.params.host: is required where there is no url',
    'INGEST_SPOOL.params.database: is required where there is no url',
    'INGEST_SPOOL.params.user: is required where there is no url',
  ]);
  assert.deepEqual(problemsOf({ url: 'postgres://u:s3cret@h/d?sslmode=no-verify', password: 's3cret' }), [
    'INGEST_SPOOL.params.password: is given twice: it is part of the url',
    'INGEST_SPOOL.params.url: may have nothing after the database: TLS is the parameter ssl beside url',
  ]);
  for (const url of [
    's3cret',
    'http://u:s3cret@h/d',
    'postgres://h/d',
    'postgres://u:s3cret@h',
    'postgres://u:%zz@h/d',
  ]) {
    const [problem, ...more] = problemsOf({ url });
    assert.match(problem!, /^INGEST_SPOOL\.params\.url: (?:is not a URL|must )/, url);
    assert.deepEqual(more, []);
    assert.doesNotMatch(problem!, /s3cret/);
  }
  const [unknown] = problemsOf({ url: 'postgres://u@h/d', sslmode: 'require' });
  assert.match(
    unknown!,
    /^INGEST_SPOOL\.params\.sslmode: is not a parameter of sql, which has url, host, port, database, user, password, ssl, schema, migrate, maxBytes$/,
  );
});

const postgres = await startService<PostgresFacts>('postgres.sh');
if (postgres !== undefined) {
  const { facts } = postgres;
  const [proxyPort] = await freePorts(1);
  const proxy = await openTcpProxy(proxyPort!, facts.port);
  after(async () => {
    await proxy.close();
    await postgres.stop();
  });
  backingStoreContract('sql spool', async () => {
    const spool = sqlSpool(proxyPort!, {}, facts.port);
    return {
      open: ({ maxBytes, clock }) => spool.open({ params: { maxBytes }, clock }),
      inspect: () => spool.inspect({ clock: { now: () => new Date('2026-11-21T12:00:00.000Z') } }),
      isDurable: true,
      async breakDown() {
        proxy.set('refuse');
        return async () => proxy.set('pass');
      },
      startAppender: () =>
        spawn(
          process.execPath,
          [
            join(import.meta.dirname, 'sql-appender.ts'),
            JSON.stringify({ type: 'sql', params: spool.params }),
            'append',
          ],
          { stdio: ['ignore', 'pipe', 'inherit'] },
        ),
      remove: () => spool.remove(),
    };
  });
  connectionTests(facts);
  tableTests(facts);
  storeTests(facts);
}

function newSpool(t: TestContext, { port }: PostgresFacts, params: Record<string, unknown> = {}): SqlSpool {
  const spool = sqlSpool(port, params);
  t.after(() => spool.remove());
  return spool;
}

/** A role of the test's own, which owns a schema of its name; gone with all it owns at the end. */
async function newRole(t: TestContext, spool: SqlSpool, name: string, password: string): Promise<void> {
  await spool.ask(
    `CREATE ROLE ${name} LOGIN PASSWORD '${password}'; CREATE SCHEMA ${spool.schema} AUTHORIZATION ${name}`,
  );
  t.after(() => spool.ask(`DROP OWNED BY ${name} CASCADE; DROP ROLE ${name}`));
}

function connectionTests(facts: PostgresFacts): void {
  const secret = `pw-${randomBytes(6).toString('hex')}`;

  /** The error with which the spool does not open, checked to hold no secret anywhere. */
  async function refusal(spool: SqlSpool, params: Record<string, unknown>): Promise<DaybookError> {
    const error = await spool.open({ params }).then(
      () => assert.fail('it opened'),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof DaybookError, inspect(error));
    assert.equal(error.code, 'spool_unavailable');
    assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }) + spool.logText(), new RegExp(secret));
    return error;
  }

  test('sql spool: a wrong password, none, no such user or database: each is said, and it does not open', async (t) => {
    const spool = newSpool(t, facts);
    const user = `u_${randomBytes(4).toString('hex')}`;
    await newRole(t, spool, user, secret);
    await (await spool.open({ params: { user, password: secret } })).close();
    const cases: [Record<string, unknown>, RegExp][] = [
      [{ user, password: `${secret}x` }, /^the database refuses the password of user u_/],
      [{ user }, /^the database asks for a password of user u_/],
      [{ user: 'nobody_here', password: secret }, /^the database refuses the password of user nobody_here/],
      [{ user, password: secret, database: 'nowhere' }, /^there is no database nowhere/],
    ];
    for (const [params, detail] of cases) {
      const error = await refusal(spool, params);
      assert.match(error.message, detail);
      assert.equal(error.retry, false);
      assert.match(error.hint, /INGEST_SPOOL/);
    }
  });

  test('sql spool: a url says the same as its parts', async (t) => {
    const spool = newSpool(t, facts);
    const odd = `${secret} @:/%ä`;
    const user = `u_${randomBytes(4).toString('hex')}`;
    await newRole(t, spool, user, odd);
    const url = `postgres://${user}:${encodeURIComponent(odd)}@127.0.0.1:${facts.port}/postgres`;
    const parts = { host: undefined, port: undefined, database: undefined, user: undefined };
    const store = await spool.open({ params: { ...parts, url } });
    await store.append([record('one')]);
    assert.deepEqual(textsOf((await store.peek(plenty)).records), ['one']);
  });

  test('sql spool: without permission it says which file has the grants', async (t) => {
    const spool = newSpool(t, facts);
    const other = sqlSpool(facts.port);
    const user = `u_${randomBytes(4).toString('hex')}`;
    await newRole(t, other, user, secret);
    const error = await refusal(spool, { user, password: secret });
    assert.match(error.message, /may not do what the spool needs: permission denied/);
    assert.match(error.hint, /ingest\/spool\/sql\/001-spool\.sql/);
    assert.equal(error.retry, false);
  });

  test('sql spool: by TLS with the right authority it opens, with another or none it does not', async (t) => {
    const spool = newSpool(t, facts);
    await spool.ask(
      `CREATE ROLE secured LOGIN PASSWORD '${secret}'; CREATE SCHEMA ${spool.schema} AUTHORIZATION secured`,
    );
    t.after(() => spool.ask('DROP OWNED BY secured CASCADE; DROP ROLE secured'));
    const login = { user: 'secured', password: secret };
    for (const host of ['localhost', '127.0.0.1']) {
      for (const ca of [facts.ca, readFileSync(facts.ca, 'utf8')]) {
        const store = await spool.open({ params: { ...login, host, ssl: { ca } } });
        await store.append([record('one')]);
        await store.close();
      }
    }
    const plain = await refusal(spool, login);
    assert.match(plain.message, /does not let user secured in/);
    assert.match(plain.hint, /TLS \(params\.ssl\)/);
    assert.equal(plain.retry, false);
    for (const ssl of [true, { ca: readFileSync(join(import.meta.dirname, 'other-ca.pem'), 'utf8') }]) {
      const error = await refusal(spool, { ...login, ssl });
      assert.match(error.message, /^no TLS with 127\.0\.0\.1:\d+: /);
      assert.equal(error.retry, false);
    }
    await spool.ask('ALTER SYSTEM SET ssl = off');
    await spool.ask('SELECT pg_reload_conf()');
    t.after(async () => {
      await spool.ask('ALTER SYSTEM RESET ssl');
      await spool.ask('SELECT pg_reload_conf()');
    });
    await eventually(async () => assert.match((await refusal(spool, { ssl: true })).message, /does not speak TLS/));
  });

  test('sql spool: a database that may forget what it acknowledged is refused', async (t) => {
    const spool = newSpool(t, facts);
    await spool.ask('ALTER SYSTEM SET fsync = off');
    await spool.ask('SELECT pg_reload_conf()');
    const mend = async () => {
      await spool.ask('ALTER SYSTEM RESET fsync');
      await spool.ask('SELECT pg_reload_conf()');
      await eventually(async () => assert.equal((await spool.ask('SHOW fsync'))[0]!.fsync, 'on'));
    };
    try {
      await eventually(async () => assert.equal((await spool.ask('SHOW fsync'))[0]!.fsync, 'off'));
      const error = await refusal(spool, {});
      assert.match(error.message, /fsync = off/);
      assert.equal(error.retry, false);
    } finally {
      await mend();
    }
  });

  test('sql spool: commits are synchronous though the server or the role says otherwise', async (t) => {
    const spool = newSpool(t, facts);
    const user = `u_${randomBytes(4).toString('hex')}`;
    await newRole(t, spool, user, secret);
    await spool.ask(`ALTER ROLE ${user} SET synchronous_commit = off`);
    const store = await spool.open({ params: { user, password: secret } });
    await spool.ask(`
      CREATE TABLE seen (setting text); GRANT ALL ON seen TO ${user};
      CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO ${spool.schema}.seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$;
      CREATE TRIGGER look AFTER INSERT OR UPDATE OR DELETE ON spool_totals FOR EACH STATEMENT EXECUTE FUNCTION look()`);
    await store.append(numbered(0, 3));
    const batch = await store.peek(plenty);
    await store.deadLetter(batch.records[0]!, 'no');
    await store.requeue();
    await batch.commit();
    const seen = (await spool.ask('SELECT setting FROM seen')).map(({ setting }) => setting);
    assert.deepEqual(seen, ['on', 'on', 'on', 'on']);
  });
}

function tableTests(facts: PostgresFacts): void {
  test('sql spool: instances that start at once on an empty database make its tables once', async (t) => {
    const spool = newSpool(t, facts);
    const stores = await Promise.all(Array.from({ length: 6 }, () => spool.open()));
    await Promise.all(stores.map((store, index) => store.append(numbered(index * 10, 10))));
    assert.equal((await stores[0]!.size()).records, 60);
    assert.deepEqual(await spool.ask('SELECT version FROM spool_migrations'), [{ version: 1 }]);
    const said = spool.lines.filter(({ level }) => level >= 30).map(({ msg }) => msg);
    assert.deepEqual(said, ['the tables of the spool were made'], 'by one, and none met an error');
  });

  test('sql spool: told not to migrate it names the file, and opens once that was run by hand, with its grants alone', async (t) => {
    const spool = newSpool(t, facts);
    await assert.rejects(spool.open({ params: { migrate: false } }), (error) => {
      assert.ok(error instanceof DaybookError);
      assert.equal(error.code, 'spool_unavailable');
      assert.equal(error.retry, false);
      assert.match(error.message, new RegExp(`no tables of the spool in schema ${spool.schema}, and migrate is false`));
      assert.match(error.hint, /^Run ingest\/spool\/sql\/001-spool\.sql: its first lines say how\.$/);
      return true;
    });
    await assert.rejects(spool.inspect(), { code: 'spool_unavailable', message: /no ingest has started with it yet/ });
    const [{ count } = {}] = await spool.ask('SELECT count(*) FROM pg_namespace WHERE nspname = $1', [spool.schema]);
    assert.equal(count, '0', 'nothing was made');

    await spool.ask(`CREATE SCHEMA ${spool.schema}; SET search_path TO ${spool.schema}; ${migration}`);
    const user = `u_${randomBytes(4).toString('hex')}`;
    const grants = [...migration.matchAll(/^--\s+(GRANT .*;)$/gm)].map(([, grant]) => grant!);
    assert.equal(grants.length, 2);
    await spool.ask(`CREATE ROLE ${user} LOGIN PASSWORD 'pw'`);
    t.after(() => spool.ask(`DROP OWNED BY ${user}; DROP ROLE ${user}`));
    const named = grants.map((grant) =>
      grant.replace('SCHEMA daybook', `SCHEMA ${spool.schema}`).replace('TO ingest', `TO ${user}`),
    );
    await spool.ask(named.join('\n'));
    const store = await spool.open({ params: { migrate: false, user, password: 'pw' } });
    await store.append(numbered(0, 3));
    const batch = await store.peek(plenty);
    await store.deadLetter(batch.records[1]!, 'no');
    await store.requeue();
    await batch.commit();
    assert.deepEqual(textsOf((await store.peek(plenty)).records), ['1']);
  });

  test('sql spool: tables of a newer version are left alone', async (t) => {
    const spool = newSpool(t, facts);
    await (await spool.open()).close();
    await spool.ask('INSERT INTO spool_migrations (version) VALUES (7)');
    await assert.rejects(spool.open(), {
      code: 'spool_unavailable',
      message: /are of version 7; this daybook knows 1/,
    });
  });

  test('sql spool: tables that are dropped while it is open fail a call, and the next makes them again', async (t) => {
    const spool = newSpool(t, facts);
    const store = await spool.open();
    await store.append(numbered(0, 2));
    await spool.ask(`DROP SCHEMA ${spool.schema} CASCADE`);
    await rejectsWith(store.append(numbered(2, 2)), 'spool_unavailable');
    await store.append(numbered(4, 2));
    assert.deepEqual(textsOf((await store.peek(plenty)).records), ['4', '5']);
  });
}

function storeTests(facts: PostgresFacts): void {
  test('sql spool: of several instances one drains; when it closes or is cut off another does', async (t) => {
    const spool = newSpool(t, facts);
    const [one, two, three] = [await spool.open(), await spool.open(), await spool.open()];
    await one.append(numbered(0, 4));
    await two.append(numbered(4, 4));
    const limit = { ...plenty, maxRecords: 3 };
    const first = await two.peek(limit);
    assert.deepEqual(textsOf(first.records), ['0', '1', '2']);
    assert.deepEqual((await one.peek(limit)).records, []);
    assert.deepEqual((await three.peek(limit)).records, []);
    await first.commit();

    const unfinished = await two.peek(limit);
    await two.close();
    assert.deepEqual(textsOf((await one.peek(limit)).records), ['3', '4', '5'], 'what was not committed comes again');
    assert.deepEqual((await three.peek(limit)).records, []);
    assert.equal(unfinished.records.length, 3);

    const old = await one.peek(limit);
    assert.ok(await endDrainer(spool, lockOf(spool.schema, 'drain')));
    const taken = await three.peek(limit);
    assert.deepEqual(textsOf(taken.records), ['3', '4', '5']);
    // Delivered by the one that was cut off: it may say so, and that removes no more than these.
    await old.commit(old.records.slice(0, 2));
    assert.deepEqual((await one.peek(limit)).records, [], 'it has lost the lock');
    await taken.commit();
    assert.deepEqual(textsOf((await three.peek(limit)).records), ['6', '7']);
    await old.commit(old.records.slice(0, 2));
    const [marks] = await spool.ask('SELECT first_sequence FROM spool_totals');
    assert.equal(marks!.first_sequence, '7', 'a late commit does not send the reader back through removed rows');
    assert.deepEqual(await countsAgree(spool), { records: 2, dead: 0 });
    const notes = spool.lines.filter(({ msg }) => msg === 'this instance drains the spool');
    assert.equal(notes.length, 3);
  });

  test('sql spool: spools of two schemas in one database know nothing of each other', async (t) => {
    const [one, two] = [newSpool(t, facts), newSpool(t, facts)];
    const [first, second] = [await one.open(), await two.open()];
    await first.append([record('one')]);
    await second.append([record('two')]);
    assert.deepEqual(textsOf((await first.peek(plenty)).records), ['one']);
    assert.deepEqual(textsOf((await second.peek(plenty)).records), ['two']);
  });

  test('sql spool: appends, commits, dead letters and requeues of several instances at once leave counts that are true', async (t) => {
    const spool = newSpool(t, facts);
    const stores = [await spool.open(), await spool.open(), await spool.open()];
    const taken: string[] = [];
    const appending = Promise.all(
      stores.map(async (store, index) => {
        for (let call = 0; call < 30; call++) await store.append(numbered(index * 1_000 + call * 4, 4));
      }),
    ).then(() => 'done');
    let died = 0;
    for (let round = 0; ; round++) {
      const isLast = (await Promise.race([appending, new Promise(setImmediate)])) === 'done';
      const batch = await stores[0]!.peek({ ...plenty, maxRecords: 7 });
      const [refused, ...accepted] = batch.records;
      if (refused !== undefined && round % 3 === 0) {
        await Promise.all([
          batch.commit(accepted),
          stores[1]!.deadLetter(refused, 'no'),
          stores[2]!.deadLetter(refused, 'no'),
        ]);
        taken.push(...textsOf(accepted));
        died++;
        await Promise.all([stores[1]!.requeue(), stores[2]!.requeue()]);
      } else {
        taken.push(...textsOf(batch.records));
        await batch.commit();
      }
      if (isLast && batch.records.length === 0) break;
    }
    assert.ok(died > 5);
    const all = [0, 1, 2].flatMap((index) =>
      textsOf(numbered(index * 1_000, 120).map((one) => ({ ...one, sequence: 0n }))),
    );
    assert.deepEqual(taken.toSorted(), all.toSorted());
    assert.deepEqual(await countsAgree(spool), { records: 0, dead: 0 });
    assert.deepEqual(await stores[0]!.size(), { records: 0, bytes: 0, oldestSeconds: 0, dead: 0 });
  });

  test('sql spool: maxBytes holds for all instances together', async (t) => {
    const spool = newSpool(t, facts, { maxBytes: 50_000 });
    const stores = [await spool.open(), await spool.open()];
    const large = (n: number) => ({ key: 'k', value: Buffer.alloc(4_000, n) });
    const outcomes = await Promise.allSettled(Array.from({ length: 30 }, (_, n) => stores[n % 2]!.append([large(n)])));
    assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 12);
    const { bytes, records } = await stores[0]!.size();
    assert.equal(records, 12);
    assert.ok(bytes <= 50_000);
    assert.deepEqual(await countsAgree(spool), { records: 12, dead: 0 });
  });

  test('sql spool: damaged records go to the dead letters once, with their bytes, and the rest is given', async (t) => {
    const spool = newSpool(t, facts);
    const store = await spool.open();
    await store.append(numbered(0, 8));
    await spool.ask(`UPDATE spool_records SET value = 'flipped' WHERE sequence IN (1, 2, 3)`);
    await spool.ask(`UPDATE spool_records SET key = 'another key' WHERE sequence = 6`);
    // The first peek meets nothing but damaged ones.
    const first = await store.peek({ ...plenty, maxRecords: 3 });
    assert.deepEqual([textsOf(first.records), first.damaged], [['3', '4'], 4]);
    const batch = await store.peek(plenty);
    assert.deepEqual([textsOf(batch.records), batch.damaged], [['3', '4', '6', '7'], 0]);
    const letters = await lettersOf(store);
    assert.deepEqual(
      letters.map(({ sequence, key, raw }) => [sequence, key, Buffer.from(raw).toString()]),
      [
        [1n, null, 'flipped'],
        [2n, null, 'flipped'],
        [3n, null, 'flipped'],
        [6n, null, '5'],
      ],
    );
    assert.match(letters[0]!.reason, /checksum/);
    assert.equal(await store.requeue(), 0, 'they stay');
    await batch.commit();
    const { records, dead } = await store.size();
    assert.deepEqual({ records, dead }, { records: 0, dead: 4 });
    assert.deepEqual(
      spool.lines.filter(({ level }) => level === 50).map(({ damaged }) => damaged),
      [3, 1],
    );
  });

  test('sql spool: keys and reasons may hold any character', async (t) => {
    const store = await newSpool(t, facts).open();
    const keys = ['', '\0', 'a\0b', "';--", '\u{1f511}'.repeat(64), '\\x00'];
    await store.append(keys.map((key) => ({ key, value: Buffer.from(key) })));
    const { records } = await store.peek(plenty);
    assert.deepEqual(
      records.map(({ key }) => key),
      keys,
    );
    for (const one of records) await store.deadLetter(one, `no ${one.key} \0 ${'x'.repeat(5_000)}`);
    const letters = await lettersOf(store);
    assert.deepEqual(
      letters.map(({ key }) => key),
      keys,
    );
    assert.ok(letters.every(({ reason }) => reason.startsWith('no ') && reason.length <= 1_000));
  });

  test('sql spool: more dead letters than one statement moves are requeued in their order', async (t) => {
    const spool = newSpool(t, facts);
    const store = await spool.open();
    await spool.ask(`INSERT INTO spool_dead_letters
      SELECT n, 'k', n::text::bytea, crc32('k' || n::text::bytea), 1, 'no', now() FROM generate_series(1, 12000) AS n`);
    await spool.ask('UPDATE spool_totals SET dead = 12000, bytes = 12000, next_sequence = 12001');
    await store.append([record('before')]);
    assert.equal(await store.requeue(), 12_000);
    const texts: string[] = [];
    for (;;) {
      const batch = await store.peek({ ...plenty, maxRecords: 5_000 });
      if (batch.records.length === 0) break;
      texts.push(...textsOf(batch.records));
      await batch.commit();
    }
    assert.deepEqual(texts, ['before', ...Array.from({ length: 12_000 }, (_, n) => `${n + 1}`)]);
  });

  test('sql spool: what waits is never read at once, however much it is', async (t) => {
    const spool = newSpool(t, facts);
    const store = await spool.open();
    const count = 60_000;
    await spool.ask(`INSERT INTO spool_records
      SELECT n, 'k', v, crc32('k'::bytea || v), 1101, now() FROM generate_series(1, ${count}) AS n, decode(repeat('ab', 1000), 'hex') AS v`);
    await spool.ask(
      `UPDATE spool_totals SET records = ${count}, bytes = ${count * 1101}, next_sequence = ${count + 1}`,
    );
    const limit = { maxRecords: count, maxBytes: 1_000_000 };
    const before = process.memoryUsage();
    let drained = 0;
    for (let round = 0; round < 20; round++) {
      const batch = await store.peek(limit);
      drained += batch.records.length;
      await batch.commit();
    }
    assert.equal(drained, 20 * 999);
    const { rss } = process.memoryUsage();
    assert.ok(rss - before.rss < 60 * 1024 * 1024, `${rss - before.rss} bytes more`);
    assert.equal((await store.size()).records, count - drained);
  });

  test('sql spool: a database that has no room is a full spool, until it has some', async (t) => {
    const spool = newSpool(t, facts);
    const store = await spool.open();
    await spool.ask(`
      CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE 'could not extend file' USING ERRCODE = 'disk_full', DETAIL = 'a body'; END $$;
      CREATE TRIGGER full_disk AFTER INSERT ON spool_records FOR EACH STATEMENT EXECUTE FUNCTION full_disk()`);
    for (let call = 0; call < 2; call++) await rejectsWith(store.append(numbered(0, 3)), 'spool_full');
    assert.deepEqual(await countsAgree(spool), { records: 0, dead: 0 }, 'no half of it');
    await spool.ask('DROP TRIGGER full_disk ON spool_records');
    await store.append(numbered(0, 3));
    assert.equal((await store.size()).records, 3);
  });

  test('sql spool: no detail of the database, which may quote a row, is in an error', async (t) => {
    const spool = newSpool(t, facts);
    const store = await spool.open();
    await spool.ask(`ALTER TABLE spool_records ADD CHECK (value <> 'a secret body')`);
    const error = await store.append([record('a secret body')]).catch((reason: unknown) => reason);
    assert.ok(error instanceof DaybookError);
    assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), /61207365637265742/, 'the hex of a secret b…');
    assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), /Failing row/);
  });

  test('sql spool: the row of totals that somebody removed is missed by name', async (t) => {
    const spool = newSpool(t, facts);
    const store = await spool.open();
    await spool.ask('DELETE FROM spool_totals');
    await assert.rejects(store.append(numbered(0, 1)), { code: 'spool_unavailable', message: /has lost its row/ });
  });
}

async function eventually(check: () => Promise<void>): Promise<void> {
  for (const until = Date.now() + 10_000; ; ) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > until) throw error;
    }
  }
}
