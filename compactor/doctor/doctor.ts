/** `daybook-compactor doctor`: is everything there that a night needs, and does Stripe deliver what it should? */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../shared/clock.ts';
import type { SettingName } from '../../shared/config.ts';
import { checkFolder, checkRoom } from '../../shared/doctor/check-files.ts';
import {
  checkDistinct,
  checkListener,
  type ListenerToCheck,
  otherProgram,
} from '../../shared/doctor/check-listener.ts';
import { checkStream } from '../../shared/doctor/check-stream.ts';
import { openWarningCollector } from '../../shared/doctor/collect-warnings.ts';
import {
  type Check,
  type Found,
  findAll,
  findingsOfConfiguration,
  ok,
  problemOf,
  report,
  warning,
} from '../../shared/doctor/finding.ts';
import { DaybookError } from '../../shared/errors.ts';
import { openStore } from '../../shared/store/open.ts';
import { openReader, type StreamConfiguration } from '../../shared/stream/open.ts';
import { consumerOf, type DoctorConfiguration, readDoctorConfiguration } from '../configuration.ts';
import { type Ledger, loadLedger } from '../ledger.ts';
import { serveSettings } from '../serve.ts';
import { checkKeys } from './check-keys.ts';
import { checkDays, checkSigner } from './check-ledger.ts';
import { checkPosition } from './check-position.ts';
import { checkSchedule } from './check-schedule.ts';
import { checkStore, wantedBytes } from './check-store.ts';
import { checkStripe } from './check-stripe.ts';

type ServeConfiguration = DoctorConfiguration<(typeof serveSettings)[number]>;

/** A ledger of ten years takes a while from a bucket. */
const ledgerLimitMs = 180_000;

/**
 * Prints the findings. Sets the exit code as `report` tells. Where the configuration is wrong, what is sound of it is
 * looked at all the same.
 */
export async function doctorCommand(options: { readonly json?: boolean }): Promise<void> {
  let configuration: ServeConfiguration;
  try {
    configuration = readDoctorConfiguration(serveSettings);
  } catch (error) {
    report(findingsOfConfiguration(error), options.json === true);
    return;
  }
  const findings = await findAll(checksOf(configuration, systemClock.now().getTime()));
  const { refusal } = configuration;
  const refused = refusal === undefined ? [] : findingsOfConfiguration(refusal);
  report([...refused, ...findings], options.json === true);
}

function checksOf(configuration: ServeConfiguration, nowMs: number): Check[] {
  const { settings } = configuration;
  const { DAYBOOK_DATA_DIR: dataDirectory, DAYBOOK_STORE: store, DAYBOOK_STREAM: stream } = settings;
  const ledger = ledgerReader(configuration);
  const checks: Check[] = [];
  if (configuration.refusal === undefined) {
    checks.push({ name: 'configuration', run: () => checkBase(settings.STRIPE_API_BASE) });
  }
  checks.push({ name: 'keys', run: () => checkKeys(configuration) });
  if (dataDirectory !== undefined) {
    checks.push({
      name: 'data',
      run: () => [
        ...checkFolder('the data directory', dataDirectory),
        ...checkRoom('staging', dataDirectory, wantedBytes),
      ],
    });
    if (store !== undefined) {
      checks.push({ name: 'store', run: () => checkStore(store, dataDirectory) });
      checks.push({ name: 'ledger', limitMs: ledgerLimitMs, run: () => checkLedger(configuration, ledger, nowMs) });
    }
    if (stream !== undefined) {
      checks.push({
        name: 'stream',
        run: async () => [
          ...(await checkStream(stream, dataDirectory)).found,
          ...(await checkReader(stream, dataDirectory, store, ledger, nowMs)),
        ],
      });
    }
  }
  checks.push({
    name: 'schedule',
    run: async () => scheduleFindings(settings, await ledger().catch(() => undefined), nowMs),
  });
  const listeners = listenersOf(settings);
  checks.push({
    name: 'listeners',
    run: async () => [
      ...checkDistinct(listeners),
      ...(await Promise.all(listeners.map((listener) => checkListener(listener)))).flat(),
    ],
  });
  return [...checks, ...stripeChecks(configuration, ledger)];
}

function checkBase(base: URL | undefined): Found[] {
  const sound = ok('every setting is sound');
  if (base === undefined || base.hostname === 'api.stripe.com') return [sound];
  const hint = 'Take STRIPE_API_BASE away, unless that is meant.';
  return [sound, warning(`${base.host} is asked in the place of Stripe's API (STRIPE_API_BASE)`, hint)];
}

/** Reads the ledger once, for whoever asks first. */
function ledgerReader({ settings, verifyingKeys }: ServeConfiguration): () => Promise<Ledger | undefined> {
  const { DAYBOOK_STORE: configured, DAYBOOK_DATA_DIR: dataDirectory } = settings;
  let reading: Promise<Ledger | undefined> | undefined;
  const read = async () => {
    if (configured === undefined || dataDirectory === undefined || verifyingKeys.size === 0) return undefined;
    const { store, prefix } = await openStore(configured, dataDirectory);
    try {
      return await loadLedger(store, prefix, verifyingKeys);
    } finally {
      await store.close();
    }
  };
  return () => {
    reading ??= read();
    return reading;
  };
}

async function checkLedger(
  { settings, signer, apiKeys }: ServeConfiguration,
  read: () => Promise<Ledger | undefined>,
  nowMs: number,
): Promise<Found[]> {
  const ledger = await read();
  if (ledger === undefined) return [warning('is not read: no key is known that could have signed it', 'See keys.')];
  const { store, prefix } = await openStore(settings.DAYBOOK_STORE!, settings.DAYBOOK_DATA_DIR!);
  try {
    const sources = new Map(
      (settings.DAYBOOK_SOURCES ?? []).map(({ name }) => [name, { isListed: apiKeys.has(name) }]),
    );
    const lagSeconds = settings.COMPACTOR_LAG_SECONDS ?? 0;
    return [
      ...(await checkSigner(store, prefix, ledger, signer?.keyId)),
      ...checkDays(ledger, { nowMs, lagSeconds, sources }),
    ];
  } finally {
    await store.close();
  }
}

/** Where the ledger cannot be read, that is the ledger's finding. */
async function checkReader(
  stream: StreamConfiguration,
  dataDirectory: string,
  configured: ServeConfiguration['settings']['DAYBOOK_STORE'],
  read: () => Promise<Ledger | undefined>,
  nowMs: number,
): Promise<Found[]> {
  if (configured === undefined) return [];
  const ledger = await read().catch(() => undefined);
  if (ledger === undefined) return [];
  // Opening an embedded stream makes it where it is not, and opening a topic may.
  if (stream.type === 'embedded' && !existsSync(join(dataDirectory, 'stream.sqlite'))) return [];
  const { log } = openWarningCollector();
  const { store, prefix } = await openStore(configured, dataDirectory);
  const consumer = consumerOf(store.location, prefix);
  await store.close();
  try {
    const reader = await openReader(withoutCreate(stream), dataDirectory, { consumer, clock: systemClock, log });
    try {
      return await checkPosition(reader, ledger, nowMs);
    } finally {
      await reader.close();
    }
  } catch (error) {
    // A topic that daybook makes as it starts is not there yet.
    const isToBeMade = stream.type === 'kafka' && stream.params.create !== undefined;
    if (isToBeMade && error instanceof DaybookError && error.code === 'stream_missing') return [];
    return [problemOf(error)];
  }
}

function withoutCreate(stream: StreamConfiguration): StreamConfiguration {
  if (stream.type !== 'kafka') return stream;
  const { create: _, ...params } = stream.params;
  return { type: 'kafka', params };
}

function scheduleFindings(
  settings: ServeConfiguration['settings'],
  ledger: Ledger | undefined,
  nowMs: number,
): Found[] {
  const { COMPACTOR_RUN_HOUR_UTC: runHour, COMPACTOR_ENABLED: isEnabled, COMPACTOR_LAG_SECONDS: lagSeconds } = settings;
  if (runHour === undefined || isEnabled === undefined || lagSeconds === undefined) return [];
  return checkSchedule({ runHour, isEnabled, lagSeconds, jobSecret: settings.COMPACTOR_JOB_SECRET }, ledger, nowMs);
}

function listenersOf(settings: ServeConfiguration['settings']): ListenerToCheck[] {
  const { COMPACTOR_HOST: host, COMPACTOR_PORT: port } = settings;
  const { COMPACTOR_ADMIN_HOST: adminHost, COMPACTOR_ADMIN_PORT: adminPort } = settings;
  const of = (
    setting: SettingName,
    place: { host: string | undefined; port: number | undefined },
    path: string,
    said: string,
    isOwn: (status: number, body: string) => boolean,
  ): ListenerToCheck[] =>
    place.host === undefined || place.port === undefined
      ? []
      : [
          {
            setting,
            host: place.host,
            port: place.port,
            path,
            judge: (status, body) => (isOwn(status, body) ? ok(said) : otherProgram(setting, place.port!)),
          },
        ];
  return [
    ...of('COMPACTOR_PORT', { host, port }, '/jobs', 'serve answers on its port', (status, body) => {
      // Without the secret: refused in words that are its own.
      return status === 403 && body.includes('job_secret_refused');
    }),
    ...of(
      'COMPACTOR_ADMIN_PORT',
      { host: adminHost, port: adminPort },
      '/metrics',
      'serve answers on its admin port',
      (status, body) => {
        return status === 200 && body.includes('daybook_compactor_');
      },
    ),
  ];
}

function stripeChecks({ settings, apiKeys }: ServeConfiguration, ledger: () => Promise<Ledger | undefined>): Check[] {
  const { DAYBOOK_SOURCES: sources = [], STRIPE_API_BASE: base } = settings;
  return sources.flatMap((source) => {
    const apiKey = apiKeys.get(source.name);
    // A key that cannot be had is a finding of the configuration.
    if (source.scheme !== 'stripe' || base === undefined || (source.apiKey !== undefined && apiKey === undefined))
      return [];
    return [
      {
        name: `stripe ${source.name}`,
        run: async () => {
          const lists = (await ledger().catch(() => undefined))?.lists[source.name] ?? {};
          const hasThinEvents = Object.keys(lists).some((name) => name.startsWith('v2'));
          return checkStripe({ source, apiKey, base, hasThinEvents });
        },
      },
    ];
  });
}
