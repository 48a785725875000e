/**
 * A life: many nights of one archive, with a clock, a stream, a store, a Stripe and senders that one seed drives. After each
 * night the model (model.ts) looks whether the promises hold.
 */
import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateIdentity, identityToRecipient } from 'age-encryption';
import { newestClosedDay } from '../../compactor/day/closing.ts';
import type { DayEntry, Manifest } from '../../compactor/ledger/manifest.ts';
import { type AskTime, clockToleranceMs } from '../../compactor/ledger/prove-time.ts';
import type { Night, NightSource } from '../../compactor/night.ts';
import { republishedRecord } from '../../compactor/stream/republish.ts';
import { verifyArchive } from '../../compactor/verify/verify-archive.ts';
import { addDays, type Day, dayMs, dayOf, startOfDayMs } from '../../shared/clock.ts';
import { parseIdentities } from '../../shared/crypto/identities.ts';
import { readSigner, type Verify } from '../../shared/crypto/signing.ts';
import { DaybookError } from '../../shared/errors.ts';
import { listingOf } from '../compactor/books.ts';
import { type FakeStripe, startFakeStripe, webhookEndpoint } from '../stripe/fake-stripe.ts';
import { drawCircumstances, planOf } from './circumstances.ts';
import { type RunOutcome, type RunPlan, runCompactor } from './compactor-run.ts';
import { openModel, type RunFacts } from './model.ts';
import { digestOf, plaintextOf } from './plaintext.ts';
import { type Random, seeded } from './random.ts';
import { type Sent, sentRecord, streamKeys } from './sent.ts';
import { type SimulatedStore, simulatedStore } from './simulated-store.ts';
import { type Fork, type RememberedStream, type SimulatedStream, simulatedStream } from './simulated-stream.ts';
import { injectStripeFaults } from './stripe-faults.ts';
import { type Arrival, openTraffic } from './traffic.ts';

export interface LifeReport {
  readonly nights: number;
  readonly runs: number;
  readonly manifests: number;
  readonly events: number;
  readonly deliveries: number;
  readonly records: number;
  /** By kind how often something was made to fail. */
  readonly faults: ReadonlyMap<string, number>;
  /** Over all that was archived, in plaintext: equal for equal seeds. */
  readonly digest: string;
}

export interface LifeOptions {
  readonly seed: string;
  readonly nights: number;
  trace?(line: string): void;
}

const minuteMs = 60_000;
const lagSeconds = 3600;
const identity = await generateIdentity();
const identities = parseIdentities(identity);
const recipients = [await identityToRecipient(identity)];
const signer = readSigner(
  generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
);
const verifyingKeys = new Map([[signer.keyId, { verify: remembered(signer.verify) }]]);

/** Rejects with the seed and the night where a promise is broken. */
export async function live(options: LifeOptions): Promise<LifeReport> {
  const directory = mkdtempSync(join(tmpdir(), 'daybook-simulation-'));
  const fakes: FakeStripe[] = [];
  const position = { night: 0, today: '' };
  try {
    return await nightsOf(options, directory, fakes, position);
  } catch (error) {
    const { night, today } = position;
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`SEED=${options.seed} breaks in night ${night}, of ${today}: ${why}`, { cause: error });
  } finally {
    for (const fake of fakes) await fake.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function nightsOf(
  { seed, nights, trace }: LifeOptions,
  directory: string,
  fakes: FakeStripe[],
  position: { night: number; today: Day },
): Promise<LifeReport> {
  const random = seeded(seed);
  const circumstances = drawCircumstances(random.of('circumstances'), nights);
  const { numbering, hasConnect, publishes } = circumstances;
  trace?.(`${seed} ${JSON.stringify(circumstances)}`);
  let nowMs = startOfDayMs(circumstances.firstDay);
  let tickMs = 0;
  /** What the compactor's clock is off by. */
  let clockErrorMs = 0;
  const clock = {
    now() {
      const now = new Date(nowMs + clockErrorMs);
      nowMs += tickMs;
      return now;
    },
  };
  const still = { now: () => new Date(nowMs) };
  /** A store or Stripe, which date their answers; undefined: nobody does. */
  let isDated = true;
  const askTime: AskTime = async () => [
    {
      whose: 'the store',
      answer: { date: isDated ? still.now().toUTCString() : undefined, receivedAtMs: nowMs + clockErrorMs },
    },
  ];
  const stripe = {
    platform: await startFakeStripe({ clock: still }),
    connect: await startFakeStripe({ clock: still, accounts: ['acct_a', 'acct_b'] }),
  };
  fakes.push(stripe.platform, stripe.connect);
  // Of this one's deliveries Stripe's own word is asked, and it says that all came.
  stripe.platform.endpoints.push(webhookEndpoint({ created: 0 }));
  const store = simulatedStore();
  const stream = simulatedStream(random.of('stream'), numbering, circumstances.partitions);
  const traffic = openTraffic(random.of('traffic'), circumstances.busiest);
  const model = openModel(identities, signer);
  const faults = new Map<string, number>();
  const runs = new Map<number, RunFacts>();
  const broken: { untilMs: number; mend(): void }[] = [];
  const arrivals: Arrival[] = [];
  let trafficUntil = addDays(circumstances.firstDay, -6);
  let records = 0;
  let runCount = 0;
  let ended = false;
  /** Made again, put back or cut since the last run. */
  let isStreamNew = false;
  let remembered: RememberedStream | undefined;

  const noteFault = (kind: string) => faults.set(kind, (faults.get(kind) ?? 0) + 1);

  function makeTraffic(until: Day): void {
    for (; trafficUntil <= until; trafficUntil = addDays(trafficUntil, 1)) {
      if (ended) continue;
      const accounts = hasConnect ? accountsIn(position.night + circumstances.secondAccountLead) : [];
      const day = traffic.of(trafficUntil, accounts);
      for (const event of day.listed) {
        model.list(event);
        const { id, account, visibleFromMs: visibleAtMs, text, brokenUntilMs, brokenText } = event;
        const fake = stripe[event.source as 'platform' | 'connect'];
        const options = account === undefined ? { visibleAtMs } : { account, visibleAtMs };
        fake.add(brokenText ?? text, options);
        if (brokenText === undefined || !Number.isFinite(brokenUntilMs)) continue;
        const mend = () => {
          fake.remove(id);
          fake.add(text, options);
        };
        broken.push({ untilMs: brokenUntilMs, mend });
      }
      arrivals.push(...day.arrivals);
    }
    arrivals.sort((a, b) => a.atMs - b.atMs);
  }

  function accountsIn(night: number): string[] {
    return night >= circumstances.secondAccountFrom ? ['acct_a', 'acct_b'] : ['acct_a'];
  }

  function arrive(untilMs: number): void {
    const later = arrivals.findIndex(({ atMs }) => atMs > untilMs);
    const due = arrivals.splice(0, later < 0 ? arrivals.length : later);
    for (const { sent, atMs } of due) append(sent, atMs);
  }

  function append(sent: Sent, atMs: number): void {
    records += 1;
    model.follow(stream.append(sent, atMs), numbering);
  }

  /** The sources as configured in this night, and those of them that have a key. */
  function configured(): { name: string; accounts: readonly string[]; fake?: FakeStripe }[] {
    const { night } = position;
    const hasKey = (name: string) =>
      !circumstances.keyMissing.some(({ from, to, source }) => source === name && night >= from && night < to);
    const keyOf = (name: 'platform' | 'connect') => (hasKey(name) ? { fake: stripe[name] } : {});
    return [
      { name: 'platform', accounts: [], ...keyOf('platform') },
      ...(hasConnect ? [{ name: 'connect', accounts: accountsIn(night), ...keyOf('connect') }] : []),
      ...(night < circumstances.billingUntil ? [{ name: 'billing', accounts: [] }] : []),
    ];
  }

  interface Doing {
    readonly plan: RunPlan;
    readonly days?: ReadonlySet<Day> | undefined;
    readonly force?: boolean;
    /** Of each request to Stripe: the chance that it fails. */
    readonly stripeFaultRate?: number;
    readonly rival?: () => Promise<void>;
    /** Another world than the life's own: nothing of it is followed. */
    readonly elsewhere?: { readonly store: SimulatedStore; readonly stream: SimulatedStream };
  }

  interface Done {
    readonly outcome: RunOutcome;
    readonly facts: RunFacts;
    readonly stripeFaults: ReadonlyMap<string, number>;
  }

  async function run({ plan, days, force = false, stripeFaultRate = 0, rival, elsewhere }: Doing): Promise<Done> {
    runCount += elsewhere === undefined ? 1 : 0;
    const own = random.of(plan.name);
    const apis: { close(): void }[] = [];
    const stripeFaults = new Map<string, number>();
    const sources = configured().map(({ name, accounts, fake }): NightSource => {
      if (fake === undefined) return { name };
      injectStripeFaults(fake, own.of(`stripe ${name}`), stripeFaultRate, (kind) => {
        stripeFaults.set(name, (stripeFaults.get(name) ?? 0) + 1);
        noteFault(kind);
      });
      const listing = listingOf(fake, accounts, circumstances.thinEvents);
      apis.push(listing.api);
      return { name, listing };
    });
    const night: Omit<Night, 'stagingDirectory' | 'log' | 'progress'> = {
      clock,
      askTime,
      stream: elsewhere?.stream ?? stream,
      store: elsewhere?.store ?? store,
      prefix: '',
      dayPath: '%Y/%m/%d',
      lagSeconds,
      sources,
      recipients,
      signer,
      verifyingKeys,
      streamKeys,
      ...(days === undefined ? {} : { days }),
      force,
      ...(publishes && elsewhere === undefined ? { recoveredTo } : {}),
    };
    const created: number[] = [];
    const newestClosed = newestClosedDay(new Date(nowMs), lagSeconds);
    const outcome = await runCompactor(night, plan, {
      random: own.of('faults'),
      dataDirectory: directory,
      nowMs: () => nowMs,
      created: (key) => created.push(Number(/(\d+)\.jsonl$/.exec(key)![1])),
      rival: async () => rival?.(),
      fault: noteFault,
      meanwhile: () => {
        if (elsewhere === undefined) arrive(nowMs + 10 * minuteMs);
      },
    });
    for (const api of apis) api.close();
    for (const fake of fakes) fake.faults.length = 0;
    const { report, startedMs, endedMs, failure } = outcome;
    const facts: RunFacts = {
      name: plan.name,
      startedMs,
      endedMs,
      newestClosed,
      days,
      force,
      asked: new Map(
        configured().map(({ name, accounts, fake }) => [name, fake === undefined ? undefined : new Set(accounts)]),
      ),
      report,
      isAnswered: (name) =>
        report === undefined
          ? (stripeFaults.get(name) ?? 0) === 0
          : !report.errors.some(({ source, day }) => source === name && day === null),
    };
    if (elsewhere === undefined) for (const number of created) runs.set(number, facts);
    const said = report?.errors.map(({ code }) => code).join() ?? (failure as Error | undefined)?.message;
    trace?.(`${new Date(startedMs).toISOString()} ${plan.name}: manifest ${report?.manifest} ${created} ${said}`);
    return { outcome, facts, stripeFaults };
  }

  const published = new Set<string>();
  const recoveredTo: NonNullable<Night['recoveredTo']> = {
    maxValueBytes: undefined,
    async append(records) {
      for (const record of records) {
        const sent = sentRecord(record);
        assert.equal(sent.via, 'list');
        const event = `${sent.source} ${sent.id}`;
        assert.ok(!published.has(event), `${event} is published once`);
        published.add(event);
        append(sent, nowMs);
      }
    },
  };

  async function check(): Promise<void> {
    await model.checkManifests(store.objects, (number) => {
      const facts = runs.get(number);
      assert.ok(facts !== undefined, `manifest ${number} was written by a run`);
      return facts;
    });
    for (const event of published) assert.ok(model.recovered.has(event), `${event} was published, so it was recovered`);
  }

  /** A report says what its manifest says, and names what failed. */
  function checkOutcome({ outcome, facts, stripeFaults }: Done, isOvertaken = false): void {
    const { report, failure, died, faults: failed } = outcome;
    const unprovoked = failed === 0 && stripeFaults.size === 0;
    if (report === undefined) {
      if (died) return;
      assert.ok(failed > 0, `${facts.name} failed without a cause: ${(failure as Error).stack}`);
      const code = (failure as NodeJS.ErrnoException).code;
      assert.ok(failure instanceof DaybookError || code === 'ENOENT', `${(failure as Error).stack}`);
      return;
    }
    if (report.manifest !== null) {
      assert.equal(runs.get(report.manifest), facts, 'the manifest that is reported is its own');
      const text = store.objects.get(`manifests/${String(report.manifest).padStart(8, '0')}.jsonl`)!.toString();
      const { sources } = JSON.parse(text.split('\n')[0]!) as Manifest;
      const said = report.days.map(({ source, day, verdict, parts }) => [source, day, verdict, parts.length]);
      const written = Object.entries(sources).flatMap(([source, days]) =>
        Object.entries(days).map(([day, { verdict, parts }]) => [source, day, verdict, parts.length]),
      );
      assert.deepEqual(said, written);
    }
    const warned = report.warnings.filter(({ code }) => code === 'retention_near');
    const said = warned.map(({ source, day }) => `${source} ${day}`);
    if (!isOvertaken)
      assert.deepEqual(said, model.nearRetention(dayOf(facts.startedMs)), 'days near the end of the list');
    const codes = new Set(report.errors.map(({ code }) => code));
    if (unprovoked) {
      const expected: ReadonlySet<string> = new Set(['stream_hole', 'stream_recreated', 'lost_after_2xx']);
      const unexpected = [...codes].filter((code) => !expected.has(code));
      assert.deepEqual(unexpected, [], `${facts.name}: ${JSON.stringify(report.errors)}`);
    }
  }

  /** That a partition took another way is said where what was read shows it, and never where it did not. */
  function checkForks({ outcome: { report }, facts }: Done, forked: readonly string[]): void {
    if (report === undefined) return;
    const said = report.errors.flatMap(({ code, message }) => (code === 'stream_recreated' ? [message] : []));
    const expected = forked.map((partition) => `partition ${partition}`);
    assert.deepEqual(said.sort(), expected.sort(), `${facts.name} says which partitions are not what they were`);
  }

  /** The same events in another order, on other partitions: the same plaintext. */
  async function runElsewhere(name: string, plan: RunPlan): Promise<(() => void) | undefined> {
    const mixed = random.of(`${name} elsewhere`);
    const other = simulatedStream(mixed, numbering === 'offsets' ? 'sequence numbers' : 'offsets', mixed.between(1, 8));
    for (const { sent, appendedMs } of mixed.shuffled([...model.open])) {
      other.append({ ...sent, key: mixed.chance(0.5) ? sent.key : `${mixed.next()}` }, appendedMs);
    }
    const copy = store.copy();
    const before = nowMs;
    const elsewhere = { store: copy, stream: other };
    const { outcome } = await run({ plan: { ...plan, name: `${name} elsewhere` }, elsewhere });
    nowMs = before;
    if (outcome.report === undefined) throw outcome.failure;
    const key = `manifests/${String(model.manifests + 1).padStart(8, '0')}.jsonl`;
    return () => assert.deepEqual(plaintextOf(store, key), plaintextOf(copy, key), 'the same events, the same bytes');
  }

  /** A ledger that lost its newest manifest is not written on: the committed positions are ahead of it. */
  async function checkLedgerBehind(): Promise<void> {
    if (numbering !== 'offsets' || model.manifests < 2) return;
    const last = `manifests/${String(model.manifests).padStart(8, '0')}.jsonl`;
    const [newest, previous] = [model.manifests, model.manifests - 1].map((number) => {
      const text = store.objects.get(`manifests/${String(number).padStart(8, '0')}.jsonl`)!.toString();
      return (JSON.parse(text.split('\n')[0]!) as Manifest).stream;
    }) as [Manifest['stream'], Manifest['stream']];
    const committed = await stream.committed();
    const isAhead = [...committed].some(
      ([partition, cursor]) => cursor > BigInt(previous.partitions[partition]?.next ?? 0),
    );
    if (!isAhead || newest.id !== stream.id || previous.id !== stream.id) return;
    const behind = store.copy((key) => key === last);
    const before = behind.objects.size;
    const plan = { name: `night ${position.night} behind`, faultRate: 0 };
    const { outcome } = await run({ plan, elsewhere: { store: behind, stream } });
    assert.equal((outcome.failure as DaybookError | undefined)?.code, 'ledger_behind');
    assert.equal(behind.objects.size, before);
    noteFault('newest manifest lost');
  }

  /** A clock that jumps stops the run before it writes: by whoever dates an answer, else by the newest manifest if it went back. */
  async function checkClock(night: Random): Promise<void> {
    const days = night.pick([0.004, 0.9, 2, 40, 400]);
    clockErrorMs = days * dayMs * (night.chance(0.5) ? 1 : -1);
    const newest = newestManifest()?.createdAt;
    const isBehindLedger = newest !== undefined && nowMs + clockErrorMs < Date.parse(newest) - clockToleranceMs;
    isDated = !isBehindLedger || night.chance(0.5);
    const [objects, committed] = [store.objects.size, await stream.committed()];
    const { outcome } = await run({ plan: { name: `night ${position.night} clock`, faultRate: 0 } });
    assert.equal((outcome.failure as DaybookError | undefined)?.code, 'clock_untrusted');
    assert.equal(store.objects.size, objects);
    assert.deepEqual(await stream.committed(), committed);
    clockErrorMs = 0;
    isDated = true;
    noteFault('clock jumps');
  }

  async function verify(withIdentity: boolean): Promise<void> {
    const temporaryDirectory = join(directory, 'verify');
    mkdirSync(temporaryDirectory);
    const { ok, breaks } = await verifyArchive({
      store,
      prefix: '',
      verifyingKeys,
      ...(withIdentity ? { identities } : {}),
      temporaryDirectory,
      progress: () => {},
    });
    assert.deepEqual({ ok, breaks }, { ok: true, breaks: [] });
    rmSync(temporaryDirectory, { recursive: true });
  }

  /** What happens beside the runs until they begin. */
  function happen(night: Random): void {
    // Between two arrivals: what is gone is some of what a night has read, and of what came since.
    arrive(nowMs - night.between(0, 24 * 60) * minuteMs);
    if (night.chance(0.1)) remembered = numbering === 'offsets' ? stream.remember() : undefined;
    arrive(nowMs - night.between(0, 12 * 60) * minuteMs);
    if (night.chance(0.03 * circumstances.misfortune)) makeStreamAnew(night);
    if (night.chance(0.06 * circumstances.misfortune)) rewind(night);
    arrive(nowMs);
    // Who makes a stream again may fill it with what the archive has.
    if (isStreamNew && night.chance(0.7)) restore(night, night.between(1, 80));
    model.agedOut(stream.drop(nowMs - circumstances.retainMs, circumstances.keepsUncommitted));
    if (night.chance(0.01)) stream.addPartition();
    if (night.chance(0.1)) restore(night, 1);
  }

  function makeStreamAnew(night: Random): void {
    noteFault('stream made again');
    const keepsId = numbering === 'offsets' && night.chance(0.5);
    const fork = stream.recreate(keepsId, night.chance(0.8) ? stream.bounds().size : night.between(1, 6));
    if (keepsId) follow(fork);
    else model.goneWithStream(fork.gone);
    remembered = undefined;
    isStreamNew = true;
  }

  /** The machine of the stream is put back to a snapshot, or a broker without the newest records leads a partition. */
  function rewind(night: Random): void {
    if (numbering !== 'offsets') return;
    if (remembered !== undefined && night.chance(0.6)) {
      noteFault('stream put back');
      follow(stream.putBack(remembered, circumstances.keepsUncommitted));
    } else {
      noteFault('partition cut');
      follow(stream.cut(night.pick([...stream.bounds().keys()]), night.between(1, 30)));
    }
    remembered = undefined;
    isStreamNew = true;
  }

  function follow(fork: Fork): void {
    const starts = new Map([...stream.bounds()].map(([name, { start }]) => [name, start!]));
    model.forked(fork, stream.records(), starts);
    // What was sent may be sent again, byte for byte: by a spool that was put back with the stream.
    for (const { sent } of fork.gone)
      if (random.of(`again ${sent.id} ${sent.receivedAt}`).chance(0.3)) append(sent, nowMs);
  }

  function restore(night: Random, count: number): void {
    const receivedAt = new Date(nowMs - minuteMs).toISOString();
    for (const [source, { lines }] of model.sources) {
      if (lines.size === 0) continue;
      for (const line of night.shuffled([...lines.values()]).slice(0, count)) {
        const record = republishedRecord(line, { source, via: 'restore', receivedAt });
        if (record !== undefined) append(sentRecord(record), nowMs - minuteMs);
      }
    }
  }

  async function nightOf(night: Random, name: string): Promise<void> {
    const { misfortune } = circumstances;
    const plan: RunPlan = ended ? { name, faultRate: 0 } : planOf(name, night, { misfortune, isStreamNew });
    isStreamNew = false;
    const stripeFaultRate = !ended && night.chance(0.25 * misfortune) ? night.pick([0.05, 0.3, 0.9]) : 0;
    const isPartial = !ended && night.chance(0.08);
    const days = isPartial ? someDays(night) : undefined;
    const force = !ended && night.chance(0.03);
    const isSmooth = plan.faultRate === 0 && plan.dies === undefined && plan.losesStagingAt === undefined;
    const isCompared = isSmooth && plan.rivalAt === undefined && stripeFaultRate === 0 && night.chance(0.12);
    const stood = new Set(model.open);
    const standing = stream.records();
    const due = model.due(dayOf(nowMs));
    const forked = model.forkedPartitions(stream.bounds());
    const left = staged(directory);
    const recoveredBefore = model.recovered.size;

    const compare = isCompared && days === undefined && !force ? await runElsewhere(name, plan) : undefined;
    const rivals: Done[] = [];
    const rival = async () => {
      noteFault('rival run');
      nowMs += 1;
      rivals.push(await run({ plan: { name: `${name} rival`, faultRate: plan.faultRate }, days, force }));
      nowMs += 1;
    };
    const done = await run({ plan, days, force, stripeFaultRate, rival });
    await check();
    for (const one of [done, ...rivals]) checkOutcome(one, rivals.length > 0);
    if (rivals.length === 0) checkForks(done, forked);
    const { facts } = done;
    for (const folder of left) assert.ok(!staged(directory).includes(folder), 'the dead are swept');
    const wentWell = [done, ...rivals].every(({ outcome: { faults: failed, died }, facts: { isAnswered, asked } }) => {
      return failed === 0 && !died && [...asked.keys()].every(isAnswered);
    });
    if (wentWell && days === undefined) model.checkClosed(facts, { stood, standing, due });
    if (wentWell) compare?.();
    if (wentWell && publishes) {
      for (const event of [...model.recovered].slice(recoveredBefore))
        assert.ok(published.has(event), `${event} is published`);
    }
    if (wentWell && days === undefined && (ended || night.chance(0.15))) await repeatOf(name);
    if (night.chance(0.03)) await checkLedgerBehind();
  }

  /** Once more at once: there is nothing left to say. */
  async function repeatOf(name: string): Promise<void> {
    nowMs += 1;
    const newest = newestClosedDay(new Date(nowMs), lagSeconds);
    // A complete day that a list new to the source made incomplete is due: tonight only that list was asked of it.
    const isListedAgain = [...newestEntries()].some(
      ({ verdict, listedAt }) =>
        verdict === 'incomplete' && listedAt !== null && dayOf(new Date(listedAt)) < dayOf(nowMs),
    );
    // What came while the first run was at work is news.
    const isNews = [...model.open].some(({ sent }) => sent.isGarbage || (sent.isDelivered && sent.day <= newest));
    const again = await run({ plan: { name: `${name} again`, faultRate: 0 } });
    await check();
    checkOutcome(again);
    // By sequence numbers a hole shows only when another record has come behind it.
    const { report } = again.outcome;
    const tellsHole = numbering !== 'offsets' && report?.errors.some(({ code }) => code === 'stream_hole');
    if (!isNews && !tellsHole && !isListedAgain)
      assert.equal(report?.manifest, null, 'nothing is new, so nothing is said');
  }

  function newestManifest(): Manifest | undefined {
    const key = [...store.objects.keys()]
      .filter((name) => name.startsWith('manifests/'))
      .sort()
      .at(-1);
    return key === undefined ? undefined : JSON.parse(store.objects.get(key)!.toString().split('\n')[0]!);
  }

  function* newestEntries(): Generator<DayEntry, void, void> {
    for (const days of Object.values(newestManifest()?.sources ?? {})) yield* Object.values(days);
  }

  function someDays(night: Random): ReadonlySet<Day> {
    const newest = newestClosedDay(new Date(nowMs), lagSeconds);
    return new Set(Array.from({ length: night.between(1, 4) }, () => addDays(newest, -night.between(0, 12))));
  }

  async function nightAt(today: Day, night: Random): Promise<void> {
    position.today = today;
    makeTraffic(today);
    tickMs = night.pick([0, 0, 0, 1, 700]);
    nowMs = startOfDayMs(today) + 3 * 60 * minuteMs + night.between(0, 90 * minuteMs);
    // Before the lag is over yesterday is not closed yet.
    if (night.chance(0.02)) nowMs = startOfDayMs(today) + night.between(10, 55) * minuteMs;
    for (const one of broken.filter(({ untilMs }) => untilMs <= nowMs)) {
      one.mend();
      broken.splice(broken.indexOf(one), 1);
    }
    happen(night);
    const jump = night.of('clock');
    if (!ended && jump.chance(0.08 * circumstances.misfortune)) await checkClock(jump);
    await nightOf(night, `night ${position.night}`);
    // A second run on the same day mends what the first left, or has a fate of its own.
    if (!ended && night.chance(0.15)) {
      nowMs += night.between(1, 5) * minuteMs;
      if (night.chance(0.2 * circumstances.misfortune)) makeStreamAnew(night);
      await nightOf(night.of('second'), `night ${position.night} second`);
    }
  }

  let today = circumstances.firstDay;
  for (let number = 0; number < nights; number += 1) {
    position.night = number;
    const night = random.of(`night ${number}`);
    await nightAt(today, night);
    if (number % 25 === 24) await verify(false);
    // Now and then nothing runs for days.
    today = addDays(today, night.chance(0.04) ? night.between(2, 8) : 1);
  }
  // A quiet time: no new events, and nothing fails. All that is on its way arrives.
  ended = true;
  const restDays = [0, 1, 2, 3, 5, 6, 13];
  for (const [index, days] of restDays.entries()) {
    position.night = nights + index;
    await nightAt(addDays(today, days), random.of(`rest ${index}`));
  }
  const late = [...model.open].filter(({ sent }) => sent.isDelivered);
  assert.deepEqual(
    late.map(({ sent }) => sent.id),
    [],
    'in the end every delivery is archived',
  );
  await verify(true);
  const { events, evidence } = model.figures;
  return {
    nights: nights + restDays.length,
    runs: runCount,
    manifests: model.manifests,
    events,
    deliveries: evidence,
    records,
    faults,
    digest: digestOf(store),
  };
}

function staged(directory: string): string[] {
  const root = join(directory, 'staging');
  try {
    return readdirSync(root, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  } catch {
    return [];
  }
}

/** Every run checks the whole chain: each signature is computed once. */
function remembered(verify: Verify): Verify {
  const known = new Map<string, boolean>();
  const check = (bytes: Uint8Array, signature: string) => {
    const key = `${signature} ${createHash('sha256').update(bytes).digest('hex')}`;
    let holds = known.get(key);
    if (holds === undefined) {
      holds = verify(bytes, signature);
      known.set(key, holds);
    }
    return holds;
  };
  return Object.assign(check, { beside: async (bytes: Uint8Array, signature: string) => check(bytes, signature) });
}
