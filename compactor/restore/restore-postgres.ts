/**
 * Puts restored events into a table of PostgreSQL, made where it is missing. An event that is there stays as it is, so that
 * restoring again does no harm, and adds what came since.
 */
import pg from 'pg';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import { isCloudEventLine } from '../../shared/event-line.ts';
import type { RestoreOutput } from './restore-archive.ts';

export interface PostgresTarget {
  /** `postgres://user:password@host:port/database` */
  readonly url: string;
  readonly ssl?:
    | boolean
    | { readonly ca?: string | undefined; readonly cert?: string | undefined; readonly key?: string | undefined }
    | undefined;
  /** `schema.table`, of a-z, 0-9 and _ alone. */
  readonly table: string;
}

export interface PostgresOutput extends RestoreOutput {
  /** Resolves when all rows are committed. */
  finish(): Promise<void>;
  /** Rows made, and events that were there. */
  rows(): { readonly inserted: number; readonly there: number };
  close(): Promise<void>;
}

const batchRows = 500;

interface Row {
  readonly source: string;
  readonly id: string;
  readonly type: string | null;
  readonly time: string;
  readonly line: string;
}

/** @throws DaybookError `database_failed` */
export async function openPostgresOutput({ url, ssl = false, table }: PostgresTarget): Promise<PostgresOutput> {
  const tls =
    typeof ssl === 'boolean' ? ssl : Object.fromEntries(Object.entries(ssl).filter(([, text]) => text !== undefined));
  const client = new pg.Client({ connectionString: url, ssl: tls, application_name: 'daybook-restore' });
  // An idle connection that breaks is told by the next query.
  client.on('error', () => {});
  let batch: Row[] = [];
  let inserted = 0;
  let there = 0;

  async function query(text: string, values: unknown[] = []): Promise<number> {
    try {
      return (await client.query(text, values)).rowCount ?? 0;
    } catch (cause) {
      throw failed(cause);
    }
  }

  async function flush(): Promise<void> {
    if (batch.length === 0) return;
    const rows = batch;
    batch = [];
    const columns = (['source', 'id', 'type', 'time', 'line'] as const).map((name) => rows.map((row) => row[name]));
    // One statement is one transaction.
    const made = await query(
      `INSERT INTO ${table} (source, id, type, time, event)
       SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::json[]) ON CONFLICT DO NOTHING`,
      columns,
    );
    inserted += made;
    there += rows.length - made;
    // Dies here: these rows are there; restoring again passes over them.
  }

  try {
    await client.connect();
  } catch (cause) {
    throw failed(cause);
  }
  const [schema] = table.split('.');
  await query(`CREATE SCHEMA IF NOT EXISTS ${schema}`);
  // json keeps the line's text as it is; jsonb would write numbers in its own way.
  await query(
    `CREATE TABLE IF NOT EXISTS ${table} (source text NOT NULL, id text NOT NULL, type text, time timestamptz NOT NULL,
       event json NOT NULL, PRIMARY KEY (source, id))`,
  );
  return {
    async write(lines, source) {
      for (let start = 0, end = 0; start < lines.length; start = end + 1) {
        end = lines.indexOf(0x0a, start);
        batch.push(rowOf(lines.toString('utf8', start, end), source));
        if (batch.length >= batchRows) await flush();
      }
    },
    finish: flush,
    rows: () => ({ inserted, there }),
    close: () => client.end(),
  };
}

function rowOf(line: string, source: string): Row {
  const event = JSON.parse(line) as Record<string, unknown>;
  const { id, type, created, time } = event;
  const at = isCloudEventLine(event) ? time : created;
  const instant = typeof at === 'number' ? new Date(at * 1000).toISOString() : String(at);
  return { source, id: String(id), type: typeof type === 'string' ? type : null, time: instant, line };
}

/** The message names no password: pg quotes none. */
function failed(cause: unknown): DaybookError {
  return new DaybookError('database_failed', { detail: messageOf(cause), cause });
}
