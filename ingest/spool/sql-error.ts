/** What a failure of PostgreSQL or of the way to it means for the spool's user. */
import { DaybookError, messageOf } from '../../shared/errors.ts';
import type { SqlAddress } from './sql-params.ts';

interface Meaning {
  readonly detail: string;
  readonly hint: string;
  /** Whether it may pass by itself. */
  readonly retry: boolean;
}

/** What was asked of the database, as its error codes tell. https://www.postgresql.org/docs/current/errcodes-appendix.html */
function refusalOf(code: string, { user, database }: SqlAddress): Meaning | undefined {
  switch (code) {
    case '28P01':
      return {
        detail: `the database refuses the password of user ${user}`,
        hint: 'Compare user and password of INGEST_SPOOL with what the database knows.',
        retry: false,
      };
    case '28000':
      return {
        detail: `the database does not let user ${user} in`,
        hint: 'See pg_hba.conf: it may ask for TLS (params.ssl), for another user, or not know this address.',
        retry: false,
      };
    case '3D000':
      return {
        detail: `there is no database ${database}`,
        hint: 'Create it, or mend its name in INGEST_SPOOL.',
        retry: false,
      };
    case '42501':
      return {
        detail: `user ${user} may not do what the spool needs`,
        hint: 'Let it own the schema, or grant it what ingest/spool/sql/001-spool.sql says.',
        retry: false,
      };
    case '25006':
      return {
        detail: 'the database is read-only',
        hint: 'Name the primary in INGEST_SPOOL: a standby takes no writes.',
        retry: true,
      };
    case '42P01':
    case '3F000':
    case '42703':
      return {
        detail: 'the tables of the spool are missing, or are not those of this version',
        hint: 'Run what ingest/spool/sql holds, or leave migrate out, and start again.',
        retry: true,
      };
    default:
      return undefined;
  }
}

/**
 * `spool_full` where the database's disk is full, else `spool_unavailable`. Holds no password and no content: of the
 * database's error the message and the code are kept, not its details, which may quote a row.
 */
export function sqlErrorOf(error: unknown, address: SqlAddress): DaybookError {
  if (error instanceof DaybookError) return error;
  const code = String((error as { code?: unknown }).code ?? '');
  const reason = reasonOf(error);
  const cause = Object.assign(new Error(reason), code === '' ? {} : { code });
  if (code === '53100') return new DaybookError('spool_full', { detail: 'the disk of the database is full', cause });
  const refusal = refusalOf(code, address);
  if (refusal !== undefined) {
    return new DaybookError('spool_unavailable', { ...refusal, detail: `${refusal.detail}: ${reason}`, cause });
  }
  const where = `${address.host}:${address.port}`;
  if (/client password must be a/.test(reason)) {
    return new DaybookError('spool_unavailable', {
      detail: `the database asks for a password of user ${address.user}`,
      hint: 'Give it in INGEST_SPOOL, in url or as password.',
      retry: false,
      cause,
    });
  }
  if (/does not support SSL/.test(reason)) {
    return new DaybookError('spool_unavailable', {
      detail: `the database at ${where} does not speak TLS`,
      hint: 'Switch ssl on there, or leave ssl out of INGEST_SPOOL.',
      retry: false,
      cause,
    });
  }
  if (/CERT|ERR_TLS|ERR_SSL|ERR_OSSL|EPROTO|SELF_SIGNED|UNABLE_TO/.test(code)) {
    return new DaybookError('spool_unavailable', {
      detail: `no TLS with ${where}: ${reason}`,
      hint: 'Give ssl.ca in INGEST_SPOOL where the database has an authority of its own, and the host name that is in its certificate.',
      retry: false,
      cause,
    });
  }
  // SQLSTATE: of the database itself. 57014: it gave up what took too long.
  if (/^[0-9A-Z]{5}$/.test(code)) {
    return new DaybookError('spool_unavailable', { detail: `the database failed: ${reason} (${code})`, cause });
  }
  return new DaybookError('spool_unavailable', {
    detail: `no answer from the database at ${where}: ${reason}`,
    hint: 'See whether it runs and can be reached. The sender repeats after Retry-After.',
    cause,
  });
}

/** An error of several attempts, one for each address of a name, has no message of its own. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join('; ');
  return messageOf(error);
}
