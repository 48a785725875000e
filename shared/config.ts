/**
 * Configuration, declared once: name, meaning, default, whether it holds a secret, and how its text is read. The
 * The table in shared/README.md is held equal to `settings` by test/house/docs.test.ts. Nothing here opens a socket or a store.
 */
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { z } from 'zod';
import { addressRange } from './address-list.ts';
import { type PasswordHash, parsePasswordHash } from './crypto/password-hash.ts';
import { kmsSetting } from './crypto/signing.ts';
import { minKeyCharacters, parseStreamKeys, type StreamKeys } from './crypto/stream-seal.ts';
import { DaybookError } from './errors.ts';
import { readTextFile, withoutByteOrderMark } from './files/read-text.ts';
import { jobScheduleSchema } from './job-schedule.ts';
import { notifySchema, webhookSecret } from './notify-settings.ts';
import { postgresSchema } from './postgres-settings.ts';
import { redactionSchema } from './redaction.ts';
import { schemeNames } from './schemes/schemes.ts';
import { sourcesSchema } from './schemes/sources.ts';
import { unknownNames, withoutServices } from './setting-names.ts';
import { inPlainWords, json, jsonOrPath, notJson, pem, placeAmong, textOrPath, whole } from './setting-shapes.ts';
import { storeSchema, stores } from './store/stores.ts';
import { streamSchema, streams } from './stream/streams.ts';
import { timestampsSchema, witnessesSchema } from './witness-settings.ts';

type Environment = Readonly<Record<string, string | undefined>>;

interface Setting<T> {
  /** Which program uses it. */
  readonly of: 'both' | 'ingest' | 'compactor';
  readonly meaning: string;
  /** The text that stands for an unset variable; `required` where there is none, `optional` where unset has a meaning. */
  readonly default: string | typeof required | typeof optional;
  /** A secret's variable also exists as NAME_FILE. */
  readonly secret?: boolean;
  readonly schema: z.ZodType<T, string | undefined>;
}

const required = Symbol('required');
const optional = Symbol('optional');

const port = whole(0, 65_535);

/** Younger days may still be on Stripe's list, and so not settled. */
export const minPruneDays = 31;
export const maxPruneDays = 36_500;
const host = z.string().min(1, 'is empty');
/** A URL of http or https with a host and a port alone, without the slash behind. */
const adminOrigin = z
  .string()
  .refine((text) => {
    if (!URL.canParse(text)) return false;
    const { protocol, pathname, search, hash, username, password } = new URL(text);
    return /^https?:$/.test(protocol) && pathname === '/' && `${search}${hash}${username}${password}` === '';
  }, 'must be URLs with a host and a port alone, such as http://127.0.0.1:9464')
  .transform((text) => new URL(text).origin);

/** Apart by white space or commas. */
const words = z.string().transform((text) => text.split(/[\s,]+/).filter((word) => word !== ''));
const proxies = words.pipe(z.array(addressRange).min(1, 'names nobody'));
const passwordHash = z.string().transform((text, context): PasswordHash => {
  const hash = parsePasswordHash(text);
  if (hash !== undefined) return hash;
  const message = 'is no hash of the form $scrypt$ln=15,r=8,p=1$…$…. Make one: node compactor/main.ts hash-password';
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
});

/** Which types there are and what params each takes is said by ingest/spool/open-spool.ts. */
const spoolSchema = z.strictObject({
  type: z.string(),
  params: z.record(z.string(), z.unknown()).optional(),
});
export type SpoolSettings = z.infer<typeof spoolSchema>;

// Private keys too: they are refused by what they are, not as a file that is not there.
const recipientsText = textOrPath(/^\s*(?:#|age1|ssh-rsa |-----BEGIN |AGE-(?:SECRET-KEY|PLUGIN)-)/);
export const settings = {
  DAYBOOK_DATA_DIR: setting({
    of: 'both',
    meaning: 'Folder of the embedded stream, of staging, and of the public keys that ingest took.',
    default: './data',
    schema: z.string().min(1, 'is empty'),
  }),
  DAYBOOK_SOURCES: setting({
    of: 'both',
    meaning: `Who sends: JSON array of sources, each of one scheme (${schemeNames.map((name) => `\`${name}\``).join(', ')}), or the path of a file with it.`,
    default: required,
    secret: true,
    schema: jsonOrPath(/^\s*[[{]/, sourcesSchema),
  }),
  DAYBOOK_STREAM: setting({
    of: 'both',
    meaning: `The stream: ${anyOf(streams)}.`,
    default: '{"type":"embedded"}',
    secret: true,
    schema: json(streamSchema),
  }),
  DAYBOOK_STORE: setting({
    of: 'compactor',
    meaning: `The archive: ${anyOf(stores)}.`,
    default: '{"type":"directory"}',
    schema: json(storeSchema),
  }),
  DAYBOOK_REPLICA_STORE: setting({
    of: 'compactor',
    meaning:
      'A second store, to which `replicate` copies the archive: as DAYBOOK_STORE, with the same prefix, best in another region and another account.',
    default: optional,
    schema: json(storeSchema),
  }),
  DAYBOOK_DAY_PATH: setting({
    of: 'compactor',
    meaning: "Folders of a day below the source's, from `%Y`, `%m` and `%d` of the event day.",
    default: '%Y/%m/%d',
    schema: z
      .string()
      .regex(/^(?:[\w.=-]|%[Ymd])+(?:\/(?:[\w.=-]|%[Ymd])+)*$/, 'may hold letters, digits, - _ . = / and %Y %m %d')
      .refine((text) => !text.split('/').some((part) => part === '.' || part === '..'), 'has a . or .. part'),
  }),
  STRIPE_API_BASE: setting({
    of: 'compactor',
    meaning: "Base URL of Stripe's API: https, or http on loopback only.",
    default: 'https://api.stripe.com',
    schema: z
      .url('is not a URL')
      .transform((text) => new URL(text))
      .refine(
        ({ protocol, hostname }) =>
          protocol === 'https:' || (protocol === 'http:' && /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname)),
        'must be https, or http on loopback',
      )
      .refine(
        ({ pathname, search, hash, username }) => pathname === '/' && !search && !hash && !username,
        'may name only a host and a port',
      ),
  }),
  DAYBOOK_STREAM_KEY: setting({
    of: 'both',
    meaning:
      'Key that seals stream records, 32 characters at least; several, for rotation, apart by white space: the first seals, all open. Unset: records are taken as they are, whoever wrote them.',
    default: optional,
    secret: true,
    schema: z.string().transform((text, context): StreamKeys => {
      const keys = parseStreamKeys(text);
      if (keys !== undefined) return keys;
      context.addIssue({ code: 'custom', message: `must be keys of ${minKeyCharacters} characters or more each` });
      return z.NEVER;
    }),
  }),
  LOG_LEVEL: setting({
    of: 'both',
    meaning: 'Least level logged: `trace`, `debug`, `info`, `warn`, `error`, `fatal` or `silent`.',
    default: 'info',
    schema: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
  }),
  INGEST_HOST: setting({
    of: 'ingest',
    meaning: 'Address of the public listener.',
    default: '127.0.0.1',
    schema: host,
  }),
  INGEST_PORT: setting({
    of: 'ingest',
    meaning: 'Port of the public listener; 0: any free one.',
    default: '8080',
    schema: port,
  }),
  INGEST_ADMIN_HOST: setting({
    of: 'ingest',
    meaning: 'Address of the admin listener (metrics).',
    default: '127.0.0.1',
    schema: host,
  }),
  INGEST_ADMIN_PORT: setting({
    of: 'ingest',
    meaning: 'Port of the admin listener; 0: any free one.',
    default: '9464',
    schema: port,
  }),
  INGEST_TRUSTED_PROXIES: setting({
    of: 'ingest',
    meaning:
      'Addresses and CIDR ranges of proxies, apart by white space or commas: the last address of `X-Forwarded-For` that is none of them is the caller. Unset: the caller is who opened the connection.',
    default: optional,
    schema: proxies,
  }),
  INGEST_MAX_BODY_BYTES: setting({
    of: 'ingest',
    meaning: 'Largest body taken, in bytes.',
    default: '1048576',
    schema: whole(1024, 8 * 1024 * 1024),
  }),
  INGEST_PUBLISH_DEADLINE_MS: setting({
    of: 'ingest',
    meaning: "How long a request waits for the stream's acknowledgement before the spool takes the event.",
    default: '5000',
    schema: whole(1, 25_000),
  }),
  INGEST_SPOOL: setting({
    of: 'ingest',
    meaning: 'Where records wait while the stream is down: `{"type":"file"|"memory"|"sql"|"module","params":{…}}`.',
    default: '{"type":"file"}',
    secret: true,
    schema: json(spoolSchema),
  }),
  DAYBOOK_READERS_STREAM: setting({
    of: 'ingest',
    meaning:
      'Where `redact` writes what readers may see: as DAYBOOK_STREAM, and another stream than that. An embedded one is in `readers` in the data directory.',
    default: required,
    secret: true,
    schema: json(streamSchema),
  }),
  DAYBOOK_READERS_DEAD_LETTERS: setting({
    of: 'ingest',
    meaning:
      'Where `redact` tells the records that it does not pass on, by position and reason: as DAYBOOK_STREAM, and a third one. Unset: `redact/dead-letters.jsonl` in the data directory.',
    default: optional,
    secret: true,
    schema: json(streamSchema),
  }),
  DAYBOOK_REDACTION: setting({
    of: 'ingest',
    meaning:
      'What `redact` removes, hashes, truncates or keeps: `{"defaults":true,"rules":[{"source":…,"type":…,"keep":[…],"hash":[…],"truncate":{…},"remove":[…]}]}`, or the path of a file with it.',
    default: '{"defaults":true}',
    schema: jsonOrPath(/^\s*\{/, redactionSchema),
  }),
  DAYBOOK_REDACTION_KEY: setting({
    of: 'ingest',
    meaning:
      'Key of the hashes of `redact`, 32 characters at least: equal values stay equal under one key. Unset: no rule may hash.',
    default: optional,
    secret: true,
    schema: z
      .string()
      .min(minKeyCharacters, `has fewer than ${minKeyCharacters} characters. Make one: openssl rand -hex 32`),
  }),
  COMPACTOR_RECIPIENTS: setting({
    of: 'compactor',
    meaning:
      'Who can open the archive: age recipients (`age1…`, `ssh-rsa …`, or an RSA public key PEM), or the path of a file with them.',
    default: required,
    schema: recipientsText,
  }),
  COMPACTOR_SIGNING_KEY: setting({
    of: 'compactor',
    meaning:
      'Ed25519 private key that signs manifests, PKCS#8 PEM; or where it is in AWS KMS: `awskms:///<key id, ARN or alias/name>`.',
    default: required,
    secret: true,
    schema: z.union([z.string().regex(pem), z.string().regex(kmsSetting)], 'is neither PEM nor awskms:///<key>'),
  }),
  COMPACTOR_VERIFYING_KEYS: setting({
    of: 'compactor',
    meaning:
      "Ed25519 public keys, PEM, one after the other, or a path; the signing key's public half always counts, unless it is in a KMS.",
    default: optional,
    schema: textOrPath(pem),
  }),
  COMPACTOR_BACKUP_RECIPIENTS: setting({
    of: 'compactor',
    meaning:
      'Who can open what `backup-secrets` seals: as COMPACTOR_RECIPIENTS, and rather others than those, for the keys that sign are in it.',
    default: optional,
    schema: recipientsText,
  }),
  COMPACTOR_TIMESTAMPS: setting({
    of: 'compactor',
    meaning:
      'Time stamp authority (RFC 3161) that sees each newest manifest: `{"url":"https://…","roots":…}`, roots as PEM or a path. Without `url` it is believed and not asked.',
    default: optional,
    schema: json(timestampsSchema),
  }),
  COMPACTOR_WITNESSES: setting({
    of: 'compactor',
    meaning:
      'Witnesses (C2SP) of the log of manifests: `{"origin":"example.com/daybook","witnesses":[{"url":"https://…","key":"name+id+…"}]}`. Without `url` one is believed and not asked.',
    default: optional,
    schema: json(witnessesSchema),
  }),
  COMPACTOR_REPLAY_SECRET: setting({
    of: 'compactor',
    meaning:
      'Signs what `restore --to-url` sends, by Standard Webhooks: `whsec_` and base64. Rather none that a sender has.',
    default: required,
    secret: true,
    schema: webhookSecret,
  }),
  COMPACTOR_POSTGRES: setting({
    of: 'compactor',
    meaning:
      'Where `restore --to-postgres` writes: `{"url":"postgres://user:password@host/database","ssl":…,"table":"daybook.events"}`.',
    default: required,
    secret: true,
    schema: json(postgresSchema),
  }),
  COMPACTOR_LAG_SECONDS: setting({
    of: 'compactor',
    meaning: 'A UTC day is closed this long after its end; nothing younger is listed.',
    default: '3600',
    schema: whole(60, 86_400),
  }),
  COMPACTOR_WORKER: setting({
    of: 'compactor',
    meaning:
      'Which worker of how many this is, where several make a night together: `0/4` to `3/4`. Unset: it makes the night alone.',
    default: optional,
    schema: placeAmong(64),
  }),
  COMPACTOR_WORKER_WAIT_SECONDS: setting({
    of: 'compactor',
    meaning: 'How long a worker waits for the others, at each point where it needs what they have.',
    default: '3600',
    schema: whole(5, 86_400),
  }),
  COMPACTOR_PUBLISH_RECOVERED: setting({
    of: 'compactor',
    meaning: "Whether events recovered from Stripe's list go out to the stream too, once archived: `true` or `false`.",
    default: 'false',
    schema: z.enum(['true', 'false']).transform((text) => text === 'true'),
  }),
  COMPACTOR_EVIDENCE_DAYS: setting({
    of: 'compactor',
    meaning: 'Age in days beyond which `prune` deletes deliveries, 31 at least; unset: they are kept.',
    default: optional,
    schema: whole(minPruneDays, maxPruneDays),
  }),
  COMPACTOR_EVENT_DAYS: setting({
    of: 'compactor',
    meaning: 'The same for events. Their ids are always kept.',
    default: optional,
    schema: whole(minPruneDays, maxPruneDays),
  }),
  COMPACTOR_RUN_HOUR_UTC: setting({
    of: 'compactor',
    meaning: 'Hour of the nightly run, UTC.',
    default: '3',
    schema: whole(0, 23),
  }),
  COMPACTOR_ENABLED: setting({
    of: 'compactor',
    meaning: 'Whether the nightly run takes place: `true` or `false`.',
    default: 'true',
    schema: z.enum(['true', 'false']).transform((text) => text === 'true'),
  }),
  COMPACTOR_SCHEDULE: setting({
    of: 'compactor',
    meaning:
      'What `serve` runs beside its nights: `{"replicate":"after run","verify":"0 6 * * 0","prune":{"when":"0 7 1 * *","options":["--apply"]}}`, of each job one entry or a list of them; `when` is `after run`, or five fields of a crontab, UTC.',
    default: '{}',
    schema: json(jobScheduleSchema),
  }),
  COMPACTOR_NOTIFY: setting({
    of: 'compactor',
    meaning:
      'Who is told when a job ends otherwise than before: `[{"url":…,"format":"slack"|"cloudevent","secret":"whsec_…"}]`; with a secret signed as Standard Webhooks.',
    default: '[]',
    secret: true,
    schema: json(notifySchema),
  }),
  COMPACTOR_JOB_SECRET: setting({
    of: 'compactor',
    meaning: 'Secret of the job endpoints, 16 characters at least; unset: they answer 403.',
    default: optional,
    secret: true,
    schema: z.string().min(16, 'has fewer than 16 characters. Make one: openssl rand -base64 32'),
  }),
  COMPACTOR_JOB_LIMIT_SECONDS: setting({
    of: 'compactor',
    meaning: 'How long `serve` lets a job run, a night too, before it ends it.',
    default: '43200',
    schema: whole(60, 7 * 86_400),
  }),
  COMPACTOR_HOST: setting({
    of: 'compactor',
    meaning: 'Address of the console and the job endpoints.',
    default: '127.0.0.1',
    schema: host,
  }),
  COMPACTOR_PORT: setting({ of: 'compactor', meaning: 'Their port; 0: any free one.', default: '8081', schema: port }),
  COMPACTOR_INGESTS: setting({
    of: 'compactor',
    meaning:
      'Admin listeners of the ingests whose figures the console tells: URLs apart by white space or commas; empty: none.',
    default: 'http://127.0.0.1:9464',
    schema: words.pipe(z.array(adminOrigin).max(32, 'has more than 32')),
  }),
  COMPACTOR_CONSOLE_PASSWORD: setting({
    of: 'compactor',
    meaning:
      'Who logs in to the console with it reads and acts: its scrypt hash, as `node compactor/main.ts hash-password` prints it. With none of the three that log people in, the console is open on this machine alone.',
    default: optional,
    secret: true,
    schema: passwordHash,
  }),
  COMPACTOR_CONSOLE_READER_PASSWORD: setting({
    of: 'compactor',
    meaning: 'The same for those who read alone.',
    default: optional,
    secret: true,
    schema: passwordHash,
  }),
  COMPACTOR_CONSOLE_USER_HEADER: setting({
    of: 'compactor',
    meaning:
      'Header in which a proxy that logs people in names who asks, such as `X-Forwarded-User`: believed of COMPACTOR_TRUSTED_PROXIES alone, and the proxy must remove what others send.',
    default: optional,
    schema: z
      .string()
      .regex(/^[\w-]+$/, 'is no name of a header')
      .transform((name) => name.toLowerCase()),
  }),
  COMPACTOR_CONSOLE_ACTORS: setting({
    of: 'compactor',
    meaning: 'Which of them act, apart by white space or commas; all others read.',
    default: optional,
    schema: words,
  }),
  COMPACTOR_CONSOLE_HOSTS: setting({
    of: 'compactor',
    meaning:
      'Host names by which browsers reach the console, apart by white space or commas; addresses and `localhost` need not be named.',
    default: optional,
    schema: words.transform((names) => names.map((name) => name.toLowerCase())),
  }),
  COMPACTOR_TRUSTED_PROXIES: setting({
    of: 'compactor',
    meaning:
      'As INGEST_TRUSTED_PROXIES, of the console: they say who calls, and by `X-Forwarded-Proto` whether over TLS.',
    default: optional,
    schema: proxies,
  }),
  COMPACTOR_ADMIN_HOST: setting({
    of: 'compactor',
    meaning: 'Address of the admin listener (metrics).',
    default: '127.0.0.1',
    schema: host,
  }),
  COMPACTOR_ADMIN_PORT: setting({
    of: 'compactor',
    meaning: 'Its port; 0: any free one.',
    default: '9465',
    schema: port,
  }),
};

/** The forms of a setting that names a driver. */
function anyOf(drivers: Readonly<Record<string, { readonly example: string }>>): string {
  return Object.values(drivers)
    .map(({ example }) => example)
    .join(' or ');
}

function setting<T, D extends Setting<T>['default']>(
  declared: Setting<T> & { default: D },
): Setting<T> & { default: D } {
  return declared;
}

type Settings = typeof settings;
export type SettingName = keyof Settings;
type ValueOf<S> = S extends Setting<infer T> & { default: infer D }
  ? D extends typeof optional
    ? T | undefined
    : T
  : never;
export type Configuration<N extends SettingName> = { readonly [K in N]: ValueOf<Settings[K]> };

/** The environment, without what Kubernetes put there, with the `.env` file of the working directory below it. */
export function readEnvironment(environment: Environment, directory: string): Environment {
  let text: string;
  try {
    text = readTextFile(join(directory, '.env'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return withoutServices(environment);
    throw new DaybookError('configuration_invalid', { detail: '.env is there but cannot be read', cause: error });
  }
  return { ...parseEnv(text), ...withoutServices(environment) };
}

/**
 * The settings that a command uses, checked all at once. Throws one `configuration_invalid` that names every problem,
 * unknown names of the program's prefixes among them. A problem never quotes the value. `check` adds the problems that
 * only the command can find, of the settings that are sound in themselves.
 */
export function readSettings<N extends SettingName>(
  environment: Environment,
  names: readonly N[],
  check?: (sound: Partial<Configuration<N>>, problems: string[]) => void,
): Configuration<N> {
  const problems = unknownNames(environment, knownNames());
  const values: Partial<Record<SettingName, unknown>> = {};
  for (const name of names) {
    const declared: Setting<unknown> = settings[name];
    const read = readText(environment, name, declared, problems);
    if (read === undefined) continue;
    const parsed = declared.schema.safeParse(read.text, { error: inPlainWords });
    if (parsed.success) values[name] = parsed.data;
    else for (const issue of parsed.error.issues) problems.push(problemOf(name, issue, read.file));
  }
  check?.(values as Partial<Configuration<N>>, problems);
  refuseProblems(problems);
  return values as Configuration<N>;
}

/** Throws one `configuration_invalid` that names every problem, if there is any. */
export function refuseProblems(problems: readonly string[]): void {
  if (problems.length > 0) throw new DaybookError('configuration_invalid', { detail: problems.join('\n') });
}

/** What a setting's default is, for the table in shared/README.md. */
export function defaultOf(name: SettingName): string | 'required' | 'unset' {
  const value: Setting<unknown>['default'] = settings[name].default;
  if (value === required) return 'required';
  return value === optional ? 'unset' : (value as string);
}

interface SettingText {
  readonly text: string;
  /** Where NAME_FILE named it. */
  readonly file?: string;
}

function readText(
  environment: Environment,
  name: string,
  declared: Setting<unknown>,
  problems: string[],
): SettingText | undefined {
  const given = environment[name];
  const path = declared.secret === true ? environment[`${name}_FILE`] : undefined;
  if (given !== undefined && path !== undefined) {
    problems.push(`${name}: is given twice, as itself and as ${name}_FILE`);
    return undefined;
  }
  if (path !== undefined) {
    try {
      return { text: readTextFile(path).trim(), file: path };
    } catch (error) {
      problems.push(`${name}_FILE: cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unreadable'})`);
      return undefined;
    }
  }
  if (given !== undefined) return { text: withoutByteOrderMark(given) };
  if (declared.default === required) problems.push(`${name}: is required. ${declared.meaning}`);
  return typeof declared.default === 'string' ? { text: declared.default } : undefined;
}

function knownNames(): Set<string> {
  const known = new Set<string>(Object.keys(settings));
  for (const [name, declared] of Object.entries(settings)) {
    if ((declared as Setting<unknown>).secret === true) known.add(`${name}_FILE`);
  }
  return known;
}

function problemOf(name: string, issue: z.core.$ZodIssue, file: string | undefined): string {
  const where = issue.path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('');
  const isOfFile = file !== undefined && issue.message.startsWith(notJson);
  return `${name}${where}: ${isOfFile ? `the file ${file} ` : ''}${issue.message}`;
}
