/** `daybook-compactor serve`: the nightly schedule, jobs by request, metrics. The work itself is done by jobs. */
import type { Server } from 'node:http';
import { fileURLToPath } from 'node:url';
import { type Clock, systemClock } from '../../shared/clock.ts';
import { refuseProblems } from '../../shared/config.ts';
import type { VerifyingKeys } from '../../shared/crypto/signing.ts';
import { messageOf } from '../../shared/errors.ts';
import { listen } from '../../shared/http/listen.ts';
import { createProblemServer } from '../../shared/http/problem-server.ts';
import type { ScheduledJob } from '../../shared/job-schedule.ts';
import { openMetricsListener } from '../../shared/metrics/metrics.ts';
import { type Listening, tellListening } from '../../shared/program/listening.ts';
import type { Logger } from '../../shared/program/log.ts';
import { openStore } from '../../shared/store/open.ts';
import type { Witnesses } from '../anchors/anchor-ledger.ts';
import { askedOf, standingOf } from '../anchors/standing.ts';
import { openStreamThatIsThere } from '../commands/waiting.ts';
import { consumerOf, readNightConfiguration, witnessesOf } from '../configuration.ts';
import { openIngests } from '../console/ask-ingests.ts';
import { type ConsolePlaces, openConsole } from '../console/console-places.ts';
import { openLedgerView } from '../console/ledger-view.ts';
import type { NightNow } from '../console/now-shapes.ts';
import { type GateOptions, openGate } from '../gate/gate.ts';
import { gateOptionsOf } from '../gate/gate-options.ts';
import { isLoopback } from '../gate/hosts.ts';
import type { Ledger, NumberedManifest } from '../ledger/ledger.ts';
import { type Notifier, openNotifier } from '../notify/notify.ts';
import { serveSettings } from '../settings.ts';
import { createApp } from './app.ts';
import { type EndedJob, type JobRequest, type Jobs, openJobs } from './jobs.ts';
import { openCompactorMetrics } from './metrics.ts';
import { type OtherJobs, openOtherJobs } from './other-jobs.ts';
import { openSchedule, type Schedule } from './schedule.ts';

/** Connections are cut, then the process ends whatever still hangs: after the signal, in milliseconds. */
const cutMs = 6_000;
const abandonMs = 9_000;

/** Runs until SIGTERM or SIGINT, then ends with exit 0 within 10 s. Rejects where it cannot begin. */
export async function serveCommand({ acceptUnsealedBefore }: { acceptUnsealedBefore?: string } = {}): Promise<void> {
  // All that its jobs use is checked here too: what is wrong with it is to be known before they come.
  const { settings, verifyingKeys, log, close } = readNightConfiguration(serveSettings);
  close();
  if (
    settings.COMPACTOR_SCHEDULE.some(({ job }) => job === 'replicate') &&
    settings.DAYBOOK_REPLICA_STORE === undefined
  ) {
    refuseProblems(['DAYBOOK_REPLICA_STORE: is required, as COMPACTOR_SCHEDULE has replicate']);
  }
  const places = placesOf(settings, verifyingKeys, log);
  const witnesses = witnessesOf(settings);
  const starting = serve({
    host: settings.COMPACTOR_HOST,
    port: settings.COMPACTOR_PORT,
    adminHost: settings.COMPACTOR_ADMIN_HOST,
    adminPort: settings.COMPACTOR_ADMIN_PORT,
    jobSecret: settings.COMPACTOR_JOB_SECRET,
    runHour: settings.COMPACTOR_ENABLED ? settings.COMPACTOR_RUN_HOUR_UTC : undefined,
    otherJobs: settings.COMPACTOR_SCHEDULE,
    notifier: openNotifier({
      listeners: settings.COMPACTOR_NOTIFY,
      dataDirectory: settings.DAYBOOK_DATA_DIR,
      clock: systemClock,
      log,
    }),
    gate: gateOptionsOf(settings),
    lagSeconds: settings.COMPACTOR_LAG_SECONDS,
    jobLimitSeconds: settings.COMPACTOR_JOB_LIMIT_SECONDS,
    sources: settings.DAYBOOK_SOURCES.map(({ name }) => name),
    nightArguments: acceptUnsealedBefore === undefined ? [] : ['--accept-unsealed-before', acceptUnsealedBefore],
    program: fileURLToPath(new URL('../main.ts', import.meta.url)),
    loadLedger: () => places.view.readAgain(),
    witnesses,
    places,
    clock: systemClock,
    log,
  });
  const stop = async (signal: string): Promise<void> => {
    log.info({ signal }, 'stopping');
    setTimeout(() => process.exit(0), abandonMs).unref();
    await (await starting).close();
    process.exit(0);
  };
  // In place before a port is open: who sees it open may send a signal.
  process.once('SIGTERM', stop).once('SIGINT', stop);
  tellListening(await starting);
}

type ServeSettings = ReturnType<typeof readNightConfiguration<(typeof serveSettings)[number]>>['settings'];

/** Where the console looks. The store is opened once, when it is first asked, and stays open as long as the process. */
function placesOf(settings: ServeSettings, verifyingKeys: VerifyingKeys, log: Logger): ConsolePlaces {
  const { DAYBOOK_STORE, DAYBOOK_STREAM, DAYBOOK_DATA_DIR } = settings;
  let opened: ReturnType<typeof openStore> | undefined;
  const openOnce = () => {
    opened ??= openStore(DAYBOOK_STORE, DAYBOOK_DATA_DIR);
    opened.catch(() => {
      opened = undefined;
    });
    return opened;
  };
  return {
    view: openLedgerView({ openStore: openOnce, verifyingKeys, clock: systemClock }),
    openStore: openOnce,
    async openStream() {
      const { store, prefix } = await openOnce();
      const consumer = consumerOf(store.location, prefix);
      return openStreamThatIsThere(DAYBOOK_STREAM, DAYBOOK_DATA_DIR, { consumer, clock: systemClock, log });
    },
    streamType: DAYBOOK_STREAM.type,
    ingests: openIngests(settings.COMPACTOR_INGESTS),
    folders: [
      DAYBOOK_DATA_DIR,
      ...(DAYBOOK_STORE.type === 'directory' && DAYBOOK_STORE.params?.path !== undefined
        ? [DAYBOOK_STORE.params.path]
        : []),
    ],
    sources: settings.DAYBOOK_SOURCES.map(({ name }) => name),
    lagSeconds: settings.COMPACTOR_LAG_SECONDS,
    clock: systemClock,
  };
}

export interface ServeOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly adminHost: string;
  readonly adminPort: number;
  readonly jobSecret: string | undefined;
  /** undefined: no nights but those asked for. */
  readonly runHour: number | undefined;
  /** Beside the nights. */
  readonly otherJobs?: readonly ScheduledJob[];
  /** Hears of each job's end; nothing waits for it. */
  readonly notifier?: Notifier;
  readonly lagSeconds: number;
  readonly jobLimitSeconds: number;
  /** Names of the configured sources. */
  readonly sources: readonly string[];
  /** Who may see the console, and who may act. */
  readonly gate: Omit<GateOptions, 'isOnLoopback' | 'clock'>;
  /** Of every `run` that the schedule starts. */
  readonly nightArguments?: readonly string[];
  /** Whose commands the jobs are. */
  readonly program: string;
  loadLedger(): Promise<Ledger>;
  /** How far they are is told by the metrics. */
  readonly witnesses?: Witnesses;
  /** Where the console looks. */
  readonly places: ConsolePlaces;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface CompactorServer extends Listening {
  readonly adminPort: number;
  /** Stops accepting and ends a running job, which is safe at any moment. */
  close(): Promise<void>;
}

/** Resolves when both ports are open; rejects with `listener_unavailable`. */
export async function serve(options: ServeOptions): Promise<CompactorServer> {
  const { clock, log, runHour } = options;
  let isClosing = false;
  let schedule: Schedule | undefined;
  let otherJobs: OtherJobs | undefined;
  const limitMs = options.jobLimitSeconds * 1000;
  const opened = openJobs({ program: options.program, clock, log, limitMs, ended: (job) => void afterJob(job) });
  const jobs: Jobs = {
    ...opened,
    start: (request) => opened.start(withHead(request, options.places.view.newestSeen())),
  };
  const { witnesses = {} } = options;
  const metrics = openCompactorMetrics({
    sources: options.sources,
    witnesses: askedOf(witnesses).map(({ witness }) => witness),
    running: () => jobs.running()?.job,
    clock,
  });

  async function lookAtWitnesses(ledger: Ledger): Promise<void> {
    const { store, prefix } = await options.places.openStore();
    metrics.witnessed(await standingOf({ store, prefix, witnesses }, ledger));
  }

  /** The newest manifest of a night; all that the metrics say of the archive is brought up to date. Rejects as `loadLedger`. */
  async function lookAtArchive(): Promise<Ledger['newestNight']> {
    try {
      const ledger = await options.loadLedger();
      metrics.archive(ledger);
      await lookAtWitnesses(ledger).catch(say(log));
      return ledger.newestNight;
    } catch (error) {
      metrics.archive(undefined);
      throw error;
    }
  }

  async function afterJob(job: EndedJob): Promise<void> {
    metrics.ended(job);
    if (isClosing) return;
    void options.notifier?.tell(job);
    const night = wholeNightOf(job);
    if (night !== undefined) schedule?.ended(night);
    if (job.job === 'run') otherJobs?.runEnded();
    if (job.job === 'run' || job.job === 'prune') await lookAtArchive().catch(say(log));
    await startDue();
  }

  /** A night that is due comes first. */
  async function startDue(): Promise<void> {
    await schedule?.check();
    if (!isClosing) otherJobs?.check();
  }

  const data = openConsole(options.places, {
    nights: () =>
      jobs
        .last()
        .filter(({ job }) => job === 'run')
        .map(nightOf),
    nextNightMs: (newestMs) => schedule?.nextMs(newestMs),
  });
  let boundTo = '';
  const gate = openGate({ ...options.gate, isOnLoopback: () => isLoopback(boundTo), clock });
  const { isTrustedProxy } = options.gate;
  const server = createProblemServer(
    { headersTimeout: 10_000, requestTimeout: 30_000, connectionsCheckingInterval: 1_000, keepAliveTimeout: 65_000 },
    createApp({ ...options, data, jobs, gate, isTrustedProxy, closing: () => isClosing }),
    ({ status, code }, reason) => log.info({ route: 'unknown', status, code, reason }, 'request'),
  );
  const admin = await openMetricsListener({
    host: options.adminHost,
    port: options.adminPort,
    setting: 'COMPACTOR_ADMIN_PORT',
    scrape: metrics.scrape,
    log,
  });
  const { address, port } = await listen(server, options.host, options.port, 'COMPACTOR_PORT').catch(async (error) => {
    metrics.close();
    await admin.close();
    throw error;
  });
  boundTo = address;
  log.info({ host: address, port, adminPort: admin.port, runHour: runHour ?? null }, 'listening');

  if (runHour !== undefined) {
    const run = () => jobs.start({ job: 'run', by: 'schedule', arguments: options.nightArguments ?? [] });
    schedule = openSchedule({ hour: runHour, clock, log, newestManifest: lookAtArchive, run });
  }
  otherJobs = openOtherJobs(options.otherJobs ?? [], (job, given) =>
    jobs.start({ job, by: 'schedule', arguments: given }),
  );
  // The metrics are to say what is archived also where no night is due.
  void lookAtArchive().catch(say(log)).then(startDue);

  let closing: Promise<void> | undefined;
  async function close(): Promise<void> {
    isClosing = true;
    schedule?.stop();
    otherJobs?.stop();
    await Promise.all([jobs.stop(), options.notifier?.stop(), closeServer(server), admin.close()]);
    metrics.close();
    log.info('stopped');
  }
  return {
    host: address,
    port,
    adminPort: admin.port,
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}

/** A verification is told the newest manifest that this process knows: one that is cut off since is a break. */
function withHead(request: JobRequest, head: NumberedManifest | undefined): JobRequest {
  const { job, arguments: given } = request;
  if (job !== 'verify' || head === undefined || given.includes('--expect-head')) return request;
  return { ...request, arguments: [...given, '--expect-head', `${head.number}:${head.sha256}`] };
}

/** The night that counts for the schedule: of all days, and where it was asked for and failed, none. */
function wholeNightOf({ job, by, arguments: given, outcome, exitCode, startedAt, report }: EndedJob) {
  if (job !== 'run' || given.includes('--day')) return undefined;
  if (by === 'request' && outcome === 'failed') return undefined;
  const manifest = typeof report?.manifest === 'number' ? report.manifest : null;
  // Exit code 1 is the configuration, which this process's life does not change.
  return { startedMs: Date.parse(startedAt), manifest, mayRetry: outcome === 'failed' && exitCode !== 1 };
}

function nightOf({ startedAt, endedAt, outcome, exitCode, report }: EndedJob): NightNow {
  const seconds = (Date.parse(endedAt) - Date.parse(startedAt)) / 1000;
  const manifest = typeof report?.manifest === 'number' ? report.manifest : null;
  return { startedAt, endedAt, seconds, outcome, exitCode, manifest };
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), cutMs);
    // Resolves when the last connection is closed: idle ones at once, busy ones with their answer.
    server.close(() => {
      clearTimeout(cut);
      resolve();
    });
  });
}

function say(log: Logger): (error: unknown) => void {
  return (error) => log.warn({ reason: messageOf(error) }, 'the archive cannot be read; the metrics are as before');
}
