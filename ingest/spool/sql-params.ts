/** The params of a spool of type sql, and the connection that they name. */
import { z } from 'zod';
import { tlsParams } from '../../shared/setting-shapes.ts';

const parts = ['host', 'port', 'database', 'user', 'password'] as const;

/** Either `url` or its parts. A password is never part of a problem. */
export const sqlParams = z
  .strictObject({
    /** `postgres://user:password@host:port/database`, special characters percent-encoded. */
    url: z.string().optional(),
    /** A name, an address, or the folder of a Unix socket. */
    host: z.string().min(1, 'is empty').optional(),
    port: z.int('is not a port').min(1, 'is not a port').max(65_535, 'is not a port').optional(),
    database: z.string().min(1, 'is empty').optional(),
    user: z.string().min(1, 'is empty').optional(),
    password: z.string().min(1, 'is empty').optional(),
    ssl: tlsParams.optional(),
    /** The schema that holds the tables. Ingests that name the same one share one spool. */
    schema: z
      .string()
      .regex(/^(?!pg_)[a-z_][a-z0-9_]{0,62}$/, 'must be 1 to 63 of a-z, 0-9 and _, not begin with a digit or pg_')
      .default('daybook'),
    /** Whether the tables are made and brought up to date at the start; else by hand, from the files in ingest/spool/sql. */
    migrate: z.boolean().default(true),
  })
  .superRefine((params, context) => {
    const problem = (name: string, message: string) => context.addIssue({ code: 'custom', path: [name], message });
    if (params.url === undefined) {
      for (const name of ['host', 'database', 'user'] as const) {
        if (params[name] === undefined) problem(name, 'is required where there is no url');
      }
      return;
    }
    for (const name of parts) {
      if (params[name] !== undefined) problem(name, 'is given twice: it is part of the url');
    }
    const wrong = problemOfUrl(params.url);
    if (wrong !== undefined) problem('url', wrong);
  });
export type SqlParams = z.infer<typeof sqlParams>;

export interface SqlAddress {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password: string | undefined;
}

export function addressOf({ url, host, port, database, user, password }: SqlParams): SqlAddress {
  if (url === undefined) return { host: host!, port: port ?? 5432, database: database!, user: user!, password };
  const parsed = new URL(url);
  const text = decodeURIComponent(parsed.password);
  return {
    // An IPv6 address is in brackets there.
    host: decodeURIComponent(parsed.hostname).replace(/^\[(.*)\]$/, '$1'),
    port: Number(parsed.port || 5432),
    database: decodeURIComponent(parsed.pathname.slice(1)),
    user: decodeURIComponent(parsed.username),
    password: text === '' ? undefined : text,
  };
}

function problemOfUrl(text: string): string | undefined {
  try {
    const { protocol, hostname, pathname, username, password, search, hash } = new URL(text);
    for (const part of [hostname, pathname, username, password]) decodeURIComponent(part);
    if (protocol !== 'postgres:' && protocol !== 'postgresql:') return 'must begin with postgres://';
    if (hostname === '' || username === '' || !/^\/[^/]+$/.test(pathname)) {
      return 'must name a user, a host and a database: postgres://user:password@host:port/database';
    }
    if (search !== '' || hash !== '') return 'may have nothing after the database: TLS is the parameter ssl beside url';
    return undefined;
  } catch {
    return 'is not a URL; special characters in its parts are percent-encoded';
  }
}
