/** `export` as a program: DuckDB, a reader that we did not write, finds what the archive has. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import type { Part } from '../../../compactor/ledger/manifest.ts';
import { eventsOf, openArchive, pathOf } from '../archive-under-test.ts';
import { type Books, eventRecord, stripeRecord } from '../books.ts';

const program = fileURLToPath(new URL('../../../compactor/main.ts', import.meta.url));
let books: Books;
let duckdb: DuckDBConnection;
/** The canonical lines of the archive, by source and id. */
const lines = new Map<string, string>();
let parts: Part[];

before(async () => {
  books = await openArchive();
  fs.writeFileSync(join(books.directory, 'identity.txt'), `${books.identity}\n`);
  books.at('2026-11-24T03:00:00Z');
  const [recovered, delivered] = eventsOf('2026-11-22', 2, 'third');
  const number = '{"amount":12345678901234567890,"price":1.10,"name":"\\u0041 é"}';
  const thin =
    '{"id":"evt_test_65R9Ijk8dKEYZcXeRWn16R9A7j1FSQ3w3TGDPLLGSM4CW0","object":"v2.core.event","type":"v1.billing.meter.no_meter_found","created":"2026-11-22T10:00:00.250Z","livemode":false,"context":"acct_7","related_object":{"id":"mtr_1"}}';
  await books.deliver(
    stripeRecord(recovered!.text, { header: { via: 'list' } }),
    stripeRecord(delivered!.text),
    stripeRecord(thin),
    eventRecord(number, { id: 'untimed', receivedAt: '2026-11-22T12:00:00.000Z', header: { subject: 'order 7' } }),
  );
  await books.night([{ name: 'billing' }, { name: 'platform' }], { acceptRestored: true });
  const ledger = await books.ledger();
  parts = [...ledger.sources.values()].flatMap((days) => [...days.values()].flatMap((day) => day.parts));
  for (const [source, days] of ledger.sources) {
    for (const { key } of [...days.values()].flatMap((day) => day.parts)) {
      for (const line of await books.lines(key)) lines.set(`${source} ${JSON.parse(line).id}`, line);
    }
  }
  const instance = await DuckDBInstance.create(':memory:', {
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
  });
  duckdb = await instance.connect();
});
after(async () => {
  duckdb.closeSync();
  await books.close();
});

interface Outcome {
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

function run(...args: readonly string[]): Promise<Outcome> {
  const env = {
    TMPDIR: books.directory,
    DAYBOOK_DATA_DIR: join(books.directory, 'data'),
    DAYBOOK_STORE: JSON.stringify({ type: 'directory', params: { path: books.archive } }),
    COMPACTOR_VERIFYING_KEYS: createPublicKey(books.signingKey).export({ type: 'spki', format: 'pem' }).toString(),
  };
  return new Promise((resolve) => {
    const options = { env, cwd: books.directory, encoding: 'buffer' } as const;
    execFile(process.execPath, [program, 'export', ...args], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code as number), stdout, stderr: stderr.toString() });
    });
  });
}

const identity = () => ['-i', join(books.directory, 'identity.txt')];
const query = async (sql: string) => (await duckdb.runAndReadAll(sql)).getRowObjectsJson();

test('DuckDB reads every event of the month from the Parquet file, with the types that it promises', async () => {
  const file = join(books.directory, 'november.parquet');
  const { code, stdout, stderr } = await run(...identity(), '--month', '2026-11', '-o', file);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout.toString(), new RegExp(`^Exported ${lines.size} events of \\d+ parts to `, 'm'));
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);

  const columns = await query(`describe select * from '${file}'`);
  assert.deepEqual(
    columns.map((row) => `${row.column_name} ${row.column_type}`),
    [
      ...['source VARCHAR', 'id VARCHAR', 'type VARCHAR', 'created TIMESTAMP WITH TIME ZONE', 'livemode BOOLEAN'],
      ...['account VARCHAR', 'api_version VARCHAR', 'object_id VARCHAR', 'amount BIGINT', 'currency VARCHAR'],
      ...['via VARCHAR', 'data JSON'],
    ],
  );
  const rows = await query(`select *, epoch_ms(created) as ms from '${file}'`);
  assert.equal(rows.length, lines.size);
  for (const { source, id, type, ms, livemode, api_version, object_id, amount, currency, data } of rows) {
    const line = lines.get(`${source} ${id}`);
    assert.equal(data, line, 'as it stands in the archive');
    const event = JSON.parse(line!);
    if (source === 'billing') {
      const about = [event.type, Date.parse(event.time), null, null, event.subject ?? null, null, null];
      assert.deepEqual([type, Number(ms), livemode, api_version, object_id, amount, currency], about);
      continue;
    }
    const { object = {} } = event.data ?? {};
    const instant = typeof event.created === 'string' ? Date.parse(event.created) : event.created * 1000;
    assert.deepEqual(
      [type, Number(ms), livemode, api_version, object_id, amount === null ? null : Number(amount), currency],
      [
        ...[event.type, instant, event.livemode, event.api_version ?? null, object.id ?? event.related_object.id],
        ...[object.amount ?? null, object.currency ?? null],
      ],
    );
  }
  assert.ok(rows.some(({ amount }) => amount !== null));
  assert.deepEqual(await query(`select distinct account from '${file}' where object_id = 'mtr_1'`), [
    { account: 'acct_7' },
  ]);
});

test('via tells how each event came: delivered, to which door, or by the list', async () => {
  const file = join(books.directory, 'ways.parquet');
  assert.equal((await run(...identity(), '--month', '2026-11', '-o', file)).code, 0);
  const [recovered] = eventsOf('2026-11-22', 1, 'third');
  const found = await query(`select id, source, via from '${file}' where via not in ('webhook') order by id`);
  assert.deepEqual(
    found.filter(({ source }) => source === 'platform').map(({ id, via }) => [id, via]),
    [[recovered!.id, 'list']],
  );
  const ofServers = found.filter(({ source }) => source === 'billing');
  assert.deepEqual(new Set(ofServers.map(({ via }) => via)), new Set(['events']));
  assert.equal(ofServers.length, [...lines.keys()].filter((name) => name.startsWith('billing')).length);
});

test('JSON Lines have the same columns, and the event as it stands in the archive', async () => {
  const { code, stdout, stderr } = await run(
    ...identity(),
    ...['--format', 'jsonl', '--month', '2026-11', '--source', 'billing'],
  );
  assert.equal(code, 0);
  assert.match(stderr, /^Exported 6 events of \d+ parts to stdout\.$/m);
  const rows = stdout.toString().trimEnd().split('\n');
  assert.equal(rows.length, 6);
  for (const row of rows) {
    const { id, source, created, via } = JSON.parse(row);
    const line = lines.get(`${source} ${id}`)!;
    assert.ok(row.endsWith(`,"data":${line}}`));
    assert.deepEqual([created, via], [new Date(JSON.parse(line).time).toISOString(), 'events']);
  }
  const [untimed] = rows.filter((row) => row.includes('"untimed"'));
  assert.match(untimed!, /"object_id":"order 7".*"amount":12345678901234567890,"name":"A é","price":1\.10/);
});

test('a month without events makes a file that is whole and has no row', async () => {
  const file = join(books.directory, 'empty.parquet');
  const { code, stdout } = await run(...identity(), '--month', '2025-02', '-o', file);
  assert.equal(code, 0);
  assert.match(stdout.toString(), /Nothing in the archive fits what was asked for/);
  assert.deepEqual(await query(`select count(*) as n from '${file}'`), [{ n: '0' }]);
});

test('a part whose deliveries are damaged is named, and the others are exported', async () => {
  const part = parts.find(({ deliveries }) => deliveries !== null)!;
  const path = pathOf(books, part.deliveries!.key);
  const bytes = fs.readFileSync(path);
  fs.writeFileSync(
    path,
    bytes.map((byte, at) => (at === bytes.length - 9 ? byte ^ 1 : byte)),
  );
  const file = join(books.directory, 'damaged.parquet');
  try {
    const { code, stdout } = await run(...identity(), '--month', '2026-11', '-o', file);
    assert.equal(code, 3);
    assert.match(stdout.toString(), new RegExp(`FAILED .*${part.deliveries!.key} .*\\(object_damaged\\)`));
  } finally {
    fs.writeFileSync(path, bytes);
  }
  assert.deepEqual(await query(`select count(*) as n from '${file}'`), [{ n: String(lines.size - part.events) }]);
});

test('what is missing or misspelt on the command line is named, before anything opens', async () => {
  const cases = [
    [['--month', '2026-11'], '--identity is needed'],
    [identity(), '--month is needed'],
    [[...identity(), '--month', '2026-13'], '--month takes a UTC month'],
    [[...identity(), '--month', '2026-11', '--format', 'csv'], '--format takes parquet or jsonl, not csv'],
  ] as const;
  const outcomes = await Promise.all(cases.map(([args]) => run(...args)));
  for (const [index, { code, stderr }] of outcomes.entries()) {
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(cases[index]![1]));
  }
});
