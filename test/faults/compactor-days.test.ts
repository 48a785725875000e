/** One day cannot be written, or is not touched: all others are closed, and its own records wait for the next night. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { addDays } from '../../shared/clock.ts';
import { faultyReader, faultyStore } from './faulty.ts';
import { assertBooks, assertUnchanged, billingRecord, copiesOf, eventsOfDay, objectsOf } from './night-books.ts';
import { newDay, oldDay, openScenario, type Scenario, sources } from './night-scenario.ts';
import { standingRecords } from './night-stream.ts';

let scenario: Scenario;
beforeEach(async () => {
  scenario = await openScenario();
});
afterEach(() => scenario.books.close());

const folderOf = (source: string, day: string) => `${source}/${day.replaceAll('-', '/')}/`;

/** A night in which nothing whose key matches can be created. */
function nightWithout(isRefused: (key: string) => boolean, way: 'before' | 'after' = 'before') {
  return scenario.books.night(sources, {
    store: (store) =>
      faultyStore(store, (operation, key) => (operation === 'create' && isRefused(key) ? way : undefined)),
  });
}

/** The ids of records that the ledger is not done with, though their day is closed. */
async function openIds(): Promise<string[]> {
  const records = await standingRecords(scenario.books, await scenario.books.ledger());
  return records.filter(({ isDone, day }) => !isDone && day !== '2026-11-21').map(({ id }) => id);
}

async function assertRepaired() {
  const before = await objectsOf(scenario.books);
  assert.deepEqual((await scenario.books.night(sources)).errors, []);
  await assertUnchanged(scenario.books, before);
  await assertBooks(scenario.books, scenario.expected);
  assert.deepEqual(await openIds(), []);
}

describe('a day that cannot be written', () => {
  for (const way of ['before', 'after'] as const) {
    test(`stops no other day of its source and no other source; its records stay open (fails ${way} the effect)`, async () => {
      const { books } = scenario;
      const report = await nightWithout((key) => key.startsWith(folderOf('platform', newDay)), way);
      assert.deepEqual(
        report.errors.map(({ code, source, day }) => [code, source, day]),
        [['store_unavailable', 'platform', newDay]],
      );
      const closed = report.days.map(({ source, day }) => `${source} ${day}`);
      assert.deepEqual(
        closed.filter((one) => one.startsWith('platform')),
        [`platform ${oldDay}`, `platform ${addDays(newDay, 1)}`],
      );
      assert.ok(closed.includes(`billing ${newDay}`));
      const next = new Set(eventsOfDay(newDay, 4, 'next').map(({ id }) => id));
      const open = await openIds();
      assert.deepEqual(new Set(open), next);
      assert.equal(open.length, 9, 'every copy is open');
      assert.equal((await books.ledger()).sources.get('platform')?.has(newDay), false, 'the day has no entry');
      await assertRepaired();
    });
  }

  test('keeps the copies that claim another day open with it, and nothing is archived under that other day', async () => {
    await nightWithout((key) => key.startsWith(folderOf('billing', newDay)));
    assert.deepEqual(await openIds(), ['b-new', 'b-new']);
    await assertRepaired();
  });

  test('keeps late copies open where the archived day is the one that fails', async () => {
    await nightWithout((key) => key.startsWith(folderOf('billing', oldDay)));
    assert.deepEqual(await openIds(), ['b-copy']);
    await assertRepaired();
  });

  test('fails night after night, while newer events of it and of other days come in', async () => {
    const { books, expected } = scenario;
    const ids = [...expected.platform!.ids];
    let deliveries = expected.platform!.deliveries!;
    for (const night of [1, 2, 3]) {
      await nightWithout((key) => key.startsWith(folderOf('platform', newDay)));
      for (const day of [newDay, oldDay]) {
        const events = eventsOfDay(day, 3, `later ${night}`);
        await books.deliver(...events.flatMap((event) => copiesOf(event, 1, 2)));
        ids.push(...events.map(({ id }) => id));
        deliveries += 6;
      }
    }
    scenario = { ...scenario, expected: { ...expected, platform: { ids, deliveries } } };
    await assertRepaired();
  });

  test('leaves another day of the source to later nights in any order: no event is archived twice', async () => {
    const { books, expected } = scenario;
    const other = addDays(newDay, 1);
    // The same id claims three days; the earliest is the one that fails first, the archived one later.
    const days = [oldDay, newDay, other];
    await books.deliver(...days.map((day) => billingRecord('b-three', `${day}T13:00:00Z`)));
    await nightWithout((key) => key.startsWith(folderOf('billing', oldDay)));
    await books.deliver(billingRecord('b-three', `${other}T14:00:00Z`));
    await nightWithout((key) => key.startsWith(folderOf('billing', other)));
    await books.deliver(billingRecord('b-three', `${newDay}T14:00:00Z`));
    await nightWithout((key) => key.endsWith('.deliveries.jsonl.gz.age'));
    const billing = { ids: [...expected.billing!.ids, 'b-three'], deliveries: 5 + 5 };
    scenario = { ...scenario, expected: { ...expected, billing } };
    await assertRepaired();
  });
});

test('a quarantine that cannot be written stops no day; its records wait for the next night', async () => {
  const { books } = scenario;
  const report = await nightWithout((key) => key.startsWith('quarantine/'));
  assert.deepEqual(
    report.errors.map(({ code, source, day }) => [code, source, day]),
    [['store_unavailable', null, null]],
  );
  assert.deepEqual(report.warnings, []);
  assert.ok(report.days.length > 0);
  const ledger = await assertBooks(books, scenario.expected);
  const open = (await standingRecords(books, ledger)).filter(({ isDone, day }) => !isDone && day === '');
  assert.deepEqual(
    open.map(({ value }) => Buffer.from(value).toString()),
    ['no envelope'],
  );
  await assertRepaired();
  assert.equal((await books.manifest(3)).quarantine[0]?.records, 1);
});

test('offsets that cannot be committed are an error of a run whose manifest is there', async () => {
  const { books } = scenario;
  const report = await books.night(sources, {
    stream: (reader) => faultyReader(reader, (operation) => (operation === 'commit' ? 'before' : undefined)),
  });
  assert.equal(report.manifest, 2);
  assert.deepEqual(
    report.errors.map(({ code }) => code),
    ['stream_unavailable'],
  );
  await assertBooks(books, scenario.expected);
  assert.deepEqual(await books.night(sources), { manifest: null, days: [], errors: [], warnings: [] });
  assert.deepEqual(await openIds(), []);
});

describe('ids that cannot be read', () => {
  test('hold back their day and the days around it alone; an event archived there is not archived again', async () => {
    const { books } = scenario;
    const far = '2026-09-01';
    await books.deliver(billingRecord('b-far', `${far}T10:00:00Z`));
    const report = await books.night(sources, {
      store: (store) =>
        faultyStore(store, (operation, key) =>
          operation === 'read' && key.startsWith(folderOf('billing', oldDay)) ? 'before' : undefined,
        ),
    });
    const failed = report.errors.map(({ source, day }) => `${source} ${day}`);
    assert.deepEqual(
      failed.toSorted(),
      [oldDay, newDay, addDays(newDay, 1)].map((day) => `billing ${day}`),
    );
    const closed = report.days.map(({ source, day }) => `${source} ${day}`);
    for (const one of [`billing ${far}`, `platform ${oldDay}`, `platform ${newDay}`])
      assert.ok(closed.includes(one), one);
    const { expected } = scenario;
    const billing = { ids: [...expected.billing!.ids, 'b-far'], deliveries: 6 };
    scenario = { ...scenario, expected: { ...expected, billing } };
    await assertRepaired();
  });

  test('that are those of another day lose no event to a day that it is not in', async () => {
    const { books } = scenario;
    const state = (await books.ledger()).sources.get('platform')!.get(oldDay)!;
    const ids = eventsOfDay(newDay, 4, 'next').map(({ id }) => id);
    const report = await books.night(sources, {
      store: (store) => ({
        ...store,
        read: (key, range) =>
          key === state.parts[0]!.ids.key ? gzipped(ids.toSorted().join('\n')) : store.read(key, range),
      }),
    });
    assert.deepEqual(
      report.errors.map(({ code, source, day }) => [code, source, day]),
      [['object_damaged', 'platform', oldDay]],
    );
    await assertRepaired();
  });
});

test('a night for one day alone closes that day and leaves the records of all others open', async () => {
  const { books } = scenario;
  const before = await objectsOf(books);
  const report = await books.night(sources, { days: new Set([newDay]) });
  assert.deepEqual(report.errors, []);
  assert.deepEqual(new Set(report.days.map(({ day }) => day)), new Set([newDay]));
  const late = eventsOfDay(oldDay, 2, 'late').map(({ id }) => id);
  const copied = eventsOfDay(oldDay, 4, 'first').slice(0, 3);
  const open = new Set(await openIds());
  for (const id of [...late, ...copied.map(({ id }) => id)]) assert.ok(open.has(id), 'an event of another day is open');
  await assertUnchanged(books, before);
  await assertRepaired();
});

async function* gzipped(text: string): AsyncGenerator<Uint8Array> {
  yield gzipSync(`${text}\n`);
}
