/**
 * What waits in the stream, and what the next night does with it: `run --today`, which is `list --waiting`. Reads only:
 * nothing is committed, written or made.
 */
import { addDays, type Clock, type Day, dayOf, startOfDayMs, systemClock } from '../../shared/clock.ts';
import { DaybookError } from '../../shared/errors.ts';
import { counted } from '../../shared/program/counted.ts';
import { openLog } from '../../shared/program/log.ts';
import { print } from '../../shared/program/standard-output.ts';
import { tableOf } from '../../shared/program/table.ts';
import { openStore } from '../../shared/store/open.ts';
import { isStreamAbsent, openReader, type StreamConfiguration, withoutCreate } from '../../shared/stream/open.ts';
import type { EventStreamReader } from '../../shared/stream/stream.ts';
import { consumerOf, readArchiveConfiguration } from '../configuration.ts';
import { newestClosedDay } from '../day/closing.ts';
import { type Ledger, loadLedger } from '../ledger/ledger.ts';
import { waitingSettings } from '../settings.ts';
import { type RecordRules, readStream } from '../stream/read-stream.ts';

export interface WaitingDay {
  readonly source: string;
  readonly day: Day;
  /** An event that was delivered three times counts three times. */
  readonly deliveries: number;
  /** Different ids; null where there are too many to be counted. */
  readonly events: number | null;
  /** From then on a run archives them, RFC 3339 UTC. */
  readonly closesAt: string;
  readonly isClosed: boolean;
}

export interface WaitingReport {
  /** Deliveries that are not archived yet, by day and source. */
  readonly days: readonly WaitingDay[];
  /** Records that the next run puts into the quarantine. */
  readonly quarantine: number;
}

export type WaitingRules = Pick<RecordRules, 'streamKeys' | 'acceptUnsealedBefore'>;

/** Ids in memory: some 100 MB. */
const maxIds = 1_000_000;

export async function waitingCommand(options: {
  readonly acceptUnsealedBefore?: string | undefined;
  readonly json?: boolean | undefined;
}): Promise<void> {
  const { settings, verifyingKeys } = readArchiveConfiguration(waitingSettings);
  const log = openLog('compactor', settings.LOG_LEVEL);
  const { store, prefix } = await openStore(settings.DAYBOOK_STORE, settings.DAYBOOK_DATA_DIR);
  try {
    const ledger = await loadLedger(store, prefix, verifyingKeys);
    const reader = await openStreamThatIsThere(settings.DAYBOOK_STREAM, settings.DAYBOOK_DATA_DIR, {
      consumer: consumerOf(store.location, prefix),
      clock: systemClock,
      log,
    });
    try {
      const report = await readWaiting(reader, ledger, systemClock, settings.COMPACTOR_LAG_SECONDS, {
        streamKeys: settings.DAYBOOK_STREAM_KEY,
        acceptUnsealedBefore: options.acceptUnsealedBefore,
      });
      await print(options.json === true ? `${JSON.stringify(report)}\n` : describeWaiting(report));
    } finally {
      await reader.close();
    }
  } finally {
    await store.close();
  }
}

/**
 * For commands that only look: opening an embedded stream, or a topic with `create`, would make it.
 * @throws DaybookError `stream_missing`
 */
export async function openStreamThatIsThere(
  stream: StreamConfiguration,
  dataDirectory: string,
  options: Parameters<typeof openReader>[2],
): Promise<EventStreamReader> {
  if (isStreamAbsent(stream, dataDirectory)) {
    const detail = `there is no ${stream.type} stream in ${dataDirectory} (DAYBOOK_STREAM, DAYBOOK_DATA_DIR)`;
    throw new DaybookError('stream_missing', { detail });
  }
  return openReader(withoutCreate(stream), dataDirectory, options);
}

/** What waits, by day and source. */
export async function readWaiting(
  stream: EventStreamReader,
  ledger: Ledger,
  clock: Clock,
  lagSeconds: number,
  rules: WaitingRules = seenByAnybody,
): Promise<WaitingReport> {
  const newestClosed = newestClosedDay(clock.now(), lagSeconds);
  const found = new Map<string, { source: string; day: Day; deliveries: number; ids: Set<string> }>();
  let idsHeld = 0;
  const quarantine = await readDeliveries(stream, ledger, clock, rules, (source, day, id) => {
    const key = `${day} ${source}`;
    const into = found.get(key) ?? { source, day, deliveries: 0, ids: new Set() };
    found.set(key, into);
    into.deliveries += 1;
    if (idsHeld > maxIds || into.ids.has(id)) return;
    into.ids.add(id);
    idsHeld += 1;
  });
  const days = [...found]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { ids, ...day }]) => ({
      ...day,
      events: idsHeld > maxIds ? null : ids.size,
      closesAt: new Date(startOfDayMs(addDays(day.day, 1)) + lagSeconds * 1000).toISOString(),
      isClosed: day.day <= newestClosed,
    }));
  return { days, quarantine };
}

/** The day of the oldest delivery that waits. */
export async function oldestUnarchivedDay(
  stream: EventStreamReader,
  ledger: Ledger,
  clock: Clock,
): Promise<Day | null> {
  let oldest: Day | null = null;
  await readDeliveries(stream, ledger, clock, seenByAnybody, (_source, day) => {
    if (oldest === null || day < oldest) oldest = day;
  });
  return oldest;
}

const seenByAnybody: WaitingRules = { streamKeys: undefined, acceptUnsealedBefore: undefined };

/**
 * Hands over the deliveries that lie in the stream above what the ledger is done with. A delivery of an archived event
 * counts until its evidence is archived too. Records that nobody delivered do not count. Returns how many records the
 * next run puts into the quarantine.
 */
async function readDeliveries(
  stream: EventStreamReader,
  ledger: Ledger,
  clock: Clock,
  rules: WaitingRules,
  take: (source: string, day: Day, id: string) => void,
): Promise<number> {
  const now = clock.now();
  let quarantine = 0;
  await readStream(
    stream,
    await stream.snapshot(),
    ledger.stream,
    {
      ...rules,
      latestDay: addDays(dayOf(now), 1),
      // A look is not ended by a clock that is behind; a night is.
      latestReceipt: '~',
      kinds: new Map(),
    },
    {
      isTouched: () => true,
      stage(source, _key, _payload, id, { day, origin }) {
        if (origin === 'delivered') take(source, day, id);
      },
      async quarantine() {
        quarantine += 1;
      },
      progress() {},
    },
    now.toISOString(),
  );
  return quarantine;
}

export function describeWaiting({ days, quarantine }: WaitingReport): string {
  const rows = days.map(({ source, day, events, deliveries, closesAt, isClosed }) => [
    ...[day, source, events, deliveries],
    isClosed ? 'the next run archives them' : `archived by a run after ${closesAt.slice(0, 16).replace('T', ' ')} UTC`,
  ]);
  return [
    rows.length === 0
      ? `Nothing waits in the stream${quarantine === 0 ? ': every delivery is archived' : ' for its day'}.\n`
      : tableOf(['day', 'source', 'events', 'deliveries', 'what comes next'], rows),
    quarantine === 0 ? '' : `The next run puts ${counted(quarantine, 'record')} into the quarantine.\n`,
    'Nothing was closed or written.\n',
  ].join('');
}
