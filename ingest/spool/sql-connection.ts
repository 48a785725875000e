/**
 * Connections to the spool's database. Whatever it does, a call ends within `connectMs` + `queryMs`. A connection on
 * which anything failed is not used again.
 */
import pg from 'pg';
import type { SpoolSettings } from '../../shared/config.ts';
import { DaybookError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/program/log.ts';
import { sqlErrorOf } from './sql-error.ts';
import { addressOf, type SqlAddress, type SqlParams } from './sql-params.ts';

/** All in milliseconds. */
export interface SqlTimeouts {
  /** Until there is a connection. */
  readonly connectMs: number;
  /** After which the database itself gives a statement up, so that its outcome is known. */
  readonly statementMs: number;
  /** After which a database that says nothing is left. */
  readonly queryMs: number;
}

export const defaultSqlTimeouts: SqlTimeouts = { connectMs: 3_000, statementMs: 4_000, queryMs: 5_000 };

export type Row = Readonly<Record<string, unknown>>;

export interface Rows {
  readonly rows: readonly Row[];
  /** Of a statement that writes: how many it wrote. */
  readonly count: number;
}

export type Query = (text: string, values?: readonly unknown[]) => Promise<Rows>;

export interface SqlConnections {
  readonly address: SqlAddress;
  /** One statement, so one transaction, on any connection. */
  readonly query: Query;
  /** All that `work` does, or none of it. A statement without values may be several. */
  transaction<T>(work: (query: Query) => Promise<T>): Promise<T>;
  /**
   * `work` on the one connection that holds the advisory lock, for as long as it lives; undefined where another session
   * holds it. The lock is the database's: it goes when the connection goes, and any instance may take it then.
   */
  holding<T>(lock: bigint, work: (query: Query) => Promise<T>): Promise<T | undefined>;
  /** Gives the lock back; rejects all that comes later. May be called again: the same promise. */
  close(): Promise<void>;
}

export interface SqlConnectionsOptions {
  readonly params: SqlParams;
  readonly timeouts: SqlTimeouts;
  readonly log: Logger;
}

/** Connects to nothing yet. */
export function openConnections({ params, timeouts, log }: SqlConnectionsOptions): SqlConnections {
  const address = addressOf(params);
  const config = poolConfigOf(params, address, timeouts);
  const pool = openPool({ ...config, max: 4, idleTimeoutMillis: 30_000 }, log);
  // Its one connection stays: the lock is bound to it.
  const holders = openPool({ ...config, max: 1, idleTimeoutMillis: 0 }, log);
  const holding = new WeakSet<pg.PoolClient>();
  let closing: Promise<void> | undefined;

  async function isHolding(client: pg.PoolClient, lock: bigint): Promise<boolean> {
    if (holding.has(client)) return true;
    const { rows } = await client.query('SELECT pg_try_advisory_lock($1::bigint) AS held', [lock]);
    if (rows[0].held !== true) return false;
    holding.add(client);
    return true;
  }

  async function guarded<T>(work: () => Promise<T>): Promise<T> {
    if (closing !== undefined) throw new DaybookError('spool_unavailable', { detail: 'The spool is closed.' });
    try {
      return await work();
    } catch (error) {
      throw sqlErrorOf(error, address);
    }
  }

  return {
    address,
    query: (text, values) => guarded(() => onOne(pool, (client) => queryOn(client)(text, values))),
    transaction: (work) =>
      guarded(() =>
        onOne(pool, async (client) => {
          await client.query('BEGIN');
          const result = await work(queryOn(client));
          await client.query('COMMIT');
          return result;
        }),
      ),
    holding: (lock, work) =>
      guarded(() =>
        onOne(holders, async (client) => ((await isHolding(client, lock)) ? work(queryOn(client)) : undefined)),
      ),
    close() {
      closing ??= close();
      return closing;
    },
  };

  async function close(): Promise<void> {
    // The database would see only some time after that the connection is closed.
    if (holders.totalCount > 0) {
      await onOne(holders, (client) => client.query('SELECT pg_advisory_unlock_all()')).catch(() => undefined);
    }
    await Promise.all([pool.end(), holders.end()]);
  }
}

/** `work` on a connection of the pool, which is closed where it fails: that ends a transaction, and gives locks back. */
async function onOne<T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let failed = true;
  try {
    const result = await work(client);
    failed = false;
    return result;
  } finally {
    client.release(failed);
  }
}

function queryOn(client: pg.PoolClient): Query {
  return async (text, values) => rowsOf(await client.query(text, values as unknown[]));
}

function openPool(config: pg.PoolConfig, log: Logger): pg.Pool {
  const pool = new pg.Pool(config);
  pool.on('error', (error) => log.debug({ reason: error.message }, 'a connection to the database of the spool ended'));
  // A connection that ends while it is in use says so to whoever waits for an answer; nobody else need hear it.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

function poolConfigOf({ ssl }: SqlParams, address: SqlAddress, timeouts: SqlTimeouts): pg.PoolConfig {
  const { host, port, database, user, password } = address;
  // PostgreSQL, Client Connection Defaults and Connections and Authentication: all of these a user may set.
  const session = {
    // A server may have it off, and would then acknowledge what it forgets in a crash.
    synchronous_commit: 'on',
    statement_timeout: timeouts.statementMs,
    // An instance whose machine is gone loses the lock within half a minute, not after the two hours of TCP's default.
    tcp_keepalives_idle: 10,
    tcp_keepalives_interval: 5,
    tcp_keepalives_count: 4,
  };
  return {
    host,
    port,
    database,
    user,
    // A function, so that pg looks for no other in the environment or in the home folder.
    password: (() => password) as () => string,
    ssl: tlsOf(ssl),
    options: Object.entries(session)
      .map(([name, value]) => `-c ${name}=${value}`)
      .join(' '),
    application_name: 'daybook-ingest',
    connectionTimeoutMillis: timeouts.connectMs,
    query_timeout: timeouts.queryMs,
    keepAlive: true,
  };
}

function tlsOf(ssl: SqlParams['ssl']): NonNullable<pg.PoolConfig['ssl']> {
  if (ssl === undefined || ssl === false) return false;
  const { ca, cert, key } = ssl === true ? {} : ssl;
  return {
    rejectUnauthorized: true,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

function rowsOf(result: pg.QueryResult): Rows {
  return { rows: result.rows, count: result.rowCount ?? 0 };
}

/** The params of a store as open-spool.ts has read them. */
export function readParams(params: SpoolSettings['params']): SqlParams & { readonly maxBytes: number } {
  return params as unknown as SqlParams & { readonly maxBytes: number };
}
