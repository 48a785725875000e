/** Two compactors at once on one bucket, whose server alone decides who wrote a manifest. */
import assert from 'node:assert/strict';
import { after, type TestContext, test } from 'node:test';
import { identityToRecipient } from 'age-encryption';
import { newestClosedDay } from '../../compactor/day/closing.ts';
import type { NightReport } from '../../compactor/night.ts';
import { addDays, type Day } from '../../shared/clock.ts';
import { openStore } from '../../shared/store/open.ts';
import type { ObjectBody, ObjectStore } from '../../shared/store/store.ts';
import { type Books, openBooks } from '../compactor/books.ts';
import { nightOf } from '../compactor/workers/scene.ts';
import { openPrograms } from '../demo/programs.ts';
import { createBucket } from '../services/s3-buckets.ts';
import { startService } from '../services/service.ts';
import { assertBooks, assertUnchanged, copiesOf, eventsOfDay, objectsOf } from './night-books.ts';

const service = await startService<{ readonly endpoint: string }>('s3.sh');
if (service !== undefined) {
  after(() => service.stop());
  contentionTests(service.facts.endpoint);
}

const sources = [{ name: 'platform' }];
const nothing = { manifest: null, days: [], errors: [], warnings: [] };

function contentionTests(endpoint: string): void {
  /** Books on a bucket of their own, and a second connection to it for the other compactor. */
  async function openBucket(t: TestContext) {
    const configuration = { type: 's3', params: await createBucket(endpoint) } as const;
    const { store } = await openStore(configuration, '');
    const { store: second } = await openStore(configuration, '');
    const books = await openBooks({ store });
    t.after(async () => {
      await books.close();
      await second.close();
    });
    return { books, second, configuration };
  }

  test('two workers on one bucket, of which one gives up and comes again, make one night', async (t) => {
    const { books, second } = await openBucket(t);
    const days = ['2026-11-18', '2026-11-19'];
    const delivered: Delivered = { ids: [], deliveries: 0 };
    await deliverRound(books, days, 1, delivered);
    const worker = { index: 1, count: 2, waitSeconds: 0.5 };
    await assert.rejects(books.night(sources, { worker, store: () => second }), { code: 'workers_late' });
    const storeOf = (index: number) => ({ store: () => (index === 1 ? second : books.store) });
    for (const number of [1, 2]) {
      const { manifest, errors } = await nightOf(books, sources, 2, storeOf);
      assert.deepEqual([manifest, errors], [number, []]);
      await deliverRound(books, days, 1 + number, delivered);
    }
    await books.night(sources);
    await assertBooks(books, { platform: delivered });
  });

  test('two compactors at once on one bucket, 20 rounds: every event once, the chain whole, nothing rewritten', async (t) => {
    const { books, second } = await openBucket(t);
    const days = ['2026-11-18', '2026-11-19'];
    const delivered: Delivered = { ids: [], deliveries: 0 };
    let before = new Map<string, string>();
    for (let round = 1; round <= 20; round += 1) {
      await deliverRound(books, days, round, delivered);
      // Every other round they come to the manifest together, so that both create it; else as it happens.
      const meeting = round % 2 === 0 ? meetAtManifest(2) : undefined;
      const run = async (store: ObjectStore) => {
        try {
          return await books.night(sources, { store: () => meeting?.through(store) ?? store });
        } finally {
          meeting?.open();
        }
      };
      const reports = await Promise.all([run(books.store), run(second)]);
      assertOneWon(reports, round);
      if (meeting !== undefined) {
        assert.deepEqual(meeting.outcomes.toSorted(), ['created', 'exists'], `round ${round}: both created it`);
      }
      if (round % 5 > 0) continue;
      await assertUnchanged(books, before);
      before = await objectsOf(books);
    }
    const ledger = await assertBooks(books, { platform: delivered });
    assert.equal(ledger.head?.number, 20);
    assert.deepEqual(await books.night(sources), nothing);
  });

  test('two compactor processes at once on one bucket, started again three times: every event once, both end well', async (t) => {
    const { books, configuration } = await openBucket(t);
    const programs = openPrograms(books.directory, {
      DAYBOOK_DATA_DIR: books.directory,
      DAYBOOK_STORE: JSON.stringify(configuration),
      DAYBOOK_SOURCES: JSON.stringify([{ name: 'platform', scheme: 'stripe', secrets: ['whsec_unused'] }]),
      COMPACTOR_RECIPIENTS: await identityToRecipient(books.identity),
      COMPACTOR_SIGNING_KEY: books.signingKey,
      LOG_LEVEL: 'error',
    });
    const newest = newestClosedDay(new Date(), 3600);
    const delivered: Delivered = { ids: [], deliveries: 0 };
    for (let round = 1; round <= 3; round += 1) {
      await deliverRound(books, [addDays(newest, -1), newest], round, delivered);
      const before = await objectsOf(books);
      const run = () => programs.compactor<NightReport>(['run']);
      const reports = await Promise.all([run(), run()]);
      assert.deepEqual(
        reports.flatMap(({ errors }) => errors),
        [],
      );
      await assertUnchanged(books, before);
    }
    await assertBooks(books, { platform: delivered });
  });
}

interface Delivered {
  readonly ids: string[];
  deliveries: number;
}

/** Events of a round's own, some of them told twice. */
async function deliverRound(books: Books, days: readonly Day[], round: number, delivered: Delivered): Promise<void> {
  const events = days.flatMap((day) => eventsOfDay(day, 3, `round ${round}`));
  const records = events.flatMap((event, index) => copiesOf(event, ...(index % 3 === 0 ? [1, 2] : [1])));
  await books.deliver(...records);
  delivered.ids.push(...events.map(({ id }) => id));
  delivered.deliveries += records.length;
}

function assertOneWon(reports: readonly NightReport[], round: number): void {
  const [winner, loser] = reports[0]?.manifest === null ? reports.toReversed() : reports;
  assert.deepEqual([winner?.manifest, winner?.errors], [round, []]);
  assert.deepEqual(loser, nothing);
}

/** Holds creates of manifests back until so many have come, or it is opened: then they go to the server at once. */
function meetAtManifest(count: number) {
  let open = () => {};
  const together = new Promise<void>((resolve) => {
    open = resolve;
  });
  const outcomes: string[] = [];
  let arrived = 0;
  return {
    outcomes,
    open: () => open(),
    through: (store: ObjectStore): ObjectStore => ({
      ...store,
      async create(key: string, body: ObjectBody) {
        if (!key.startsWith('manifests/')) return store.create(key, body);
        arrived += 1;
        if (arrived === count) open();
        await together;
        const outcome = await store.create(key, body);
        outcomes.push(outcome);
        return outcome;
      },
    }),
  };
}
