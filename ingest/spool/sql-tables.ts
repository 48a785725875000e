/**
 * The tables of the sql spool, made by the files in ./sql in the order of their numbers. A file of a version that was
 * released is never changed: what comes later is a further file.
 */
import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DaybookError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/program/log.ts';
import type { Query, SqlConnections } from './sql-connection.ts';
import type { SqlParams } from './sql-params.ts';

const folder = join(import.meta.dirname, 'sql');
/** The version that each file brings the tables to is its place here, from 1. */
const files = ['001-spool.sql'];

export interface TablesOptions {
  readonly connections: SqlConnections;
  readonly params: SqlParams;
  readonly use: 'drain' | 'inspect';
  readonly log: Logger;
}

/** Resolves when the database can hold the spool, its tables are there and of this version. Rejects with `spool_unavailable`. */
export async function prepareTables({ connections, params, use, log }: TablesOptions): Promise<void> {
  await refuseUnfit(connections.query);
  const version = await versionOf(connections.query, params.schema);
  if (version === files.length) return;
  refuseNewer(version, params.schema);
  if (!params.migrate || use === 'inspect') throw missing(version, params);
  const isMine = await connections.transaction((query) => migrate(query, params.schema));
  // Dies here: the tables are there, whole. Before COMMIT: nothing is there, and the next start makes them.
  if (isMine) log.info({ schema: params.schema, version: files.length }, 'the tables of the spool were made');
}

/** Names a lock of the database for whatever has to be one's alone in this schema. */
export function lockOf(schema: string, purpose: 'migrate' | 'drain'): bigint {
  return BigInt.asIntN(64, BigInt(`0x${hash('sha256', `daybook spool ${schema} ${purpose}`).slice(0, 16)}`));
}

async function refuseUnfit(query: Query): Promise<void> {
  const { rows } = await query(`SELECT current_setting('fsync') AS fsync, pg_is_in_recovery() AS standby`);
  if (rows[0]?.fsync !== 'on') {
    throw new DaybookError('spool_unavailable', {
      detail: 'the database runs with fsync = off: what it acknowledges would not survive a power cut',
      hint: 'Switch fsync on there, or use another database.',
      retry: false,
    });
  }
  if (rows[0].standby === true) {
    throw new DaybookError('spool_unavailable', {
      detail: 'the database is a standby, which takes no writes',
      hint: 'Name the primary in INGEST_SPOOL.',
    });
  }
}

/** 0 where there are no tables. */
async function versionOf(query: Query, schema: string): Promise<number> {
  // A query of the catalog: functions such as to_regclass may still answer as of before the lock was waited for.
  const made = `SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'spool_migrations'`;
  if ((await query(made, [schema])).rows.length === 0) return 0;
  const { rows: applied } = await query(`SELECT max(version) AS version FROM "${schema}".spool_migrations`);
  return Number(applied[0]?.version ?? 0);
}

/** Any number of instances may come here at once: one does it and answers true, the others find it done. */
async function migrate(query: Query, schema: string): Promise<boolean> {
  await query('SELECT pg_advisory_xact_lock($1::bigint)', [lockOf(schema, 'migrate')]);
  const version = await versionOf(query, schema);
  refuseNewer(version, schema);
  const { rows } = await query('SELECT FROM pg_namespace WHERE nspname = $1', [schema]);
  if (rows.length === 0) await query(`CREATE SCHEMA "${schema}"`);
  await query(`SET LOCAL search_path TO "${schema}"`);
  for (const file of files.slice(version)) await query(await readFile(join(folder, file), 'utf8'));
  return version < files.length;
}

function refuseNewer(version: number, schema: string): void {
  if (version <= files.length) return;
  throw new DaybookError('spool_unavailable', {
    detail: `the tables in schema ${schema} are of version ${version}; this daybook knows ${files.length}`,
    hint: 'A newer daybook made them: use that one.',
    retry: false,
  });
}

function missing(version: number, { schema, migrate }: SqlParams): DaybookError {
  const found =
    version === 0 ? 'there are no tables of the spool' : `the tables of the spool are of version ${version}`;
  const paths = files.slice(version).map((file) => `ingest/spool/sql/${file}`);
  return new DaybookError('spool_unavailable', {
    detail: `${found} in schema ${schema}, and ${migrate ? 'no ingest has started with it yet' : 'migrate is false'}`,
    hint: `Run ${paths.join(', ')}: its first lines say how.${migrate ? ' Or start ingest, which does so.' : ''}`,
    retry: false,
  });
}
