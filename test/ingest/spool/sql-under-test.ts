/** Spools of a test's own on the PostgreSQL of test/services/postgres.sh, and what they said. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { pino } from 'pino';
import type { BackingStore, BackingStoreOptions } from '../../../ingest/spool/backing-store.ts';
import { openSpool } from '../../../ingest/spool/open-spool.ts';
import type { SqlTimeouts } from '../../../ingest/spool/sql-connection.ts';
import { openSqlStore } from '../../../ingest/spool/sql-store.ts';
import type { Clock } from '../../../shared/clock.ts';

export interface PostgresFacts {
  readonly port: number;
  readonly ca: string;
  readonly pid: number;
}

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

type Params = Readonly<Record<string, unknown>>;

/** Schemas of tests and what looks at them from outside, by a connection of its own as the superuser. */
export interface SqlSpool {
  readonly schema: string;
  readonly params: Params;
  readonly lines: LogLine[];
  readonly logText: () => string;
  open(options?: Partial<BackingStoreOptions> & { readonly clock?: Clock }): Promise<BackingStore>;
  /** With shorter patience than a real one. */
  openWith(timeouts: SqlTimeouts, params?: Params): Promise<BackingStore>;
  inspect(options?: { readonly params?: Params; readonly clock?: Clock }): Promise<BackingStore>;
  /** As the superuser; `spool_…` names the tables. */
  ask(text: string, values?: readonly unknown[]): Promise<Record<string, unknown>[]>;
  remove(): Promise<void>;
}

const systemClock: Clock = { now: () => new Date() };

/** `more` replaces params; `ownPort` is the database's, where those lead to a proxy. */
export function sqlSpool(port: number, more: Params = {}, ownPort = port): SqlSpool {
  const schema = `t_${randomBytes(6).toString('hex')}`;
  const params = {
    host: '127.0.0.1',
    port,
    database: 'postgres',
    user: 'postgres',
    schema,
    maxBytes: 1024 ** 3,
    ...more,
  };
  const lines: LogLine[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const context = { dataDirectory: 'unused', clock: systemClock, log };
  const opened: BackingStore[] = [];
  const keep = async (opening: Promise<BackingStore>): Promise<BackingStore> => {
    const store = await opening;
    opened.push(store);
    return store;
  };

  async function ask(text: string, values: readonly unknown[] = []): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({
      host: '127.0.0.1',
      port: ownPort,
      user: 'postgres',
      database: 'postgres',
      ssl: false,
      options: `-c search_path=${schema}`,
    });
    await client.connect();
    try {
      return (await client.query(text, values as unknown[])).rows;
    } finally {
      await client.end();
    }
  }

  return {
    schema,
    params,
    lines,
    logText: () => JSON.stringify(lines),
    open: ({ params: replaced, ...options } = {}) =>
      keep(openSpool({ type: 'sql', params: { ...params, ...replaced } }, { ...context, use: 'drain', ...options })),
    openWith: (timeouts, replaced) =>
      keep(openSqlStore({ ...context, use: 'drain', params: { migrate: true, ...params, ...replaced } }, timeouts)),
    inspect: ({ params: replaced, ...options } = {}) =>
      keep(openSpool({ type: 'sql', params: { ...params, ...replaced } }, { ...context, use: 'inspect', ...options })),
    ask,
    async remove() {
      await Promise.all(opened.map((store) => store.close()));
      await ask(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
    },
  };
}

/** Ends the session that drains, as a failure of the network or an operator would. Answers whether there was one. */
export async function endDrainer({ ask }: SqlSpool, lock: bigint): Promise<boolean> {
  // https://www.postgresql.org/docs/current/view-pg-locks.html: a bigint key is in two halves.
  const rows = await ask(
    `SELECT pg_terminate_backend(pid, 5000) AS ended FROM pg_locks
      WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32) | objid::bigint = $1::bigint`,
    [lock],
  );
  return rows.some(({ ended }) => ended === true);
}

/** How many rows there are, checked against what `spool_totals` says of them, and all sequences against its marks. */
export async function countsAgree({ ask }: SqlSpool): Promise<{ records: number; dead: number }> {
  const [totals] = await ask('SELECT records, bytes, dead, next_sequence, first_sequence FROM spool_totals');
  const [rows] = await ask(`
    WITH both_tables AS (SELECT bytes, sequence FROM spool_records UNION ALL SELECT bytes, sequence FROM spool_dead_letters)
    SELECT (SELECT count(*) FROM spool_records) AS records, (SELECT count(*) FROM spool_dead_letters) AS dead,
      (SELECT coalesce(sum(bytes), 0) FROM both_tables)::bigint AS bytes,
      (SELECT coalesce(max(sequence), 0) FROM both_tables) AS last, (SELECT min(sequence) FROM spool_records) AS first`);
  const { next_sequence: next, first_sequence: first, ...counted } = totals!;
  assert.deepEqual({ records: rows!.records, bytes: rows!.bytes, dead: rows!.dead }, counted);
  assert.ok(BigInt(next as string) > BigInt(rows!.last as string), 'no sequence was given that may come again');
  assert.ok(rows!.first === null || BigInt(first as string) <= BigInt(rows!.first as string), 'nothing waits unseen');
  return { records: Number(rows!.records), dead: Number(rows!.dead) };
}
