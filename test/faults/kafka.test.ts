/** A Kafka broker that goes away, hangs, dies, and loses answers; each durable step fails in both ways. */
import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { DaybookError } from '../../shared/errors.ts';
import { AppendError } from '../../shared/stream/append-error.ts';
import { openKafkaReader } from '../../shared/stream/kafka/reader.ts';
import type { KafkaParams } from '../../shared/stream/kafka/settings.ts';
import { openKafkaWriter } from '../../shared/stream/kafka/writer.ts';
import { numbered, readAll, record, textOf, valuesOf } from '../contract/event-stream.ts';
import { post, startIngest, stripeEvent, stripeHeaders } from '../ingest/ingest-under-test.ts';
import { freePorts, type Service, startService } from '../services/service.ts';
import { createTopic, logLines, newTopicName } from '../shared/stream/kafka/kafka-under-test.ts';
import { openTcpProxy, type TcpProxy } from './tcp-proxy.ts';

interface Facts {
  readonly broker: string;
  readonly pid: number;
}

const folder = await fs.mkdtemp(join(tmpdir(), 'daybook-kafka-'));
const [port, controllerPort, proxyPort] = await freePorts(3);
// Clients are told the proxy's port: none finds a way around it.
process.env.ADVERTISED_PORT = `${proxyPort}`;
const startBroker = () => startService<Facts>('kafka.sh', [folder, `${port}`, `${controllerPort}`]);
const kafka = await startBroker();
if (kafka === undefined) {
  await fs.rm(folder, { recursive: true, force: true });
} else {
  const proxy = await openTcpProxy(proxyPort!, port!);
  faultTests(kafka, proxy);
}

function faultTests(first: Service<Facts>, proxy: TcpProxy): void {
  const brokers = [`127.0.0.1:${proxyPort}`];
  let broker = first;
  after(async () => {
    proxy.set('pass');
    await broker.stop();
    await proxy.close();
    await fs.rm(folder, { recursive: true, force: true });
  });

  async function stream(t: TestContext, numPartitions = 3) {
    const topic = newTopicName();
    await createTopic(brokers, { topic, numPartitions });
    const { log } = logLines();
    const params: KafkaParams = { brokers, topic };
    const writer = await openKafkaWriter({ params, log });
    t.after(async () => {
      proxy.set('pass');
      await writer.close();
    });
    return {
      writer,
      reader: async (patienceMs = 30_000) => {
        const reader = await openKafkaReader({ params, consumer: 'compactor', log, patienceMs });
        t.after(() => reader.close());
        return reader;
      },
    };
  }
  const isUnacknowledged = (count: number) => (error: unknown) =>
    error instanceof AppendError && error.retry && error.unacknowledged.length === count;

  test('Kafka: an append that did not happen is said, and the repeat is the only copy', async (t) => {
    const { writer, reader } = await stream(t);
    proxy.set('refuse');
    await assert.rejects(writer.append(numbered('k', 0, 10)), isUnacknowledged(10));
    await assert.rejects(writer.probe(), (error) => error instanceof DaybookError && error.retry);
    proxy.set('pass');
    await writer.probe();
    await writer.append(numbered('k', 0, 10));
    assert.equal(valuesOf(await readAll(await reader())).length, 10);
  });

  test('Kafka: an append whose answer is lost is said to be unacknowledged, though it may be there', async (t) => {
    const { writer, reader } = await stream(t, 1);
    await writer.append([record('a', 'first')]);
    proxy.set('lose-answers');
    await assert.rejects(writer.append(numbered('k', 0, 10)), isUnacknowledged(10));
    proxy.set('pass');
    const eyes = await reader();
    assert.equal(new Set((await valuesRead(eyes)).map(String)).size, 11, 'it happened');
    await writer.append(numbered('k', 0, 10));
    assert.ok((await valuesRead(eyes)).length >= 21, 'the repeat is one more copy');
  });

  test('Kafka: a commit that did not happen leaves what was committed', async (t) => {
    const { writer, reader } = await stream(t);
    await writer.append(numbered('k', 0, 10));
    await (await reader()).committed(); // the first use of groups may take a while
    const eyes = await reader(500);
    await eyes.commit(new Map([['0', 1n]]));
    proxy.set('refuse');
    await assert.rejects(eyes.commit(new Map([['0', 2n]])), (error) => error instanceof DaybookError && error.retry);
    await assert.rejects(eyes.committed(), (error) => error instanceof DaybookError && error.retry);
    proxy.set('pass');
    assert.deepEqual([...(await eyes.committed())], [['0', 1n]]);
    await eyes.commit(new Map([['0', 2n]]));
    assert.deepEqual([...(await eyes.committed())], [['0', 2n]]);
  });

  test('Kafka: a commit whose answer is lost is repeated without harm', async (t) => {
    const { writer, reader } = await stream(t);
    await writer.append(numbered('k', 0, 10));
    await (await reader()).committed(); // the first use of groups may take a while
    const eyes = await reader(500);
    await eyes.commit(new Map([['0', 1n]]));
    proxy.set('lose-answers', 1); // the first says who keeps the group
    await assert.rejects(eyes.commit(new Map([['0', 2n]])), (error) => error instanceof DaybookError && error.retry);
    proxy.set('pass');
    assert.deepEqual([...(await eyes.committed())], [['0', 2n]], 'it happened');
    await eyes.commit(new Map([['0', 2n]]));
    assert.deepEqual([...(await eyes.committed())], [['0', 2n]]);
  });

  test('Kafka: reading goes on where the connection broke, without a record missing or twice', async (t) => {
    const { writer, reader } = await stream(t, 1);
    for (let call = 0; call < 5; call++) {
      await writer.append(Array.from({ length: 5 }, (_, n) => record('k', `${call * 5 + n} ${'x'.repeat(900_000)}`)));
    }
    const eyes = await reader();
    const read: string[] = [];
    let batches = 0;
    let mended = Promise.resolve();
    for await (const batch of eyes.read('0', undefined, await eyes.snapshot())) {
      read.push(...batch.entries.map((entry) => textOf(entry).split(' ')[0]!));
      batches += 1;
      proxy.set(batches % 2 === 1 ? 'refuse' : 'lose-answers');
      mended = sleep(300).then(() => proxy.set('pass'));
    }
    await mended;
    assert.ok(batches > 2);
    assert.deepEqual(
      read,
      Array.from({ length: 25 }, (_, n) => `${n}`),
    );
  });

  test('Kafka: a broker that hangs holds an append for a bounded time, and the next finds its way', async (t) => {
    const { writer, reader } = await stream(t);
    await writer.append(numbered('k', 0, 5));
    proxy.set('hang');
    const startedMs = performance.now();
    await assert.rejects(writer.append(numbered('k', 5, 5)), isUnacknowledged(5));
    const tookMs = performance.now() - startedMs;
    assert.ok(tookMs < 15_000, `${tookMs} ms`);
    proxy.set('pass');
    await writer.append(numbered('k', 10, 5));
    const texts = new Set((await valuesRead(await reader())).map(String));
    for (const { value } of [...numbered('k', 0, 5), ...numbered('k', 10, 5)]) assert.ok(texts.has(String(value)));
  });

  test('Kafka: ingest without room in its spool answers 503 while the broker is away for longer than the deadline, and goes on by itself', async (t) => {
    const { writer, reader } = await stream(t);
    const ingest = await startIngest({ writer, spool: 'no spool', publishDeadlineMs: 1_000 });
    t.after(() => ingest.close());
    const accepted = new Set<string>();
    const refused = new Set<string>();
    let sent = 0;
    const send = async () => {
      const id = `evt_${sent++}`;
      const body = JSON.stringify(stripeEvent({ id }));
      const startedMs = performance.now();
      const { status, headers } = await post(`${ingest.url}/webhooks/platform`, stripeHeaders(body), body);
      assert.ok(performance.now() - startedMs < 4_000, 'nobody waits much longer than the deadline');
      if (status === 503) assert.ok(Number(headers.get('retry-after')) > 0);
      else assert.equal(status, 200);
      (status === 200 ? accepted : refused).add(id);
    };
    let sending = true;
    const senders = Array.from({ length: 8 }, async () => {
      while (sending) await send();
    });
    const until = async (condition: () => boolean) => {
      for (const startedMs = performance.now(); !condition(); ) {
        assert.ok(performance.now() - startedMs < 40_000, 'in vain');
        await sleep(10);
      }
    };
    await until(() => accepted.size >= 100);
    process.kill(broker.facts.pid, 'SIGKILL');
    await broker.ended;
    await until(() => refused.size >= 30);
    assert.equal((await fetch(`${ingest.url}/readyz`)).status, 503);
    const before = accepted.size;
    broker = (await startBroker())!;
    await until(() => accepted.size >= before + 100);
    assert.equal((await fetch(`${ingest.url}/readyz`)).status, 200);
    sending = false;
    await Promise.all(senders);
    t.diagnostic(`${sent} sent, ${accepted.size} answered 200, ${refused.size} answered 503`);
    const read = (await valuesRead(await reader())).map((value) => /"id":"(evt_\d+)"/.exec(String(value))![1]!);
    for (const id of accepted) assert.ok(read.includes(id), `${id} was answered 200`);
  });
}

async function valuesRead(reader: Awaited<ReturnType<typeof openKafkaReader>>): Promise<Buffer[]> {
  return valuesOf(await readAll(reader));
}
