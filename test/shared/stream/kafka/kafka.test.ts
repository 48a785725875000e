/** The Kafka driver against one real broker. */
import assert from 'node:assert/strict';
import { after, type TestContext, test } from 'node:test';
import kafkajs, { type ITopicConfig } from 'kafkajs';
import { DaybookError } from '../../../../shared/errors.ts';
import { AppendError } from '../../../../shared/stream/append-error.ts';
import { openKafkaReader } from '../../../../shared/stream/kafka/reader.ts';
import type { KafkaParams } from '../../../../shared/stream/kafka/settings.ts';
import { openKafkaWriter } from '../../../../shared/stream/kafka/writer.ts';
import { openReader, openWriter, withoutCreate } from '../../../../shared/stream/open.ts';
import type { EventStreamReader, StreamBatch } from '../../../../shared/stream/stream.ts';
import {
  entriesOf,
  eventStreamContract,
  numbered,
  readAll,
  record,
  textOf,
  valuesOf,
} from '../../../contract/event-stream.ts';
import { freePorts, startService } from '../../../services/service.ts';
import { createTopic, kafkaUnderTest, logLines, newTopicName, testClient, withTestAdmin } from './kafka-under-test.ts';

const kafka = await startService<{ readonly broker: string }>('kafka.sh');
if (kafka !== undefined) {
  const brokers = [kafka.facts.broker];
  const warnings: Error[] = [];
  process.on('warning', (warning) => warnings.push(warning));
  after(() => kafka.stop());
  eventStreamContract('Kafka, one broker', () => kafkaUnderTest(brokers, 1));
  driverTests(brokers, warnings);
}

function driverTests(brokers: string[], warnings: readonly Error[]): void {
  /** A topic of the test's own and what is opened on it, closed by its end. */
  async function stream(t: TestContext, config: Partial<ITopicConfig> & { readonly missing?: true } = {}) {
    const { missing, ...topicConfig } = config;
    const topic = newTopicName();
    if (missing === undefined) await createTopic(brokers, { topic, numPartitions: 1, ...topicConfig });
    const opened: { close(): Promise<void> }[] = [];
    t.after(async () => {
      for (const one of opened) await one.close();
    });
    const keep = async <T extends { close(): Promise<void> }>(opening: Promise<T>): Promise<T> => {
      const one = await opening;
      opened.push(one);
      return one;
    };
    const said = logLines();
    const params = (more: Partial<KafkaParams>): KafkaParams => ({ brokers, topic, ...more });
    return {
      topic,
      said,
      writer: (more: Partial<KafkaParams> = {}) => keep(openKafkaWriter({ params: params(more), log: said.log })),
      reader: (more: Partial<KafkaParams> = {}, patienceMs = 5_000) =>
        keep(openKafkaReader({ params: params(more), consumer: 'compactor', log: said.log, patienceMs })),
    };
  }
  const withConfig = (config: Record<string, string>): Partial<ITopicConfig> => ({
    configEntries: Object.entries(config).map(([name, value]) => ({ name, value })),
  });
  const dropUpTo = (topic: string, offset: string) =>
    withTestAdmin(brokers, async (admin) => {
      await admin.fetchTopicOffsets(topic); // kafkajs does not look for the leader by itself
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset }] });
    });
  const warned = ({ said }: { said: ReturnType<typeof logLines> }) =>
    said.lines.filter(({ level }) => level === 40).map(({ msg }) => msg);

  test('Kafka: DAYBOOK_STREAM opens it', async (t) => {
    const { topic } = await stream(t);
    const configuration = { type: 'kafka', params: { brokers, topic } } as const;
    const { log } = logLines();
    const writer = await openWriter(configuration, '', log);
    await writer.append([record('a', 'one')]);
    await writer.close();
    const reader = await openReader(configuration, '', { consumer: 'c', clock: { now: () => new Date() }, log });
    assert.deepEqual(valuesOf(await readAll(reader)).map(String), ['one']);
    await reader.close();
  });

  test('Kafka: a topic that is not there is said, and made where that is wished', async (t) => {
    const one = await stream(t, { missing: true });
    for (const open of [one.writer, one.reader]) {
      await assert.rejects(open(), (error: DaybookError) => {
        assert.equal(error.code, 'stream_missing');
        assert.match(error.message, new RegExp(one.topic));
        assert.match(error.hint, /"create"/);
        return true;
      });
    }
    const create = { partitions: 3, replicationFactor: 1 };
    // Who only looks leaves even a topic that is to be made as it is.
    const configuration = { type: 'kafka', params: { brokers, topic: one.topic, create } } as const;
    const options = { consumer: 'c', clock: { now: () => new Date() }, log: one.said.log };
    await assert.rejects(openReader(withoutCreate(configuration), '', options), { code: 'stream_missing' });
    assert.ok(!(await withTestAdmin(brokers, (admin) => admin.listTopics())).includes(one.topic));
    // Several processes start at once.
    const [writer] = await Promise.all([one.writer({ create }), one.writer({ create }), one.reader({ create })]);
    assert.ok(writer!.maxValueBytes! >= 1_048_576 + 32 * 1024, 'the default body limit fits');
    const { partitions } = await (await one.reader()).snapshot();
    assert.deepEqual([...partitions.keys()], ['0', '1', '2']);
    const { resources } = await withTestAdmin(brokers, (admin) =>
      admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: one.topic }],
      }),
    );
    const valueOfName = (name: string) =>
      resources[0]!.configEntries.find((entry) => entry.configName === name)?.configValue;
    assert.equal(valueOfName('cleanup.policy'), 'delete');
    assert.ok(Number(valueOfName('retention.ms')) >= 7 * 86_400_000);
  });

  for (const codec of ['gzip', 'snappy', 'lz4', 'zstd', 'uncompressed']) {
    test(`Kafka: what the broker writes again in ${codec} is read back byte for byte, and proven`, async (t) => {
      const one = await stream(t, withConfig({ 'compression.type': codec }));
      const writer = await one.writer();
      const texts = Array.from({ length: 200 }, (_, n) => `${n} ${'abc'.repeat(n * 10)}`);
      // Alone and with others: several blocks, and batches too short to fold.
      for (const part of [texts.slice(0, 1), texts.slice(1)])
        await writer.append(part.map((text) => record('k', text)));
      await writer.prove();
      assert.deepEqual(valuesOf(await readAll(await one.reader())).map(String), texts);
    });
  }

  test('Kafka: a topic whose settings change while it is written to is proven no longer, and warned of once', async (t) => {
    const one = await stream(t);
    const writer = await one.writer();
    await writer.append([record('k', 'one')]);
    await writer.prove();
    const alter = (name: string, value: string) =>
      withTestAdmin(brokers, (admin) =>
        admin.alterConfigs({
          validateOnly: false,
          resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: one.topic, configEntries: [{ name, value }] }],
        }),
      );
    await alter('retention.ms', '3600000');
    await writer.prove();
    await writer.prove();
    assert.equal(warned(one).filter((text) => text.includes('retention.ms')).length, 1);
    await alter('cleanup.policy', 'compact');
    await assert.rejects(writer.prove(), { code: 'stream_unsuitable' });
    await alter('cleanup.policy', 'delete');
    await writer.prove();
  });

  test('Kafka: a compacted topic is refused', async (t) => {
    for (const config of [{ 'cleanup.policy': 'compact' }, { 'cleanup.policy': 'compact,delete' }]) {
      const one = await stream(t, withConfig(config));
      for (const open of [one.writer, one.reader]) {
        await assert.rejects(open(), (error) => error instanceof DaybookError && error.code === 'stream_unsuitable');
      }
    }
  });

  test('Kafka: what makes acknowledged events less safe is warned of', async (t) => {
    const one = await stream(t, withConfig({ 'retention.ms': '86400000', 'retention.bytes': '1000000' }));
    await one.writer();
    const text = warned(one).join('\n');
    assert.match(text, /replication factor 1/);
    assert.match(text, /retention\.ms/);
    assert.match(text, /retention\.bytes/);
    const sound = await stream(t, withConfig({ 'retention.ms': '-1' }));
    await sound.writer();
    assert.doesNotMatch(warned(sound).join('\n'), /age out|dropped/);
  });

  test('Kafka: the largest value that is promised is taken, under the longest key', async (t) => {
    const one = await stream(t, withConfig({ 'max.message.bytes': '300000' }));
    const writer = await one.writer();
    assert.ok(writer.maxValueBytes! > 298_000 && writer.maxValueBytes! < 300_000);
    const key = '\u{1F4B6}'.repeat(128);
    await writer.append([{ key, value: Buffer.alloc(writer.maxValueBytes!, 1) }]);
    const [value] = valuesOf(await readAll(await one.reader()));
    assert.equal(value!.length, writer.maxValueBytes);
  });

  test('Kafka: a record that is too large fails alone and for good; its neighbours are acknowledged', async (t) => {
    const one = await stream(t, { numPartitions: 3, ...withConfig({ 'max.message.bytes': '2000' }) });
    const writer = await one.writer();
    const records = [record('a', 'one'), { key: 'b', value: Buffer.alloc(2_000) }, record('c', 'three')];
    await assert.rejects(writer.append(records), (error) => {
      assert.ok(error instanceof AppendError);
      assert.deepEqual(error.unacknowledged, [1]);
      assert.deepEqual([error.retry, error.refused], [false, [1]]);
      return true;
    });
    assert.deepEqual(
      valuesOf(await readAll(await one.reader()))
        .map(String)
        .sort(),
      ['one', 'three'],
    );
  });

  test('Kafka: a limit that was lowered meanwhile refuses the record for good, not the stream', async (t) => {
    const one = await stream(t);
    const writer = await one.writer();
    await withTestAdmin(brokers, (admin) =>
      admin.alterConfigs({
        validateOnly: false,
        resources: [
          {
            type: kafkajs.ConfigResourceTypes.TOPIC,
            name: one.topic,
            configEntries: [{ name: 'max.message.bytes', value: '1000' }],
          },
        ],
      }),
    );
    await assert.rejects(
      writer.append([{ key: 'a', value: Buffer.alloc(2_000) }]),
      (error) => error instanceof AppendError && !error.retry,
    );
    await writer.append([record('a', 'small')]);
  });

  test('Kafka: an append larger than a partition takes at once goes in several batches, in order', async (t) => {
    const one = await stream(t, withConfig({ 'max.message.bytes': '20000' }));
    const records = Array.from({ length: 60 }, (_, n) => record('a', `a ${n} ${'x'.repeat(3_000)}`));
    await (await one.writer()).append(records);
    const [entries] = (await readAll(await one.reader())).values();
    assert.deepEqual(
      entries!.map((entry) => textOf(entry).split(' ')[1]),
      records.map((_, n) => `${n}`),
    );
  });

  test('Kafka: records that aged out are a hole, with both its ends', async (t) => {
    const one = await stream(t);
    await (await one.writer()).append(numbered('k', 0, 30));
    const reader = await one.reader();
    const early = await reader.snapshot();
    await dropUpTo(one.topic, '12');
    const { partitions } = await reader.snapshot();
    assert.deepEqual(partitions.get('0'), { start: 12n, end: 30n });
    for (const snapshot of [early, await reader.snapshot()]) {
      const batches = await batchesOf(reader, 5n, snapshot);
      assert.deepEqual(holesOf(batches), [{ from: 5n, to: 12n }]);
      assert.deepEqual(
        batches.flatMap(({ entries }) => entries.map(({ position }) => position)),
        Array.from({ length: 18 }, (_, n) => BigInt(12 + n)),
      );
      assert.deepEqual(holesOf(await batchesOf(reader, undefined, snapshot)), [], 'the oldest kept was asked for');
      assert.deepEqual(holesOf(await batchesOf(reader, 12n, snapshot)), []);
    }
    assert.equal(await reader.recordBefore('0', 12n), undefined);
    assert.equal(Buffer.from((await reader.recordBefore('0', 13n))!.value).toString(), 'k 12');
    await dropUpTo(one.topic, '-1');
    const whole = await batchesOf(reader, 20n, early);
    assert.deepEqual(holesOf(whole), [{ from: 20n, to: 30n }]);
    assert.equal(whole.flatMap(({ entries }) => entries).length, 0);
  });

  test('Kafka: marks of transactions are not records, and reading ends behind them', async (t) => {
    const one = await stream(t);
    const writer = await one.writer();
    await writer.append([record('a', 'first')]);
    const foreign = testClient(brokers).producer({
      transactionalId: one.topic,
      maxInFlightRequests: 1,
      idempotent: true,
    });
    await foreign.connect();
    t.after(() => foreign.disconnect());
    const transaction = await foreign.transaction();
    await transaction.send({ topic: one.topic, messages: [{ partition: 0, value: 'second' }] });
    await transaction.commit();
    const reader = await one.reader();
    let snapshot = await reader.snapshot();
    // The mark has an offset of its own, and is written some time after the commit was answered.
    while (snapshot.partitions.get('0')!.end! < 3n) snapshot = await reader.snapshot();
    const entries = await entriesOf(reader, '0', undefined, snapshot);
    assert.deepEqual(entries.map(textOf), ['first', 'second']);
    assert.deepEqual(await entriesOf(reader, '0', 2n, snapshot), []);
    assert.equal(await reader.recordBefore('0', 3n), undefined);
    await writer.append([record('a', 'third')]);
    assert.deepEqual((await entriesOf(reader, '0', 2n, await reader.snapshot())).map(textOf), ['third']);
  });

  test('Kafka: a value of null, as others may write it, is an empty one', async (t) => {
    const one = await stream(t);
    const foreign = testClient(brokers).producer();
    await foreign.connect();
    await foreign.send({ topic: one.topic, messages: [{ partition: 0, key: 'k', value: null }] });
    await foreign.disconnect();
    assert.deepEqual(valuesOf(await readAll(await one.reader())).map(String), ['']);
  });

  test('Kafka: a topic made again has the old id, and other records before its cursors', async (t) => {
    const one = await stream(t, { numPartitions: 4 });
    const writer = await one.writer();
    await writer.append(numbered('old', 0, 40));
    const reader = await one.reader();
    const before = await reader.snapshot();
    await withTestAdmin(brokers, (admin) => admin.deleteTopics({ topics: [one.topic] }));
    await assert.rejects(writer.append(numbered('gone', 0, 8)), (error) => error instanceof AppendError && error.retry);
    // Fewer partitions than the writer knows of: kafkajs would resolve sends to those that are gone.
    await createTopic(brokers, { topic: one.topic, numPartitions: 2 });
    await appendUntilTaken(() => writer.append(numbered('new', 0, 8)));
    const reading = await one.reader();
    const now = await reading.snapshot();
    assert.equal(now.id, before.id);
    assert.deepEqual([...now.partitions.keys()], ['0', '1']);
    assert.equal(new Set(valuesOf(await readAll(reading)).map(String)).size, 8);
    for (const [partition, entries] of await readAll(reading)) {
      for (const entry of entries) {
        const record = await reader.recordBefore(partition, entry.after);
        assert.match(Buffer.from(record!.value).toString(), /^new /);
      }
    }
  });

  test('Kafka: readers at the same time each read everything, and commit for themselves', async (t) => {
    const one = await stream(t, { numPartitions: 6 });
    await (await one.writer()).append(numbered('k', 0, 300));
    const readers = [await one.reader(), await one.reader(), await one.reader()];
    const read = await Promise.all(readers.map(readAll));
    for (const partitions of read) assert.equal(valuesOf(partitions).length, 300);
    await Promise.all(readers.map((reader, n) => reader.commit(new Map([[`${n}`, BigInt(n + 1)]]))));
    assert.deepEqual([...(await readers[0]!.committed())].sort(), [
      ['0', 1n],
      ['1', 2n],
      ['2', 3n],
    ]);
  });

  test('Kafka: no broker at the address is said with the address, and soon', async () => {
    const [port] = await freePorts(1);
    const nowhere = { brokers: [`127.0.0.1:${port}`], topic: 'events' };
    const { log } = logLines();
    const startedMs = performance.now();
    for (const open of [
      () => openKafkaWriter({ params: nowhere, log }),
      () => openKafkaReader({ params: nowhere, consumer: 'c', log }),
    ]) {
      await assert.rejects(open(), (error: DaybookError) => {
        assert.equal(error.code, 'stream_unavailable');
        assert.equal(error.retry, true);
        assert.match(error.message, new RegExp(`no answer from the brokers .*127\\.0\\.0\\.1:${port}`));
        return true;
      });
    }
    assert.ok(performance.now() - startedMs < 10_000);
  });

  test('Kafka: an append after the close is refused', async (t) => {
    const one = await stream(t);
    const writer = await one.writer();
    await writer.close();
    await writer.close();
    await assert.rejects(writer.append([record('a', 'late')]), (error) => error instanceof AppendError && !error.retry);
  });

  test('Kafka: Node has nothing to warn of, and kafkajs logs through pino alone', async (t) => {
    const one = await stream(t);
    const writer = await one.writer();
    for (let call = 0; call < 20; call++) await writer.append(numbered('k', call, 1));
    assert.deepEqual(
      warnings.filter(({ name }) => name === 'TimeoutNegativeWarning'),
      [],
    );
  });
}

async function batchesOf(
  reader: EventStreamReader,
  from: bigint | undefined,
  snapshot: Awaited<ReturnType<EventStreamReader['snapshot']>>,
): Promise<StreamBatch[]> {
  return Array.fromAsync(reader.read('0', from, snapshot));
}

function holesOf(batches: readonly StreamBatch[]) {
  return batches.flatMap(({ hole }) => (hole === undefined ? [] : [hole]));
}

/** A few tries: the brokers take a moment until all of them know a new topic. */
async function appendUntilTaken(append: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await append();
    } catch (error) {
      if (tries === 20) throw error;
    }
  }
}
