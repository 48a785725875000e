/** `daybook-compactor list`: what the ledger says is archived, and what waits in the stream. Reads only. */
import { addDays, type Clock, type Day, dayOf, systemClock } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import { openLog } from '../../shared/program/log.ts';
import { print } from '../../shared/program/standard-output.ts';
import { visibleText } from '../../shared/program/visible-text.ts';
import { openStore } from '../../shared/store/open.ts';
import { isStreamAbsent, openReader, type StreamConfiguration } from '../../shared/stream/open.ts';
import type { EventStreamReader } from '../../shared/stream/stream.ts';
import { consumerOf, readArchiveConfiguration } from '../configuration.ts';
import { type DayNearRetention, daysNearRetention } from '../day/retention.ts';
import {
  type DayState,
  headOf,
  type Ledger,
  loadLedger,
  type NumberedManifest,
  type Pruned,
} from '../ledger/ledger.ts';
import type { Part } from '../ledger/manifest.ts';
import { readStream } from '../stream/read-stream.ts';
import { tableOf } from './table.ts';

export interface ListedDay {
  readonly source: string;
  readonly day: Day;
  readonly verdict: DayState['verdict'];
  readonly events: number;
  /** Of its parts. */
  readonly bytes: Part['bytes'];
  /** When the first manifest that names the day was made, RFC 3339 UTC. */
  readonly archivedAt: string;
  /** The newest that names it. */
  readonly manifest: NumberedManifest;
  readonly counts: DayState['counts'];
  readonly parts: readonly ListedPart[];
  readonly lateDeliveries: readonly (DayState['lateDeliveries'][number] & { readonly pruned: Pruned | null })[];
  readonly exceptions: readonly (DayState['exceptions'][number] & { readonly pruned: Pruned | null })[];
  /** How many of its objects are pruned: gone, or about to be. */
  readonly pruned: { readonly parts: number; readonly deliveries: number };
}

type ListedPart = DayState['parts'][number] & {
  readonly pruned: Pruned | null;
  /** Of its deliveries. */
  readonly deliveriesPruned: Pruned | null;
};

/** `list --json`. */
export interface ArchiveList {
  /** The newest manifest; null where there is none. */
  readonly head: { readonly number: number; readonly sha256: string } | null;
  /** The UTC day of the oldest delivery that is in the stream and not archived yet. Null too where the stream was not read. */
  readonly oldestUnarchivedDay: Day | null;
  /** Why the stream was not read; null where it was. */
  readonly streamUnread: string | null;
  readonly newestArchivedDay: Day | null;
  /** Provisional and incomplete days near the end of Stripe's 30 days. */
  readonly retentionNear: readonly DayNearRetention[];
  readonly days: readonly ListedDay[];
}

const maxExceptionsShown = 20;

/** Prints the list. Rejects as `run` does where the ledger is broken. */
export async function listCommand(options: { readonly json?: boolean }): Promise<void> {
  const { settings, verifyingKeys } = readArchiveConfiguration(['DAYBOOK_STREAM']);
  const log = openLog('compactor', settings.LOG_LEVEL);
  const { DAYBOOK_DATA_DIR: dataDirectory, DAYBOOK_STREAM: stream } = settings;
  const { store, prefix } = await openStore(settings.DAYBOOK_STORE, dataDirectory);
  try {
    const ledger = await loadLedger(store, prefix, verifyingKeys);
    const consumer = consumerOf(store.location, prefix);
    const waiting = await waitingIn(stream, dataDirectory, { consumer, clock: systemClock, log }, ledger);
    const list: ArchiveList = { head: headOf(ledger), ...waiting, ...listArchive(ledger, dayOf(systemClock.now())) };
    await print(options.json === true ? `${JSON.stringify(list)}\n` : describe(list));
  } finally {
    await store.close();
  }
}

export function listArchive(ledger: Ledger, today: Day): Omit<ArchiveList, keyof Waiting | 'head'> {
  const days = [...ledger.sources].flatMap(([source, states]) =>
    [...states].map(([day, state]) => listDay(source, day, state, ledger.pruned)),
  );
  days.sort((a, b) => (a.day !== b.day ? (a.day < b.day ? -1 : 1) : a.source < b.source ? -1 : 1));
  return {
    newestArchivedDay: days.at(-1)?.day ?? null,
    retentionNear: daysNearRetention(ledger.sources, today),
    days,
  };
}

function listDay(source: string, day: Day, state: DayState, pruned: Ledger['pruned']): ListedDay {
  const { verdict, counts, archivedAt, manifest } = state;
  const prunedBy = (object: { readonly key: string } | null) => pruned.get(object?.key ?? '') ?? null;
  const parts = state.parts.map((part) => ({
    ...part,
    pruned: prunedBy(part),
    deliveriesPruned: prunedBy(part.deliveries),
  }));
  const lateDeliveries = state.lateDeliveries.map((late) => ({ ...late, pruned: prunedBy(late) }));
  const exceptions = state.exceptions.map((object) => ({ ...object, pruned: prunedBy(object) }));
  const evidence = [...parts.map(({ deliveriesPruned }) => deliveriesPruned), ...lateDeliveries.map((l) => l.pruned)];
  return {
    source,
    day,
    verdict,
    events: counts.delivered + counts.recovered,
    bytes: {
      plaintext: parts.reduce((sum, { bytes }) => sum + bytes.plaintext, 0),
      ciphertext: parts.reduce((sum, { bytes }) => sum + bytes.ciphertext, 0),
    },
    archivedAt,
    manifest,
    counts,
    parts,
    lateDeliveries,
    exceptions,
    pruned: {
      parts: parts.filter((part) => part.pruned !== null).length,
      deliveries: evidence.filter((found) => found !== null).length,
    },
  };
}

type Waiting = Pick<ArchiveList, 'oldestUnarchivedDay' | 'streamUnread'>;

/** The archive can be listed where the stream is down or not to be reached from here: that is said, and is no failure. */
async function waitingIn(
  configuration: StreamConfiguration,
  dataDirectory: string,
  options: Parameters<typeof openReader>[2],
  ledger: Ledger,
): Promise<Waiting> {
  // Opening an embedded stream makes it where it is not.
  if (isStreamAbsent(configuration, dataDirectory)) {
    const streamUnread = `there is no embedded stream in ${dataDirectory} (DAYBOOK_STREAM, DAYBOOK_DATA_DIR)`;
    return { oldestUnarchivedDay: null, streamUnread };
  }
  try {
    const stream = await openReader(configuration, dataDirectory, options);
    try {
      return { oldestUnarchivedDay: await oldestUnarchivedDay(stream, ledger, systemClock), streamUnread: null };
    } finally {
      await stream.close();
    }
  } catch (error) {
    return { oldestUnarchivedDay: null, streamUnread: messageOf(error) };
  }
}

/**
 * The day of the oldest delivery that lies in the stream above what the ledger is done with. A delivery of an archived
 * event counts until its evidence is archived too. Records that nobody delivered do not count, nor do those that the
 * next run puts into the quarantine.
 */
export async function oldestUnarchivedDay(
  stream: EventStreamReader,
  ledger: Ledger,
  clock: Clock,
): Promise<Day | null> {
  const now = clock.now();
  let oldest: Day | null = null;
  const note = (day: Day) => {
    if (oldest === null || day < oldest) oldest = day;
  };
  await readStream(
    stream,
    await stream.snapshot(),
    ledger.stream,
    {
      latestDay: addDays(dayOf(now), 1),
      latestReceipt: '~',
      streamKeys: undefined,
      acceptUnsealedBefore: undefined,
      kinds: new Map(),
    },
    {
      isTouched: () => true,
      stage(_source, _key, _payload, _id, { day, origin }) {
        if (origin === 'delivered') note(day);
      },
      async quarantine() {},
      progress() {},
    },
    now.toISOString(),
  );
  return oldest;
}

function describe({ oldestUnarchivedDay, streamUnread, newestArchivedDay, retentionNear, days }: ArchiveList): string {
  const head = [
    ...['day', 'source', 'verdict', 'events', 'delivered', 'recovered', 'listed', 'duplicates', 'parts'],
    ...['bytes', 'sealed', 'first archived', 'newest manifest', 'its SHA-256', 'pruned'],
  ];
  const rows = days.map(({ day, source, verdict, events, counts, parts, bytes, archivedAt, manifest, pruned }) => [
    ...[day, source, verdict, events, counts.delivered, counts.recovered, counts.listed, counts.duplicates],
    ...[parts.length, bytes.plaintext, bytes.ciphertext, `${archivedAt.slice(0, 19)}Z`],
    ...[manifest.number, manifest.sha256.slice(0, 16), describePruned(pruned)],
  ]);
  return [
    rows.length === 0 ? 'Nothing is archived yet.\n' : `${tableOf(head, rows)}\n`,
    newestArchivedDay === null ? '' : `Newest archived day: ${newestArchivedDay}\n`,
    ...describeExceptions(days),
    streamUnread === null
      ? `Oldest day that is still only in the stream: ${oldestUnarchivedDay ?? 'none'}\n`
      : `What waits in the stream was not asked: ${visibleText(streamUnread)}\n`,
    ...retentionNear.map(
      ({ source, day, verdict, listedUntil }) =>
        `Near the end of Stripe's list: ${source} ${day} is ${verdict}, listed until the end of ${listedUntil}\n`,
    ),
  ].join('');
}

/** Of the newest days that have any as of now: how many, and the newest object that names some. */
export function describeExceptions(days: readonly ListedDay[]): string[] {
  const newest = days.flatMap(({ source, day, verdict, counts, exceptions }) => {
    const object = exceptions.findLast(({ pruned }) => pruned === null);
    if (object === undefined) return [];
    const notListed = counts.notListed ?? 0;
    const missing = verdict === 'incomplete' ? object.counts.missing : 0;
    if (notListed + counts.differing + missing === 0) return [];
    const told = `${notListed} not listed, ${missing} missing, ${counts.differing} differing`;
    return [`Exceptions of ${source} ${day}: ${told}, newest in ${object.key}\n`];
  });
  const more = newest.length - maxExceptionsShown;
  return [
    ...newest.slice(-maxExceptionsShown),
    more > 0 ? `Older exceptions: of ${more} more days (see --json)\n` : '',
  ];
}

function describePruned({ parts, deliveries }: ListedDay['pruned']): string {
  if (parts > 0) return deliveries > 0 ? 'events, evidence' : 'events';
  return deliveries > 0 ? 'evidence' : '–';
}
