/** The configuration of ingest's commands: settings, and what has to be looked up to know that they are sound. */
import { type Configuration, readEnvironment, readSettings, type SettingName } from '../shared/config.ts';
import { resolveSecrets } from '../shared/secrets.ts';
import type { ResolvedSource } from './serve.ts';
import { checkSpool, spoolTypes } from './spool/open-spool.ts';

const serveSettings = [
  'DAYBOOK_DATA_DIR',
  'DAYBOOK_SOURCES',
  'DAYBOOK_STREAM',
  'LOG_LEVEL',
  'INGEST_HOST',
  'INGEST_PORT',
  'INGEST_ADMIN_HOST',
  'INGEST_ADMIN_PORT',
  'INGEST_MAX_BODY_BYTES',
  'INGEST_PUBLISH_DEADLINE_MS',
  'INGEST_SPOOL',
] as const satisfies readonly SettingName[];

const spoolSettings = ['DAYBOOK_DATA_DIR', 'LOG_LEVEL', 'INGEST_SPOOL'] as const satisfies readonly SettingName[];

/** Throws `configuration_invalid` that names every problem at once, secrets that cannot be had among them. */
export function readServeConfiguration(): {
  readonly settings: Configuration<(typeof serveSettings)[number]>;
  readonly sources: readonly ResolvedSource[];
} {
  const environment = readEnvironment(process.env, process.cwd());
  let sources: readonly ResolvedSource[] = [];
  const settings = readSettings(environment, serveSettings, (sound, problems) => {
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
