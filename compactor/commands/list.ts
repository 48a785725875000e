/** `daybook-compactor list`: what the ledger says is archived, and what waits in the stream. Reads only. */
import { addDays, type Day, dayOf, systemClock } from '../../shared/clock.ts';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import { openLog } from '../../shared/program/log.ts';
import { print } from '../../shared/program/standard-output.ts';
import { tableOf } from '../../shared/program/table.ts';
import { visibleText } from '../../shared/program/visible-text.ts';
import { openStore } from '../../shared/store/open.ts';
import type { openReader, StreamConfiguration } from '../../shared/stream/open.ts';
import { consumerOf, readArchiveConfiguration } from '../configuration.ts';
import { recoveredAlone } from '../console/day-words.ts';
import { firstOf, uncoveredOf } from '../day/coverage.ts';
import { type DayNearRetention, daysNearRetention } from '../day/retention.ts';
import {
  type DayState,
  headOf,
  type Ledger,
  loadLedger,
  type NumberedManifest,
  type Pruned,
} from '../ledger/ledger.ts';
import { type Part, verdicts } from '../ledger/manifest.ts';
import { checkDays } from '../restore/restore-selection.ts';
import { listSettings } from '../settings.ts';
import { refuseUnknownSources } from './refuse-unknown-sources.ts';
import { oldestUnarchivedDay, openStreamThatIsThere, waitingCommand } from './waiting.ts';

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
  /** What was delivered and is in no list that is asked: accounts, events that name none, modes. */
  readonly uncovered: readonly string[];
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

export interface ListOptions {
  readonly source?: readonly string[];
  readonly from?: Day;
  readonly to?: Day;
  readonly verdict?: readonly string[];
  readonly waiting?: boolean;
  readonly json?: boolean;
}

const maxExceptionsShown = 20;

function checkFilter({ source = [], from, to, verdict = [], waiting = false }: ListOptions): void {
  checkDays(from, to);
  const unknown = verdict.find((name) => !verdicts.some((known) => known === name));
  if (unknown !== undefined) {
    throw new DaybookError('usage', { detail: `--verdict takes one of ${verdicts.join(', ')}, not ${unknown}` });
  }
  const isFilter = source.length + verdict.length > 0 || from !== undefined || to !== undefined;
  if (waiting && isFilter) {
    throw new DaybookError('usage', { detail: '--waiting shows all that waits: it goes with --json alone' });
  }
}

/** Which days were asked for. */
function wanted({ source = [], from, to, verdict = [] }: ListOptions): (day: ListedDay) => boolean {
  return (day) =>
    (source.length === 0 || source.includes(day.source)) &&
    (verdict.length === 0 || verdict.includes(day.verdict)) &&
    (from === undefined || day.day >= from) &&
    (to === undefined || day.day <= to);
}

/** Prints the list. Rejects as `run` does where the ledger is broken. */
export async function listCommand(options: ListOptions): Promise<void> {
  checkFilter(options);
  if (options.waiting === true) return waitingCommand(options);
  const { settings, verifyingKeys } = readArchiveConfiguration(listSettings);
  const log = openLog('compactor', settings.LOG_LEVEL);
  const { DAYBOOK_DATA_DIR: dataDirectory, DAYBOOK_STREAM: stream } = settings;
  const { store, prefix } = await openStore(settings.DAYBOOK_STORE, dataDirectory);
  try {
    const ledger = await loadLedger(store, prefix, verifyingKeys);
    refuseUnknownSources(options.source ?? [], ledger);
    const consumer = consumerOf(store.location, prefix);
    const waiting = await waitingIn(stream, dataDirectory, { consumer, clock: systemClock, log }, ledger);
    const all = listArchive(ledger, dayOf(systemClock.now()));
    const isWanted = wanted(options);
    const list: ArchiveList = { head: headOf(ledger), ...waiting, ...all, days: all.days.filter(isWanted) };
    await print(
      options.json === true ? `${JSON.stringify(list)}\n` : describeList(list, all.days.length > list.days.length),
    );
  } finally {
    await store.close();
  }
}

export function listArchive(ledger: Ledger, today: Day): Omit<ArchiveList, keyof Waiting | 'head'> {
  const days = [...ledger.sources].flatMap(([source, states]) =>
    [...states].map(([day, state]) => listDay(source, day, state, ledger)),
  );
  days.sort((a, b) => (a.day !== b.day ? (a.day < b.day ? -1 : 1) : a.source < b.source ? -1 : 1));
  return {
    newestArchivedDay: days.at(-1)?.day ?? null,
    retentionNear: daysNearRetention(ledger.sources, today),
    days,
  };
}

function listDay(source: string, day: Day, state: DayState, { asked, pruned }: Ledger): ListedDay {
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
    uncovered: uncoveredOf({ asked }, source, state),
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

/** The archive can be listed where the stream is down or not to be reached from here: that is said, and is not a failure. */
async function waitingIn(
  configuration: StreamConfiguration,
  dataDirectory: string,
  options: Parameters<typeof openReader>[2],
  ledger: Ledger,
): Promise<Waiting> {
  try {
    const stream = await openStreamThatIsThere(configuration, dataDirectory, options);
    try {
      return { oldestUnarchivedDay: await oldestUnarchivedDay(stream, ledger, systemClock), streamUnread: null };
    } finally {
      await stream.close();
    }
  } catch (error) {
    return { oldestUnarchivedDay: null, streamUnread: messageOf(error) };
  }
}

/** Lines of 100 columns at most, but for keys of objects, each on a line of its own, and what a stream says. */
export function describeList(list: ArchiveList, isFiltered: boolean): string {
  const { oldestUnarchivedDay, streamUnread, newestArchivedDay, retentionNear, days } = list;
  const none = isFiltered ? 'None of the archived days is what was asked for.\n' : 'Nothing is archived yet.\n';
  return [
    days.length === 0 ? none : describeMonths(days),
    newestArchivedDay === null ? '' : `Newest archived day: ${newestArchivedDay}\n`,
    ...describeExceptions(days),
    ...describeUncovered(days),
    streamUnread === null
      ? `Oldest day that is still only in the stream: ${oldestUnarchivedDay ?? 'none'}\n`
      : `What waits in the stream was not asked: ${visibleText(streamUnread)}\n`,
    ...retentionNear.map(
      ({ source, day, verdict, listedUntil }) =>
        `${source} ${day} is ${verdict}: Stripe lists it until ${listedUntil}\n`,
    ),
  ].join('');
}

/** First each month's verdicts, then its days. 100 columns at most: hashes, times and keys are in `--json`. */
function describeMonths(days: readonly ListedDay[]): string {
  const months = Map.groupBy(days, ({ day }) => day.slice(0, 7));
  const summary = [...months].map(([month, own]) => [
    ...[month, own.length],
    ...verdicts.map((verdict) => own.filter((day) => day.verdict === verdict).length),
    own.reduce((sum, { events }) => sum + events, 0),
  ]);
  const blocks = [...Map.groupBy(days, ({ day, source }) => `${day.slice(0, 7)} ${source}`)]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, own]) => `\n${name}\n${describeDays(own)}`);
  return `${tableOf(['month', 'days', ...verdicts, 'events'], summary)}${blocks.join('')}\n`;
}

function describeDays(days: readonly ListedDay[]): string {
  const isPruned = days.some(({ pruned }) => pruned.parts + pruned.deliveries > 0);
  const head = ['day', 'verdict', 'events', 'recovered', 'listed', 'duplicates', 'sealed', 'manifest'];
  const rows = runsOfEmptyDays(days).map(({ day, until, verdict, events, counts, bytes, manifest, pruned }) => [
    ...[until === day ? day : `${day}…${until.slice(8)}`, verdict, events],
    ...[recoveredAlone(counts), counts.listed, counts.duplicates, sizeOf(bytes.ciphertext), manifest.number],
    ...(isPruned ? [describePruned(pruned)] : []),
  ]);
  return tableOf(isPruned ? [...head, 'pruned'] : head, rows);
}

/** Days without events that follow each other and have one verdict share a line. */
function runsOfEmptyDays(days: readonly ListedDay[]): (ListedDay & { readonly until: Day })[] {
  const runs: (ListedDay & { readonly until: Day })[] = [];
  for (const day of days) {
    const last = runs.at(-1);
    const isSame =
      last !== undefined &&
      last.events + day.events === 0 &&
      last.verdict === day.verdict &&
      isNextDay(last.until, day);
    if (isSame) runs[runs.length - 1] = { ...day, day: last.day, until: day.day };
    else runs.push({ ...day, until: day.day });
  }
  return runs;
}

function isNextDay(before: Day, { day }: ListedDay): boolean {
  return addDays(before, 1) === day;
}

function sizeOf(bytes: number): string {
  if (bytes === 0) return '–';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const unit = Math.min(Math.floor(Math.log10(bytes) / 3), units.length - 1);
  const size = bytes / 1000 ** unit;
  return `${unit === 0 || size >= 100 ? Math.floor(size) : size.toFixed(1)} ${units[unit]}`;
}

/** Of the newest days that have any as of now: how many, and the newest object that names some. */
export function describeExceptions(days: readonly ListedDay[]): string[] {
  const newest = days.flatMap(({ source, day, verdict, counts, exceptions }) => {
    const kept = exceptions.filter(({ pruned }) => pruned === null);
    const losing = kept.findLast(({ counts: own }) => (own.lostAfter2xx ?? 0) > 0);
    const lost = losing ? [`${source} ${day}: ${counts.lostAfter2xx} lost after a 2xx, in\n  ${losing.key}\n`] : [];
    const object = kept.findLast(({ counts: own }) => own.notListed + own.differing + own.missing > 0);
    if (object === undefined) return lost;
    const notListed = counts.notListed ?? 0;
    const missing = verdict === 'incomplete' ? object.counts.missing : 0;
    if (notListed + counts.differing + missing === 0) return lost;
    const told = `${notListed} not listed, ${missing} missing, ${counts.differing} differing`;
    return [`${source} ${day}: ${told}, in\n  ${object.key}\n`, ...lost];
  });
  const more = newest.length - maxExceptionsShown;
  return [
    ...newest.slice(-maxExceptionsShown),
    more > 0 ? `Older exceptions: of ${more} more days (see --json)\n` : '',
  ];
}

/** A line a source, and one for whose lists it lacks. */
function describeUncovered(days: readonly ListedDay[]): string[] {
  const lacking = Map.groupBy(
    days.filter(({ uncovered }) => uncovered.length > 0),
    ({ source }) => source,
  );
  return [...lacking].map(([source, own]) => {
    const names = [...new Set(own.flatMap(({ uncovered }) => uncovered))];
    const first = own.length === 1 ? own[0]!.day : `${own.length} days, ${own[0]!.day} the first,`;
    return `${source}: ${first} ${own.length === 1 ? 'lacks' : 'lack'} the lists of\n  ${visibleText(firstOf(names))}\n`;
  });
}

function describePruned({ parts, deliveries }: ListedDay['pruned']): string {
  if (parts > 0) return deliveries > 0 ? 'both' : 'events';
  return deliveries > 0 ? 'evidence' : '–';
}
