/**
 * The stream to a search cluster, for real: a broker, `daybook-ingest redact`, OpenSearch and rsyslog with the files of
 * deploy/elk. The dashboards' queries are run as they stand.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { setTimeout as rest } from 'node:timers/promises';
import { until } from '../compactor/until.ts';
import { spawnIngest } from '../ingest/ingest-process.ts';
import { startService } from '../services/service.ts';
import { createTopic, newTopicName, testClient, withTestAdmin } from '../shared/stream/kafka/kafka-under-test.ts';
import { type Carrier, type CarrierKind, carrierKinds } from './carriers.ts';
import { runVisualizations } from './dashboards.ts';
import {
  passedOn,
  type ReadersRecord,
  type StreamedEvent,
  type StripeBody,
  streamedEvents,
} from './readers-records.ts';
import {
  allDocuments,
  ask,
  countOf,
  hitsOf,
  openSearchCluster,
  runShown,
  type SearchCluster,
} from './search-cluster.ts';
import { assertTaken, recordsToRead, startReader } from './shown-reader.ts';

const partitions = 3;
/** 40 days that end on a fixed one: two months, and a part of a third. */
const toSeconds = Date.parse('2026-11-20T12:00:00Z') / 1_000;
const fromSeconds = toSeconds - 40 * 86_400;
const patienceMs = 180_000;
const sum = (numbers: readonly number[]) => numbers.reduce((total, one) => total + one, 0);

const hidden = {
  billing_details: {
    name: 'Hidaname',
    email: 'hidamail@example.com',
    address: { line1: 'Hidastreet', city: 'Hidacity' },
  },
  receipt_email: 'hidareceipt@example.com',
  customer_email: 'hidacustomer@example.com',
  shipping: { name: 'Hidashipped', phone: '+15550123999' },
  payment_method_details: { card: { last4: '9731', fingerprint: 'Hidafinger', brand: 'seenbrand' } },
  sepa: { iban: 'DE89370400440532013999', bank_name: 'Hidabank' },
  client_secret: 'pi_1_secret_hidasecret',
  evidence: { customer_purchase_ip: '198.51.100.77', uncategorized_text: 'Hidawritten' },
  tax_ids: [{ type: 'eu_vat', value: 'DE999999999' }],
};
const secrets: string[] = [];
JSON.stringify(hidden, (_name, value) => {
  if (typeof value === 'string' && !['seenbrand', 'eu_vat'].includes(value)) secrets.push(value);
  return value;
});

const [kafka, cluster] = await Promise.all([
  startService<{ readonly broker: string }>('kafka.sh'),
  openSearchCluster(),
]);
if (typeof cluster === 'string') test('opensearch.sh with all tests of this file', { skip: cluster });
const [rsyslog, ...otherCarriers] = carrierKinds();
if (rsyslog.missing !== undefined) test('rsyslog with all tests of this file', { skip: rsyslog.missing });
const folder = await mkdtemp(join(tmpdir(), 'daybook-elk-'));
after(async () => {
  await Promise.all([kafka?.stop(), typeof cluster === 'string' ? undefined : cluster.stop()]);
  await rm(folder, { recursive: true, force: true });
});
if (kafka !== undefined) {
  readerTest(kafka.facts.broker);
  if (typeof cluster !== 'string' && rsyslog.missing === undefined) carrierTests(kafka.facts.broker, cluster, folder);
}

function readerTest(broker: string): void {
  test('the reader by kafkajs of the README takes each id once', async (t) => {
    const { records, last } = recordsToRead();
    const sent = [...records, ...records, last];
    const topic = newTopicName();
    await createTopic([broker], { topic, numPartitions: 1 });
    const producer = testClient([broker]).producer();
    await producer.connect();
    for (let at = 0; at < sent.length; at += 100) await producer.send({ topic, messages: sent.slice(at, at + 100) });
    await producer.disconnect();
    const database = join(folder, 'kafka.db');
    const reader = startReader(t, 'kafkajs', { DATABASE: database, ELK_BROKER: broker, ELK_TOPIC: topic });
    const said = await reader.idsUntil((id) => id === last.key);
    await reader.kill();
    assert.deepEqual(
      said,
      [...records, last].map(({ key }) => key),
    );
    assertTaken(database, [...records, last]);
  });
}

function carrierTests(broker: string, cluster: SearchCluster, folder: string): void {
  const { url } = cluster;

  /** Topics of the test's own with a redaction between them, on a cluster without events. */
  async function scene(t: TestContext) {
    runShown('put _index_template', url);
    await ask(url, 'daybook-events*?ignore_unavailable=true', undefined, 'DELETE');
    const [stream, topic] = [newTopicName(), newTopicName()];
    for (const name of [stream, topic]) await createTopic([broker], { topic: name, numPartitions: partitions });
    const directory = join(folder, topic);
    await mkdir(directory);
    const kafkaStream = (name: string) => JSON.stringify({ type: 'kafka', params: { brokers: [broker], topic: name } });
    const redact = spawnIngest({
      cwd: directory,
      environment: {
        DAYBOOK_DATA_DIR: directory,
        DAYBOOK_STREAM: kafkaStream(stream),
        DAYBOOK_READERS_STREAM: kafkaStream(topic),
      },
      commands: ['redact'],
    });
    const redactEnded = once(redact, 'exit');
    redact.stderr.resume();
    const producer = testClient([broker]).producer();
    await producer.connect();
    const route = { broker, topic, opensearch: cluster, folder: directory };
    let carrier: Carrier | undefined;
    let started: CarrierKind = rsyslog;
    t.after(async () => {
      redact.kill('SIGKILL');
      await Promise.all([carrier?.stop(), redactEnded, producer.disconnect()]);
    });
    return {
      /** To the stream, as ingest does. */
      async deliver(events: readonly StreamedEvent[]) {
        const messages = events.map(({ id, envelope }) => ({ key: id, value: envelope }));
        for (let at = 0; at < messages.length; at += 200) {
          await producer.send({ topic: stream, acks: -1, messages: messages.slice(at, at + 200) });
        }
      },
      /** To the readers' stream. */
      async produce(records: readonly (ReadersRecord & { readonly partition: number })[]) {
        await producer.send({ topic, acks: -1, messages: [...records] });
      },
      /** Waits until so many records have been passed on to readers. */
      async untilPassedOn(count: number) {
        await withTestAdmin([broker], async (admin) => {
          const countOfTopic = async () =>
            sum((await admin.fetchTopicOffsets(topic)).map(({ offset }) => Number(offset)));
          await until(async () => {
            await rest(100);
            return (await countOfTopic()) >= count ? true : undefined;
          }, patienceMs);
        });
      },
      /** Rsyslog, and the second time what was started before, unless told otherwise. */
      async start(kind = started) {
        started = kind;
        carrier = await kind.start(route);
      },
      kill: () => carrier!.kill(),
      refused: async () => {
        const text = await readFile(join(directory, 'refused.jsonl'), 'utf8').catch(() => '');
        return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
      },
    };
  }

  /** Waits until so many documents are there. An index that is just being made does not answer. */
  async function untilCount(count: number): Promise<void> {
    const deadlineMs = performance.now() + patienceMs;
    // Each second there is a new answer, and what looks takes time from what works.
    for (let found = 0; found < count; await rest(100)) {
      found = await countOf(url).catch(() => 0);
      assert.ok(performance.now() < deadlineMs, `${found} documents and not ${count}`);
    }
  }

  async function hasAstray(): Promise<boolean> {
    const indices = await ask<{ index: string }[]>(url, '_cat/indices/daybook-events*?format=json&h=index');
    return indices.some(({ index }) => index === 'daybook-events');
  }

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

  test('events come through redact and rsyslog to the cluster, where people look at them', async (t) => {
    const way = await scene(t);
    const { deliver, produce, untilPassedOn, start, refused } = way;
    const hidden = hiddenEvents();
    const events = streamedEvents({ count: 5_000, seed: 'twice', fromSeconds, toSeconds });
    const last = streamedEvents({ count: partitions, seed: 'last', fromSeconds: toSeconds, toSeconds: toSeconds + 60 });
    const all = [...hidden, ...events, ...last];
    await start();

    await t.test('nothing that is redacted is found by a search over all fields, and the rest is', async () => {
      await deliver(hidden);
      await untilCount(hidden.length);
      const everything = JSON.stringify(await allDocuments(url)).toLowerCase();
      for (const word of ['seenbrand', 'seenorder', 'stripe.data.object.metadata.order:seenorder'])
        assert.equal(await hitsOf(url, word), hidden.length, word);
      assert.equal(await hitsOf(url, 'seendescription*'), hidden.length);
      assert.equal(secrets.length, 16);
      for (const secret of secrets) {
        assert.ok(
          hidden.every(({ envelope }) => envelope.includes(secret)),
          `${secret} is on the stream`,
        );
        assert.ok(!everything.includes(secret.toLowerCase()), `${secret} is in a document`);
        for (const query of [`"${secret}"`, `*${secret.replaceAll(/\W/g, '?')}*`])
          assert.equal(await hitsOf(url, query), 0, query);
      }
    });

    await t.test(
      'OpenSearch killed, then rsyslog, while 5,000 events come, and the same again: each is there once, as redacted',
      async () => {
        await deliverKilling(way, events, hidden.length);
        assert.deepEqual(await refused(), []);
        await deliver(events);
        await untilPassedOn(hidden.length + 10_000);
        // Once the last of each partition is there, all before it have been read.
        await produce(last.map((event, partition) => ({ ...passedOn(event), partition })));
        await untilCount(all.length);
        await assertEachOnce(all.map(passedOn));
      },
    );

    await t.test('each visualization of the dashboards is answered by the index, with what was sent', async () => {
      const types = all.map(({ type }) => type);
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

    await t.test('what lies in daybook-events itself comes out of it by the commands of the README', async () => {
      const [astray] = streamedEvents({ count: 1, seed: 'astray', fromSeconds, toSeconds }).map(passedOn);
      const document = JSON.parse(astray!.value);
      await ask(url, `daybook-events/_doc/${astray!.key}?pipeline=_none&refresh=true`, document, 'PUT');
      runShown('_reindex', url);
      await assertEachOnce([...all.map(passedOn), astray!]);
    });

    await t.test(
      'a field that the template does not know, and what is no event, are kept with the reason',
      async () => {
        const records = streamedEvents({ count: 3, seed: 'refused', fromSeconds, toSeconds }).map(passedOn);
        const [good, large, unknown] = records.map(({ value }) => JSON.parse(value));
        large.stripe.data.object.description = 'word '.repeat(100_000);
        large.stripe.data.object.number = Number.MAX_VALUE;
        unknown.daybook.surprise = 'a field of tomorrow';
        const documents = [unknown, large, good].map((document) => ({
          key: document.event.id,
          value: JSON.stringify(document),
        }));
        const sent = [{ key: 'no-event', value: '{"half":' }, ...documents];
        await produce(sent.map((record) => ({ ...record, partition: 0 })));
        await untilCount(all.length + 3);
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
      },
    );
  });

  for (const kind of otherCarriers) {
    const skip = kind.missing ?? false;
    test(`OpenSearch killed, then ${kind.name}, while 5,000 events come: each is there once`, { skip }, async (t) => {
      const way = await scene(t);
      const events = streamedEvents({ count: 5_000, seed: 'killed', fromSeconds, toSeconds });
      await way.start(kind);
      await deliverKilling(way, events, 0);
      // What was astray may be there twice until it is taken out.
      if (!kind.namesIndex && (await hasAstray())) {
        runShown('_reindex', url);
        await untilCount(5_000);
      }
      await assertEachOnce(events.map(passedOn));
      assert.deepEqual(await way.refused(), []);
    });
  }

  /** Resolves when all are there, beside those that were `before`. */
  async function deliverKilling(
    { deliver, start, kill }: Awaited<ReturnType<typeof scene>>,
    events: readonly StreamedEvent[],
    before: number,
  ): Promise<void> {
    await deliver(events.slice(0, 2_000));
    await untilCount(before + 200);
    await cluster.kill();
    await deliver(events.slice(2_000, 3_000));
    await cluster.restart();
    await untilCount(before + 3_000);
    await deliver(events.slice(3_000, 4_500));
    await untilCount(before + 3_200);
    await kill();
    await deliver(events.slice(4_500));
    await start();
    await untilCount(before + events.length);
  }
}

function hiddenEvents(): StreamedEvent[] {
  const change = ({ data: { object } }: StripeBody) => {
    Object.assign(object, hidden, { description: 'seendescription for Hidaname', metadata: { order: 'seenorder' } });
  };
  return streamedEvents({ count: 100, seed: 'hidden', fromSeconds: toSeconds - 3_600, toSeconds, change });
}
