/** One day of one source, whole: what is in the archive of it, how the counts add up, and how its verdict came about. */
import { type Day, startOfDayMs } from '../../shared/clock.ts';
import { DaybookError } from '../../shared/errors.ts';
import { counted } from '../../shared/program/counted.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import type { DayState, Pruned } from '../ledger/ledger.ts';
import { type DeliveriesObject, exceptionLines } from '../ledger/manifest.ts';
import { calendarDay } from './calendar.ts';
import { eventsOf, holeInWords, isListedSource, listedOf, recoveredAlone } from './day-words.ts';
import type { KnownArchive } from './ledger-view.ts';
import {
  apiFormat,
  type DayDetail,
  type Equation,
  type SealedObject,
  type SignatureState,
  type TimedLink,
} from './shapes.ts';

/** Of one day; more are never needed to mend it, and the exceptions have them all. */
const maxIds = 1_000;
const maxHoles = 100;
/** Long enough to fetch a part that is looked at now. */
const linkSeconds = 900;

/** Makes a link to an object; undefined where the store has none. */
type Link = ObjectStore['link'];

/** @throws DaybookError `console_not_found` */
export async function dayDetailOf(
  known: KnownArchive,
  source: string,
  day: Day,
  today: Day,
  link: Link,
): Promise<DayDetail> {
  const { ledger, state: archive, histories } = known;
  const state = ledger.sources.get(source)?.get(day);
  if (state === undefined) {
    throw new DaybookError('console_not_found', { detail: 'The archive has no entry of that source and day.' });
  }
  const isListed = isListedSource(ledger, source);
  const objects = objectsWith(ledger.pruned, link);
  return {
    format: apiFormat,
    archive,
    source,
    today,
    isListed,
    standing: calendarDay(day, state, state.verdict, listedOf(ledger, source, state), today),
    listedAt: state.listedAt,
    equations: equationsOf(state),
    parts: await Promise.all(
      state.parts.map(async (part) => ({
        ...(await objects.sealed(part, part.manifest, part.events)),
        ...{ events: part.events, firstCreated: part.firstCreated, lastCreated: part.lastCreated, bytes: part.bytes },
        ids: { ...part.ids, link: await objects.linkTo(part.ids.key) },
        deliveries: part.deliveries && (await objects.deliveries(part.deliveries, part.manifest)),
      })),
    ),
    lateDeliveries: await Promise.all(state.lateDeliveries.map((late) => objects.deliveries(late, late.manifest))),
    exceptions: await Promise.all(
      state.exceptions.map(async ({ counts, listedAt, manifest, ...object }) => ({
        ...(await objects.sealed(object, manifest, exceptionLines({ counts }))),
        ...{ listedAt, counts },
      })),
    ),
    missing: state.missing.slice(0, maxIds),
    generationFailures: state.generationFailures.slice(0, maxIds),
    accounts: state.accounts,
    manifest: signatureOf(known, state.manifest.number),
    history: histories.get(source)?.get(day) ?? [],
    holes: ledger.holes
      .filter(({ seenAt }) => Date.parse(seenAt) >= startOfDayMs(day))
      .slice(0, maxHoles)
      .map(holeInWords),
  };
}

/** A manifest that is known is signed, and in its place. */
function signatureOf({ ledger, manifests }: KnownArchive, number: number): SignatureState {
  const { key, signer, sha256, createdAt } = manifests[number - 1]!;
  return { number, sha256, createdAt, key, signer, holds: true, isRetired: ledger.retiredSigners.has(signer) };
}

function objectsWith(pruned: ReadonlyMap<string, Pruned>, link: Link) {
  async function linkTo(key: string): Promise<TimedLink | null> {
    if (link === undefined || pruned.has(key)) return null;
    const { url, expiresAt } = await link(key, linkSeconds);
    return { url, expiresAt };
  }

  async function sealed(
    { key, sha256 }: Pick<SealedObject, 'key' | 'sha256'>,
    manifest: number,
    lines: number,
  ): Promise<SealedObject> {
    return { key, manifest, sha256, lines, pruned: pruned.get(key) ?? null, link: await linkTo(key) };
  }

  const deliveries = (object: DeliveriesObject, manifest: number) => sealed(object, manifest, object.count);
  return { linkTo, sealed, deliveries };
}

export function equationsOf(state: DayState): Equation[] {
  const { counts, parts, lateDeliveries, missing, listedAt } = state;
  const events = parts.reduce((sum, part) => sum + part.events, 0);
  const lines = [...parts.map(({ deliveries }) => deliveries?.count ?? 0), ...lateDeliveries.map(({ count }) => count)];
  const equations = [
    equation(
      {
        ...{ delivered: counts.delivered, recovered: recoveredAlone(counts) },
        ...(counts.twins === undefined ? {} : { 'twins of what was delivered': counts.twins }),
      },
      { 'events in all parts': events },
      'Each archived line was brought by a delivery, or was recovered.',
    ),
    equation(
      { delivered: counts.delivered, duplicates: counts.duplicates },
      { 'deliveries kept as evidence': lines.reduce((sum, count) => sum + count, 0) },
      'Each delivery is kept; those of an event that was there already are duplicates.',
    ),
  ];
  if (counts.listed === null || counts.notListed === null) return equations;
  const listing = equation(
    { listed: counts.listed, 'not listed': counts.notListed },
    { 'events and missing': eventsOf(state) + missing.length },
    `Stripe's list, asked on ${listedAt?.slice(0, 10) ?? 'an earlier day'}, has each event but those not listed, and each that is missing.`,
  );
  const differ = Math.abs(sumOf(listing.left) - listing.right.count);
  const why = `It need not hold: ${counted(differ, 'event')} came, or could be had, after the list was asked.`;
  return [...equations, listing.holds ? listing : { ...listing, words: `${listing.words} ${why}` }];
}

function equation(left: Record<string, number>, right: Record<string, number>, words: string): Equation {
  const terms = Object.entries(left).map(([name, count]) => ({ name, count }));
  const [name, count] = Object.entries(right)[0]!;
  return { left: terms, right: { name, count }, holds: sumOf(terms) === count, words };
}

function sumOf(terms: readonly { readonly count: number }[]): number {
  return terms.reduce((sum, { count }) => sum + count, 0);
}
