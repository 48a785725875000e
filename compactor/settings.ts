/** Which settings the compactor's commands use: they read these, and their help names them. */
import type { SettingName } from '../shared/config.ts';

/** Of what reads objects without the ledger. */
export const storeSettings = [
  'DAYBOOK_DATA_DIR',
  'DAYBOOK_STORE',
  'LOG_LEVEL',
] as const satisfies readonly SettingName[];

/** Of what reads the archive. */
export const archiveSettings = [...storeSettings, 'COMPACTOR_VERIFYING_KEYS'] as const satisfies readonly SettingName[];

/** Who has seen the archive from outside. */
export const witnessSettings = [
  'COMPACTOR_TIMESTAMPS',
  'COMPACTOR_WITNESSES',
] as const satisfies readonly SettingName[];

export const nightSettings = [
  ...archiveSettings,
  ...witnessSettings,
  'DAYBOOK_SOURCES',
  'DAYBOOK_STREAM',
  'DAYBOOK_STREAM_KEY',
  'DAYBOOK_DAY_PATH',
  'STRIPE_API_BASE',
  'COMPACTOR_RECIPIENTS',
  'COMPACTOR_SIGNING_KEY',
  'COMPACTOR_LAG_SECONDS',
  'COMPACTOR_WORKER',
  'COMPACTOR_WORKER_WAIT_SECONDS',
  'COMPACTOR_PUBLISH_RECOVERED',
  'COMPACTOR_NOTIFY',
] as const satisfies readonly SettingName[];

/** Beside those of a night. */
export const serveSettings = [
  'COMPACTOR_RUN_HOUR_UTC',
  'COMPACTOR_ENABLED',
  'COMPACTOR_SCHEDULE',
  'COMPACTOR_JOB_SECRET',
  'COMPACTOR_JOB_LIMIT_SECONDS',
  'COMPACTOR_HOST',
  'COMPACTOR_PORT',
  'COMPACTOR_INGESTS',
  'COMPACTOR_CONSOLE_PASSWORD',
  'COMPACTOR_CONSOLE_READER_PASSWORD',
  'COMPACTOR_CONSOLE_USER_HEADER',
  'COMPACTOR_CONSOLE_ACTORS',
  'COMPACTOR_CONSOLE_HOSTS',
  'COMPACTOR_TRUSTED_PROXIES',
  'COMPACTOR_ADMIN_HOST',
  'COMPACTOR_ADMIN_PORT',
  'COMPACTOR_EVIDENCE_DAYS',
  'COMPACTOR_EVENT_DAYS',
  'DAYBOOK_REPLICA_STORE',
  'COMPACTOR_BACKUP_RECIPIENTS',
] as const satisfies readonly SettingName[];

/** Beside those of the archive, as the next ones. */
export const listSettings = ['DAYBOOK_STREAM'] as const satisfies readonly SettingName[];

export const waitingSettings = [
  'DAYBOOK_STREAM',
  'DAYBOOK_STREAM_KEY',
  'COMPACTOR_LAG_SECONDS',
] as const satisfies readonly SettingName[];

export const restoreSettings = ['DAYBOOK_STREAM', 'DAYBOOK_STREAM_KEY'] as const satisfies readonly SettingName[];

/** Of `restore`, where it is told to go there. */
export const restoreToSettings = [
  'COMPACTOR_REPLAY_SECRET',
  'COMPACTOR_POSTGRES',
] as const satisfies readonly SettingName[];

export const pruneSettings = [
  'COMPACTOR_EVIDENCE_DAYS',
  'COMPACTOR_EVENT_DAYS',
  'DAYBOOK_STREAM',
] as const satisfies readonly SettingName[];

export const holdSettings = ['DAYBOOK_STREAM', 'COMPACTOR_SIGNING_KEY'] as const satisfies readonly SettingName[];

/** Where Stripe is asked for the time, before a prune that deletes. */
export const stripeSettings = ['DAYBOOK_SOURCES', 'STRIPE_API_BASE'] as const satisfies readonly SettingName[];

export const replicateSettings = ['DAYBOOK_REPLICA_STORE'] as const satisfies readonly SettingName[];

export const backupSettings = [
  'COMPACTOR_BACKUP_RECIPIENTS',
  'DAYBOOK_REPLICA_STORE',
] as const satisfies readonly SettingName[];
