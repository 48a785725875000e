/**
 * What must be true of the archive, by what was sent and what Stripe lists: the eight promises and the rules of a night,
 * held against each manifest as it appears. Nothing here asks the compactor.
 */
import assert from 'node:assert/strict';
import type { DayCounts, DayEntry, Hole, Manifest, StreamPosition, Verdict } from '../../compactor/ledger/manifest.ts';
import type { NightReport } from '../../compactor/night.ts';
import { addDays, type Day, dayOf } from '../../shared/clock.ts';
import type { Identities } from '../../shared/crypto/identities.ts';
import type { Verify } from '../../shared/crypto/signing.ts';
import { canonicalJson, compareCodePoints } from '../../shared/json/canonical-json.ts';
import type { StreamSnapshot } from '../../shared/stream/stream.ts';
import { differing } from './differing.ts';
import { checkExceptions, idsLost, isThinBody } from './exceptions.ts';
import { openNamedObjects, sha256Of } from './named-objects.ts';
import { ageOf, isDueByRules, isNearRetention, verdictByRules } from './rules.ts';
import type { Sent } from './sent.ts';
import { type Fork, isDone, type Numbering, type StandingRecord } from './simulated-stream.ts';
import type { ListedEvent } from './traffic.ts';

/** The run that wrote a manifest, as the model has to know it. */
export interface RunFacts {
  readonly name: string;
  readonly startedMs: number;
  readonly endedMs: number;
  readonly newestClosed: Day;
  readonly days: ReadonlySet<Day> | undefined;
  readonly force: boolean;
  /** By configured source the accounts whose lists are asked for, none for the key's own; undefined: no key. */
  readonly asked: ReadonlyMap<string, ReadonlySet<string> | undefined>;
  /** What it reported, where it lived to do so. */
  readonly report: NightReport | undefined;
  /** Whether Stripe answered it all along, or failed only as often as was tried again. */
  isAnswered(source: string): boolean;
}

export interface KnownDay {
  /** Stripe's own word, once it is said. */
  word?: readonly (number | undefined)[];
  readonly ids: Set<string>;
  listedAt: string | null;
  listings: { on: Day; accounts: ReadonlySet<string> }[];
  verdict: Verdict;
  accounts: Set<string>;
  missing: readonly string[];
  notices: readonly string[];
  counts: DayCounts;
}

interface KnownSource {
  readonly days: Map<Day, KnownDay>;
  /** By id the days that have a line of it: of another server's id there may be several. */
  readonly daysOf: Map<string, Day[]>;
  /** The archive lines by id, the newest. */
  readonly lines: Map<string, string>;
}

/** A record as the model follows it. */
export interface FollowedRecord extends StandingRecord {
  readonly numbering: Numbering;
  fate: 'open' | 'done' | 'aged out' | 'gone with the stream';
  /** Aged out of a partition that no run had read: nobody can know of it. */
  isUnknown: boolean;
}

/** How things were when a run began. */
export interface BeforeRun {
  /** What was not archived yet. */
  readonly stood: ReadonlySet<FollowedRecord>;
  /** Every record on the stream. */
  readonly standing: readonly StandingRecord[];
  /** The days that were due for a listing: `<source> <day>`. */
  readonly due: ReadonlySet<string>;
}

export interface Model {
  readonly sources: ReadonlyMap<string, KnownSource>;
  readonly open: ReadonlySet<FollowedRecord>;
  /** Events whose line came from Stripe's list alone, in the order of their archiving: `<source> <id>`. */
  readonly recovered: ReadonlySet<string>;
  readonly manifests: number;
  readonly figures: { events: number; evidence: number; holes: number; quarantined: number };
  follow(record: StandingRecord, numbering: Numbering): void;
  agedOut(records: readonly StandingRecord[]): void;
  /** The stream is another one, with another id. */
  goneWithStream(records: readonly StandingRecord[]): void;
  /** The stream left the history that it had, and keeps its id. */
  forked(fork: Fork, standing: readonly StandingRecord[], starts: ReadonlyMap<string, bigint>): void;
  /** The partitions of which a run that begins now must say that, and no others: those where what was read shows it. */
  forkedPartitions(bounds: StreamSnapshot['partitions']): readonly string[];
  list(event: ListedEvent): void;
  /** Checks the manifests that are new in the store. */
  checkManifests(objects: ReadonlyMap<string, Buffer>, runOf: (number: number) => RunFacts): Promise<void>;
  /** The days that are due for a listing, by the rules: `<source> <day>`. */
  due(today: Day): ReadonlySet<string>;
  /** Unsettled days that Stripe will not list much longer, in order: `<source> <day>`. */
  nearRetention(today: Day): readonly string[];
  /** After a run of all days in which nothing failed: what was open when it began is archived, what was due is listed. */
  checkClosed(run: RunFacts, before: BeforeRun): void;
}

export function openModel(identities: Identities, key: { keyId: string; verify: Verify }): Model {
  const sources = new Map<string, KnownSource>();
  const followed = new Map<StandingRecord, FollowedRecord>();
  const open = new Set<FollowedRecord>();
  const unsaid = new Set<FollowedRecord>();
  const listed = new Map<string, Map<Day, ListedEvent[]>>();
  const byId = new Map<string, ListedEvent>();
  const named = openNamedObjects(identities);
  const recovered = new Set<string>();
  /** Events with a delivery in the archive: `<source> <id>`. */
  const delivered = new Set<string>();
  const figures = { events: 0, evidence: 0, holes: 0, quarantined: 0 };
  let head: { number: number; sha256: string } | null = null;
  let position: StreamPosition | undefined;
  let holes: readonly Hole[] = [];
  let lists: Manifest['lists'] = {};
  let firstDays: Manifest['firstDays'] = {};

  /** By partition the position from which on its records are other ones than when the last manifest was made. */
  const forkedFrom = new Map<string, bigint>();

  /** A record that is still there, or is back, after its partition took another way behind it: is it to be read again? */
  function reopen(one: FollowedRecord, start: bigint): void {
    const said = position?.id === one.streamId ? position.partitions[one.partition] : undefined;
    if (one.fate === 'open') return;
    if (said !== undefined && !isDisproven(one.partition, start) && isDone(one, said)) return;
    one.fate = 'open';
    one.isUnknown = false;
    open.add(one);
  }

  /** Whether what the last manifest has as read of a partition is not what lies there. */
  function isDisproven(partition: string, start: bigint): boolean {
    const tip = position?.partitions[partition]?.tip;
    const from = forkedFrom.get(partition);
    if (tip === undefined || from === undefined) return false;
    const at = BigInt(tip.at);
    return from < at || (tip.mark === null && start < at);
  }

  const sourceOf = (name: string): KnownSource => {
    let source = sources.get(name);
    if (source === undefined) {
      source = { days: new Map(), daysOf: new Map(), lines: new Map() };
      sources.set(name, source);
    }
    return source;
  };

  /** Events that Stripe shows in the day, in the lists named. */
  function shown(source: string, day: Day, names: readonly string[], run: RunFacts): ListedEvent[] {
    return (listed.get(source)?.get(day) ?? []).filter(({ isThin, account, visibleFromMs, createdMs }) => {
      const name = listName(isThin, account);
      const isKept = createdMs >= run.startedMs - 30 * 86_400_000;
      return names.includes(name) && visibleFromMs <= run.endedMs && isKept;
    });
  }

  const isBroken = ({ brokenUntilMs }: ListedEvent, run: RunFacts) => brokenUntilMs > run.endedMs;

  async function checkManifest(objects: ReadonlyMap<string, Buffer>, bytes: Buffer, run: RunFacts): Promise<void> {
    const [line, signed, rest] = bytes.toString().split('\n') as [string, string, string];
    assert.equal(rest, '');
    const { key: signer, signature } = JSON.parse(signed);
    assert.equal(signer, key.keyId);
    assert.ok(key.verify(Buffer.from(line), signature), 'the signature holds');
    const manifest = JSON.parse(line) as Manifest;
    assert.deepEqual(manifest.previous, head, 'it follows the one before');
    assert.equal(manifest.number, (head?.number ?? 0) + 1);
    const today = dayOf(run.startedMs);
    assert.equal(dayOf(Date.parse(manifest.createdAt)), today);

    const done = newlyDone(manifest);
    const isStrange = ({ sent }: FollowedRecord) => sent.isGarbage || sent.day > addDays(today, 1);
    await checkQuarantine(objects, manifest, done.filter(isStrange));
    checkHoles(manifest);
    const copies = done.filter((record) => !isStrange(record)).map(({ sent }) => sent);
    for (const { day, id } of copies) assert.ok(day <= run.newestClosed, `${id} of ${day}, which is open, waits`);
    for (const name of new Set([...Object.keys(manifest.sources), ...copies.map(({ source }) => source)])) {
      const own = copies.filter(({ source }) => source === name);
      await checkSource(objects, manifest, name, own, run);
    }
    for (const record of done) {
      record.fate = 'done';
      open.delete(record);
    }
    head = { number: manifest.number, sha256: sha256Of(bytes) };
    for (const partition of forkedFrom.keys()) {
      // It stays where the partition is not there any more: should one of that name come again, it is another.
      const [said, known] = [manifest.stream, position].map((of) => JSON.stringify(of?.partitions[partition]?.tip));
      if (said !== known) forkedFrom.delete(partition);
    }
    position = manifest.stream;
    holes = manifest.holes;
    lists = manifest.lists;
    checkFirstDays(manifest, run);
    firstDays = manifest.firstDays;
  }

  function newlyDone({ stream }: Manifest): FollowedRecord[] {
    return [...open].filter((record) => {
      const said = stream.partitions[record.partition];
      return record.streamId === stream.id && said !== undefined && isDone(record, said);
    });
  }

  async function checkQuarantine(
    objects: ReadonlyMap<string, Buffer>,
    { quarantine }: Manifest,
    strange: readonly FollowedRecord[],
  ): Promise<void> {
    const found: string[] = [];
    for (const object of quarantine) {
      const lines = await named.sealedLines(objects, object);
      assert.equal(lines.length, object.records);
      for (const line of lines) {
        const { partition, position: at, raw } = JSON.parse(line);
        found.push(`${partition} ${at} ${raw}`);
      }
    }
    const expected = strange.map(({ partition, position: at, sent }) => {
      return `${partition} ${at} ${Buffer.from(sent.value).toString('base64')}`;
    });
    assert.deepEqual(found.sort(), expected.sort(), 'what is not an envelope is in the quarantine, and nothing else');
    figures.quarantined += found.length;
  }

  /** What has aged out unread is said, and nothing else is called lost. */
  function checkHoles(manifest: Manifest): void {
    assert.deepEqual(manifest.holes.slice(0, holes.length), holes, 'what was said of holes stays');
    for (const hole of manifest.holes.slice(holes.length)) {
      figures.holes += 1;
      for (const record of followed.values()) {
        if (record.streamId !== manifest.stream.id || !isInside(record, hole)) continue;
        assert.equal(record.fate, 'aged out', `the hole ${JSON.stringify(hole)} has ${record.position}`);
        unsaid.delete(record);
      }
    }
  }

  async function checkSource(
    objects: ReadonlyMap<string, Buffer>,
    manifest: Manifest,
    name: string,
    copies: readonly Sent[],
    run: RunFacts,
  ): Promise<void> {
    const source = sourceOf(name);
    const entries = Object.entries(manifest.sources[name] ?? {});
    const archivedBefore = new Map([...source.daysOf].map(([id, days]) => [id, [...days]]));
    const copiesOf = Map.groupBy(copies, ({ id }) => id);
    const evidence = new Map<Day, string[]>();
    const newIds = new Map<Day, string[]>();
    const exceptionLines = new Map<Day, string[]>();

    for (const [day, { parts, lateDeliveries, exceptions }] of entries) {
      const ids: string[] = [];
      const ofDay: string[] = [];
      for (const part of parts) {
        const lines = await named.sealedLines(objects, part);
        assert.equal(lines.length, part.events);
        const events = lines.map((line) => checkLine(name, day, line, copiesOf, archivedBefore, run));
        const ordered = events.toSorted((a, b) => a.instantMs - b.instantMs || compareCodePoints(a.id, b.id));
        assert.deepEqual(events, ordered, 'lines are sorted');
        assert.equal(Date.parse(part.firstCreated), events[0]?.instantMs);
        assert.equal(Date.parse(part.lastCreated), events.at(-1)?.instantMs);
        const idLines = await named.idLines(objects, part.ids);
        assert.deepEqual(idLines, events.map(({ id }) => id).sort(compareCodePoints), 'ids are those of the lines');
        ids.push(...idLines);
        if (part.deliveries !== null) {
          const deliveries = await named.sealedLines(objects, part.deliveries);
          assert.equal(deliveries.length, part.deliveries.count);
          for (const delivery of deliveries) assert.ok(idLines.includes(JSON.parse(delivery).id));
          ofDay.push(...deliveries);
        }
      }
      for (const late of lateDeliveries) {
        const deliveries = await named.sealedLines(objects, late);
        assert.equal(deliveries.length, late.count);
        ofDay.push(...deliveries);
      }
      if (exceptions != null) exceptionLines.set(day, await named.sealedLines(objects, exceptions));
      newIds.set(day, ids);
      evidence.set(day, ofDay);
      figures.events += ids.length;
      figures.evidence += ofDay.length;
    }

    const delivered = copies.filter(({ isDelivered }) => isDelivered);
    const expected = [...new Set(delivered.map((copy) => copy.evidence))].sort();
    assert.deepEqual([...evidence.values()].flat().sort(), expected, `each delivery of ${name} is kept once a run`);
    const targets = new Map<Sent, Day>();
    for (const copy of copies) {
      const target = targetOf(source, copy, archivedBefore);
      assert.ok(target !== undefined, `${copy.id} of ${name} is done with, so archived`);
      targets.set(copy, target);
      if (!copy.isDelivered) continue;
      assert.ok(evidence.get(target)?.includes(copy.evidence), `a delivery of ${copy.id} is with its event's day`);
    }
    const listedNow = listedDays(source, entries, run);
    const found = { evidence, newIds, exceptionLines };
    const context = { manifest, name, source, copies, targets, copiesOf, ...found, listedNow, run };
    for (const [day, entry] of entries) checkEntry(context, day, entry);
    checkListings(context);
  }

  /** Where a copy's event lies: archived before, or new; of another server's within a month. */
  function targetOf(source: KnownSource, copy: Sent, before: ReadonlyMap<string, Day[]>): Day | undefined {
    const isNear = (day: Day) =>
      copy.kind === 'stripe' || (day >= addDays(copy.day, -31) && day <= addDays(copy.day, 1));
    const known = before.get(copy.id) ?? [];
    return known.toSorted().find(isNear) ?? source.daysOf.get(copy.id)?.toSorted().find(isNear);
  }

  function checkLine(
    name: string,
    day: Day,
    line: string,
    copiesOf: ReadonlyMap<string, Sent[]>,
    before: ReadonlyMap<string, Day[]>,
    run: RunFacts,
  ): { id: string; instantMs: number } {
    const source = sourceOf(name);
    const { id, created, time } = JSON.parse(line);
    const instantMs = typeof created === 'number' ? created * 1000 : Date.parse(created ?? time);
    assert.equal(dayOf(instantMs), day, `${id} lies in its own day`);
    const isStripe = time === undefined;
    const known = source.daysOf.get(id) ?? [];
    for (const other of known) {
      const isOther = !isStripe && (other < addDays(day, -31) || other > addDays(day, 1));
      assert.ok(isOther, `${id} of ${name} is archived once, not in ${other} and ${day}`);
    }
    source.daysOf.set(id, [...known, day]);
    source.lines.set(id, line);

    const own = (copiesOf.get(id) ?? []).filter((copy) => {
      if (isStripe) return true;
      // Copies near an archived line are that one's.
      const isTaken = (before.get(id) ?? []).some((of) => of >= addDays(copy.day, -31) && of <= addDays(copy.day, 1));
      return !isTaken && copy.day >= day && copy.day <= addDays(day, 31);
    });
    const deliveries = own.filter(({ isDelivered }) => isDelivered);
    const best = deliveries.length > 0 ? deliveries : own;
    const firstDay = best.map((copy) => copy.day).sort()[0];
    const receipt = own.map(({ receivedAt }) => receivedAt).sort()[0]!;
    const lines = best.filter((copy) => isStripe || copy.day === firstDay).map((copy) => copy.line(receipt));
    if (own.length === 0) recovered.add(`${name} ${id}`);
    if (deliveries.length === 0) {
      const inList = byId.get(`${name} ${id}`);
      if (inList !== undefined && inList.visibleFromMs <= run.endedMs) lines.push(canonicalJson(inList.text));
      assert.ok(lines.includes(line), `the line of ${id} is as Stripe lists it`);
    } else {
      assert.equal(line, lines.sort(compareCodePoints)[0], `the line of ${id} is the smallest that was delivered`);
    }
    return { id, instantMs };
  }

  interface SourceContext {
    readonly manifest: Manifest;
    readonly name: string;
    readonly source: KnownSource;
    readonly copies: readonly Sent[];
    readonly targets: ReadonlyMap<Sent, Day>;
    readonly copiesOf: ReadonlyMap<string, Sent[]>;
    readonly evidence: ReadonlyMap<Day, string[]>;
    readonly newIds: ReadonlyMap<Day, string[]>;
    readonly exceptionLines: ReadonlyMap<Day, string[]>;
    readonly listedNow: ReadonlySet<Day>;
    readonly run: RunFacts;
  }

  /** The days of which a manifest tells a new listing: no two runs have the same time. */
  function listedDays(source: KnownSource, entries: readonly (readonly [Day, DayEntry])[], run: RunFacts): Set<Day> {
    const days = new Set<Day>();
    for (const [day, { listedAt }] of entries) {
      if (listedAt === null || listedAt === source.days.get(day)?.listedAt) continue;
      const at = Date.parse(listedAt);
      assert.ok(at >= run.startedMs && at <= run.endedMs, `${day} was listed by this run`);
      days.add(day);
    }
    return days;
  }

  /** The events of a day that this run had from the list; undefined where that is not sure. */
  function inHand(context: SourceContext, day: Day): ListedEvent[] | undefined {
    const { manifest, name, run, source, listedNow } = context;
    const names = Object.keys(manifest.lists[name] ?? {});
    if (listedNow.has(day)) return shown(name, day, names, run);
    if (!run.isAnswered(name)) return undefined;
    // A list that is new is asked for the days too that were listed without it.
    const isPassed = run.asked.get(name) !== undefined && source.days.get(day)?.listedAt != null;
    const age = ageOf(day, dayOf(run.startedMs));
    if (!isPassed || age < 1 || age > 29 || run.days?.has(day) === false) return [];
    const newNames = names.filter((list) => (lists[name]?.[list] ?? null) === null);
    return shown(name, day, newNames, run);
  }

  function checkEntry(context: SourceContext, day: Day, entry: DayEntry): void {
    const { name, source, run, evidence, newIds, copiesOf, targets, copies } = context;
    const what = `${name} ${day}`;
    const today = dayOf(run.startedMs);
    const before = source.days.get(day);
    assert.ok(day <= run.newestClosed, `${what} is closed`);
    assert.ok(run.days?.has(day) !== false, `${what} is touched`);
    const failed = run.report?.errors.some(
      ({ code, source: of, day: on }) => code !== 'lost_after_2xx' && of === name && on === day,
    );
    assert.ok(failed !== true, `${what} failed, so it has no entry`);

    const ids = newIds.get(day)!;
    const known: KnownDay = before ?? {
      ids: new Set(),
      listedAt: null,
      listings: [],
      verdict: entry.verdict,
      accounts: new Set(),
      missing: [],
      notices: [],
      counts: { delivered: 0, recovered: 0, listed: null, notListed: null, differing: 0, duplicates: 0 },
    };
    const asked = run.asked.get(name);
    const listedNow = context.listedNow.has(day);
    if (listedNow) {
      assert.ok(asked !== undefined && ageOf(day, today) >= 1 && ageOf(day, today) <= 29, `${what} can be listed`);
      known.listings.push({ on: today, accounts: asked });
    } else if (entry.listedAt !== known.listedAt) {
      assert.ok(entry.listedAt === null && known.verdict === 'unreconciled', `when ${what} was listed stays`);
    }
    for (const id of ids) known.ids.add(id);
    const hand = inHand(context, day);
    const usable = hand?.filter((event) => !isBroken(event, run));

    // 8: with all that it found archived by that same manifest.
    if (listedNow) {
      for (const { id } of usable!) assert.ok(source.daysOf.has(id), `${id} stands in the list of ${what}: archived`);
    }
    if (hand !== undefined) {
      const stuck = hand.filter((event) => isBroken(event, run)).map(({ id }) => id);
      const lacking = [...known.missing, ...stuck].filter((id) => !source.daysOf.has(id));
      assert.deepEqual(entry.missing, [...new Set(lacking)].sort(), `what ${what} lacks`);
    }
    const notices = [...known.ids].filter((id) => byId.get(`${name} ${id}`)?.isNotice === true).sort();
    assert.deepEqual(entry.generationFailures.map(({ notice }) => notice).sort(), notices, `notices of ${what}`);

    const ofDay = copies.filter((copy) => targets.get(copy) === day);
    for (const { isDelivered, account } of ofDay) if (isDelivered && account !== undefined) known.accounts.add(account);
    assert.deepEqual(entry.accounts, [...known.accounts].sort(), `accounts of ${what}`);
    const facts = {
      lacks: entry.missing.length + notices.length > 0,
      accounts: known.accounts,
      listings: known.listings,
    };
    assert.equal(entry.verdict, verdictByRules(day, facts, asked, today), `the verdict of ${what}`);

    const brought = ids.filter((id) => (copiesOf.get(id) ?? []).some((c) => c.isDelivered && targets.get(c) === day));
    const { counts } = known;
    // What is in the list and cannot be read there is listed all the same.
    const shownIds = new Set(hand?.map(({ id }) => id));
    const judged = listedNow ? [...known.ids] : counts.notListed === null ? [] : ids;
    const notListed = judged.filter((id) => !shownIds.has(id));
    const notListedBefore = listedNow ? 0 : counts.notListed;
    const differingIds = hand === undefined ? [] : differing(ofDay, usable!);
    const expected: DayCounts = {
      delivered: counts.delivered + brought.length,
      recovered: counts.recovered + ids.length - brought.length,
      listed: listedNow ? hand!.length : counts.listed,
      notListed:
        hand === undefined
          ? entry.counts.notListed
          : notListedBefore === null
            ? null
            : notListedBefore + notListed.length,
      differing: hand === undefined ? entry.counts.differing : counts.differing + differingIds.length,
      duplicates: counts.duplicates + evidence.get(day)!.length - brought.length,
    };
    for (const { isDelivered, id } of ofDay) if (isDelivered) delivered.add(`${name} ${id}`);
    const { neverDelivered, unsubscribed, lostAfter2xx, ...others } = entry.counts;
    assert.deepEqual(others, expected, `the counts of ${what}`);
    // Stripe says of all that it delivered them, and one endpoint gets all types.
    const word = [neverDelivered, unsubscribed, lostAfter2xx];
    if (known.word !== undefined) assert.deepEqual(word, known.word, `Stripe's word on ${what} is said once`);
    if (lostAfter2xx !== undefined) {
      assert.deepEqual(word.slice(0, 2), [0, 0]);
      known.word = word;
    }
    const lost = idsLost(context.exceptionLines.get(day));
    for (const id of lost) {
      assert.ok(known.ids.has(id) && !delivered.has(`${name} ${id}`), `${id} of ${what} has no delivery`);
      assert.ok(ageOf(day, today) >= 4, `${id} of ${what} is older than any retry`);
    }
    if (hand !== undefined) {
      const missing = entry.missing.filter((id) => listedNow || !known.missing.includes(id));
      const lines = context.exceptionLines.get(day) ?? [];
      // Of a notification that is archived now, and of all thin events of a day that no list had told of yet.
      const isFirst = (id: string) => (ids.includes(id) ? brought.includes(id) : known.listedAt === null);
      const listedBody = usable!.filter((event) => isThinBody(event.text) && isFirst(event.id)).map(({ id }) => id);
      const named = { notListed, differing: differingIds, missing, listedBody, lost };
      checkExceptions(what, entry, lines, named, listedNow);
    }

    const isNews =
      before === undefined ||
      ids.length + evidence.get(day)!.length > 0 ||
      listedNow ||
      entry.verdict !== known.verdict ||
      entry.missing.length < known.missing.length;
    assert.ok(isNews, `${what} has something to say`);
    Object.assign(known, { listedAt: entry.listedAt, verdict: entry.verdict, missing: entry.missing, notices });
    known.counts = entry.counts;
    source.days.set(day, known);
    if (before === undefined) dueNow.add(what);
  }

  /** Days that were due when the manifest in hand was made: by the rules, or since they had no entry. */
  let dueNow = new Set<string>();

  /** A listing is asked for where it is due, and nowhere else. */
  function checkListings({ manifest, name, run, newIds, listedNow, copiesOf, targets }: SourceContext): void {
    if (run.asked.get(name) === undefined || !run.isAnswered(name)) return;
    const today = dayOf(run.startedMs);
    for (const day of Object.keys(manifest.sources[name] ?? {})) {
      const brought = newIds.get(day)!.some((id) => copiesOf.get(id)?.some((copy) => targets.get(copy) === day));
      const isDue = run.force || brought || dueNow.has(`${name} ${day}`);
      const age = ageOf(day, today);
      const isListable = age >= 1 && age <= 29;
      assert.equal(listedNow.has(day), isListable && isDue, `${name} ${day} is listed where due`);
    }
  }

  function due(today: Day): Set<string> {
    const found = new Set<string>();
    for (const [name, { days }] of sources) {
      for (const [day, known] of days) if (isDueByRules(day, known, today)) found.add(`${name} ${day}`);
    }
    return found;
  }

  function checkFirstDays(manifest: Manifest, run: RunFacts): void {
    for (const [name, first] of Object.entries(manifest.firstDays)) {
      const known = firstDays[name];
      if (known !== undefined) assert.equal(first, known, `the first day of ${name} stays`);
      else if (run.asked.get(name) !== undefined) assert.equal(ageOf(first, dayOf(run.startedMs)), 29);
    }
  }

  /** Of a day that was listed nothing is lacking that any of the lists showed then, also where that list is a newer one. */
  function checkAllListed(name: string, day: Day, { listedAt }: KnownDay): void {
    if (listedAt === null) return;
    for (const { id, isThin, account, visibleFromMs, brokenText } of listed.get(name)?.get(day) ?? []) {
      const since = lists[name]?.[listName(isThin, account)];
      if (since == null || brokenText !== undefined) continue;
      const wasShown = visibleFromMs <= Math.max(Date.parse(listedAt), Date.parse(since));
      if (wasShown)
        assert.ok(sources.get(name)!.daysOf.has(id), `${id} of ${name} ${day} was listed, so it is archived`);
    }
  }

  return {
    sources,
    open,
    recovered,
    figures,
    due,
    nearRetention(today) {
      const days = [...sources].flatMap(([name, { days: known }]) =>
        [...known].flatMap(([day, { verdict }]) => (isNearRetention(day, verdict, today) ? [`${name} ${day}`] : [])),
      );
      return days.sort();
    },
    get manifests() {
      return head?.number ?? 0;
    },
    follow(record, numbering) {
      const one: FollowedRecord = { ...record, numbering, fate: 'open', isUnknown: false };
      followed.set(record, one);
      open.add(one);
    },
    agedOut(records) {
      for (const record of records) {
        const one = followed.get(record)!;
        if (one.fate !== 'open') continue;
        one.fate = 'aged out';
        const said = position?.id === one.streamId ? position.partitions[one.partition] : undefined;
        // Of another history, with a position that an archived record had: nothing tells that it was there.
        one.isUnknown = said === undefined || isDone(one, said) || isDisproven(one.partition, -1n);
        open.delete(one);
        if (!one.isUnknown) unsaid.add(one);
      }
    },
    goneWithStream(records) {
      for (const record of records) {
        const one = followed.get(record)!;
        if (one.fate === 'open') one.fate = 'gone with the stream';
        open.delete(one);
        unsaid.delete(one);
      }
      // What the last manifest says of positions means nothing any more, also where the new stream is cut before a night.
      position = undefined;
      followed.clear();
      unsaid.clear();
      forkedFrom.clear();
      assert.equal(open.size, 0);
    },
    forked({ gone, from }, standing, starts) {
      for (const record of gone) {
        const one = followed.get(record)!;
        if (one.fate === 'open') one.fate = 'gone with the stream';
        open.delete(one);
        followed.delete(record);
      }
      const stands = new Set(standing);
      for (const [partition, cursor] of from) forkedFrom.set(partition, lesser(cursor, forkedFrom.get(partition)));
      for (const [record, one] of followed) {
        const cursor = from.get(one.partition);
        if (cursor === undefined) continue;
        unsaid.delete(one);
        if (one.position >= cursor) followed.delete(record);
        else if (stands.has(record)) reopen(one, starts.get(one.partition)!);
        // It may be called lost, though it was archived: it aged out, and its range is not proven any more.
        else if (one.fate === 'done') one.fate = 'aged out';
      }
    },
    forkedPartitions(bounds) {
      return [...forkedFrom.keys()].filter((partition) => {
        const { start, end } = bounds.get(partition) ?? {};
        if (start === undefined || end === undefined || !isDisproven(partition, start)) return false;
        // Where all that was read has aged out, nothing tells, and nothing is passed over.
        return start < BigInt(position!.partitions[partition]!.tip!.at);
      });
    },
    list(event) {
      const days = listed.get(event.source) ?? new Map<Day, ListedEvent[]>();
      listed.set(event.source, days);
      days.set(event.day, [...(days.get(event.day) ?? []), event]);
      byId.set(`${event.source} ${event.id}`, event);
    },
    async checkManifests(objects, runOf) {
      for (;;) {
        const number = (head?.number ?? 0) + 1;
        const bytes = objects.get(`manifests/${String(number).padStart(8, '0')}.jsonl`);
        if (bytes === undefined) return;
        const run = runOf(number);
        dueNow = due(dayOf(run.startedMs));
        await checkManifest(objects, bytes, run);
      }
    },
    checkClosed(run, { stood, standing, due: wasDue }) {
      const today = dayOf(run.startedMs);
      for (const record of stood) {
        const { sent, fate } = record;
        const isStrange = sent.isGarbage || sent.day > addDays(today, 1);
        if (!isStrange && sent.day > run.newestClosed) continue;
        // Positions alone are not news: what nobody delivered and is archived may be read again and again.
        if (!isStrange && !sent.isDelivered && sources.get(sent.source)?.daysOf.has(sent.id)) continue;
        assert.notEqual(fate, 'open', `${sent.source} ${sent.id} of ${sent.day} is archived`);
      }
      const hidden = [...unsaid].filter(({ partition, position: at, numbering }) => {
        // By sequence numbers a hole shows only where a later record stands.
        return numbering === 'offsets' || standing.some((one) => one.partition === partition && one.position > at);
      });
      assert.deepEqual(
        hidden.map(({ partition, position: at }) => [partition, at]),
        [],
        'what aged out is said',
      );
      for (const [name, asked] of run.asked) {
        const first = firstDays[name];
        assert.ok(first !== undefined, `${name} has a first day`);
        const listableFrom = addDays(today, -29);
        const from = asked !== undefined && listableFrom < first ? listableFrom : first;
        for (let day = from; day <= run.newestClosed; day = addDays(day, 1)) {
          assert.ok(sources.get(name)?.days.has(day), `${name} ${day} has an entry`);
        }
        for (const [day, known] of sources.get(name)!.days) {
          const lacks = known.missing.length + known.notices.length > 0;
          const verdict = verdictByRules(day, { ...known, lacks }, asked, today);
          assert.equal(known.verdict, verdict, `the verdict of ${name} ${day} is that of today`);
          const isListed = known.listedAt !== null && Date.parse(known.listedAt) >= run.startedMs;
          if (asked !== undefined && wasDue.has(`${name} ${day}`)) assert.ok(isListed, `${name} ${day} was due`);
          if (asked !== undefined && ageOf(day, today) <= 29) checkAllListed(name, day, known);
        }
      }
    },
  };
}

function lesser(one: bigint, other: bigint | undefined): bigint {
  return other !== undefined && other < one ? other : one;
}

function listName(isThin: boolean, account: string | undefined): string {
  return `${isThin ? 'v2' : 'v1'}${account === undefined ? '' : ` ${account}`}`;
}

function isInside({ partition, position, numbering }: FollowedRecord, hole: Hole): boolean {
  if (partition !== hole.partition) return false;
  const [before, after] = numbering === 'offsets' ? [position, position + 1n] : [position - 1n, position];
  return BigInt(hole.from) <= before && after <= BigInt(hole.to);
}
