/** Which settings ingest's commands use: they read these, and their help names them. */
import type { SettingName } from '../shared/config.ts';

export const serveSettings = [
  'DAYBOOK_DATA_DIR',
  'DAYBOOK_SOURCES',
  'DAYBOOK_STREAM',
  'DAYBOOK_STREAM_KEY',
  'LOG_LEVEL',
  'INGEST_HOST',
  'INGEST_PORT',
  'INGEST_ADMIN_HOST',
  'INGEST_ADMIN_PORT',
  'INGEST_TRUSTED_PROXIES',
  'INGEST_MAX_BODY_BYTES',
  'INGEST_PUBLISH_DEADLINE_MS',
  'INGEST_SPOOL',
] as const satisfies readonly SettingName[];

export const redactSettings = [
  'DAYBOOK_DATA_DIR',
  'DAYBOOK_STREAM',
  'DAYBOOK_STREAM_KEY',
  'DAYBOOK_READERS_STREAM',
  'DAYBOOK_READERS_DEAD_LETTERS',
  'DAYBOOK_REDACTION',
  'DAYBOOK_REDACTION_KEY',
  'LOG_LEVEL',
  'INGEST_ADMIN_HOST',
  'INGEST_ADMIN_PORT',
] as const satisfies readonly SettingName[];

/** To rotate the secrets of a source. */
export const rotateSettings = ['DAYBOOK_SOURCES'] as const satisfies readonly SettingName[];

/** To list them, and to ask an ingest when they were used. */
export const keysSettings = [
  'DAYBOOK_SOURCES',
  'INGEST_ADMIN_HOST',
  'INGEST_ADMIN_PORT',
] as const satisfies readonly SettingName[];

/** To judge a captured request. */
export const requestSettings = ['DAYBOOK_SOURCES', 'INGEST_MAX_BODY_BYTES'] as const satisfies readonly SettingName[];

export const spoolSettings = [
  'DAYBOOK_DATA_DIR',
  'LOG_LEVEL',
  'INGEST_SPOOL',
] as const satisfies readonly SettingName[];
