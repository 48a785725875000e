/** Two compactors at once on one store and one stream: one of them wins each manifest, the other starts over. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { DaybookError } from '../../shared/errors.ts';
import { exitCodeOf } from '../../shared/program/program.ts';
import type { ObjectBody, ObjectStore } from '../../shared/store/store.ts';
import { assertBooks, assertUnchanged, copiesOf, eventsOfDay, objectsOf } from './night-books.ts';
import { oldDay, openScenario, type Scenario, sources } from './night-scenario.ts';

let scenario: Scenario;
beforeEach(async () => {
  scenario = await openScenario();
});
afterEach(() => scenario.books.close());

const nothing = { manifest: null, days: [], errors: [], warnings: [] };

/** A store on which `atManifest` decides what becomes of a manifest's create. */
function contendedStore(store: ObjectStore, atManifest: (create: () => Promise<'created' | 'exists'>) => unknown) {
  return {
    ...store,
    create: async (key: string, body: ObjectBody) => {
      const create = () => store.create(key, body);
      return (key.startsWith('manifests/') ? atManifest(create) : create()) as ReturnType<typeof create>;
    },
  };
}

/** Delivers events of their own, so that the next run has something to write. */
async function deliverMore(seed: string): Promise<void> {
  const { books, expected } = scenario;
  const events = eventsOfDay(oldDay, 2, seed);
  await books.deliver(...events.flatMap((event) => copiesOf(event, 1)));
  const { ids, deliveries = 0 } = expected.platform!;
  const platform = { ids: [...ids, ...events.map(({ id }) => id)], deliveries: deliveries + 2 };
  scenario = { ...scenario, expected: { ...expected, platform } };
}

async function assertWhole(): Promise<void> {
  const before = await objectsOf(scenario.books);
  assert.deepEqual((await scenario.books.night(sources)).errors, []);
  await assertUnchanged(scenario.books, before);
  await assertBooks(scenario.books, scenario.expected);
}

describe('two runs at once', () => {
  test('that come to the manifest together: one writes it, the other finds everything done', async () => {
    const { books } = scenario;
    const before = await objectsOf(books);
    let arrived = 0;
    let open = () => {};
    const together = new Promise<void>((resolve) => {
      open = resolve;
    });
    const run = () =>
      books.night(sources, {
        store: (store) =>
          contendedStore(store, async (create) => {
            arrived += 1;
            if (arrived === 2) open();
            await together;
            return create();
          }),
      });
    const reports = await Promise.all([run(), run()]);
    assert.equal(arrived, 2);
    const [winner, loser] = reports[0].manifest === null ? reports.toReversed() : reports;
    assert.equal(winner?.manifest, 2);
    assert.deepEqual(loser, nothing);
    await assertUnchanged(books, before);
    await assertBooks(books, scenario.expected);
    assert.deepEqual(await books.night(sources), nothing);
  });

  test('of which one wrote the manifest before the other: the loser archives what the winner did not have', async () => {
    const { books } = scenario;
    let isFirst = true;
    const report = await books.night(sources, {
      store: (store) =>
        contendedStore(store, async (create) => {
          if (isFirst) {
            isFirst = false;
            assert.equal((await books.night(sources)).manifest, 2);
            await deliverMore('while they run');
          }
          return create();
        }),
    });
    assert.equal(report.manifest, 3);
    assert.deepEqual(report.errors, []);
    await assertBooks(books, scenario.expected);
    await assertWhole();
  });

  test('of which one loses by a failure that hides who won', async () => {
    const { books } = scenario;
    const failure = new DaybookError('store_unavailable', { detail: 'injected' });
    let isFirst = true;
    const report = await books.night(sources, {
      store: (store) =>
        contendedStore(store, async (create) => {
          if (!isFirst) return create();
          isFirst = false;
          await books.night(sources);
          throw failure;
        }),
    });
    assert.deepEqual(report, nothing);
    await assertBooks(books, scenario.expected);
  });
});

test('a manifest whose create failed after its effect is won, and the run goes on', async () => {
  const { books } = scenario;
  const report = await books.night(sources, {
    store: (store) =>
      contendedStore(store, async (create) => {
        await create();
        throw new DaybookError('store_unavailable', { detail: 'injected' });
      }),
  });
  assert.deepEqual(report.errors, []);
  assert.equal(report.manifest, 2);
  await assertBooks(books, scenario.expected);
  assert.deepEqual(await books.night(sources), nothing);
});

/** A night that gives up as it writes its manifest; what is answered writes it after all. */
async function giveUpTheManifest({ books }: Scenario): Promise<() => Promise<unknown>> {
  let late = async (): Promise<unknown> => assert.fail('no manifest came');
  const failing = books.night(sources, {
    store: (store) =>
      contendedStore(store, async (create) => {
        late = create;
        throw new DaybookError('store_unavailable', { detail: 'injected' });
      }),
  });
  await assert.rejects(failing, { code: 'store_unavailable' });
  return late;
}

test('a manifest that appears only after its run gave up is the past of the next run', async () => {
  const { books } = scenario;
  const late = await giveUpTheManifest(scenario);
  assert.equal((await books.ledger()).head?.number, 1);
  assert.equal(await late(), 'created');
  assert.deepEqual(await books.night(sources), nothing);
  await assertBooks(books, scenario.expected);
});

test('a manifest that appears only after the next run wrote that number changes nothing', async () => {
  const { books } = scenario;
  const late = await giveUpTheManifest(scenario);
  assert.equal((await books.night(sources)).manifest, 2);
  assert.equal(await late(), 'exists');
  await assertBooks(books, scenario.expected);
  assert.deepEqual(await books.night(sources), nothing);
});

test('a run that loses five times gives up, and says so; what it uploaded are orphans, nothing is lost', async () => {
  const { books } = scenario;
  let losses = 0;
  const losing = books.night(sources, {
    store: (store) =>
      contendedStore(store, async (create) => {
        losses += 1;
        await books.night(sources);
        await deliverMore(`loss ${losses}`);
        return create();
      }),
  });
  await assert.rejects(losing, (error: unknown) => {
    assert.ok(error instanceof DaybookError);
    assert.equal(error.code, 'manifest_contended');
    assert.equal(error.message, 'lost 5 times: another run wrote the manifest');
    assert.equal(exitCodeOf(error), 2);
    return true;
  });
  assert.equal(losses, 5);
  await assertWhole();
});
