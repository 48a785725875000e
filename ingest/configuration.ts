/** The configuration of ingest's commands: settings, and what has to be looked up to know that they are sound. */
import { existsSync, readFileSync } from 'node:fs';
import { type Configuration, readEnvironment, readSettings, type SettingName } from '../shared/config.ts';
import type { SecretFile } from '../shared/doctor/check-files.ts';
import type { DaybookError } from '../shared/errors.ts';
import { doesHash } from '../shared/redaction.ts';
import { resolveSecret, type Secret } from '../shared/schemes/secrets.ts';
import type { SecretReference } from '../shared/schemes/source-members.ts';
import { type Source, secretsOf } from '../shared/schemes/sources.ts';
import { type PlacedReference, secretFilesOf } from '../shared/secret-files.ts';
import type { ResolvedSource } from './schemes/resolved-source.ts';
import {
  keysSettings,
  redactSettings,
  requestSettings,
  rotateSettings,
  serveSettings,
  spoolSettings,
} from './settings.ts';
import { checkSpool, spoolTypes } from './spool/open-spool.ts';
import type { SourcesRead } from './watch-sources.ts';

type Environment = ReturnType<typeof readEnvironment>;

interface SourcesConfiguration<N extends SettingName> {
  readonly settings: Configuration<N>;
  readonly sources: readonly ResolvedSource[];
}

export interface ServeConfiguration extends SourcesConfiguration<(typeof serveSettings)[number]> {
  /** Those that the sources and their secrets came from. */
  readonly sourceFiles: readonly string[];
  /** Reads these files again; what the environment and `.env` say stays as it was at the start. */
  readonly readAgain: () => SourcesRead;
}

/** Throws `configuration_invalid` that names every problem at once, secrets that cannot be had among them. */
export function readServeConfiguration(): ServeConfiguration {
  const environment = readEnvironment(process.env, process.cwd());
  const read = readSources(environment, serveSettings);
  const sourceFiles = sourceFilesOf(environment, read.settings.DAYBOOK_SOURCES);
  return { ...read, sourceFiles, readAgain: () => readSourcesAgain(environment) };
}

function readSourcesAgain(environment: Environment): SourcesRead {
  let known: readonly Source[] = [];
  try {
    const { sources } = readSources(environment, ['DAYBOOK_SOURCES'], ({ DAYBOOK_SOURCES: found = [] }) => {
      known = found;
    });
    return { files: sourceFilesOf(environment, known), sources };
  } catch (error) {
    // What is wrong may be a secret of theirs that is not there yet.
    return { files: sourceFilesOf(environment, known), sources: error as DaybookError };
  }
}

function sourceFilesOf(environment: Environment, sources: readonly Source[]): string[] {
  return secretFilesOf(environment, process.cwd(), ['DAYBOOK_SOURCES'], referencesOf(sources))
    .filter(({ name }) => name !== '.env')
    .map(({ path }) => path);
}

function referencesOf(sources: readonly Source[]): PlacedReference[] {
  return sources.flatMap((source, index) =>
    // Public keys are nobody's secret, and are read again by themselves.
    source.scheme === 'cookie'
      ? []
      : source.secrets.map((reference, at) => ({ where: `DAYBOOK_SOURCES[${index}].secrets[${at}]`, reference })),
  );
}

export interface DoctorConfiguration extends SourcesConfiguration<(typeof serveSettings)[number]> {
  /** What `redact` runs on; undefined where DAYBOOK_READERS_STREAM is not set: it does not run then. */
  readonly readers: RedactConfiguration | undefined;
  readonly secretFiles: readonly SecretFile[];
}

/** What `serve` and `redact` run on, and the files that their secrets are in. Throws the same. */
export function readDoctorConfiguration(): DoctorConfiguration {
  const environment = readEnvironment(process.env, process.cwd());
  const isRead = ['DAYBOOK_READERS_STREAM', 'DAYBOOK_READERS_STREAM_FILE'].some((name) => environment[name]);
  const names = isRead ? [...new Set([...serveSettings, ...redactSettings])] : serveSettings;
  const read = readSources<DoctorSettingName>(environment, names, checkHashKey);
  const references = referencesOf(read.settings.DAYBOOK_SOURCES);
  const secretFiles = secretFilesOf(environment, process.cwd(), names, references);
  return { ...read, readers: isRead ? read.settings : undefined, secretFiles };
}

type DoctorSettingName = (typeof serveSettings)[number] | (typeof redactSettings)[number];

export interface KeysConfiguration<N extends SettingName = (typeof keysSettings)[number]> {
  readonly settings: Configuration<N>;
  /** Undefined where the sources are in no file of their own. Its content was read before the settings were. */
  readonly file: { readonly path: string; readonly content: Buffer } | undefined;
  /** The secrets of a source, as far as they can be had here. None of one that is verified with public keys. */
  readonly secretsOf: (source: Source) => PlacedSecret[];
}

export interface PlacedSecret {
  readonly reference: SecretReference;
  readonly secret: Secret | undefined;
}

/** Throws `configuration_invalid`; a secret that cannot be had is not a fault. */
export function readKeysConfiguration(): KeysConfiguration {
  return readKeys(keysSettings);
}

/** The same for a rotation. */
export function readRotateConfiguration(): KeysConfiguration<(typeof rotateSettings)[number]> {
  return readKeys(rotateSettings);
}

function readKeys<N extends SettingName>(names: readonly N[]): KeysConfiguration<N> {
  const environment = readEnvironment(process.env, process.cwd());
  const [path] = sourceFilesOf(environment, []);
  const file = path === undefined || !existsSync(path) ? undefined : { path, content: readFileSync(path) };
  return {
    settings: readSettings(environment, names),
    file,
    secretsOf: (source) =>
      source.scheme === 'cookie'
        ? []
        : source.secrets.map((reference) => ({ reference, secret: resolveSecret(reference, '', environment, []) })),
  };
}

/** What has to be known to judge a captured request. Throws the same. */
export function readRequestConfiguration(): SourcesConfiguration<(typeof requestSettings)[number]> {
  return readSources(readEnvironment(process.env, process.cwd()), requestSettings);
}

function readSources<N extends SettingName>(
  environment: Environment,
  names: readonly (N | 'DAYBOOK_SOURCES')[],
  known?: (sound: Partial<Configuration<SettingName>>, problems: string[]) => void,
): SourcesConfiguration<N | 'DAYBOOK_SOURCES'> {
  let sources: readonly ResolvedSource[] = [];
  const settings = readSettings<SettingName>(environment, names, (sound, problems) => {
    if (sound.INGEST_SPOOL !== undefined) checkSpool(sound.INGEST_SPOOL, spoolTypes, problems);
    known?.(sound, problems);
    sources = (sound.DAYBOOK_SOURCES ?? []).map((source, index) => ({
      source,
      secrets: secretsOf(source, `DAYBOOK_SOURCES[${index}]`, environment, problems),
    }));
  });
  return { settings, sources };
}

/** What a command needs that looks into the spool. Throws `configuration_invalid`. */
export function readSpoolConfiguration(): Configuration<(typeof spoolSettings)[number]> {
  return readSettings(readEnvironment(process.env, process.cwd()), spoolSettings, (sound, problems) => {
    if (sound.INGEST_SPOOL !== undefined) checkSpool(sound.INGEST_SPOOL, spoolTypes, problems);
  });
}

export type RedactConfiguration = Configuration<(typeof redactSettings)[number]>;

/** What `redact` needs. Throws `configuration_invalid`. */
export function readRedactConfiguration(): RedactConfiguration {
  return readSettings<SettingName>(readEnvironment(process.env, process.cwd()), redactSettings, checkHashKey);
}

function checkHashKey(sound: Partial<Configuration<SettingName>>, problems: string[]): void {
  const { DAYBOOK_REDACTION: redaction, DAYBOOK_REDACTION_KEY: key } = sound;
  if (redaction === undefined || key !== undefined || !doesHash(redaction)) return;
  problems.push('DAYBOOK_REDACTION_KEY: is required where a rule of DAYBOOK_REDACTION hashes');
}
