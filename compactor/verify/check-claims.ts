/**
 * What a signer says, held against its own other words and against what was said before: a signature proves who said it, not
 * that it is so. One rule a line, in the words that `verify` prints. Of fields that older manifests do not have nothing is
 * asked of them.
 */
import { addDays, type Day, dayOf, isDay, parseInstant } from '../../shared/clock.ts';
import { canonicalJson } from '../../shared/json/canonical-json.ts';
import { isListable, isSettled, verdictOf } from '../day/verdict.ts';
import type { DayState, Ledger } from '../ledger/ledger.ts';
import { type DayEntry, type Manifest, type StreamPosition, verdicts } from '../ledger/manifest.ts';
import { wrongExceptions } from './verify-exceptions.ts';

/** What was said before a manifest; `states` of the days that it speaks of. */
export interface SaidBefore extends Pick<Ledger, 'head' | 'stream' | 'holes' | 'firstDays'> {
  readonly states: ReadonlyMap<string, ReadonlyMap<Day, DayState>>;
}

export interface WrongClaim {
  readonly message: string;
  readonly source?: string;
  readonly day?: Day;
}

/** `bytes`: of the whole object. */
export function* wrongClaims(
  manifest: Manifest,
  bytes: Buffer,
  before: SaidBefore,
  prefix: string,
): Generator<WrongClaim, void, void> {
  const { createdAt, quarantine, firstDays = {}, holes } = manifest;
  const say = (message: string): WrongClaim => ({ message });
  if (!isCanonical(bytes)) yield say('is not canonical JSON: a name may stand twice in it');
  const madeAt = typeof createdAt === 'string' ? parseInstant(createdAt) : undefined;
  if (madeAt === undefined) {
    yield say(`createdAt is not a date-time: ${JSON.stringify(createdAt)}`);
    return;
  }
  if (before.head !== undefined && createdAt < before.head.createdAt) {
    yield say(`createdAt ${createdAt} is before that of the manifest before it, ${before.head.createdAt}`);
  }
  const today = dayOf(madeAt);
  for (const [source, day] of Object.entries(before.firstDays)) {
    if (firstDays[source] !== day)
      yield say(`the first day of ${source} was ${day} and is ${firstDays[source] ?? 'gone'}`);
  }
  if (JSON.stringify(holes.slice(0, before.holes.length)) !== JSON.stringify(before.holes)) {
    yield say('holes of the stream that were said before are gone');
  }
  yield* wrongPositions(manifest, before.stream).map(say);
  for (const { key } of quarantine) {
    if (!isNamed(key, `${prefix}quarantine/`, /^[0-9a-f]{16}(-\d+)?\.jsonl\.gz\.age$/))
      yield say(`${key} is not in the quarantine's folder`);
  }
  for (const [source, days] of Object.entries(manifest.sources)) {
    for (const [day, entry] of Object.entries(days)) {
      const state = before.states.get(source)?.get(day);
      for (const message of wrongDay(manifest, source, day, entry, state, { today, createdAt, prefix })) {
        yield { message: `${source} ${day}: ${message}`, source, day };
      }
    }
  }
}

/**
 * Every closed day since a source's first has an entry, unless its run said that it failed. Asked of the newest night, and of
 * the sources that it knew: from the day before yesterday back all days are closed, whatever the lag.
 */
export function* wrongGaps(newest: Manifest, ledger: Ledger): Generator<WrongClaim, void, void> {
  const madeAt = parseInstant(newest.createdAt);
  if (madeAt === undefined || newest.asked === undefined || newest.onlyDays !== undefined) return;
  const last = addDays(dayOf(madeAt), -2);
  for (const source of Object.keys(newest.asked)) {
    const first = ledger.firstDays[source];
    const failed = newest.failed?.[source];
    if (first === undefined || failed === null || !isDay(first)) continue;
    for (let day = first; day <= last; day = addDays(day, 1)) {
      if (ledger.sources.get(source)?.has(day) || failed?.includes(day)) continue;
      yield { message: `${source} has no entry of ${day}, and began on ${first}`, source, day };
      break;
    }
  }
}

function isCanonical(bytes: Buffer): boolean {
  const line = bytes.toString('utf8', 0, bytes.indexOf(0x0a));
  try {
    return canonicalJson(line) === line;
  } catch {
    return false;
  }
}

/** A position never falls, unless the partition was read again from its beginning, which the manifest says. */
function wrongPositions({ stream, restarted, asked, sources }: Manifest, before: StreamPosition | undefined): string[] {
  const partitions = Object.entries(stream.partitions);
  const hasDeliveries = Object.values(sources).some((days) =>
    Object.values(days).some(({ parts }) => parts.some(({ deliveries }) => deliveries !== null)),
  );
  const found: string[] = [];
  if (hasDeliveries && partitions.length === 0)
    found.push('deliveries are archived, and no position of the stream is known');
  // Older manifests do not say which partitions were read again.
  if (asked === undefined || before === undefined || before.id !== stream.id) return found;
  for (const [partition, { next }] of Object.entries(before.partitions)) {
    const now = stream.partitions[partition]?.next;
    if ((restarted ?? []).includes(partition) || (now !== undefined && BigInt(now) >= BigInt(next))) continue;
    found.push(`partition ${partition} was archived up to ${next}, and is up to ${now ?? 'nowhere'}`);
  }
  return found;
}

interface Circumstances {
  /** The day on which the manifest was made. */
  readonly today: Day;
  readonly createdAt: string;
  readonly prefix: string;
}

const knownVerdicts: ReadonlySet<string> = new Set(verdicts);

function* wrongDay(
  manifest: Manifest,
  source: string,
  day: Day,
  entry: DayEntry,
  before: DayState | undefined,
  { today, createdAt, prefix }: Circumstances,
): Generator<string, void, void> {
  if (!isDay(day)) {
    yield 'is not a day';
    return;
  }
  if (day >= today) yield `was not over when the manifest was made, at ${createdAt}`;
  yield* wrongListing(day, entry, createdAt);
  yield* wrongNumbers(entry, before);
  yield* wrongWord(day, entry, before);
  yield* wrongExceptions(before, entry);
  const { verdict } = entry;
  if (!knownVerdicts.has(verdict)) yield `the verdict ${JSON.stringify(verdict)} is not known`;
  else yield* wrongVerdict(manifest, source, day, entry, before, today);
  const asked = manifest.asked?.[source];
  if (asked === null && entry.counts.listed !== (before?.counts.listed ?? null)) {
    yield `${entry.counts.listed} are said to be listed, and no list was asked`;
  }
  if (asked === null && manifest.acceptedRestored !== true && entry.counts.listed === null) {
    const recovered = entry.counts.recovered - (before?.counts.recovered ?? 0);
    if (recovered > 0) yield `${recovered} events are said to be recovered, and no list was asked`;
  }
  const folder = `${prefix}${source}/`;
  for (const { key, kind } of keysOf(entry)) {
    if (!isNamed(key, folder, namesOf(day)[kind]))
      yield `${key} is not in the folder of this source, or has not the name of this day`;
  }
}

function* wrongListing(day: Day, { listedAt, counts }: DayEntry, createdAt: string): Generator<string, void, void> {
  if (listedAt === null) return;
  const listedMs = typeof listedAt === 'string' ? parseInstant(listedAt) : undefined;
  if (listedMs === undefined) yield `listedAt is not a date-time: ${JSON.stringify(listedAt)}`;
  else if (listedAt > createdAt) yield `was listed at ${listedAt}, after the manifest was made`;
  else if (dayOf(listedMs) <= day) yield `was listed at ${listedAt}, before it was over`;
  if (counts.listed === null) yield `was listed at ${listedAt}, and how much is not said`;
}

function* wrongNumbers({ counts, listedAt }: DayEntry, before: DayState | undefined): Generator<string, void, void> {
  const { delivered, recovered, listed, notListed, differing, duplicates } = counts;
  for (const [name, count] of Object.entries({ delivered, recovered, listed, notListed, differing, duplicates })) {
    if (count === null && (name === 'listed' || name === 'notListed')) continue;
    if (!Number.isSafeInteger(count) || (count as number) < 0) yield `${name} is ${JSON.stringify(count)}`;
  }
  const { twins = 0 } = counts;
  const grown = recovered - (before?.counts.recovered ?? 0);
  const more = twins - (before?.counts.twins ?? 0);
  if (!Number.isSafeInteger(twins) || more < 0 || more > grown) {
    yield `twins is ${JSON.stringify(twins)} where it was ${before?.counts.twins ?? 0}, with ${grown} more recovered`;
  }
  if ((listed === null) !== (notListed === null)) yield 'listed and notListed are not both known';
  if (listed === null || notListed === null) return;
  if (notListed > delivered + recovered) yield `${notListed} of ${delivered + recovered} events are not listed`;
  // A list names all that is counted as listed. One that broke off adds listed events to the day, and leaves the count of the last whole list.
  else if (listedAt !== (before?.listedAt ?? null) && listed < delivered + recovered - notListed)
    yield `${listed} are listed, and ${delivered + recovered - notListed} of its events are`;
}

/** Stripe's word is said once, of a settled day, on no more events than were recovered, and then no more ids wait for it. */
function* wrongWord(day: Day, entry: DayEntry, before: DayState | undefined): Generator<string, void, void> {
  const { counts, listedAt, undelivered } = entry;
  const word = [counts.neverDelivered, counts.unsubscribed, counts.lostAfter2xx];
  const said = [before?.counts.neverDelivered, before?.counts.unsubscribed, before?.counts.lostAfter2xx];
  const alone = counts.recovered - (counts.twins ?? 0);
  if (undelivered != null) {
    const ids = Array.isArray(undelivered) ? undelivered : [undefined];
    if (ids.some((id) => typeof id !== 'string') || new Set(ids).size !== ids.length || ids.length > alone)
      yield `${ids.length} ids are said to be undelivered, of ${alone} events that were recovered`;
  }
  if (said[0] !== undefined && String(said) !== String(word)) yield "Stripe's word was said before, and is another one";
  if (word.every((count) => count === undefined)) return;
  if (word.some((count) => !Number.isSafeInteger(count) || (count as number) < 0)) {
    yield `Stripe's word is not told in three counts: ${JSON.stringify(word)}`;
    return;
  }
  const sum = word.reduce<number>((total, count) => total + count!, 0);
  if (sum > alone) yield `Stripe's word is on ${sum} of ${alone} events that were recovered`;
  if (undelivered !== undefined) yield "Stripe's word is said, and ids still wait for it";
  if (said[0] === undefined && (listedAt === null || dayOf(new Date(listedAt)) < addDays(day, 4)))
    yield `Stripe's word is said by a listing at ${listedAt}, when it might still retry`;
}

/** The same rules by which a night says it; where what was asked is not known, those that hold whatever it was. */
function* wrongVerdict(
  manifest: Manifest,
  source: string,
  day: Day,
  entry: DayEntry,
  before: DayState | undefined,
  today: Day,
): Generator<string, void, void> {
  const { verdict, listedAt, missing } = entry;
  const generationFailures = entry.generationFailures ?? [];
  const asked = manifest.asked?.[source];
  if (asked != null) {
    const right = verdictOf(day, { ...entry, generationFailures }, asked, today);
    if (verdict !== right) yield `the verdict is ${verdict}, and by what the manifest says it is ${right}`;
    return;
  }
  const isLacking = missing.length > 0 || generationFailures.length > 0;
  if (isLacking !== (verdict === 'incomplete')) {
    yield `the verdict is ${verdict}, and ${missing.length + generationFailures.length} events are known to be lacking`;
  }
  // Of a source without a list what was said before stays.
  if (verdict === before?.verdict) return;
  const settled = isSettled(day, listedAt);
  if (verdict === 'complete' && !settled) yield 'the verdict is complete, and no listing settled the day';
  if (verdict === 'provisional' && (settled || !isListable(day, today)))
    yield 'the verdict is provisional, and the day is not open';
  if (verdict === 'unverifiable' && (settled || isListable(day, today)))
    yield 'the verdict is unverifiable, and the day can be verified';
}

type Kind = 'part' | 'deliveries' | 'ids' | 'exceptions';

function keysOf({ parts, lateDeliveries, exceptions }: DayEntry): { key: string; kind: Kind }[] {
  return [
    ...parts.flatMap(({ key, ids, deliveries }) => [
      { key, kind: 'part' as const },
      { key: ids.key, kind: 'ids' as const },
      ...(deliveries === null ? [] : [{ key: deliveries.key, kind: 'deliveries' as const }]),
    ]),
    ...lateDeliveries.map(({ key }) => ({ key, kind: 'deliveries' as const })),
    ...(exceptions == null ? [] : [{ key: exceptions.key, kind: 'exceptions' as const }]),
  ];
}

function namesOf(day: Day): Readonly<Record<Kind, RegExp>> {
  const stem = `^${day}-[0-9a-f]{16}(-\\d+)?`;
  return {
    part: new RegExp(`${stem}\\.jsonl\\.gz\\.age$`),
    deliveries: new RegExp(`${stem}\\.deliveries\\.jsonl\\.gz\\.age$`),
    exceptions: new RegExp(`${stem}\\.exceptions\\.jsonl\\.gz\\.age$`),
    ids: new RegExp(`${stem}\\.ids\\.gz$`),
  };
}

/** The folders of a day are a setting, so that they may be any, below the source's. */
function isNamed(key: unknown, folder: string, name: RegExp): boolean {
  if (typeof key !== 'string' || !key.startsWith(folder)) return false;
  const parts = key.slice(folder.length).split('/');
  return !parts.some((part) => part === '' || part === '.' || part === '..') && name.test(parts.at(-1)!);
}
