/** Nights on a real Kafka topic that is deleted and made again under its name, and on one whose records age out. */
import assert from 'node:assert/strict';
import { after, type TestContext, test } from 'node:test';
import type { PartitionPosition } from '../../compactor/ledger/manifest.ts';
import type { NightReport } from '../../compactor/night.ts';
import { openKafkaReader } from '../../shared/stream/kafka/reader.ts';
import { openKafkaWriter } from '../../shared/stream/kafka/writer.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';
import { type Books, openBooks } from '../compactor/books.ts';
import { nightOf } from '../compactor/workers/scene.ts';
import { startService } from '../services/service.ts';
import { createTopic, logLines, newTopicName, withTestAdmin } from '../shared/stream/kafka/kafka-under-test.ts';
import { assertBooks, copiesOf, eventsOfDay } from './night-books.ts';

const day = '2026-11-18';
const today = '2026-11-21';
const once = (d: string, count: number, seed: string): AppendRecord[] =>
  eventsOfDay(d, count, seed).flatMap((event) => copiesOf(event, 1));
const idsOf = (d: string, count: number, seed: string) => eventsOfDay(d, count, seed).map(({ id }) => id);
const codesOf = ({ errors }: NightReport) => errors.map(({ code }) => code);
const isRecreated = ['stream_recreated'];

const kafka = await startService<{ readonly broker: string }>('kafka.sh');
if (kafka !== undefined) {
  after(() => kafka.stop());
  nightTests([kafka.facts.broker]);
}

function nightTests(brokers: string[]): void {
  /** Books whose stream is a topic of one partition. */
  async function open(t: TestContext) {
    const topic = newTopicName();
    const { log } = logLines();
    const params = { brokers, topic };
    const books = await openBooks();
    books.at(`${today}T23:59:00Z`);
    t.after(() => books.close());
    const makeTopic = () => createTopic(brokers, { topic, numPartitions: 1 });
    await makeTopic();
    return {
      books,
      async deliver(...records: AppendRecord[]): Promise<void> {
        const writer = await openKafkaWriter({ params, log });
        await writer.append(records);
        await writer.close();
      },
      async night(): Promise<NightReport> {
        const reader = await openKafkaReader({ params, consumer: 'compactor', log });
        const report = await books.night([{ name: 'platform' }], { stream: () => reader });
        await reader.close();
        return report;
      },
      makeAgain: async () => {
        await withTestAdmin(brokers, (admin) => admin.deleteTopics({ topics: [topic] }));
        await makeTopic();
      },
      ageOut: (offset: number) =>
        withTestAdmin(brokers, async (admin) => {
          await admin.fetchTopicOffsets(topic); // kafkajs does not look for the leader by itself
          await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: `${offset}` }] });
        }),
    };
  }
  const positionOf = async (books: Books): Promise<PartitionPosition> =>
    (await books.ledger()).stream!.partitions['0']!;

  for (const count of [1, 3, 9]) {
    test(`Kafka: a topic made again while nothing was before \`next\`, of which ${count} events came`, async (t) => {
      const { books, deliver, night, makeAgain } = await open(t);
      await deliver(...once(today, 1, 'waits'));
      await deliver(...once(day, 3, 'old'));
      assert.deepEqual(codesOf(await night()), []);
      const { next, last, done } = await positionOf(books);
      assert.deepEqual([next, last, done], ['0', null, [['1', '4']]]);

      await makeAgain();
      await deliver(...once(today, 1, 'other'));
      await deliver(...once(day, count, 'new'));
      assert.deepEqual(codesOf(await night()), isRecreated);
      await assertBooks(books, { platform: { ids: [...idsOf(day, 3, 'old'), ...idsOf(day, count, 'new')] } });
      assert.deepEqual(await night(), { manifest: null, days: [], errors: [], warnings: [] });
    });
  }

  test('Kafka: a topic made again after all that it had was lost unread', async (t) => {
    const { books, deliver, night, makeAgain, ageOut } = await open(t);
    await deliver(...once(day, 1, 'first'));
    await night();
    await deliver(...once(day, 5, 'lost'));
    await ageOut(6);
    assert.deepEqual(codesOf(await night()), ['stream_hole']);
    assert.deepEqual((await positionOf(books)).last, null);

    await makeAgain();
    await deliver(...once(day, 8, 'new'));
    assert.deepEqual(codesOf(await night()), isRecreated);
    await assertBooks(books, { platform: { ids: [...idsOf(day, 1, 'first'), ...idsOf(day, 8, 'new')] } });
  });

  test('Kafka: two workers, then three, archive each event of a topic of three partitions once', async (t) => {
    const topic = newTopicName();
    await createTopic(brokers, { topic, numPartitions: 3 });
    const books = await openBooks();
    t.after(() => books.close());
    const { log } = logLines();
    const params = { brokers, topic };
    const writer = await openKafkaWriter({ params, log });
    for (const count of [2, 3]) {
      const events = eventsOfDay(day, 60, `${count}`);
      // Copies of one event lie in several partitions, as after their number was changed.
      const copies = events.flatMap((event) => copiesOf(event, 1, 2, 3));
      await writer.append(copies.map((record, at) => ({ ...record, key: `key ${at}` })));
      await writer.append(once(today, 5, `waits ${count}`));
      const readers = await Promise.all(
        Array.from({ length: count }, () => openKafkaReader({ params, consumer: 'compactor', log })),
      );
      const { errors, manifest } = await nightOf(books, [{ name: 'platform' }], count, (index) => {
        return { stream: () => readers[index]! };
      });
      assert.deepEqual([errors, manifest], [[], count - 1]);
      for (const reader of readers) await reader.close();
    }
    await writer.close();
    const ids = [2, 3].flatMap((count) => idsOf(day, 60, `${count}`));
    await assertBooks(books, { platform: { ids, deliveries: 360 } });
    assert.deepEqual(
      (await books.ledger()).sources
        .get('platform')
        ?.get(day)
        ?.parts.map(({ manifest }) => manifest),
      [1, 1, 2, 2, 2],
    );
  });

  test('Kafka: a quiet topic whose archived records age out is not a fault on any night', async (t) => {
    const { books, deliver, night, ageOut } = await open(t);
    await deliver(...once(day, 4, 'first'));
    await night();
    await ageOut(4);
    for (const time of ['2026-11-22T03:00:00Z', '2026-11-23T03:00:00Z']) {
      books.at(time);
      assert.deepEqual(codesOf(await night()), []);
    }
    await deliver(...once(day, 2, 'second'));
    assert.deepEqual(codesOf(await night()), []);
    const ids = [...idsOf(day, 4, 'first'), ...idsOf(day, 2, 'second')];
    await assertBooks(books, { platform: { ids, deliveries: 6 } });
  });
}
