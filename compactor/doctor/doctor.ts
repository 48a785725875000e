/** `daybook-compactor doctor`: is everything there that a night needs, and does Stripe deliver what it should? */
import { systemClock } from '../../shared/clock.ts';
import { checkFolder, checkRoom, wantedBytes } from '../../shared/doctor/check-files.ts';
import { checkDistinct, checkListener } from '../../shared/doctor/check-listener.ts';
import {
  type Check,
  type Found,
  findAll,
  findingsOfConfiguration,
  ok,
  problem,
  problemOf,
  report,
  warning,
} from '../../shared/doctor/finding.ts';
import { checkStore } from '../../shared/store/open.ts';
import { checkStream } from '../../shared/stream/check.ts';
import { askedOf } from '../anchors/standing.ts';
import { type DoctorConfiguration, readDoctorConfiguration } from '../configuration.ts';
import { type Ledger, loadLedger, refuseCutOff } from '../ledger/ledger.ts';
import { refuseSecondChain } from '../replicate/refuse-second-chain.ts';
import { serveSettings } from '../settings.ts';
import { checkKeys, type SignerSeen } from './check-keys.ts';
import { checkDays, checkSigner } from './check-ledger.ts';
import { checkSchedule } from './check-schedule.ts';
import { checkStripe } from './check-stripe.ts';
import { checkWaiting } from './check-waiting.ts';
import { checkWitnesses } from './check-witnesses.ts';
import { checkConsole, listenersOf } from './listeners.ts';
import { type OpenStore, withStore } from './with-store.ts';

type ServeConfiguration = DoctorConfiguration<(typeof serveSettings)[number]>;

/** What the check of the ledger has read, for those after it, which wait for nothing. */
interface LedgerSeen extends SignerSeen {
  ledger?: Ledger;
}

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
  await report([...refused, ...findings], options.json === true);
}

function checksOf(configuration: ServeConfiguration, nowMs: number): Check[] {
  const { settings } = configuration;
  const { DAYBOOK_DATA_DIR: dataDirectory, DAYBOOK_STORE: store, DAYBOOK_STREAM: stream } = settings;
  const seen: LedgerSeen = {};
  const checks: Check[] = [];
  if (configuration.refusal === undefined) {
    checks.push({ name: 'configuration', run: () => checkBase(settings.STRIPE_API_BASE) });
  }
  checks.push({ name: 'keys', run: () => checkKeys(configuration, seen) });
  if (dataDirectory !== undefined) {
    checks.push({
      name: 'data',
      run: () => [
        ...checkFolder('the data directory', dataDirectory),
        ...checkRoom('staging', dataDirectory, wantedBytes),
      ],
    });
    if (store !== undefined) {
      const saidOfStore: Found[] = [];
      checks.push({
        name: 'store',
        run: async () => {
          saidOfStore.push(...(await checkStore(store, dataDirectory)));
          return saidOfStore;
        },
      });
      const { DAYBOOK_REPLICA_STORE: replica } = settings;
      if (replica !== undefined) {
        checks.push({
          name: 'replica',
          run: async () => [...(await checkStore(replica, dataDirectory)).map(ofReplica), ...replicated(settings)],
        });
      }
      checks.push({
        name: 'ledger',
        limitMs: ledgerLimitMs,
        run: () =>
          withStore(store, dataDirectory, (opened) => checkLedger(configuration, opened, saidOfStore, seen, nowMs)),
      });
    }
    const witnesses = { timestamps: settings.COMPACTOR_TIMESTAMPS, log: settings.COMPACTOR_WITNESSES };
    if (store !== undefined && askedOf(witnesses).length > 0) {
      checks.push({
        name: 'witnesses',
        run: () => withStore(store, dataDirectory, (opened) => checkWitnesses(witnesses, seen.ledger, opened)),
      });
    }
    if (stream !== undefined) {
      checks.push({
        name: 'stream',
        run: async () => [
          ...(await checkStream(stream, dataDirectory, settings.DAYBOOK_STREAM_KEY !== undefined)).found,
          ...(store === undefined || seen.ledger === undefined
            ? []
            : await checkWaiting({
                stream,
                store,
                dataDirectory,
                ledger: seen.ledger,
                nowMs,
                streamKeys: settings.DAYBOOK_STREAM_KEY,
              })),
        ],
      });
    }
  }
  if (configuration.refusal?.message.includes('COMPACTOR_JOB_SECRET') !== true) {
    checks.push({ name: 'schedule', run: () => scheduleFindings(settings, seen.ledger, nowMs) });
  }
  const listeners = listenersOf(settings);
  checks.push({
    name: 'listeners',
    run: async () => [
      ...checkDistinct(listeners),
      ...checkConsole(settings),
      ...(await Promise.all(listeners.map((listener) => checkListener(listener)))).flat(),
    ],
  });
  return [...checks, ...stripeChecks(configuration, seen)];
}

/** A store speaks of itself as the archive. */
function ofReplica(found: Found): Found {
  return { ...found, message: found.message.replace(/^the archive\b/, 'the replica') };
}

/** What copies to the second store? */
function replicated({ COMPACTOR_SCHEDULE: schedule }: ServeConfiguration['settings']): Found[] {
  if (schedule === undefined || schedule.some(({ job }) => job === 'replicate')) return [];
  const hint = 'Give it {"replicate":"after run"}, unless something else runs `node compactor/main.ts replicate`.';
  return [warning('COMPACTOR_SCHEDULE does not have replicate: serve copies nothing to it', hint)];
}

function checkBase(base: URL | undefined): Found[] {
  const sound = ok('every setting is sound');
  if (base === undefined || base.hostname === 'api.stripe.com') return [sound];
  const hint = 'Take STRIPE_API_BASE away, unless that is meant.';
  return [sound, warning(`${base.host} is asked in the place of Stripe's API (STRIPE_API_BASE)`, hint)];
}

/** Fills `seen`. What `saidOfStore` tells already is not told once more. */
async function checkLedger(
  { settings, signer, verifyingKeys, apiKeys }: ServeConfiguration,
  { store, prefix }: OpenStore,
  saidOfStore: readonly Found[],
  seen: LedgerSeen,
  nowMs: number,
): Promise<Found[]> {
  if (verifyingKeys.size === 0) {
    return [warning('the ledger is not read: no key is known that could have signed it', 'See configuration.')];
  }
  let ledger: Ledger;
  try {
    ledger = await loadLedger(store, prefix, verifyingKeys);
    const { DAYBOOK_REPLICA_STORE: replica, DAYBOOK_DATA_DIR: dataDirectory } = settings;
    if (ledger.head === undefined && dataDirectory !== undefined) {
      await refuseSecondChain({ store, prefix, replica, dataDirectory });
    }
  } catch (error) {
    const found = problemOf(error);
    const isSaid = saidOfStore.some(({ code }) => code === found.code);
    return [isSaid ? problem('the ledger cannot be read', 'See store.', found.code) : found];
  }
  seen.ledger = ledger;
  const cutOff = await refuseCutOff(store, prefix).then(
    () => [],
    (error) => [problemOf(error)],
  );
  const sources = new Map((settings.DAYBOOK_SOURCES ?? []).map(({ name }) => [name, { isListed: apiKeys.has(name) }]));
  const lagSeconds = settings.COMPACTOR_LAG_SECONDS ?? 0;
  return [
    ...cutOff,
    ...(await checkSigner(store, prefix, ledger, signer?.keyId ?? seen.signerId)),
    ...checkDays(ledger, { nowMs, lagSeconds, sources }),
  ];
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

function stripeChecks({ settings, apiKeys }: ServeConfiguration, seen: LedgerSeen): Check[] {
  const { DAYBOOK_SOURCES: sources = [], STRIPE_API_BASE: base } = settings;
  return sources.flatMap((source) => {
    const apiKey = apiKeys.get(source.name);
    // A key that cannot be had is a finding of the configuration.
    if (source.scheme !== 'stripe' || base === undefined || (source.apiKey !== undefined && apiKey === undefined))
      return [];
    return [
      {
        name: `stripe ${source.name}`,
        run: () => {
          const lists = seen.ledger?.lists[source.name] ?? {};
          const hasThinEvents = Object.keys(lists).some((name) => name.startsWith('v2'));
          return checkStripe({ source, apiKey, base, hasThinEvents });
        },
      },
    ];
  });
}
