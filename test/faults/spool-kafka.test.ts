/**
 * The stream away in every way that a real broker and a network know, while events come in: senders go on being answered
 * 2xx within the deadline and the time of the spool, ingest mends itself, and every event answered 2xx is archived once.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { setTimeout as rest } from 'node:timers/promises';
import { freePorts, type Service, startService } from '../services/service.ts';
import { deadlineMs, faultTable, openScene, type Scene, type SceneOptions } from './spool-scene.ts';
import { openTcpProxy, type TcpProxy } from './tcp-proxy.ts';

interface Facts {
  readonly broker: string;
  readonly pid: number;
}

const folder = await fs.mkdtemp(join(tmpdir(), 'daybook-spool-kafka-'));
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
  faultTable();
}

/** The deadline, once more of it for the spool, and what a busy machine adds. */
const patienceMs = 2 * deadlineMs + 2_000;

function faultTests(first: Service<Facts>, proxy: TcpProxy): void {
  let broker = first;
  after(async () => {
    proxy.set('pass');
    await broker.stop();
    await proxy.close();
    await fs.rm(folder, { recursive: true, force: true });
  });

  async function killBroker(): Promise<void> {
    process.kill(broker.facts.pid, 'SIGKILL');
    await broker.ended;
  }

  async function restartBroker(): Promise<void> {
    broker = (await startBroker())!;
  }

  async function scene(t: TestContext, fault: string, options: Partial<SceneOptions> = {}): Promise<Scene> {
    proxy.set('pass');
    return openScene(t, { fault, brokerPort: proxyPort!, ...options });
  }

  async function settleWell({ traffic, settle }: Scene): Promise<number> {
    const { spooled, copies } = await settle();
    assert.ok(spooled > 0, 'the spool took over');
    assert.deepEqual([traffic.refused, traffic.cut], [0, 0], 'no sender was refused');
    assert.ok(traffic.slowestMs < patienceMs, `the slowest answer took ${traffic.slowestMs} ms`);
    return copies;
  }

  test('a broker that is down at the start: ingest starts, takes events, makes the topic when it comes, and drains', async (t) => {
    const scened = await scene(t, 'down at the start', { makesTopic: false });
    const { traffic } = scened;
    await killBroker();
    await scened.start();
    traffic.start();
    await traffic.accepts(300);
    assert.ok((await scened.metric('daybook_ingest_spool_records')) >= 300);
    await restartBroker();
    await scened.recovered();
    await settleWell(scened);
  });

  test('a broker that dies under load by kill -9, and comes back', async (t) => {
    const scened = await scene(t, 'kill -9 of the broker');
    const { traffic } = scened;
    await scened.start();
    traffic.start();
    await traffic.accepts(300);
    await killBroker();
    await traffic.accepts(300);
    await restartBroker();
    await scened.recovered();
    await settleWell(scened);
  });

  test('a broker that accepts connections and never answers, and then goes on where it stood still', async (t) => {
    const scened = await scene(t, 'hangs');
    const { traffic } = scened;
    await scened.start();
    traffic.start();
    await traffic.accepts(100);
    proxy.set('hang');
    await traffic.accepts(300);
    proxy.set('pass');
    await scened.recovered();
    await settleWell(scened);
  });

  test('a broker that never answers, and whose connections of that time stay dead when it is back', async (t) => {
    const scened = await scene(t, 'connections forgotten');
    const { traffic } = scened;
    await scened.start();
    traffic.start();
    await traffic.accepts(100);
    proxy.set('swallow');
    await traffic.accepts(300);
    proxy.set('pass');
    await scened.recovered();
    await settleWell(scened);
  });

  test('a broker that answers after the deadline although it wrote: copies in the stream, each event once in the archive', async (t) => {
    const scened = await scene(t, 'answers too late');
    const { traffic } = scened;
    await scened.start();
    traffic.start();
    await traffic.accepts(100);
    proxy.set('hold-answers');
    await traffic.accepts(300);
    proxy.set('pass');
    await scened.recovered();
    assert.ok((await settleWell(scened)) > 0, 'the stream has copies');
  });

  test('a broker that flaps every second', async (t) => {
    const scened = await scene(t, 'flaps every second');
    const { traffic } = scened;
    await scened.start();
    traffic.start();
    await traffic.accepts(100);
    for (let flap = 0; flap < 4; flap++) {
      proxy.set('refuse');
      await rest(1_000);
      proxy.set('pass');
      await rest(1_000);
    }
    await scened.recovered();
    await settleWell(scened);
  });

  test('a broker that is slow, 1 KB/s', async (t) => {
    const scened = await scene(t, '1 KB/s');
    const { traffic } = scened;
    await scened.start();
    traffic.start();
    await traffic.accepts(100);
    proxy.set('slow');
    await traffic.accepts(500);
    proxy.set('pass');
    await scened.recovered();
    await settleWell(scened);
  });
}
