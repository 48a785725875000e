/**
 * Asks Stripe's lists for the days that are due. A source may have several: of snapshot events and of thin ones, each
 * for the key's own account or for each connected account. Contiguous days are one walk, newest first; where a walk
 * breaks off, the days that it has passed are listed all the same and the others stay due. A day counts as listed
 * once every list has passed it; one list's failure stops no other, unless nobody answers or the key itself is refused.
 */
import { addDays, type Clock, type Day, dayOf, startOfDayMs } from '../../shared/clock.ts';
import { DaybookError } from '../../shared/errors.ts';
import { maxNesting, nestingOf } from '../../shared/json/json-text.ts';
import { type Mode, modeOf } from '../../shared/schemes/stripe-scope.ts';
import type { StripeApi } from './list-events.ts';
import type { ListedEvent } from './listed-event.ts';

export interface ListingSource {
  readonly api: StripeApi;
  /**
   * Connected accounts, or those of an organisation, each with lists of its own; `all`: those that Stripe names tonight;
   * none: the key's own.
   */
  readonly accounts: readonly string[] | 'all';
  /** The key is an organisation's, which has no account of its own. */
  readonly isOrganisation?: boolean;
  /** The mode that the source is for: a list of the other is another's. */
  readonly mode?: Mode;
  /** The mode that the key says of itself. */
  readonly keyMode?: Mode;
  /** Whether thin events are listed from the first night on, else from the first one on that was delivered. */
  readonly thinEvents?: boolean;
}

/** One list of a source. */
export interface EventList {
  /** Names it in the ledger: `v1` or `v2`, and where accounts are configured by name, the account. */
  readonly name: string;
  readonly account?: string;
  readonly thin: boolean;
}

/**
 * Per list's name the start of the run since when every day in Stripe's list has been asked for; null while days that
 * were listed before the list was known have not been asked for yet.
 */
export type ListsKnown = Readonly<Record<string, string | null>>;

export interface Listing {
  readonly startedAt: string;
  /** The days listed whole, with the start of their listing. */
  readonly listedAt: ReadonlyMap<Day, string>;
  /** Ids known that could not be had, with the reason, by the day in whose walk they came. */
  readonly missing: ReadonlyMap<Day, ReadonlyMap<string, string>>;
  readonly lists: ListsKnown;
  /** Of the events listed; undefined where none was. */
  readonly mode: Mode | undefined;
  /** A list was of another mode than the source: nothing that was asked with its key tells anything. */
  readonly isContradicted: boolean;
  readonly failures: readonly ListFailure[];
}

export interface ListFailure {
  readonly error: unknown;
  /** Which of several lists, to be read; undefined where there is only one. */
  readonly place: string | undefined;
}

/** So many lists, one after the other, without an answer: Stripe does not answer, whatever is asked. */
const silentLists = 3;

/** The lists to be asked, snapshot events first. `all` accounts are those given. */
export function listsOf(accounts: readonly string[] | 'all', all: readonly string[], withThin: boolean): EventList[] {
  const named = accounts === 'all' ? all : accounts;
  return (withThin ? [false, true] : [false]).flatMap((thin) => {
    const version = thin ? 'v2' : 'v1';
    if (accounts !== 'all' && accounts.length === 0) return [{ name: version, thin }];
    return named.map((account) => ({ name: accounts === 'all' ? version : `${version} ${account}`, account, thin }));
  });
}

/**
 * Lists the days that are `due` by every list, and by a list that the ledger does not know yet the `passed` days too:
 * those that were listed without it.
 */
export async function listDays(
  { api, mode }: Pick<ListingSource, 'api' | 'mode'>,
  lists: readonly EventList[],
  days: { readonly due: readonly Day[]; readonly passed: readonly Day[] },
  known: ListsKnown,
  clock: Clock,
  found: Take,
): Promise<Listing> {
  const startedAt = clock.now().toISOString();
  let reached: ReadonlySet<Day> = new Set(days.due);
  const missing = new Map<Day, Map<string, string>>();
  const failures: ListFailure[] = [];
  const since: Record<string, string | null> = {};
  let silent = 0;
  let stopped = false;
  let isContradicted = false;
  let listedMode: Mode | undefined;
  const take: Take = (event, body) => {
    if (event.livemode !== undefined) {
      listedMode = modeOf(event.livemode);
      if (mode !== undefined && mode !== listedMode) throw wrongMode(mode, listedMode);
    }
    return found(event, body);
  };
  for (const list of lists) {
    const before = known[list.name] ?? null;
    if (stopped) {
      reached = new Set();
      since[list.name] = before;
      continue;
    }
    const extra = before === null ? days.passed : [];
    const asked = [...days.due, ...extra];
    const walked = asked.length === 0 ? { days: new Set<Day>() } : await walkList(api, list, asked, take, missing);
    reached = reached.intersection(walked.days);
    // Several accounts may share a name: it holds once all of them are through.
    const whole = before ?? (extra.every((day) => walked.days.has(day)) ? startedAt : null);
    since[list.name] = list.name in since && since[list.name] === null ? null : whole;
    const error = walked.failure;
    if (error !== undefined) failures.push({ error, place: lists.length > 1 ? placeOf(list) : undefined });
    const code = error instanceof DaybookError ? error.code : undefined;
    silent = code === 'stripe_unreachable' ? silent + 1 : 0;
    // Nothing that was asked with this key tells anything, an empty day neither.
    isContradicted ||= code === 'stripe_mode_contradicted';
    if (isContradicted) reached = new Set();
    stopped = code === 'stripe_key_refused' || code === 'stripe_mode_contradicted' || silent >= silentLists;
  }
  return {
    startedAt,
    listedAt: new Map([...reached].map((day) => [day, startedAt])),
    missing,
    lists: since,
    mode: listedMode,
    isContradicted,
    failures,
  };
}

export function wrongMode(asked: Mode, found: Mode): DaybookError {
  const detail = `the source is for ${asked} mode, the key lists events of ${found} mode`;
  return new DaybookError('stripe_mode_contradicted', { detail });
}

/** Takes a listed event; where a promise comes back, the next one waits for it. */
export type Take = (event: ListedEvent, body: Buffer) => void | Promise<void>;

/** What a list's name in the ledger says, to be read: `acct_a`, `acct_a, thin events`. */
export function nameOfList(name: string): string {
  const [version, account] = name.split(' ') as [string, string?];
  return placeOf({ thin: version === 'v2', ...(account === undefined ? {} : { account }) });
}

function placeOf({ account, thin }: Omit<EventList, 'name'>): string {
  return (
    [account, thin ? 'thin events' : undefined].filter((part) => part !== undefined).join(', ') || 'snapshot events'
  );
}

const endsAll: ReadonlySet<string> = new Set([
  'stripe_unreachable',
  'stripe_key_refused',
  'stripe_access_refused',
  'stripe_mode_contradicted',
]);

/** Newest walk first. Where nobody answers, the older ones are not tried: they stay due. */
async function walkList(
  api: StripeApi,
  list: EventList,
  days: readonly Day[],
  found: Take,
  missing: Map<Day, Map<string, string>>,
): Promise<{ days: ReadonlySet<Day>; failure?: unknown }> {
  let reached: ReadonlySet<Day> = new Set();
  let failure: unknown;
  for (const walk of contiguous(days).reverse()) {
    const walked = await walkDays(api, list, walk, found, missing);
    reached = reached.union(walked.days);
    failure ??= walked.failure;
    const code = walked.failure instanceof DaybookError ? walked.failure.code : undefined;
    if (code !== undefined && endsAll.has(code)) break;
  }
  return { days: reached, ...(failure === undefined ? {} : { failure }) };
}

/** One walk over ascending contiguous days. Answers the days that it has left behind. */
async function walkDays(
  api: StripeApi,
  { account, thin }: EventList,
  days: readonly Day[],
  found: Take,
  missing: Map<Day, Map<string, string>>,
): Promise<{ days: ReadonlySet<Day>; failure?: unknown }> {
  const first = days[0]!;
  let at = days.at(-1)!;
  let isOrdered = true;
  const window = {
    fromSeconds: startOfDayMs(first) / 1000,
    toSeconds: startOfDayMs(addDays(at, 1)) / 1000,
    ...(account === undefined ? {} : { account }),
    ...(thin ? { thin } : {}),
  };
  try {
    for await (const page of api.list(window)) {
      for (const event of page) {
        // Without a time of its own it counts for the day that the walk has reached.
        if (event.problem === undefined) {
          const day = dayOf(event.createdMs);
          isOrdered &&= day <= at;
          at = day;
        }
        const body = Buffer.from(event.text);
        const why = event.problem ?? (nestingOf(body) > maxNesting ? 'nested too deeply' : undefined);
        if (why === undefined) {
          const full = found(event, body);
          if (full !== undefined) await full;
        } else missing.set(at, (missing.get(at) ?? new Map<string, string>()).set(event.id, why));
      }
    }
  } catch (failure) {
    // Thin events come in an order that cannot be relied on, and so does a list that went back to a later day.
    return { days: new Set(thin || !isOrdered ? [] : days.filter((day) => day > at)), failure };
  }
  return { days: new Set(days) };
}

/** Ascending days as runs without a gap. */
function contiguous(days: readonly Day[]): Day[][] {
  const walks: Day[][] = [];
  for (const day of days.toSorted()) {
    const walk = walks.at(-1);
    if (walk !== undefined && addDays(walk.at(-1)!, 1) === day) walk.push(day);
    else walks.push([day]);
  }
  return walks;
}
