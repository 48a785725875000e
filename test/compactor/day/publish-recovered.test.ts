import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readEnvelope } from '../../../shared/envelope.ts';
import type { ObjectStore } from '../../../shared/store/store.ts';
import { AppendError } from '../../../shared/stream/append-error.ts';
import { openEmbeddedReader } from '../../../shared/stream/embedded/embedded.ts';
import type { AppendRecord } from '../../../shared/stream/stream.ts';
import { listedCopy } from '../../stripe/events.ts';
import { thinEvent } from '../../stripe/thin-events.ts';
import { type Books, stripeRecord } from '../books.ts';
import { eventsOf, openStripeNights, yesterday } from '../stripe/stripe-nights.ts';

/** Every record on the stream that nobody delivered. */
async function published(books: Books) {
  const reader = await openEmbeddedReader({ directory: books.directory, consumer: 'a consumer', clock: books });
  try {
    const found: { via: string; id: string; source: string; text: string; header: object }[] = [];
    const snapshot = await reader.snapshot();
    for (const partition of snapshot.partitions.keys()) {
      for await (const { entries } of reader.read(partition, undefined, snapshot)) {
        for (const { value } of entries) {
          const envelope = readEnvelope(value);
          assert.ok(!('reason' in envelope));
          const { header, data } = envelope;
          if (header.via !== 'webhook') found.push({ ...header, text: data.toString(), header });
        }
      }
    }
    return found;
  } finally {
    await reader.close();
  }
}

test('recovered events go out once they are archived, marked as listed, each once; later nights archive none again', async (t) => {
  const nights = await openStripeNights(t);
  const { books, stripe, night } = nights;
  const events = eventsOf(yesterday, 1200, 'publish');
  for (const { text } of events) stripe.add(listedCopy(text).replace('"data": {', '"data": {"odd":[1.10,-0],'));
  const thin = thinEvent({ id: 'evt_thin', created: `${yesterday}T12:00:00.123Z` });
  stripe.add(thin.listed);
  await books.deliver(...events.slice(0, 200).map(({ text }) => stripeRecord(text)));
  await books.deliver(stripeRecord(thinEvent({ id: 'evt_seen', created: `${yesterday}T12:00:00.000Z` }).notification));

  let manifestsAtFirst: string[] | undefined;
  const recoveredTo = {
    maxValueBytes: undefined,
    async append(records: readonly AppendRecord[]) {
      manifestsAtFirst ??= await books.keys('manifests/');
      await books.writer.append(records);
    },
  };
  const report = await night('2026-11-21', undefined, { recoveredTo });
  assert.deepEqual(report.errors, []);
  assert.equal(manifestsAtFirst?.length, 1, 'the manifest is there before the first of them goes out');
  const out = await published(books);
  const missed = [...events.slice(200).map(({ id }) => id), 'evt_thin'];
  assert.deepEqual(out.map(({ id }) => id).sort(), missed.sort());
  assert.ok(out.every(({ via, source }) => via === 'list' && source === '/stripe/platform'));
  const texts = new Map(out.map(({ id, text }) => [id, text]));
  assert.equal(texts.get('evt_thin'), thin.listed, 'as listed, byte for byte');
  assert.ok(texts.get(events[300]!.id)?.includes('"odd":[1.10,-0]'));
  const header = out.find(({ id }) => id === events[300]!.id)?.header as Record<string, unknown>;
  assert.deepEqual([header.receivedat, header.signedheaders], ['2026-11-21T03:00:00.000Z', undefined]);

  const manifests = (await books.keys('manifests/')).length;
  const again = await night('2026-11-21', undefined, { recoveredTo });
  assert.deepEqual([again.manifest, again.errors], [null, []], 'they bring nothing to say');
  await night('2026-11-22', undefined, { recoveredTo });
  assert.equal((await books.keys('manifests/')).length, manifests + 1);
  const ids = await nights.ids();
  assert.equal(ids.size, 1202);
  assert.ok([...ids.values()].every((count) => count === 1));
  assert.equal((await published(books)).length, missed.length, 'nothing goes out twice');
  const state = (await books.ledger()).sources.get('platform')!.get(yesterday)!;
  assert.deepEqual([state.counts.delivered, state.counts.recovered, state.counts.duplicates], [201, 1001, 0]);
});

test('nothing goes out by default, nor of a day that failed, nor what was delivered', async (t) => {
  const { books, stripe, night } = await openStripeNights(t);
  const [delivered, missed] = eventsOf(yesterday, 2, 'default');
  const other = eventsOf('2026-11-19', 1, 'the day before')[0]!;
  for (const { text } of [delivered!, missed!, other]) stripe.add(text);
  await books.deliver(stripeRecord(delivered!.text));
  const failing = (store: ObjectStore): ObjectStore => ({
    ...store,
    create: (key, body) => (key.includes(yesterday) ? Promise.reject(new Error('no room')) : store.create(key, body)),
  });
  const report = await night('2026-11-21', undefined, { recoveredTo: books.writer, store: failing });
  assert.deepEqual(
    report.errors.map(({ day }) => day),
    [yesterday],
  );
  assert.deepEqual(
    (await published(books)).map(({ id }) => id),
    [other.id],
  );
  await night('2026-11-21');
  assert.equal((await published(books)).length, 1);
});

test('what a restore has put on the stream is not put there again', async (t) => {
  const { books, stripe, night } = await openStripeNights(t);
  const [restored, missed] = eventsOf(yesterday, 2, 'restored');
  for (const { text } of [restored!, missed!]) stripe.add(text);
  await books.deliver(stripeRecord(restored!.text, { header: { via: 'restore' } }));
  await night('2026-11-21', undefined, { recoveredTo: books.writer });
  assert.deepEqual(
    (await published(books)).map(({ via, id }) => [via, id]),
    [
      ['restore', restored!.id],
      ['list', missed!.id],
    ],
  );
});

for (const [what, applies] of [
  ['takes nothing', false],
  ['takes them and reports a failure', true],
] as const) {
  test(`a stream that ${what}: the archive is whole, the rest is said, and nothing is archived twice`, async (t) => {
    const nights = await openStripeNights(t);
    const { books, stripe, night } = nights;
    for (const { text } of eventsOf(yesterday, 700, 'fails')) stripe.add(text);
    let calls = 0;
    const recoveredTo = {
      maxValueBytes: undefined,
      async append(records: readonly AppendRecord[]) {
        calls += 1;
        if (applies) await books.writer.append(records);
        throw new Error('the broker went away');
      },
    };
    const report = await night('2026-11-21', undefined, { recoveredTo });
    assert.deepEqual(
      report.errors.map(({ code, message }) => [code, message]),
      [['recovered_unpublished', '700 of 700 were not acknowledged']],
    );
    assert.equal(calls, 1, 'a stream that fails is left alone');
    assert.equal((await books.keys('manifests/')).length, 1);
    const next = await night('2026-11-22', undefined, { recoveredTo: books.writer });
    assert.deepEqual(next.errors, []);
    const ids = await nights.ids();
    assert.deepEqual([ids.size, [...ids.values()].every((count) => count === 1)], [700, true]);
  });
}

test('a record that the stream refuses holds up no other', async (t) => {
  const { books, stripe, night } = await openStripeNights(t);
  for (const { text } of eventsOf(yesterday, 1_200, 'refused')) stripe.add(text);
  let calls = 0;
  const recoveredTo = {
    maxValueBytes: undefined,
    async append(records: readonly AppendRecord[]) {
      calls += 1;
      if (calls > 1) return books.writer.append(records);
      await books.writer.append(records.slice(1));
      throw new AppendError([0], { refused: [0], retry: false });
    },
  };
  const report = await night('2026-11-21', undefined, { recoveredTo });
  assert.deepEqual(
    report.errors.map(({ message }) => message),
    ['1 of 1200 cannot be records of this stream'],
  );
  assert.equal((await published(books)).length, 1_199);
});

test('an event larger than a record of the stream is said and leaves the others room', async (t) => {
  const { books, stripe, night } = await openStripeNights(t);
  const [small, large] = eventsOf(yesterday, 2, 'large');
  stripe.add(small!.text);
  stripe.add(large!.text.replace('"data": {', `"data": {"long":"${'x'.repeat(100_000)}",`));
  const recoveredTo = { maxValueBytes: 90_000, append: books.writer.append };
  const report = await night('2026-11-21', undefined, { recoveredTo });
  assert.match(report.errors[0]!.message, /^1 of 2 cannot be records of this stream/);
  assert.deepEqual(
    (await published(books)).map(({ id }) => id),
    [small!.id],
  );
});

test('a run that loses its manifest to another publishes what it archives in the end, once', async (t) => {
  const nights = await openStripeNights(t);
  const { books, stripe, night } = nights;
  for (const { text } of eventsOf(yesterday, 3, 'lost')) stripe.add(text);
  let raced = false;
  const contended = (store: ObjectStore): ObjectStore => ({
    ...store,
    async create(key, body) {
      if (key.startsWith('manifests/') && !raced) {
        raced = true;
        await books.deliver(stripeRecord(eventsOf('2026-11-01', 1, 'rival')[0]!.text));
        await books.night([{ name: 'rival' }]);
      }
      return store.create(key, body);
    },
  });
  const report = await night('2026-11-21', undefined, { recoveredTo: books.writer, store: contended });
  assert.deepEqual([report.manifest, report.errors], [2, []]);
  assert.equal((await published(books)).length, 3);
});
