import assert from 'node:assert/strict';
import { after, describe, type TestContext, test } from 'node:test';
import type { DayState } from '../../../compactor/ledger/ledger.ts';
import type { StripeApi } from '../../../compactor/stripe/list-events.ts';
import { readSigner } from '../../../shared/crypto/signing.ts';
import { DaybookError } from '../../../shared/errors.ts';
import { exitCodeOf } from '../../../shared/program/program.ts';
import type { ObjectStore } from '../../../shared/store/store.ts';
import type { EventStreamReader } from '../../../shared/stream/stream.ts';
import { faultyStore } from '../../faults/faulty.ts';
import { assertBooks } from '../../faults/night-books.ts';
import { startNight } from '../../faults/night-process.ts';
import { memoryStream } from '../../faults/night-stream.ts';
import { startService } from '../../services/service.ts';
import { type NightChange, stripeRecord } from '../books.ts';
import { eventsOf, openStripeNights } from '../stripe/stripe-nights.ts';
import { until } from '../until.ts';
import { fillDay, nightOf, openOnKinesis, sayingOf, waitSeconds } from './scene.ts';

/** By hand: to die at every object too. */
const every = process.env.EVERY_WRITE === '1';

const kinesis = await startService<{ endpoint: string }>('kinesis.sh');
after(() => kinesis?.stop());

async function open(t: TestContext) {
  const nights = await openStripeNights(t);
  return { ...nights, sources: [nights.source([], true), { name: 'billing' }] };
}

describe('a night by several workers', () => {
  test('says what one alone would say, by 1, 2 and 3 of them, and when their number changes', async (t) => {
    const said = [];
    for (const [counts, stream] of [
      [[undefined, undefined, undefined]],
      [[3, undefined, 2]],
      [[2, 3, 1], kinesis],
    ] as const) {
      const { stripe, sources, ...nights } = await open(t);
      const { books, split }: Awaited<ReturnType<typeof openOnKinesis>> =
        stream === undefined ? nights : await openOnKinesis(t, nights.books, stream.facts.endpoint);
      const reports = [];
      for (const [index, count] of counts.entries()) {
        const today = `2026-11-2${index + 1}`;
        books.at(`${today}T03:00:00Z`);
        await fillDay(books, stripe, today, `night ${index}`);
        // What comes while they read waits for its day, by any reading. On Kinesis it comes to shards that the night does not know.
        let arriving: Promise<void> | undefined;
        const arrive = async () => {
          if (index === 0) await split?.();
          await books.deliver(...eventsOf(today, 5, `meanwhile ${index}`).map(({ text }) => stripeRecord(text)));
        };
        const { days, errors, warnings, manifest } = await nightOf(books, sources, count, () => ({
          stream: (reader) => ({
            ...reader,
            async *read(...asked) {
              arriving ??= arrive();
              await arriving;
              yield* reader.read(...asked);
            },
          }),
        }));
        reports.push([
          manifest,
          days.map(({ parts, ...day }) => day),
          errors,
          new Set(warnings.map(({ code }) => code)),
        ]);
      }
      // Each event again, all late: nothing but evidence.
      await books.deliver(...eventsOf('2026-11-20', 30, 'night 0 yesterday').map(({ text }) => stripeRecord(text)));
      reports.push((await nightOf(books, sources, counts[0])).days.map(({ parts, ...day }) => day));
      said.push({ reports, archive: await sayingOf(books) });
    }
    assert.match(JSON.stringify(said[0]), /"twins":[1-9].*"listedBody":[1-9]/);
    assert.deepEqual(said[1], said[0]);
    // Positions are Kinesis' own.
    assert.deepEqual(unplaced(said[2]!), unplaced(said[0]!));
  });

  test('a worker that dies at any of its writes, and is run again, loses nothing and doubles nothing', async (t) => {
    const { books, stripe, sources } = await open(t);
    const deaths: string[] = [];
    for (const [victim, chosen] of [
      [1, [1, 4, 7, 11]],
      [0, [2, 9, 12, 13]],
    ] as const) {
      for (const write of every ? Array.from({ length: 60 }, (_, at) => at + 1) : chosen) {
        await fillDay(books, stripe, '2026-11-21', `${victim} ${write}`);
        const before = (await books.ledger()).head?.number ?? 0;
        const death = dying(write, write % 2 === 0);
        const run = (index: number, change: NightChange = {}, seconds = waitSeconds) =>
          books.night(sources, { worker: { index, count: 2, waitSeconds: seconds }, ...change });
        const [report] = await Promise.all([
          run(1 - victim),
          run(victim, { store: death.store }).catch(async () => {
            deaths.push(death.diedAt!);
            // Where all was said, and the night is done without it, its next life waits for a night that nobody begins.
            await run(victim, {}, 3).catch(({ code }) => assert.equal(code, 'workers_late'));
          }),
        ]);
        assert.deepEqual(report.errors, []);
        assert.equal((await books.ledger()).head?.number, before + 1);
        if (death.diedAt === undefined) break;
      }
    }
    t.diagnostic(deaths.join(' '));
    assert.ok(deaths.length >= 8);
    await sayingOf(books);
  });

  test('as processes: one is killed with SIGKILL in the night and started again, and all end well', async (t) => {
    const { books } = await open(t);
    const events = eventsOf('2026-11-20', 200, 'processes');
    await books.deliver(...events.map(({ text }) => stripeRecord(text)));
    const start = (index: number) => startNight(books, { environment: { COMPACTOR_WORKER: `${index}/2` } });
    const killed = await start(1);
    await until(async () => (await books.keys('workers/')).find((key) => key.endsWith('/1-seat.jsonl')));
    killed.child.kill('SIGKILL');
    assert.equal((await killed.ended).signal, 'SIGKILL');
    const ends = await Promise.all([await start(0), await start(1)].map(({ ended }) => ended));
    assert.deepEqual(
      ends.map(({ code, report }) => [code, report.manifest, report.errors]),
      [
        [0, 1, []],
        [0, 1, []],
      ],
    );
    await assertBooks(books, { platform: { ids: events.map(({ id }) => id), deliveries: 200 } });
  });

  test('a night that ends between two questions of a worker is over for it too, and not begun again', async (t) => {
    const { books, sources } = await open(t);
    await books.deliver(stripeRecord(eventsOf('2026-11-20', 1, 'ends')[0]!.text));
    let isHeld = false;
    const slow = (store: ObjectStore): ObjectStore => ({
      ...store,
      async *list(prefix) {
        const keys = await Array.fromAsync(store.list(prefix));
        if (
          keys.some((key) => key.endsWith('/1-ended.jsonl')) &&
          !keys.some((key) => key.endsWith('/0-commit.jsonl'))
        ) {
          isHeld = true;
          await until(async () => store.head('manifests/00000001.jsonl'));
        }
        yield* keys;
      },
    });
    const { manifest } = await nightOf(books, sources, 2, (index) => (index === 1 ? { store: slow } : {}));
    assert.equal(manifest, 1);
    assert.ok(isHeld);
  });

  test('one that does not come: the others end with a code and a hint, and nothing is written', async (t) => {
    const { books, sources } = await open(t);
    await books.deliver(stripeRecord(eventsOf('2026-11-20', 1, 'late')[0]!.text));
    const run = (index: number, count: number) =>
      books.night(sources, { worker: { index, count, waitSeconds: 0.2 } }).catch((error) => error);
    const ends = await Promise.all([run(0, 3), run(1, 3)]);
    // The second to give up may hear of the first.
    assert.ok(
      ends.every(({ code }) => code === 'worker_failed' || code === 'workers_late'),
      `${ends}`,
    );
    const late = ends.find(({ code }) => code === 'workers_late');
    assert.match(late.message, /after 0\.2 s 2-seat\.jsonl of worker 2 \(of 3\) is not there/);
    assert.equal(exitCodeOf(late), 2);
    assert.deepEqual(
      (await books.keys()).filter((key) => !key.startsWith('workers/')),
      [],
    );

    // Another number of them, at once.
    const { manifest, errors } = await nightOf(books, sources, 2);
    assert.deepEqual([manifest, errors], [1, []]);
    await sayingOf(books);
  });

  test('two of one number, or with settings that differ, end with what is wrong, by its name; nothing is written', async (t) => {
    const { books, sources } = await open(t);
    await books.deliver(stripeRecord(eventsOf('2026-11-20', 1, 'contended workers')[0]!.text));
    const run = (index: number, change: NightChange = {}) =>
      books.night(sources, { worker: { index, count: 2, waitSeconds: 2 }, ...change }).then(
        () => ['done', ''],
        ({ code, message, hint }) => [code, message, hint],
      );
    const twice = await Promise.all([run(0), run(0)]);
    const [contended, late] = twice.map((end) => end.join(' ')).sort();
    assert.match(contended!, /^manifest_contended lost 5 times: another worker 0 of 2 is at work .*COMPACTOR_WORKER/);
    assert.match(late!, /^workers_late .*1-seat\.jsonl of worker 1 .*; before: another worker 0 of 2 is at work/);

    const other = { dayPath: '%Y-%m-%d', sources: [sources[0]!] };
    const differing = await Promise.all([run(0), run(1, other)]);
    for (const [index, [code, message]] of differing.entries()) {
      const said = new RegExp(`worker ${1 - index} has another DAYBOOK_DAY_PATH, DAYBOOK_SOURCES`);
      assert.match(`${code} ${message}`, said);
      assert.match(code, /manifest_contended|workers_late/);
    }
    assert.ok(differing.some(([code]) => code === 'manifest_contended'));
    assert.equal((await books.ledger()).head, undefined);
    assert.deepEqual((await nightOf(books, sources, 2)).errors, []);
  });

  test('one that came too early and gave up keeps nobody from the next try', async (t) => {
    const { books, sources } = await open(t);
    await books.deliver(stripeRecord(eventsOf('2026-11-20', 1, 'early')[0]!.text));
    const early = await books
      .night(sources, { worker: { index: 1, count: 2, waitSeconds: 0.2 } })
      .catch((error) => error);
    assert.equal(early.code, 'workers_late');
    const first = books.night(sources, { worker: { index: 0, count: 2, waitSeconds } });
    await until(async () => (await books.keys('workers/')).find((key) => key.endsWith('/0-seat.jsonl')));
    const second = books.night(sources, { worker: { index: 1, count: 2, waitSeconds } });
    assert.deepEqual([(await first).manifest, (await second).manifest], [1, 1]);
  });

  test('a half night of three that were killed is nothing to two that come after them', async (t) => {
    const { books, stripe, sources } = await open(t);
    await fillDay(books, stripe, '2026-11-21', 'half');
    const death = Array.from({ length: 3 }, () => dying(4, false));
    const run = (index: number) =>
      books.night(sources, { worker: { index, count: 3, waitSeconds }, store: death[index]!.store });
    await Promise.allSettled([run(0), run(1), run(2)]);
    assert.equal((await books.ledger()).head, undefined);
    const { manifest, errors } = await nightOf(books, sources, 2);
    assert.deepEqual([manifest, errors], [1, []]);
    const two = await sayingOf(books);
    const alone = await open(t);
    await fillDay(alone.books, alone.stripe, '2026-11-21', 'half');
    await nightOf(alone.books, alone.sources, undefined);
    assert.deepEqual(two, await sayingOf(alone.books));
  });

  test('with another signing key none of what one says is believed', async (t) => {
    const { books, sources } = await open(t);
    const other = await open(t);
    const signer = readSigner(other.books.signingKey);
    const run = (index: number, change: NightChange) =>
      books.night(sources, { worker: { index, count: 2, waitSeconds }, ...change }).then(
        () => 'done',
        ({ code }) => code,
      );
    const codes = await Promise.all([run(0, {}), run(1, { signer })]);
    assert.ok(
      codes.every((code) => code === 'worker_unproven' || code === 'worker_failed'),
      `${codes}`,
    );
    assert.ok(codes.includes('worker_unproven'));
    assert.equal((await books.ledger()).head, undefined);
  });

  test('a list that breaks off for one of them broke off for the days that it was to list', async (t) => {
    const { books, stripe, sources, source } = await open(t);
    await fillDay(books, stripe, '2026-11-21', 'broken off');
    const refused = source([], true);
    const list: StripeApi['list'] = async function* () {
      yield* [];
      throw new DaybookError('stripe_unreachable', { detail: 'injected' });
    };
    const broken = { ...refused, listing: { ...refused.listing!, api: { ...refused.listing!.api, list } } };
    const report = await nightOf(books, sources, 2, (index) => (index === 0 ? { sources: [broken, sources[1]!] } : {}));
    // Its snapshot events, and its thin ones.
    assert.deepEqual(new Set(report.errors.map(({ code }) => code)), new Set(['stripe_unreachable']));
    const of = (state: DayState | undefined) => [state?.verdict, state?.listedAt, state?.counts.listed];
    const day = async (of: string) => (await books.ledger()).sources.get('platform')?.get(of);
    assert.deepEqual(of(await day('2026-11-20')), ['provisional', null, null]);
    assert.deepEqual(of(await day('2026-11-19')), ['provisional', books.now().toISOString(), 10]);
    await sayingOf(books);
    assert.deepEqual((await nightOf(books, sources, 2)).errors, []);
    assert.deepEqual(of(await day('2026-11-20')), ['incomplete', books.now().toISOString(), 33]);
    await sayingOf(books);
  });

  for (const [who, object] of [
    [1, 'ids.gz'],
    [0, 'exceptions.jsonl.gz.age'],
  ] as const) {
    test(`a day that fails for worker ${who} fails, and the next night closes it whole`, async (t) => {
      const { books, stripe, sources } = await open(t);
      await fillDay(books, stripe, '2026-11-21', 'fails');
      const failing = (store: ObjectStore) =>
        faultyStore(store, (operation, key) =>
          operation === 'create' && /^platform\/.*\/2026-11-20-/.test(key) && key.endsWith(object)
            ? 'before'
            : undefined,
        );
      const report = await nightOf(books, sources, 2, (index) => (index === who ? { store: failing } : {}));
      assert.deepEqual(
        report.errors.map(({ code, source, day }) => [code, source, day]),
        [['store_unavailable', 'platform', '2026-11-20']],
      );
      assert.equal((await books.ledger()).sources.get('platform')?.get('2026-11-20'), undefined);
      await sayingOf(books);
      assert.deepEqual((await nightOf(books, sources, 3)).errors, []);
      const saying = (await sayingOf(books)) as { days: unknown };
      const alone = await open(t);
      await fillDay(alone.books, alone.stripe, '2026-11-21', 'fails');
      await nightOf(alone.books, alone.sources, undefined);
      assert.deepEqual(saying.days, ((await sayingOf(alone.books)) as typeof saying).days);
    });
  }

  test('a manifest that another run writes first: all begin over again from it', async (t) => {
    const { books, stripe, sources } = await open(t);
    await fillDay(books, stripe, '2026-11-21', 'contended');
    let isFirst = true;
    const contended = (store: ObjectStore): ObjectStore => ({
      ...store,
      async create(key, body) {
        if (key.startsWith('manifests/') && isFirst) {
          isFirst = false;
          await books.night(sources);
        }
        return store.create(key, body);
      },
    });
    await books.deliver(stripeRecord(eventsOf('2026-11-20', 1, 'more')[0]!.text));
    const report = await nightOf(books, sources, 2, (index) => (index === 0 ? { store: contended } : {}));
    assert.deepEqual([report.manifest, report.errors], [null, []]);
    assert.equal((await books.ledger()).head?.number, 1);
    await sayingOf(books);
  });

  test('each reads the ids of what it may have written itself, and of what was written by others in number', async (t) => {
    const { books, stripe, sources } = await open(t);
    await fillDay(books, stripe, '2026-11-21', 'ids');
    await nightOf(books, sources, 4);
    for (const [count, shares] of [
      [4, [[0], [1], [2], [3]]],
      [
        2,
        [
          [0, 2],
          [1, 3],
        ],
      ],
      [
        3,
        [
          [0, 1, 2, 3],
          [0, 1, 2, 3],
          [0, 1, 2, 3],
        ],
      ],
    ] as const) {
      const shareOf = new Map<string, number>();
      for (const states of (await books.ledger()).sources.values()) {
        for (const { parts } of states.values()) for (const { ids, share } of parts) shareOf.set(ids.key, share![0]);
      }
      const read = Array.from({ length: count }, () => new Set<number>());
      await books.deliver(...eventsOf('2026-11-20', 30, 'ids yesterday').map(({ text }) => stripeRecord(text)));
      await nightOf(books, sources, count, (index) => ({
        store: (store) =>
          faultyStore(store, (operation, key) => {
            if (operation === 'read' && shareOf.has(key)) read[index]!.add(shareOf.get(key)!);
            return undefined;
          }),
      }));
      assert.deepEqual(
        read.map((set) => [...set].sort()),
        shares,
      );
    }
    await sayingOf(books);
  });

  test('on a stream that tells no ends one reads on to where the other ended; where it does not come there, all begin over', async (t) => {
    if (kinesis === undefined) return t.skip('no Kinesis');
    const { books } = await openOnKinesis(t, (await open(t)).books, kinesis.facts.endpoint);
    const events = eventsOf('2026-11-20', 60, 'ends');
    const deliver = (from: number, to: number) =>
      books.deliver(...events.slice(from, to).map(({ text }) => stripeRecord(text)));
    for (const [number, isShort] of [
      [1, false],
      [2, true],
    ] as const) {
      const at = 30 * (number - 1);
      await deliver(at, at + 15);
      const { promise: isRead, resolve: tellRead } = Promise.withResolvers<void>();
      let arriving: Promise<void> | undefined;
      let onward = 0;
      const leading = (reader: EventStreamReader): EventStreamReader => ({
        ...reader,
        // Its clock is ahead: so what comes while they read is of this night for who reads it.
        snapshot: async () => ({ ...(await reader.snapshot()), madeAtMs: Date.now() + 3_600_000 }),
        async *read(...asked) {
          await isRead;
          arriving ??= deliver(at + 15, at + 30);
          await arriving;
          yield* reader.read(...asked);
        },
      });
      const following = (reader: EventStreamReader): EventStreamReader => ({
        ...reader,
        async *read(partition, from, snapshot) {
          const isOnward = snapshot.partitions.get(partition)?.end !== undefined;
          if (isOnward) onward += 1;
          if (!(isShort && isOnward)) yield* reader.read(partition, from, snapshot);
          if (partition === [...snapshot.partitions.keys()].at(-1)) tellRead();
        },
      });
      const report = await nightOf(books, [{ name: 'platform' }], 2, (index) => ({
        stream: index === 0 ? leading : following,
      }));
      assert.deepEqual([report.manifest, report.errors], [number, []]);
      await assertBooks(books, {
        platform: { ids: events.slice(0, at + 30).map(({ id }) => id), deliveries: at + 30 },
      });
      assert.ok(onward > 0);
      const attempts = (await books.keys(`workers/0000000${number}/`)).map((key) => key.split('/')[2]);
      assert.deepEqual([...new Set(attempts)], isShort ? ['0001', '0002'] : ['0001']);
    }
    assert.equal((await nightOf(books, [{ name: 'platform' }], undefined)).manifest, null);
  });

  test('records that age out before one of them has read them are a hole', async (t) => {
    const { books } = await open(t);
    const stream = memoryStream(2);
    const events = eventsOf('2026-11-20', 40, 'aged');
    stream.partitions[0]!.values.push(...events.map(({ text }) => stripeRecord(text).value));
    await nightOf(books, [{ name: 'platform' }], 2, () => ({ stream: () => stream }));
    stream.partitions[0]!.values.push(
      ...eventsOf('2026-11-20', 40, 'more').map(({ text }) => stripeRecord(text).value),
    );
    const { promise: isRead, resolve: tellRead } = Promise.withResolvers<void>();
    const read = (index: number): typeof stream.read =>
      async function* (partition, from, snapshot) {
        if (index === 1 && partition === '0') {
          await isRead;
          stream.partitions[0]!.start = 60;
        }
        yield* stream.read(partition, from, snapshot);
        if (index === 0 && partition === '0') tellRead();
      };
    const { errors } = await nightOf(books, [{ name: 'platform' }], 2, (index) => ({
      stream: () => ({ ...stream, read: read(index) }),
    }));
    assert.deepEqual(
      errors.map(({ code, message }) => [code, message]),
      [['stream_hole', 'partition 0, 40 to 60']],
    );
    assert.equal((await books.ledger()).holes.length, 1);
    await sayingOf(books);
  });
});

/** Without what of a stream's positions is in it. */
function unplaced({ reports, archive }: { reports: unknown; archive: unknown }): unknown {
  const { partitions: _, quarantine, ...rest } = archive as { partitions: unknown; quarantine: string[] };
  return { reports, ...rest, quarantine: quarantine.map((line) => JSON.parse(line).raw).sort() };
}

/**
 * A store whose user dies at its nth word (or manifest), before it is there or after; nothing that it asks for later has an
 * effect.
 */
function dying(nth: number, isAfter: boolean) {
  let words = 0;
  let diedAt: string | undefined;
  const refuse = () => {
    if (diedAt !== undefined) throw new DaybookError('store_unavailable', { detail: 'dead' });
  };
  return {
    get diedAt() {
      return diedAt;
    },
    store: (store: ObjectStore): ObjectStore => ({
      ...store,
      async create(key, body) {
        refuse();
        if (!every && !key.endsWith('.jsonl')) return store.create(key, body);
        words += 1;
        if (words !== nth) return store.create(key, body);
        if (isAfter) await store.create(key, body);
        diedAt = `${key}${isAfter ? ' (there)' : ''}`;
        throw new Error('died');
      },
      async head(key) {
        refuse();
        return store.head(key);
      },
      async *read(key, range) {
        refuse();
        yield* store.read(key, range);
      },
      async *list(prefix) {
        refuse();
        yield* store.list(prefix);
      },
    }),
  };
}
