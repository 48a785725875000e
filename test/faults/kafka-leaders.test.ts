/**
 * Three Kafka brokers, replication factor 3, min.insync.replicas 2: the contract, and leaders that go under load, by
 * SIGKILL as in a crash and by SIGTERM as in a rolling restart. KAFKA_ROUNDS: how often (1 if not given; 10 for a
 * release).
 *
 * Taking the guard of shared/stream/kafka/append.ts out makes these tests fail: kafkajs then has records acknowledged
 * that it never wrote.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppendError } from '../../shared/stream/append-error.ts';
import { openKafkaReader } from '../../shared/stream/kafka/reader.ts';
import { openKafkaWriter } from '../../shared/stream/kafka/writer.ts';
import type { EventStreamWriter } from '../../shared/stream/stream.ts';
import { openBooks } from '../compactor/books.ts';
import { eventStreamContract, readAll, record, valuesOf } from '../contract/event-stream.ts';
import { post, startIngest, stripeEvent, stripeHeaders } from '../ingest/ingest-under-test.ts';
import { type KafkaCluster, startKafkaCluster } from '../services/kafka-cluster.ts';
import {
  createTopic,
  kafkaUnderTest,
  logLines,
  newTopicName,
  withTestAdmin,
} from '../shared/stream/kafka/kafka-under-test.ts';
import { assertBooks, copiesOf, eventsOfDay } from './night-books.ts';

type Signal = 'SIGTERM' | 'SIGKILL';

const rounds = Number(process.env.KAFKA_ROUNDS ?? 1);

const cluster = await startKafkaCluster();
if (cluster !== undefined) {
  after(() => cluster.stop());
  eventStreamContract('Kafka, three brokers', () => kafkaUnderTest(cluster.brokers, 3));
  leaderTests(cluster);
}

function leaderTests({ brokers, end, start }: KafkaCluster): void {
  const { log } = logLines();

  async function openTopic() {
    const topic = newTopicName();
    const params = { brokers: [...brokers], topic, create: { partitions: 6, replicationFactor: 3 } };
    const writer = await openKafkaWriter({ params, log });
    const readTexts = async () => {
      const reader = await openKafkaReader({ params, consumer: 'compactor', log });
      try {
        return valuesOf(await readAll(reader)).map(String);
      } finally {
        await reader.close();
      }
    };
    return { topic, writer, readTexts };
  }

  const leadersOf = (topic: string) =>
    withTestAdmin(brokers, async (admin) => {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
      return topics[0]!.partitions.map(({ leader }) => leader);
    });

  /** The broker that leads most partitions: half of them, once one of three has come back and another has taken over. */
  async function busiestLeader(topic: string): Promise<number> {
    const counts = Map.groupBy(await leadersOf(topic), (leader) => leader);
    return [...counts].toSorted(([, one], [, other]) => other.length - one.length)[0]![0];
  }

  async function inSync(topic: string): Promise<void> {
    await until(async () => {
      const all = await withTestAdmin(brokers, (admin) => admin.fetchTopicMetadata({ topics: [topic] }));
      return all.topics[0]!.partitions.every(({ isr }) => isr.length === 3);
    });
  }

  /** Each round: the busiest leader goes, `goOn` is waited for, the broker comes back, all are in sync again. */
  async function rollOver(topic: string, signals: readonly Signal[], goOn: () => Promise<void>): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      for (const signal of signals) {
        const node = await busiestLeader(topic);
        await end(node, signal);
        await goOn();
        await start(node);
        await inSync(topic);
      }
    }
  }

  test('Kafka, three brokers: every record that was acknowledged is there, though leaders went under load', async (t) => {
    const { topic, writer, readTexts } = await openTopic();
    const acknowledged = new Set<string>();
    let sent = 0;
    let failures = 0;
    let sending = true;
    const senders = Array.from({ length: 8 }, async () => {
      while (sending) {
        const texts = Array.from({ length: 24 }, () => `record ${sent++} `);
        const left = await unacknowledgedOf(writer, texts);
        texts.forEach((text, at) => {
          if (!left.has(at)) acknowledged.add(text);
        });
        if (left.size > 0) failures += 1;
        await sleep(left.size > 0 ? 20 : 0);
      }
    });
    try {
      await rollOver(topic, ['SIGTERM', 'SIGKILL'], () => {
        const before = acknowledged.size;
        return until(() => acknowledged.size > before + 2_000);
      });
    } finally {
      sending = false;
      await Promise.all(senders);
    }
    const read = await readTexts();
    await writer.close();
    const there = new Set(read);
    const lost = [...acknowledged].filter((text) => !there.has(text));
    t.diagnostic(`${sent} sent, ${acknowledged.size} acknowledged, ${failures} appends failed, ${read.length} read`);
    assert.equal(lost.length, 0, `${lost.length} of ${acknowledged.size} acknowledged records are lost`);
  });

  test('Kafka, three brokers: ingest goes on while leaders go, and every event answered 200 is read', async (t) => {
    const { topic, writer, readTexts } = await openTopic();
    const ingest = await startIngest({ writer });
    const accepted = new Set<string>();
    let sent = 0;
    let refused = 0;
    let sending = true;
    const senders = Array.from({ length: 16 }, async () => {
      while (sending) {
        const id = `evt_${sent++}`;
        const body = JSON.stringify(stripeEvent({ id, data: { object: { id: `in_${id}`, object: 'invoice' } } }));
        const { status } = await post(`${ingest.url}/webhooks/platform`, stripeHeaders(body), body);
        if (status === 200) accepted.add(id);
        else refused += 1;
        assert.ok(status === 200 || status === 503, `status ${status}`);
      }
    });
    try {
      await rollOver(topic, ['SIGKILL'], () => {
        const before = accepted.size;
        return until(() => accepted.size > before + 500);
      });
    } finally {
      sending = false;
      await Promise.all(senders);
      await ingest.close();
    }
    const read = (await readTexts()).map((text) => /"id":"(evt_\d+)"/.exec(text)![1]!);
    const there = new Set(read);
    t.diagnostic(`${sent} sent, ${accepted.size} answered 200, ${refused} answered 503, ${read.length} read`);
    assert.deepEqual(
      [...accepted].filter((id) => !there.has(id)),
      [],
    );
  });

  test('Kafka, three brokers: with one replica left in sync nothing is acknowledged, and the probe says so', async () => {
    const { topic, writer } = await openTopic();
    await writer.append([record('a', 'one')]);
    await end(2, 'SIGKILL');
    await end(3, 'SIGKILL');
    await assert.rejects(writer.append([record('a', 'two')]), (error) => error instanceof AppendError && error.retry);
    await Promise.all([start(2), start(3)]);
    await inSync(topic);
    await writer.probe();
    await writer.append([record('a', 'three')]);
    await writer.close();
  });

  test('Kafka, three brokers: a broker without the newest records leads: what comes at their offsets is archived', async (t) => {
    const topic = newTopicName();
    await createTopic(brokers, {
      topic,
      replicaAssignment: [{ partition: 0, replicas: [1, 2] }],
      configEntries: [
        { name: 'min.insync.replicas', value: '1' },
        { name: 'unclean.leader.election.enable', value: 'true' },
      ],
    });
    const books = await openBooks();
    books.at('2026-11-21T23:59:00Z');
    t.after(() => books.close());
    const params = { brokers: [...brokers], topic };
    const deliver = async (...events: ReturnType<typeof eventsOfDay>) => {
      const writer = await patiently(() => openKafkaWriter({ params, log }));
      await writer.append(events.flatMap((event) => copiesOf(event, 1)));
      await writer.close();
    };
    const night = async () => {
      const reader = await patiently(() => openKafkaReader({ params, consumer: 'compactor', log }));
      const { errors } = await books.night([{ name: 'platform' }], { stream: () => reader });
      await reader.close();
      return errors.map(({ code }) => code);
    };
    // The first broker that is asked may be one that is away.
    const patiently = async <T>(open: () => Promise<T>): Promise<T> => {
      let opened: T | undefined;
      await until(async () => {
        opened = await open();
        return true;
      });
      return opened!;
    };
    const leads = (node: number) => until(async () => (await leadersOf(topic))[0] === node);

    const [first = [], late = [], fresh = []] = [2, 4, 6].map((count) => eventsOfDay('2026-11-18', count, `${count}`));
    await deliver(...first);
    await deliver(...eventsOfDay('2026-11-21', 1, 'waits'));
    await end(2, 'SIGKILL');
    await leads(1);
    await deliver(...late);
    assert.deepEqual(await night(), []);
    assert.deepEqual((await books.ledger()).stream!.partitions['0']!.done, [['3', '7']]);

    await end(1, 'SIGKILL');
    await start(2);
    await leads(2);
    await deliver(...fresh);
    assert.deepEqual(await night(), ['stream_recreated']);
    await assertBooks(books, { platform: { ids: [...first, ...late, ...fresh].map(({ id }) => id) } });
    await start(1);
    assert.deepEqual(await night(), []);
  });
}

async function unacknowledgedOf(writer: EventStreamWriter, texts: readonly string[]): Promise<ReadonlySet<number>> {
  try {
    await writer.append(texts.map((text) => record(text, text)));
    return new Set();
  } catch (error) {
    assert.ok(error instanceof AppendError);
    assert.ok(error.retry);
    return new Set(error.unacknowledged);
  }
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const startedMs = performance.now(); ; await sleep(20)) {
    if (await Promise.resolve(condition()).catch(() => false)) return;
    assert.ok(performance.now() - startedMs < 60_000, 'in vain');
  }
}
