/** Streams that are not the one that was read: made again under the old name, or with records that have aged out. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { NightReport } from '../../compactor/night.ts';
import { DaybookError } from '../../shared/errors.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';
import { type Books, openBooks } from '../compactor/books.ts';
import { faultyReader } from './faulty.ts';
import { assertBooks, assertUnchanged, copiesOf, eventsOfDay, objectsOf } from './night-books.ts';
import { type MemoryStream, memoryStream } from './night-stream.ts';

const day = '2026-11-18';
const today = '2026-11-21';
const platform = [{ name: 'platform' }];
const nothing = { manifest: null, days: [], errors: [], warnings: [] };

let books: Books;
let stream: MemoryStream;
beforeEach(async () => {
  books = await openBooks();
  stream = memoryStream(2, 3);
});
afterEach(() => books.close());

const put = (partition: number, records: readonly AppendRecord[]) =>
  stream.partitions[partition]!.values.push(...records.map(({ value }) => value));
const night = (reader = stream as Pick<MemoryStream, keyof ReturnType<typeof faultyReader>>) =>
  books.night(platform, { stream: () => reader });
const once = (d: string, count: number, seed: string) =>
  eventsOfDay(d, count, seed).flatMap((event) => copiesOf(event, 1));
const idsOf = (d: string, count: number, seed: string) => eventsOfDay(d, count, seed).map(({ id }) => id);
const codesOf = ({ errors }: NightReport) => errors.map(({ code }) => code);

/** Deletes a partition's records and its numbers, as for a topic that is deleted and made again; offsets stay. */
function makeAnew(partition: number): void {
  stream.partitions[partition] = { values: [], start: 0 };
}

test('another stream than before is read from its beginning, and what waited in the one before is told', async () => {
  put(0, [...once(today, 1, 'waits'), ...once(day, 2, 'a')]);
  put(1, once(day, 4, 'b'));
  assert.deepEqual((await night()).warnings, []);
  stream = memoryStream(2, 3, 'another');
  put(0, once(day, 1, 'c'));
  const { errors, warnings } = await night();
  assert.deepEqual(errors, []);
  assert.deepEqual(
    warnings.map(({ code, message }) => `${code}: ${message}`),
    ['stream_changed: partition 0 of memory: read up to 3, archived up to 0'],
  );
  assert.deepEqual((await night()).warnings, [], 'once');
  stream = memoryStream(2, 3, 'a third');
  put(0, once(day, 1, 'd'));
  assert.deepEqual(
    (await night()).warnings.map(({ code, message }) => `${code}: ${message}`),
    ['stream_changed: it was another, and is a third: what came to the former after that night is not read'],
    'also where nothing is known to have waited',
  );
});

test('as many partitions are read at once as the stream says, and none goes on behind one that failed', async () => {
  stream = memoryStream(3, 2);
  for (const partition of [0, 1, 2]) put(partition, once(day, 6, `${partition}`));
  const begun: string[] = [];
  const batches: string[] = [];
  const { promise: isBoth, resolve: tellBoth } = Promise.withResolvers<void>();
  let isFailing = true;
  const read: typeof stream.read = async function* (partition, from, snapshot) {
    begun.push(partition);
    if (begun.length === 2) tellBoth();
    await isBoth;
    if (isFailing && partition === '0') throw new DaybookError('stream_unavailable', { detail: 'injected' });
    for await (const batch of stream.read(partition, from, snapshot)) {
      batches.push(partition);
      yield batch;
    }
  };
  const wrapped = { ...stream, read, readsAtOnce: 2 };
  await assert.rejects(books.night(platform, { stream: () => wrapped }), { code: 'stream_unavailable' });
  assert.deepEqual([begun, batches], [['0', '1'], ['1']]);
  isFailing = false;
  assert.deepEqual(codesOf(await books.night(platform, { stream: () => wrapped })), []);
  await assertBooks(books, { platform: { ids: ['0', '1', '2'].flatMap((seed) => idsOf(day, 6, seed)) } });
});

describe('a stream made again under its old name', () => {
  beforeEach(async () => {
    put(0, once(day, 6, 'a'));
    put(1, once(day, 4, 'b'));
    assert.deepEqual((await night()).errors, []);
  });

  for (const [what, filler] of [
    ['that ends below what was archived', 0],
    ['that has grown beyond what was archived', 5],
  ] as const) {
    test(`${what} is read from its beginning; nothing is archived twice, errors say so once`, async () => {
      const before = await objectsOf(books);
      makeAnew(0);
      put(0, [...once(day, 2, 'a'), ...once(day, 3, 'new'), ...once(day, filler, 'filler')]);
      const report = await night();
      assert.deepEqual(codesOf(report), ['stream_recreated']);
      assert.match(report.errors[0]!.message, /partition 0/);
      await assertUnchanged(books, before);
      // `a` was made of 6 events; the 2 of the new stream are others.
      const ids = [...idsOf(day, 6, 'a'), ...idsOf(day, 4, 'b'), ...idsOf(day, 2, 'a'), ...idsOf(day, 3, 'new')];
      const all = new Set([...ids, ...idsOf(day, filler, 'filler')]);
      const ledger = await assertBooks(books, { platform: { ids: all } });
      assert.deepEqual(
        Object.values(ledger.stream!.partitions).map(({ next, done }) => ({ next, done })),
        [
          { next: `${5 + filler}`, done: [] },
          { next: '4', done: [] },
        ],
      );
      assert.deepEqual(await night(), nothing);
    });
  }

  test('is read from its beginning in those of its partitions too of which nothing can be told', async () => {
    put(1, once(day, 3, 'lost'));
    stream.partitions[1]!.start = 7;
    assert.deepEqual(codesOf(await night()), ['stream_hole']);
    makeAnew(0);
    makeAnew(1);
    put(0, once(day, 1, 'c'));
    put(1, once(day, 9, 'd'));
    assert.deepEqual(codesOf(await night()), ['stream_recreated', 'stream_recreated']);
    const ids = [...idsOf(day, 6, 'a'), ...idsOf(day, 4, 'b'), ...idsOf(day, 1, 'c'), ...idsOf(day, 9, 'd')];
    await assertBooks(books, { platform: { ids } });
  });

  test('with the records that it had gives late deliveries, no event twice', async () => {
    makeAnew(0);
    put(0, [...once(day, 6, 'a').toReversed(), ...once(day, 1, 'new')]);
    assert.deepEqual(codesOf(await night()), ['stream_recreated']);
    const ids = [...idsOf(day, 6, 'a'), ...idsOf(day, 4, 'b'), ...idsOf(day, 1, 'new')];
    await assertBooks(books, { platform: { ids, deliveries: 10 + 7 } });
  });

  test('ignores the ranges that were done in its former life', async () => {
    // An event of today pins `next`, so that later records are archived above it.
    put(0, [...once(today, 1, 'waits'), ...once(day, 5, 'c')]);
    assert.deepEqual((await night()).errors, []);
    assert.deepEqual((await books.ledger()).stream?.partitions['0']?.done, [['7', '12']]);
    makeAnew(0);
    put(0, once(day, 15, 'd'));
    assert.deepEqual(codesOf(await night()), ['stream_recreated']);
    const ids = [...idsOf(day, 6, 'a'), ...idsOf(day, 4, 'b'), ...idsOf(day, 5, 'c'), ...idsOf(day, 15, 'd')];
    await assertBooks(books, { platform: { ids } });
    assert.deepEqual((await books.ledger()).stream?.partitions['0']?.done, []);
  });

  test('is not a ledger that is behind, though its run died before it committed its offsets', async () => {
    makeAnew(0);
    put(0, once(day, 2, 'new'));
    let isWritten = false;
    const dying = books.night(platform, {
      store: (store) => ({
        ...store,
        async create(key, body) {
          isWritten ||= key.startsWith('manifests/');
          return store.create(key, body);
        },
      }),
      stream: () => faultyReader(stream, (operation) => (operation === 'commit' && isWritten ? 'before' : undefined)),
    });
    await dying.catch(() => undefined);
    assert.equal((await books.ledger()).head?.number, 2, 'the manifest is there');
    put(0, once(day, 7, 'newer'));
    assert.deepEqual((await night()).errors, []);
    const ids = [...idsOf(day, 6, 'a'), ...idsOf(day, 4, 'b'), ...idsOf(day, 2, 'new'), ...idsOf(day, 7, 'newer')];
    await assertBooks(books, { platform: { ids } });
  });

  test('with nothing to archive in it yet is not a ledger that is behind, on any later night', async () => {
    makeAnew(0);
    assert.deepEqual(codesOf(await night()), ['stream_recreated']);
    put(1, once(day, 1, 'b2'));
    await night();
    put(0, once(day, 9, 'new'));
    await night();
    const ids = [...idsOf(day, 6, 'a'), ...idsOf(day, 4, 'b'), ...idsOf(day, 1, 'b2'), ...idsOf(day, 9, 'new')];
    await assertBooks(books, { platform: { ids, deliveries: 20 } });
    assert.deepEqual(await night(), nothing);
  });
});

describe('records that aged out', () => {
  beforeEach(async () => {
    // Today's event pins `next` at 2; what follows it is done.
    put(0, [...once(day, 2, 'a'), ...once(today, 1, 'waits'), ...once(day, 3, 'b')]);
    assert.deepEqual((await night()).errors, []);
    assert.deepEqual((await books.ledger()).stream?.partitions['0']?.next, '2');
  });

  test('are a hole where they were not archived, and only there; it is said once, and `next` moves past it', async () => {
    put(0, once(day, 5, 'lost'));
    stream.partitions[0]!.start = 11;
    put(0, once(day, 2, 'kept'));
    const report = await night();
    assert.deepEqual(
      report.errors.map(({ code, message }) => [code, message]),
      [
        ['stream_hole', 'partition 0, 2 to 3'],
        ['stream_hole', 'partition 0, 6 to 11'],
      ],
    );
    const seenAt = books.now().toISOString();
    const holes = [
      { partition: '0', from: '2', to: '3', seenAt },
      { partition: '0', from: '6', to: '11', seenAt },
    ];
    const ids = [...idsOf(day, 2, 'a'), ...idsOf(day, 3, 'b'), ...idsOf(day, 2, 'kept')];
    const ledger = await assertBooks(books, { platform: { ids } });
    assert.deepEqual(ledger.holes, holes);
    assert.deepEqual([ledger.stream?.partitions['0']?.next, ledger.stream?.partitions['0']?.done], ['13', []]);
    assert.deepEqual(await night(), nothing);
    put(0, once(day, 1, 'after'));
    assert.deepEqual((await night()).errors, []);
    assert.deepEqual((await books.ledger()).holes, holes, 'holes are cumulative');
  });

  test('are written down though there is nothing else to say', async () => {
    put(0, once(day, 4, 'lost'));
    stream.partitions[0]!.start = 10;
    const report = await night();
    assert.deepEqual(codesOf(report), ['stream_hole', 'stream_hole']);
    assert.equal(report.manifest, 2);
    assert.deepEqual(report.days, []);
    assert.deepEqual(await night(), nothing);
  });

  test('that were archived before are not holes', async () => {
    books.at('2026-11-22T03:00:00Z');
    await night();
    stream.partitions[0]!.start = 6;
    put(0, once(day, 1, 'after'));
    assert.deepEqual((await night()).errors, []);
    assert.deepEqual((await books.ledger()).holes, []);
  });

  test('are said again by the next night where the manifest that said so was not written', async () => {
    stream.partitions[0]!.start = 6;
    const failing = books.night(platform, {
      stream: () => stream,
      store: (store) => ({
        ...store,
        create: (key, body) =>
          key.startsWith('manifests/') ? Promise.reject(new Error('injected')) : store.create(key, body),
      }),
    });
    await assert.rejects(failing, /injected/);
    assert.deepEqual(codesOf(await night()), ['stream_hole']);
    assert.equal((await books.ledger()).holes.length, 1);
  });
});
