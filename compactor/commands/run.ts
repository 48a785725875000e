/** `daybook-compactor run`: one night, now. */
import { type Clock, type Day, isDay, parseInstant, systemClock } from '../../shared/clock.ts';
import { unsealedWarning } from '../../shared/crypto/stream-seal.ts';
import { DaybookError, type ErrorCode, messageOf } from '../../shared/errors.ts';
import { exitCodeOf } from '../../shared/program/program.ts';
import { openProgress } from '../../shared/program/progress.ts';
import { print } from '../../shared/program/standard-output.ts';
import { tableOf } from '../../shared/program/table.ts';
import { visibleText } from '../../shared/program/visible-text.ts';
import { openHolder, openStore } from '../../shared/store/open.ts';
import { stores } from '../../shared/store/stores.ts';
import { isLocalStream, openReader, openWriter } from '../../shared/stream/open.ts';
import type { EventStreamWriter } from '../../shared/stream/stream.ts';
import { type Anchored, anchorLedger } from '../anchors/anchor-ledger.ts';
import { compact } from '../compact.ts';
import {
  consumerOf,
  type NightConfiguration,
  openSigner,
  readNightConfiguration,
  witnessesOf,
} from '../configuration.ts';
import { recoveredAlone } from '../console/day-words.ts';
import { newestClosedDay } from '../day/closing.ts';
import { holdNewObjects } from '../ledger/hold-archive.ts';
import { headOf, type Ledger, loadLedger } from '../ledger/ledger.ts';
import { isLeader, type Night, type NightReport, type Problem } from '../night.ts';
import { openNotifier } from '../notify/notify.ts';
import { refuseSecondChain } from '../replicate/refuse-second-chain.ts';
import { replicateSettings } from '../settings.ts';
import { openStaging, type Staging, stagingErrorOf } from '../staging/staging.ts';
import { askTime } from './ask-time.ts';
import { waitingCommand } from './waiting.ts';

export interface RunOptions {
  readonly day?: readonly string[];
  readonly force?: boolean;
  readonly now?: string;
  readonly acceptUnsealedBefore?: string;
  readonly acceptRestored?: boolean;
  readonly trustClock?: boolean;
  readonly today?: boolean;
  readonly json?: boolean;
}

/** `run --json`. `witnesses`: those that were asked, where any was. `head`: the newest manifest, which proves later, kept elsewhere, that no end of the chain was cut off. */
type RunReport = NightReport & {
  readonly head: { readonly number: number; readonly sha256: string } | null;
  readonly witnesses?: Anchored['witnesses'];
};

/** Runs one night and prints what it did. Sets the exit code, as `exitCodeOfNight` says. */
export async function runCommand(options: RunOptions): Promise<void> {
  if (options.today === true) {
    const { day = [], force = false, now, acceptRestored = false, trustClock = false } = options;
    if (day.length > 0 || now !== undefined || force || acceptRestored || trustClock) {
      throw new DaybookError('usage', {
        detail: '--today only looks: it goes with --json and --accept-unsealed-before',
      });
    }
    const before = instantOf('--accept-unsealed-before', options.acceptUnsealedBefore);
    return waitingCommand({ acceptUnsealedBefore: before?.toISOString(), json: options.json });
  }
  const configuration = readNightConfiguration(replicateSettings);
  const clock = clockOf(options.now, configuration);
  const days = closedDays(options.day, clock, configuration.settings.COMPACTOR_LAG_SECONDS);
  const acceptUnsealedBefore = instantOf('--accept-unsealed-before', options.acceptUnsealedBefore);
  const accepted = {
    acceptUnsealedBefore,
    acceptRestored: options.acceptRestored === true,
    trustClock: options.trustClock === true,
  };
  const startedAt = systemClock.now().toISOString();
  /** A `serve` that started this tells it itself: also where this dies. */
  const notify = async (told: RunReport) => {
    if (process.channel !== undefined || !isLeader(configuration.settings.COMPACTOR_WORKER)) return;
    const { COMPACTOR_NOTIFY: listeners, DAYBOOK_DATA_DIR: dataDirectory } = configuration.settings;
    const { exitCode } = process as { exitCode?: number };
    const outcome = exitCode === undefined ? 'done' : exitCode === 3 ? 'fault' : 'failed';
    const end = {
      job: 'run',
      outcome,
      exitCode: exitCode ?? 0,
      startedAt,
      endedAt: systemClock.now().toISOString(),
    } as const;
    await openNotifier({ listeners, dataDirectory, clock: systemClock, log: configuration.log }).tell({
      ...end,
      report: { ...told },
    });
  };
  let report: RunReport;
  let incomplete = 0;
  try {
    ({ report, incomplete } = await runNight(configuration, clock, days, options.force === true, accepted));
  } catch (error) {
    process.exitCode = exitCodeOf(error);
    const failed = { manifest: null, head: null, days: [], errors: [problemOf(error)], warnings: [] };
    if (options.json === true) await print(`${JSON.stringify(failed)}\n`);
    await notify(failed);
    if (options.json !== true) throw error;
    return;
  } finally {
    configuration.close();
  }
  process.exitCode = exitCodeOfNight(report, incomplete);
  await print(options.json === true ? `${JSON.stringify(report)}\n` : describeNight(report));
  await notify(report);
}

/** What running again does not mend. */
const findings: ReadonlySet<string> = new Set<ErrorCode>(['lost_after_2xx', 'anchor_contradicted']);

/** 2: something failed, and may go well when it is run again. 3: found, and not to be mended by running again. */
export function exitCodeOfNight({ errors }: Pick<NightReport, 'errors'>, incompleteDays: number): 2 | 3 | undefined {
  if (errors.some(({ code }) => !findings.has(code))) return 2;
  return errors.length > 0 || incompleteDays > 0 ? 3 : undefined;
}

function problemOf(error: unknown): Problem {
  const code = error instanceof DaybookError ? error.code : 'day_failed';
  return { code, source: null, day: null, message: messageOf(error) };
}

async function runNight(
  configuration: NightConfiguration<'DAYBOOK_REPLICA_STORE'>,
  clock: Clock,
  days: ReadonlySet<Day> | undefined,
  force: boolean,
  accepted: Pick<Night, 'acceptUnsealedBefore' | 'acceptRestored' | 'trustClock'>,
): Promise<{ report: RunReport; incomplete: number }> {
  const { settings, recipients, verifyingKeys, log, sources } = configuration;
  // First: a night that nobody can sign is no work to begin.
  const signer = await openSigner(settings.COMPACTOR_SIGNING_KEY, verifyingKeys);
  const { store, prefix } = await openStore(settings.DAYBOOK_STORE, settings.DAYBOOK_DATA_DIR, { willCreate: true });
  if (settings.DAYBOOK_STREAM_KEY === undefined && !isLocalStream(settings.DAYBOOK_STREAM)) {
    log.warn(unsealedWarning);
  }
  const { DAYBOOK_REPLICA_STORE: replica, DAYBOOK_DATA_DIR: dataDirectory } = settings;
  try {
    await refuseSecondChain({ store, prefix, replica, dataDirectory });
  } catch (error) {
    await store.close();
    throw error;
  }
  const consumer = consumerOf(store.location, prefix);
  // What ages out of the stream does so by the real time, also in a drill: others read it too.
  const stream = await openReader(settings.DAYBOOK_STREAM, settings.DAYBOOK_DATA_DIR, {
    consumer,
    clock: systemClock,
    log,
  });
  let recoveredTo: EventStreamWriter | undefined;
  let staging: Staging | undefined;
  let left: Ledger | undefined;
  const { progress, done } = openProgress(log);
  const stop = () => {
    staging?.remove();
    process.exit(2);
  };
  process.once('SIGTERM', stop).once('SIGINT', stop);
  try {
    staging = openStaging(settings.DAYBOOK_DATA_DIR);
    if (settings.COMPACTOR_PUBLISH_RECOVERED) {
      recoveredTo = await openWriter(settings.DAYBOOK_STREAM, settings.DAYBOOK_DATA_DIR, log);
    }
    const report = await compact({
      clock,
      stream,
      store,
      prefix,
      dayPath: settings.DAYBOOK_DAY_PATH,
      lagSeconds: settings.COMPACTOR_LAG_SECONDS,
      sources,
      recipients,
      signer,
      verifyingKeys,
      stagingDirectory: staging.directory,
      ...(days === undefined ? {} : { days }),
      force,
      worker: settings.COMPACTOR_WORKER && {
        ...settings.COMPACTOR_WORKER,
        waitSeconds: settings.COMPACTOR_WORKER_WAIT_SECONDS,
      },
      streamKeys: settings.DAYBOOK_STREAM_KEY,
      ...accepted,
      // A time that was given for a drill is nobody's to confirm.
      askTime:
        clock === systemClock
          ? () =>
              askTime(
                store,
                sources.flatMap(({ listing }) => listing?.api ?? []),
              )
          : undefined,
      ...(recoveredTo === undefined ? {} : { recoveredTo }),
      ended(ledger) {
        left = ledger;
      },
      log,
      progress,
    });
    const ledger = left!;
    // Dies here: what was not witnessed is so with the next manifest.
    const anchoring = { store, prefix, signer, witnesses: witnessesOf(settings) };
    const load = () => loadLedger(store, prefix, verifyingKeys);
    const anchored = isLeader(settings.COMPACTOR_WORKER)
      ? await anchorLedger({ ...anchoring, loadLedger: load }, ledger)
      : { errors: [], warnings: [], witnesses: [] };
    const unheld = isLeader(settings.COMPACTOR_WORKER)
      ? await holdNewObjects(() => openHolder(settings.DAYBOOK_STORE, dataDirectory), ledger)
      : undefined;
    const holdWarning = { code: 'legal_hold_failed', source: null, day: null, message: unheld ?? '' } as const;
    const states = [...ledger.sources.values()].flatMap((known) => [...known.values()]);
    return {
      report: {
        ...report,
        head: headOf(ledger),
        errors: [...report.errors, ...anchored.errors],
        warnings: [...report.warnings, ...anchored.warnings, ...(unheld === undefined ? [] : [holdWarning])],
        ...(anchored.witnesses.length > 0 && { witnesses: anchored.witnesses }),
      },
      incomplete: states.filter(({ verdict }) => verdict === 'incomplete').length,
    };
  } catch (error) {
    throw stagingErrorOf(error);
  } finally {
    done();
    staging?.remove();
    process.off('SIGTERM', stop).off('SIGINT', stop);
    await recoveredTo?.close();
    await stream.close();
    await store.close();
  }
}

/** With `--now` the time stands still at that instant: for drills and tests, so with local stream and store alone. */
function clockOf(now: string | undefined, { settings }: NightConfiguration): Clock {
  if (now === undefined) return systemClock;
  if (!isLocalStream(settings.DAYBOOK_STREAM) || !stores[settings.DAYBOOK_STORE.type].isLocal) {
    throw new DaybookError('usage', { detail: '--now needs the embedded stream and a directory store' });
  }
  const instant = instantOf('--now', now)!;
  return { now: () => instant };
}

function instantOf(option: string, text: string | undefined): Date | undefined {
  if (text === undefined) return undefined;
  const instant = parseInstant(text);
  if (instant === undefined) throw new DaybookError('usage', { detail: `${option} takes an RFC 3339 date-time` });
  return new Date(instant);
}

/** The days named; undefined where none is, which means all. Throws `usage` and `day_open`. */
export function closedDays(
  texts: readonly string[] | undefined,
  clock: Clock,
  lagSeconds: number,
): ReadonlySet<Day> | undefined {
  if (texts === undefined || texts.length === 0) return undefined;
  const newest = newestClosedDay(clock.now(), lagSeconds);
  for (const text of texts) {
    if (!isDay(text)) {
      throw new DaybookError('usage', { detail: `a day is a UTC date such as 2026-11-20, not ${text}` });
    }
    if (text > newest)
      throw new DaybookError('day_open', { detail: `${text} is not closed; ${newest} is the newest that is` });
  }
  return new Set(texts);
}

/** `twins` is a column where there are any: with `delivered` and `recovered` they are the day's events. */
export function describeNight({ manifest, head, days, errors, warnings }: RunReport): string {
  const hasTwins = days.some(({ counts }) => (counts.twins ?? 0) > 0);
  const columns = [
    ...['source', 'day', 'verdict', 'delivered', 'recovered', ...(hasTwins ? ['twins'] : [])],
    ...['listed', 'not listed', 'differing', 'duplicates'],
  ];
  const rows = days.map(({ source, day, verdict, counts }) => [
    ...[source, day, verdict, counts.delivered, recoveredAlone(counts), ...(hasTwins ? [counts.twins ?? 0] : [])],
    ...[counts.listed, counts.notListed, counts.differing, counts.duplicates],
  ]);
  const problems = [
    ...errors.map((problem) => ({ kind: 'error', ...problem })),
    ...warnings.map((problem) => ({ kind: 'warning', ...problem })),
  ].map(({ kind, code, source, day, message }) => `${kind} ${code}${where(source, day)}: ${visibleText(message)}\n`);
  const written =
    manifest === null
      ? 'Nothing to say: no manifest written.\n'
      : `Manifest ${manifest} written, SHA-256 ${head?.sha256 ?? 'unknown'}.\n`;
  return `${rows.length > 0 ? tableOf(columns, rows) : ''}${problems.join('')}${written}`;
}

function where(source: string | null, day: Day | null): string {
  const place = [source, day].filter((part) => part !== null).join(' ');
  return place === '' ? '' : ` (${place})`;
}
