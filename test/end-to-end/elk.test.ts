/**
 * The readers' stream to a search cluster, for real: a broker, OpenSearch and rsyslog with the files of deploy/elk. The
 * dashboards' queries and the readers of deploy/elk/README.md are run as they stand.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { until } from '../compactor/until.ts';
import { startService } from '../services/service.ts';
import { createTopic, newTopicName, testClient } from '../shared/stream/kafka/kafka-under-test.ts';
import { type Carrier, missingRsyslog, startRsyslog } from './carriers.ts';
import { runVisualizations } from './dashboards.ts';
import { type ReadersRecord, readersRecords, recordOf } from './readers-records.ts';
import { allDocuments, ask, countOf, openSearchCluster, runShown, type SearchCluster } from './search-cluster.ts';

const partitions = 3;
/** 40 days that end on a fixed one: two months, and a part of a third. */
const toSeconds = Date.parse('2026-11-20T12:00:00Z') / 1_000;
const fromSeconds = toSeconds - 40 * 86_400;
const patienceMs = 180_000;
const sum = (numbers: readonly number[]) => numbers.reduce((total, one) => total + one, 0);

const [kafka, cluster] = await Promise.all([
  startService<{ readonly broker: string }>('kafka.sh'),
  openSearchCluster(),
]);
if (typeof cluster === 'string') test('opensearch.sh with all tests of this file', { skip: cluster });
const carrierMissing = missingRsyslog();
if (carrierMissing !== undefined) test('rsyslog with all tests of this file', { skip: carrierMissing });
if (kafka !== undefined && typeof cluster !== 'string' && carrierMissing === undefined) {
  const folder = await mkdtemp(join(tmpdir(), 'daybook-elk-'));
  after(async () => {
    await Promise.all([kafka.stop(), cluster.stop()]);
    await rm(folder, { recursive: true, force: true });
  });
  carrierTests(kafka.facts.broker, cluster, folder);
} else if (typeof cluster !== 'string') {
  await cluster.stop();
  await kafka?.stop();
}

function carrierTests(broker: string, cluster: SearchCluster, folder: string): void {
  const { url } = cluster;

  /** A topic of the test's own, on a cluster without events. */
  async function scene(t: TestContext) {
    runShown('put _index_template', url);
    await ask(url, 'daybook-events*?ignore_unavailable=true', undefined, 'DELETE');
    const topic = newTopicName();
    await createTopic([broker], { topic, numPartitions: partitions });
    const producer = testClient([broker]).producer();
    await producer.connect();
    const route = { broker, topic, opensearch: cluster, folder: join(folder, topic) };
    let carrier: Carrier | undefined;
    t.after(async () => {
      await carrier?.stop();
      await producer.disconnect();
    });
    return {
      async produce(records: readonly (ReadersRecord & { readonly partition?: number })[]) {
        for (let at = 0; at < records.length; at += 500) {
          await producer.send({ topic, acks: -1, messages: records.slice(at, at + 500) });
        }
      },
      async start() {
        carrier = await startRsyslog(route);
      },
      kill: () => carrier!.kill(),
      refused: async () => {
        const text = await readFile(join(route.folder, 'refused.jsonl'), 'utf8').catch(() => '');
        return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
      },
    };
  }

  /** Waits until so many documents are there. */
  const untilCount = (count: number) =>
    until(async () => ((await countOf(url)) >= count ? true : undefined), patienceMs).catch(async () => {
      assert.fail(`${await countOf(url)} documents and not ${count}`);
    });

  async function assertEachOnce(records: readonly ReadersRecord[]): Promise<void> {
    const found = await allDocuments(url);
    assert.equal(found.length, records.length);
    const sent = new Map(records.map(({ key, value }) => [key, value]));
    for (const { _id, _index, _source } of found) {
      const document = JSON.parse(sent.get(_id)!);
      assert.equal(_index, `daybook-events-platform-${document['@timestamp'].slice(0, 7).replace('-', '.')}`);
      // Left out of what came while OpenSearch started.
      if ((_source as typeof document).daybook.delay_seconds !== undefined) document.daybook.delay_seconds = 1.5;
      assert.deepEqual(_source, document);
      sent.delete(_id);
    }
    assert.equal(sent.size, 0);
  }

  test('5,000 events, and the same again: 5,000 documents, each as it was sent, in the index of its month', async (t) => {
    const { produce, start } = await scene(t);
    const records = readersRecords(5_000, 'twice', fromSeconds, toSeconds);
    await produce(records);
    await start();
    await untilCount(5_000);
    await produce(records);
    // Once the last of each partition is there, all before it have been read.
    const last = readersRecords(partitions, 'last', toSeconds, toSeconds + 3_600);
    await produce(last.map((record, partition) => ({ ...record, partition })));
    await untilCount(5_000 + partitions);
    await assertEachOnce([...records, ...last]);
  });

  test('OpenSearch killed, then its carrier, while 5,000 events come: each is there once', async (t) => {
    const { produce, start, kill, refused } = await scene(t);
    const records = readersRecords(5_000, 'killed', fromSeconds, toSeconds);
    await start();
    await produce(records.slice(0, 2_000));
    await untilCount(200);
    await cluster.kill();
    await produce(records.slice(2_000, 3_000));
    await cluster.restart();
    await untilCount(3_000);
    await produce(records.slice(3_000, 4_500));
    await untilCount(3_200);
    await kill();
    await produce(records.slice(4_500));
    await start();
    await untilCount(5_000);
    await assertEachOnce(records);
    assert.deepEqual(await refused(), []);
  });

  test('each visualization of the dashboards is answered by the index, with what was sent', async (t) => {
    const { produce, start } = await scene(t);
    const records = readersRecords(500, 'shown', toSeconds - 3 * 86_400, toSeconds);
    await produce(records);
    await start();
    await untilCount(500);
    const types = records.map(({ value }) => JSON.parse(value).event.action as string);
    const expected = {
      'daybook-by-source': () => true,
      'daybook-by-type': () => true,
      'daybook-failures': (type: string) => type.endsWith('failed'),
      'daybook-disputes-and-refunds': (type: string) => /^(?:charge\.(?:dispute\.|refund)|refund\.)/.test(type),
      'daybook-delay': () => true,
    };
    const answers = new Map((await runVisualizations(url)).map((answer) => [answer.id, answer]));
    assert.deepEqual([...answers.keys()].toSorted(), Object.keys(expected).toSorted());
    for (const [id, isShown] of Object.entries(expected)) {
      const count = types.filter(isShown).length;
      assert.ok(count > 0, id);
      assert.equal(answers.get(id)!.total, count, id);
      const { buckets } = answers.get(id)!;
      if (id !== 'daybook-by-type') assert.equal(sum(buckets.map((bucket) => bucket.doc_count)), count, id);
    }
    const busiest = answers.get('daybook-by-type')!.buckets[0]!;
    assert.equal(busiest.doc_count, types.filter((type) => type === busiest.key).length);
    const [hour] = answers.get('daybook-delay')!.buckets as unknown as { '1': { values: Record<string, number> } }[];
    assert.deepEqual(hour!['1'].values, { '50.0': 1.5, '95.0': 1.5, '99.0': 1.5 });
  });

  test('what lies in daybook-events itself comes out of it by the commands of the README', async (t) => {
    await scene(t);
    const [record] = readersRecords(1, 'astray', fromSeconds, toSeconds);
    await ask(url, `daybook-events/_doc/${record!.key}?pipeline=_none&refresh=true`, JSON.parse(record!.value), 'PUT');
    runShown('_reindex', url);
    await assertEachOnce([record!]);
  });

  test('a field that the template does not know, and what is no event, are kept with the reason', async (t) => {
    const { produce, start, refused } = await scene(t);
    const [good, large, unknown] = readersRecords(3, 'refused', fromSeconds, toSeconds).map(({ value }) =>
      JSON.parse(value),
    );
    large.stripe.data.object.description = 'word '.repeat(100_000);
    large.stripe.data.object.number = Number.MAX_VALUE;
    unknown.daybook.surprise = 'a field of tomorrow';
    await produce([unknown, large].map(recordOf));
    await produce(
      [{ key: 'no-event', value: '{"half":' }, recordOf(good)].map((record) => ({ ...record, partition: 0 })),
    );
    await start();
    await untilCount(2);
    const kept = await until(async () => {
      const lines = await refused();
      return lines.length >= 2 ? lines : undefined;
    });
    const [strict, broken] = kept.toSorted((one, other) => (one.reason > other.reason ? -1 : 1));
    assert.match(strict.reason, /^strict_dynamic_mapping_exception: .*\[surprise\] within \[daybook\]/);
    assert.deepEqual(JSON.parse(strict.record), unknown);
    assert.deepEqual(broken, { reason: 'not JSON, or without event.id', record: '{"half":' });
    assert.equal(kept.length, 2);
    const [found] = await allDocuments(url, { term: { 'event.id': large.event.id } });
    const { description } = (found!._source as typeof large).stripe.data.object;
    assert.equal(description, `${'word '.repeat(1_400)}…`);
  });
}
