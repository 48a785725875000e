/** What a compactor command runs on, made of the environment. Every problem is named at once, before anything opens. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { type Configuration, readEnvironment, readSettings, type SettingName } from '../shared/config.ts';
import { parseRecipients, type Recipients } from '../shared/crypto/recipients.ts';
import { kmsKeyOf, readSigner, readVerifyingKeys, type Signer, type VerifyingKeys } from '../shared/crypto/signing.ts';
import type { SecretFile } from '../shared/doctor/check-files.ts';
import { DaybookError, messageOf } from '../shared/errors.ts';
import { type Logger, openLog } from '../shared/program/log.ts';
import { schemeOf } from '../shared/schemes/schemes.ts';
import { resolveSecret } from '../shared/schemes/secrets.ts';
import type { Source } from '../shared/schemes/sources.ts';
import { isOrganisationKey, modeOfKey } from '../shared/schemes/stripe-scope.ts';
import { secretFilesOf } from '../shared/secret-files.ts';
import type { Witnesses } from './anchors/anchor-ledger.ts';
import type { NightSource } from './night.ts';
import {
  archiveSettings,
  backupSettings,
  nightSettings,
  storeSettings,
  stripeSettings,
  type witnessSettings,
} from './settings.ts';
import { openStripeApi, type StripeApi } from './stripe/list-events.ts';

export interface ArchiveConfiguration<N extends SettingName = never> {
  readonly settings: Configuration<(typeof archiveSettings)[number] | N>;
  readonly verifyingKeys: VerifyingKeys;
}

export interface NightConfiguration<N extends SettingName = never> {
  readonly settings: Configuration<(typeof nightSettings)[number] | N>;
  readonly recipients: Recipients;
  readonly verifyingKeys: VerifyingKeys;
  readonly log: Logger;
  /** Opens nothing until something is listed; `close` ends the connections. */
  readonly sources: readonly NightSource[];
  close(): void;
}

/** For commands that read objects without the ledger. */
export function readStoreConfiguration(): Configuration<(typeof storeSettings)[number]> {
  return readSettings(readEnvironment(process.env, process.cwd()), storeSettings);
}

export interface BackupConfiguration {
  readonly settings: Configuration<(typeof storeSettings | typeof backupSettings)[number]>;
  readonly recipients: Recipients;
  /** All that the process and its `.env` have. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** For backup-secrets: of all other settings it takes the texts as they are. */
export function readBackupConfiguration(): BackupConfiguration {
  const environment = readEnvironment(process.env, process.cwd());
  let recipients: Recipients = [];
  const settings = readSettings(environment, [...storeSettings, ...backupSettings], (sound, problems) => {
    const { COMPACTOR_BACKUP_RECIPIENTS: text } = sound;
    if (text === undefined) problems.push('COMPACTOR_BACKUP_RECIPIENTS: is required to seal a backup');
    else recipients = recipientsOf('COMPACTOR_BACKUP_RECIPIENTS', text, problems);
  });
  return { settings, recipients, environment };
}

/** For commands that read the archive, and what else they use: the signing key's public half counts where it is given. */
export function readArchiveConfiguration<N extends SettingName = never>(
  others: readonly N[] = [],
): ArchiveConfiguration<N> {
  const environment = readEnvironment(process.env, process.cwd());
  const needed = [...archiveSettings, ...others];
  const names = [...needed, 'COMPACTOR_SIGNING_KEY'] as const;
  const present = ['COMPACTOR_SIGNING_KEY', 'COMPACTOR_SIGNING_KEY_FILE'].some(
    (name) => environment[name] !== undefined,
  );
  let verifyingKeys: VerifyingKeys = new Map();
  const settings = readSettings(environment, present ? names : needed, (sound, problems) => {
    const signer = attempt('COMPACTOR_SIGNING_KEY', problems, () => readSignerOf(sound));
    verifyingKeys =
      attempt('COMPACTOR_VERIFYING_KEYS', problems, () => keysOf(sound.COMPACTOR_VERIFYING_KEYS, signer)) ??
      verifyingKeys;
    if (verifyingKeys.size === 0 && problems.length === 0) {
      problems.push(
        'COMPACTOR_VERIFYING_KEYS: is required to verify signatures where no signing key is given, or it is in a KMS',
      );
    }
  });
  return { settings, verifyingKeys };
}

export function witnessesOf(settings: Configuration<(typeof witnessSettings)[number]>): Witnesses {
  return { timestamps: settings.COMPACTOR_TIMESTAMPS, log: settings.COMPACTOR_WITNESSES };
}

/** For a night, and what else the command uses. */
export function readNightConfiguration<N extends SettingName = never>(
  others: readonly N[] = [],
): NightConfiguration<N> {
  const environment = readEnvironment(process.env, process.cwd());
  let keys: NightKeys | undefined;
  const settings = readSettings(environment, [...nightSettings, ...others], (sound, problems) => {
    keys = readNightKeys(sound, environment, problems);
  });
  const { recipients, verifyingKeys, apiKeys } = keys!;
  const log = openLog('compactor', settings.LOG_LEVEL);
  const apis = new Map<string, StripeApi>();
  const sources = settings.DAYBOOK_SOURCES.map((source) =>
    nightSourceOf(source, apiKeys, settings.STRIPE_API_BASE, log, apis, settings.COMPACTOR_WORKER?.count),
  );
  return {
    settings,
    recipients,
    verifyingKeys,
    log,
    sources,
    close: () => {
      for (const api of apis.values()) api.close();
    },
  };
}

type Environment = ReturnType<typeof readEnvironment>;

interface NightKeys {
  readonly recipients: Recipients;
  /** Undefined where it is in a KMS, too: `openSigner` asks for it. */
  readonly signer: Signer | undefined;
  readonly verifyingKeys: VerifyingKeys;
  /** By the names of their sources. */
  readonly apiKeys: ReadonlyMap<string, string>;
}

/** What is sound of them; of everything else a line is added to `problems`. */
function readNightKeys(
  sound: Partial<Configuration<(typeof nightSettings)[number]>>,
  environment: Environment,
  problems: string[],
): NightKeys {
  const { COMPACTOR_RECIPIENTS: text } = sound;
  const recipients = text === undefined ? [] : recipientsOf('COMPACTOR_RECIPIENTS', text, problems);
  const signer = attempt('COMPACTOR_SIGNING_KEY', problems, () => readSignerOf(sound));
  const pems = sound.COMPACTOR_VERIFYING_KEYS;
  const verifyingKeys =
    attempt('COMPACTOR_VERIFYING_KEYS', problems, () => keysOf(pems, signer)) ?? keysOf(undefined, signer);
  if (kmsKeyOf(sound.COMPACTOR_SIGNING_KEY ?? '') !== undefined && verifyingKeys.size === 0) {
    problems.push('COMPACTOR_VERIFYING_KEYS: is required where the signing key is in a KMS: its public half');
  }
  const apiKeys = new Map<string, string>();
  for (const [index, source] of (sound.DAYBOOK_SOURCES ?? []).entries()) {
    if (source.scheme !== 'stripe' || source.apiKey === undefined) continue;
    const key = resolveSecret(source.apiKey, `DAYBOOK_SOURCES[${index}].apiKey`, environment, problems);
    if (key !== undefined) apiKeys.set(source.name, key.text);
  }
  return { recipients, signer, verifyingKeys, apiKeys };
}

/** All that is sound of a configuration, also where other commands would refuse it. */
export interface DoctorConfiguration<N extends SettingName = never> extends NightKeys {
  readonly settings: Partial<Configuration<(typeof nightSettings)[number] | N>>;
  /** What other commands would end with. */
  readonly refusal: DaybookError | undefined;
  readonly secretFiles: readonly SecretFile[];
  /** Files of public keys, as COMPACTOR_RECIPIENTS names one: whoever can change them decides who can read. */
  readonly publicFiles: readonly SecretFile[];
}

export function readDoctorConfiguration<N extends SettingName>(others: readonly N[]): DoctorConfiguration<N> {
  const directory = process.cwd();
  const environment = readEnvironment(process.env, directory);
  const names = [...nightSettings, ...others];
  let settings: DoctorConfiguration<N>['settings'] = {};
  let keys: NightKeys | undefined;
  let refusal: DaybookError | undefined;
  try {
    readSettings(environment, names, (sound, problems) => {
      settings = sound;
      keys = readNightKeys(sound, environment, problems);
    });
  } catch (error) {
    if (!(error instanceof DaybookError) || error.code !== 'configuration_invalid') throw error;
    refusal = error;
  }
  const references = (settings.DAYBOOK_SOURCES ?? []).flatMap((source, index) =>
    source.scheme !== 'stripe' || source.apiKey === undefined
      ? []
      : [{ where: `DAYBOOK_SOURCES[${index}].apiKey`, reference: source.apiKey }],
  );
  const publicFiles = (['COMPACTOR_RECIPIENTS', 'COMPACTOR_VERIFYING_KEYS'] as const).flatMap((name) => {
    const path = environment[name];
    return path === undefined || path.includes('\n') || !existsSync(path) ? [] : [{ name, path }];
  });
  const secretFiles = secretFilesOf(environment, directory, names, references);
  return { ...keys!, settings, refusal, secretFiles, publicFiles };
}

/** The name under which a compactor commits its positions: one archive, one consumer. */
export function consumerOf(location: string, prefix: string): string {
  return `daybook-compactor-${createHash('sha256').update(`${location}\n${prefix}`).digest('hex').slice(0, 12)}`;
}

/** The names in DAYBOOK_SOURCES; none where it is not set. */
export function configuredSources(): string[] {
  const environment = readEnvironment(process.env, process.cwd());
  if (environment.DAYBOOK_SOURCES === undefined && environment.DAYBOOK_SOURCES_FILE === undefined) return [];
  return readSettings(environment, ['DAYBOOK_SOURCES']).DAYBOOK_SOURCES.map(({ name }) => name);
}

/** A connection to Stripe by the first key that is configured, where sources are; undefined where there is none. */
export function openConfiguredStripe(log: Logger): StripeApi | undefined {
  const environment = readEnvironment(process.env, process.cwd());
  if (environment.DAYBOOK_SOURCES === undefined && environment.DAYBOOK_SOURCES_FILE === undefined) return undefined;
  const apis = new Map<string, StripeApi>();
  readSettings(environment, stripeSettings, (sound, problems) => {
    const { apiKeys } = readNightKeys({ ...sound }, environment, problems);
    if (sound.STRIPE_API_BASE === undefined) return;
    for (const source of sound.DAYBOOK_SOURCES ?? []) nightSourceOf(source, apiKeys, sound.STRIPE_API_BASE, log, apis);
  });
  return [...apis.values()][0];
}

function nightSourceOf(
  source: Source,
  apiKeys: ReadonlyMap<string, string>,
  base: URL,
  log: Logger,
  apis: Map<string, StripeApi>,
  callers?: number,
): NightSource {
  const apiKey = apiKeys.get(source.name);
  const { kind } = schemeOf(source.scheme);
  if (source.scheme !== 'stripe' || apiKey === undefined) return { name: source.name, kind };
  const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
  // Stripe's limits are a key's: sources with one key share its pace.
  const api = apis.get(apiKey) ?? openStripeApi({ apiKey, base, random: Math.random, sleep, log, callers });
  apis.set(apiKey, api);
  const { name, accounts = [], thinEvents = false, mode } = source;
  const keyMode = modeOfKey(apiKey);
  const isOrganisation = isOrganisationKey(apiKey);
  return {
    name,
    kind,
    listing: { api, accounts, isOrganisation, thinEvents, ...(mode && { mode }), ...(keyMode && { keyMode }) },
  };
}

function recipientsOf(name: SettingName, text: string, problems: string[]): Recipients {
  const parsed = parseRecipients(text);
  problems.push(...parsed.problems.map((problem) => `${name}: ${problem}`));
  return parsed.recipients;
}

function readSignerOf(sound: { readonly COMPACTOR_SIGNING_KEY?: string | undefined }): Signer | undefined {
  const { COMPACTOR_SIGNING_KEY: setting } = sound;
  return setting === undefined || kmsKeyOf(setting) !== undefined ? undefined : readSigner(setting);
}

/**
 * Who signs, by the setting: a key in a KMS is asked for its public half, which has to be among those that count. Rejects as
 * `openKmsSigner`.
 */
export async function openSigner(setting: string, keys: VerifyingKeys): Promise<Signer> {
  const kmsKey = kmsKeyOf(setting);
  if (kmsKey === undefined) return readSigner(setting);
  // Its library is loaded only where it is used.
  const { openKmsSigner } = await import('../shared/kms/kms-signer.ts');
  // As the SDK's other clients read them: a connection to this machine goes through no proxy.
  // Set to nothing is not set, as the SDK has it.
  const { AWS_ENDPOINT_URL_KMS, AWS_ENDPOINT_URL } = process.env;
  const signer = await openKmsSigner(kmsKey, AWS_ENDPOINT_URL_KMS || AWS_ENDPOINT_URL || undefined);
  if (keys.has(signer.keyId)) return signer;
  throw new DaybookError('key_invalid', {
    detail: `COMPACTOR_VERIFYING_KEYS lacks the public half of ${kmsKey}, which is ${signer.keyId}`,
    hint: `Add what this prints: aws kms get-public-key --key-id ${kmsKey} --query PublicKey --output text | base64 -d | openssl pkey -pubin -inform DER`,
  });
}

function keysOf(pems: string | undefined, signer: Signer | undefined): VerifyingKeys {
  const keys = new Map(pems === undefined ? [] : readVerifyingKeys(pems));
  // A range that is given for it holds.
  if (signer !== undefined && !keys.has(signer.keyId)) keys.set(signer.keyId, { verify: signer.verify });
  return keys;
}

function attempt<T>(name: SettingName, problems: string[], read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    problems.push(`${name}: ${messageOf(error)}`);
    return undefined;
  }
}
