/** The configuration of ingest's commands: settings, and what has to be looked up to know that they are sound. */
import { type Configuration, readEnvironment, readSettings, type SettingName } from '../shared/config.ts';
import type { SecretFile } from '../shared/doctor/check-files.ts';
import { resolveSecrets } from '../shared/schemes/secrets.ts';
import { secretFilesOf } from '../shared/secret-files.ts';
import type { ResolvedSource } from './schemes/resolved-source.ts';
import { requestSettings, serveSettings, spoolSettings } from './settings.ts';
import { checkSpool, spoolTypes } from './spool/open-spool.ts';

interface SourcesConfiguration<N extends SettingName> {
  readonly settings: Configuration<N>;
  readonly sources: readonly ResolvedSource[];
}

/** Throws `configuration_invalid` that names every problem at once, secrets that cannot be had among them. */
export function readServeConfiguration(): SourcesConfiguration<(typeof serveSettings)[number]> {
  return readSources(readEnvironment(process.env, process.cwd()), serveSettings);
}

export interface DoctorConfiguration extends SourcesConfiguration<(typeof serveSettings)[number]> {
  readonly secretFiles: readonly SecretFile[];
}

/** What `serve` runs on, and the files that its secrets are in. Throws the same. */
export function readDoctorConfiguration(): DoctorConfiguration {
  const environment = readEnvironment(process.env, process.cwd());
  const read = readSources(environment, serveSettings);
  const references = read.settings.DAYBOOK_SOURCES.flatMap(({ secrets }, index) =>
    secrets.map((reference, at) => ({ where: `DAYBOOK_SOURCES[${index}].secrets[${at}]`, reference })),
  );
  return { ...read, secretFiles: secretFilesOf(environment, process.cwd(), serveSettings, references) };
}

/** What has to be known to judge a captured request. Throws the same. */
export function readRequestConfiguration(): SourcesConfiguration<(typeof requestSettings)[number]> {
  return readSources(readEnvironment(process.env, process.cwd()), requestSettings);
}

function readSources<N extends SettingName>(
  environment: ReturnType<typeof readEnvironment>,
  names: readonly (N | 'DAYBOOK_SOURCES')[],
): SourcesConfiguration<N | 'DAYBOOK_SOURCES'> {
  let sources: readonly ResolvedSource[] = [];
  const settings = readSettings<SettingName>(environment, names, (sound, problems) => {
    if (sound.INGEST_SPOOL !== undefined) checkSpool(sound.INGEST_SPOOL, spoolTypes, problems);
    sources = (sound.DAYBOOK_SOURCES ?? []).map((source, index) => ({
      source,
      secrets: resolveSecrets(source.secrets, `DAYBOOK_SOURCES[${index}].secrets`, environment, problems),
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
