/** How a day stands, in words and in numbers: what the calendar, a day's page and the report share. */
import { addDays, type Day, dayMs } from '../../shared/clock.ts';
import { counted } from '../../shared/program/counted.ts';
import { firstOf, uncoveredOf } from '../day/coverage.ts';
import { listableDays } from '../day/verdict.ts';
import type { DayState, Ledger } from '../ledger/ledger.ts';
import { type DayCounts, type Hole, verdicts } from '../ledger/manifest.ts';
import type { DayStanding, DayTotals, HoleInWords } from './shapes.ts';

/** Ids that are named in a sentence. */
const maxNamed = 3;

/** Whether there is a list of Stripe's to ask for a source, as the ledger says. */
export function isListedSource({ asked, lists }: Ledger, source: string): boolean {
  const scope = asked[source];
  return scope === undefined ? Object.keys(lists[source] ?? {}).length > 0 : scope !== null;
}

export function listedOf(ledger: Ledger, source: string, state: DayState | undefined): Listed {
  const uncovered = state === undefined ? [] : uncoveredOf(ledger, source, state);
  return { isListed: isListedSource(ledger, source), uncovered };
}

/** Events of a day that are known and could not be had. */
export function missingOf({ missing, generationFailures }: DayState): number {
  return missing.length + generationFailures.length;
}

export function eventsOf({ counts }: DayState): number {
  return counts.delivered + counts.recovered;
}

/** Lines of facts that no delivery told of: twins were told by theirs. */
export function recoveredAlone({ recovered, twins = 0 }: Pick<DayCounts, 'recovered' | 'twins'>): number {
  return recovered - twins;
}

/**
 * How a day without an entry stands. `newestClosed`: the newest day that a night could have closed; `isExpected`: whether nights
 * still close the days of this source.
 */
export function standingWithout(
  day: Day,
  firstDay: Day | null,
  newestClosed: Day,
  isExpected: boolean,
): 'open' | 'late' | 'none' {
  if (day > newestClosed) return isExpected ? 'open' : 'none';
  return isExpected && firstDay !== null && day >= firstDay ? 'late' : 'none';
}

const withoutEntry: Readonly<Record<'open' | 'late' | 'none', string>> = {
  open: 'Open: it is not over yet, or not closed yet.',
  late: 'Late: it is over and not archived yet. The next night closes it, or says why it cannot.',
  none: 'No entry: before the first day of this source, or no longer configured.',
};

/** Whether there is a list to ask for a source, and what of a day's deliveries is in none (coverage.ts). */
export interface Listed {
  readonly isListed: boolean;
  readonly uncovered: readonly string[];
}

/** Sentences; the first says what the standing means. `today` is what the end of Stripe's list is reckoned from. */
export function wordsOf(
  day: Day,
  standing: DayStanding,
  state: DayState | undefined,
  { isListed, uncovered, today }: Listed & { readonly today: Day },
): string[] {
  if (state === undefined) return [withoutEntry[standing as keyof typeof withoutEntry]];
  const { counts, missing, generationFailures } = state;
  const words = [verdictInWords(day, state, isListed, today)];
  const say = (holds: boolean, sentence: string) => holds && words.push(sentence);
  say(uncovered.length > 0, `Delivered, and in no list that is asked: ${firstOf(uncovered)}.`);
  say(eventsOf(state) === 0, 'No events are known of this day.');
  say(
    missing.length > 0,
    `Could not be had, though Stripe names ${missing.length === 1 ? 'it' : 'them'}: ${named(missing)}.`,
  );
  say(
    generationFailures.length > 0,
    `Stripe says that it never generated ${counted(generationFailures.length, 'event')}: ${named(generationFailures.map(({ notice }) => notice))}.`,
  );
  const recovered = recoveredAlone(counts);
  say(
    recovered > 0,
    isListed || counts.listed !== null
      ? `${counted(recovered, 'event')} came from Stripe's list: no delivery was there when the night read the stream.`
      : `${counted(recovered, 'event')} came otherwise than by a delivery.`,
  );
  if (counts.neverDelivered !== undefined) words.push(...wordInWords(counts));
  say(
    (counts.twins ?? 0) > 0,
    `${counted(counts.twins ?? 0, 'event')} of the list ${counts.twins === 1 ? 'is the twin' : 'are twins'}, thin or snapshot, of what was delivered.`,
  );
  say(
    (counts.notListed ?? 0) > 0,
    `${counted(counts.notListed ?? 0, 'event')} of the archive ${counts.notListed === 1 ? 'is' : 'are'} not in Stripe's list.`,
  );
  say(
    counts.differing > 0,
    `Of ${counted(counts.differing, 'event')} the copies tell different things: its exceptions have both sides.`,
  );
  say(
    state.parts.length > 1,
    `Events came after it was archived first: it has ${counted(state.parts.length, 'part')}.`,
  );
  return words;
}

/** What Stripe itself says of those that were recovered. */
function wordInWords(counts: DayCounts): string[] {
  const { neverDelivered = 0, unsubscribed = 0, lostAfter2xx = 0 } = counts;
  const rest = recoveredAlone(counts) - neverDelivered - unsubscribed - lostAfter2xx;
  const lost =
    lostAfter2xx === 0
      ? []
      : [
          `Of ${counted(lostAfter2xx, 'event')} Stripe says that we answered 2xx, and no delivery is here: the exceptions name ${lostAfter2xx === 1 ? 'it' : 'them'}.`,
        ];
  return [
    `By Stripe's own word ${neverDelivered.toLocaleString('en')} of these ${neverDelivered === 1 ? 'was' : 'were'} not delivered, and ${unsubscribed.toLocaleString('en')} are of types that the endpoint does not get; of ${rest.toLocaleString('en')} nothing is said.`,
    ...lost,
  ];
}

function verdictInWords(day: Day, { verdict, listedAt, ...state }: DayState, isListed: boolean, today: Day): string {
  const listed = listedAt === null ? 'never' : `on ${listedAt.slice(0, 10)}`;
  switch (verdict) {
    case 'complete':
      return `Complete: Stripe's list was asked ${listed}, when Stripe had stopped retrying, and all of it is archived.`;
    case 'provisional':
      return `Provisional: the list is to be asked again on ${addDays(day, 3)} or later. ${edgeInWords(day, today)}`;
    case 'incomplete': {
      const count = missingOf({ verdict, listedAt, ...state });
      return `Incomplete: ${counted(count, 'event')} ${count === 1 ? 'is' : 'are'} known that could not be had. ${edgeInWords(day, today)}`;
    }
    case 'unverifiable':
      return `Unverifiable: Stripe's 30 days passed before its list was asked late enough (last asked: ${listed}).`;
    case 'unreconciled':
      return isListed
        ? 'Unreconciled: what Stripe was asked for does not cover what was delivered (an account or a mode).'
        : 'Unreconciled: there is no list to compare with. What was delivered is archived.';
  }
}

/** How near the end of Stripe's list a day is. */
function edgeInWords(day: Day, today: Day): string {
  const until = addDays(day, listableDays);
  const left = daysLeftOf(day, today);
  if (left < 0) return `Stripe has not listed it since ${addDays(until, 1)}.`;
  return `Stripe lists it until ${until}${left === 0 ? ', which is today' : `: ${counted(left, 'more day')}`}.`;
}

/** Days from today to the last on which Stripe lists the day whole; negative where that has passed. */
export function daysLeftOf(day: Day, today: Day): number {
  return Math.round((Date.parse(addDays(day, listableDays)) - Date.parse(today)) / dayMs);
}

function named(ids: readonly string[]): string {
  const more = ids.length - maxNamed;
  return `${ids.slice(0, maxNamed).join(', ')}${more > 0 ? ` and ${counted(more, 'more', '', '')}` : ''}`;
}

export function holeInWords(hole: Hole): HoleInWords {
  const { partition, from, to, seenAt } = hole;
  const words = `What lay from ${from} to ${to} in partition ${partition} of the stream was gone before a night read it, as seen on ${seenAt.slice(0, 10)}. A hole is of no day: Stripe's list brings back what was Stripe's, other senders have to be asked.`;
  return { ...hole, words };
}

/** Sums over days: each how it stands, and what is known of it. */
export function totalsOf(
  days: Iterable<{ readonly standing: DayStanding; readonly state: DayState | undefined }>,
): DayTotals {
  const byStanding = Object.fromEntries([...verdicts, 'open', 'late', 'none'].map((name) => [name, 0])) as Record<
    DayStanding,
    number
  >;
  const sums = {
    days: 0,
    events: 0,
    delivered: 0,
    recovered: 0,
    twins: 0,
    lostAfter2xx: 0,
    listed: 0,
    notListed: 0,
    differing: 0,
    duplicates: 0,
    missing: 0,
  };
  for (const { standing, state } of days) {
    sums.days += 1;
    byStanding[standing] += 1;
    if (state === undefined) continue;
    const { counts } = state;
    sums.events += eventsOf(state);
    sums.missing += missingOf(state);
    sums.recovered += recoveredAlone(counts);
    for (const name of [
      'delivered',
      'twins',
      'lostAfter2xx',
      'listed',
      'notListed',
      'differing',
      'duplicates',
    ] as const) {
      sums[name] += counts[name] ?? 0;
    }
  }
  return { ...sums, byStanding };
}

/** Totals of several sources together. */
export function sumOf(totals: readonly DayTotals[]): DayTotals {
  const sum = totalsOf([]) as { -readonly [K in keyof DayTotals]: DayTotals[K] };
  const byStanding = { ...sum.byStanding } as Record<DayStanding, number>;
  for (const each of totals) {
    for (const name of Object.keys(byStanding) as DayStanding[]) byStanding[name] += each.byStanding[name];
    for (const name of Object.keys(each) as (keyof DayTotals)[]) {
      if (name !== 'byStanding') sum[name] += each[name];
    }
  }
  return { ...sum, byStanding };
}

/** Of how many days complete ones are counted, everywhere: those that are over. */
export function daysOver({ days, byStanding }: DayTotals): number {
  return days - byStanding.open - byStanding.none;
}

/** Every day of a month (`2026-11`), in order. */
export function daysOfMonth(month: string): Day[] {
  const days: Day[] = [];
  for (let day = `${month}-01`; day.startsWith(month); day = addDays(day, 1)) days.push(day);
  return days;
}

/** Whether a text is a month. */
export function isMonth(text: string): boolean {
  return /^\d{4}-(?:0[1-9]|1[0-2])$/.test(text) && text >= '1970-01' && text <= '9998-12';
}
