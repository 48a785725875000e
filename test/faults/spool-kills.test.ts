/**
 * The stream is away, and something else fails as well: ingest is killed at each step that the spool takes, its disk is
 * full, its database restarts. Every event answered 2xx is archived once.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import kafkajs from 'kafkajs';
import { until } from '../compactor/until.ts';
import { spawnIngest } from '../ingest/ingest-process.ts';
import type { PostgresFacts } from '../ingest/spool/sql-under-test.ts';
import { requireCommand } from '../require-service.ts';
import { freePorts, openService, type Service, startService } from '../services/service.ts';
import { withTestAdmin } from '../shared/stream/kafka/kafka-under-test.ts';
import { faultTable, openScene, type Scene, type SceneOptions } from './spool-scene.ts';
import { openTcpProxy, type TcpProxy } from './tcp-proxy.ts';

const folder = await fs.mkdtemp(join(tmpdir(), 'daybook-spool-kills-'));
const [port, controllerPort, proxyPort] = await freePorts(3);
// Clients are told the proxy's port: none finds a way around it.
process.env.ADVERTISED_PORT = `${proxyPort}`;
const kafka = await startService('kafka.sh', [folder, `${port}`, `${controllerPort}`]);
if (kafka === undefined) {
  await fs.rm(folder, { recursive: true, force: true });
} else {
  const proxy = await openTcpProxy(proxyPort!, port!);
  after(async () => {
    proxy.set('pass');
    await kafka.stop();
    await proxy.close();
    await fs.rm(folder, { recursive: true, force: true });
  });
  killTests(proxy);
  spoolTests(proxy);
  faultTable();
}

const preload = new URL('ingest-kill.ts', import.meta.url);
type Step = 'append' | 'remove' | 'requeue' | 'deliver';
type Way = 'before' | 'after';

function killAt(step: Step, way: Way, at: number) {
  return {
    preload,
    environment: { KILL_STEP: step, KILL_WAY: way, KILL_AT: `${at}`, KILL_PORT: `${proxyPort}` },
  };
}

async function newScene(t: TestContext, proxy: TcpProxy, options: Omit<SceneOptions, 'brokerPort'>): Promise<Scene> {
  proxy.set('pass');
  const scene = await openScene(t, { brokerPort: proxyPort!, ...options });
  proxy.set('refuse');
  return scene;
}

const sigkill = [null, 'SIGKILL'];

function killTests(proxy: TcpProxy): void {
  test('kill -9 of ingest as it appends to the spool, before and after the commit', async (t) => {
    const { start, traffic, recovered, settle } = await newScene(t, proxy, { fault: 'killed appending' });
    traffic.start();
    for (const way of ['before', 'after'] as const) {
      const ingest = await start(killAt('append', way, 30));
      assert.deepEqual(await ingest.exited, sigkill);
    }
    await start();
    await traffic.accepts(100);
    proxy.set('pass');
    await recovered();
    await settle();
    assert.equal(traffic.refused, 0);
  });

  const drainSteps = [
    { name: 'before it delivers a batch', step: 'deliver', way: 'before' },
    { name: 'while a batch that it delivered is not answered', step: 'deliver', way: 'after' },
    { name: "between the stream's acknowledgement and the spool's commit", step: 'remove', way: 'before' },
    { name: 'after the commit of a batch', step: 'remove', way: 'after' },
  ] as const;

  test(`kill -9 of ingest as it drains: ${drainSteps.map(({ name }) => name).join('; ')}`, async (t) => {
    const { start, traffic, recovered, settle } = await newScene(t, proxy, { fault: 'killed draining' });
    traffic.start();
    for (const { step, way } of drainSteps) {
      proxy.set('refuse');
      const ingest = await start(killAt(step, way, 3));
      await traffic.accepts(150);
      proxy.set('pass');
      assert.deepEqual(await ingest.exited, sigkill);
    }
    await start();
    await recovered();
    const { copies } = await settle();
    assert.ok(copies > 0, 'the stream has copies');
    assert.equal(traffic.refused, 0);
  });

  test('kill -9 of ingest and of `spool requeue` as dead letters are brought back', async (t) => {
    const scene = await newScene(t, proxy, { fault: 'killed requeueing', maxMessageBytes: 60_000 });
    const { start, traffic, recovered, settle } = scene;
    const dead = () => scene.metric('daybook_ingest_spool_dead_letters');
    // Larger than the topic takes, which ingest cannot know before it answers.
    traffic.start({ paddedBytes: 80_000 });
    const ingest = await start();
    await traffic.accepts(200);
    await traffic.stop();
    proxy.set('pass');
    const padded = Math.ceil(traffic.sent / 10);
    await until(async () => ((await dead()) === padded ? padded : undefined));
    await setMaxMessageBytes(scene.topic, 2_000_000);

    assert.deepEqual(await requeue(scene, killAt('requeue', 'before', 1)), sigkill);
    assert.equal(await dead(), padded, 'nothing was brought back');
    assert.deepEqual(await requeue(scene, killAt('requeue', 'after', 1)), sigkill);
    ingest.process.kill('SIGKILL');
    assert.deepEqual(await ingest.exited, sigkill);
    await start();
    // Those that ingest tried before it was killed.
    assert.deepEqual(await requeue(scene), [0, null]);
    traffic.start();
    await recovered();
    assert.equal(await dead(), 0);
    await settle();
  });
}

function requeue({ books, environment }: Scene, how: { preload?: URL; environment?: object } = {}): Promise<unknown[]> {
  const child = spawnIngest({
    cwd: books.directory,
    commands: ['spool', 'requeue'],
    ...how,
    environment: { ...environment, ...how.environment },
  });
  child.stderr.resume();
  return once(child, 'exit');
}

function setMaxMessageBytes(topic: string, bytes: number): Promise<unknown> {
  const configEntries = [{ name: 'max.message.bytes', value: `${bytes}` }];
  const resources = [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configEntries }];
  return withTestAdmin([`127.0.0.1:${proxyPort}`], (admin) => admin.alterConfigs({ validateOnly: false, resources }));
}

function spoolTests(proxy: TcpProxy): void {
  test('a spool whose disk is full while the stream is away: 503, and 2xx again as soon as the drain makes room', async (t) => {
    if (!requireCommand(t, 'unshare')) return;
    if (!(await mayMount())) {
      if (process.env.REQUIRE_SERVICES === '1') throw new Error('may not mount a small disk here');
      return t.skip('may not mount a small disk here');
    }
    const { books, start, traffic, recovered, settle } = await newScene(t, proxy, { fault: 'disk full' });
    const disk = join(books.directory, 'disk');
    await fs.mkdir(disk);
    const script = `mount -t tmpfs -o size=40m none ${disk} && exec "$@"`;
    await start({ through: ['unshare', '-rm', 'sh', '-c', script, 'sh'], environment: { DAYBOOK_DATA_DIR: disk } });
    traffic.start({ paddedBytes: 200_000 });
    await traffic.refuses(50);
    const before = traffic.accepted.size;
    proxy.set('pass');
    await recovered();
    const { spooled } = await settle();
    assert.ok(before > 50 && spooled >= before, `${before} fitted`);
  });

  test('PostgreSQL killed and started again while the stream is away: 503, then the spool goes on, then it drains', async (t) => {
    const home = await fs.mkdtemp(join(tmpdir(), 'daybook-postgres-'));
    const [sqlPort] = await freePorts(1);
    const open = () => openService<PostgresFacts>('postgres.sh', { parameters: [home, `${sqlPort}`] });
    let postgres: Service<PostgresFacts> | undefined;
    t.after(async () => {
      await postgres?.stop();
      await fs.rm(home, { recursive: true });
    });
    const opened = await open();
    if (typeof opened === 'string') return t.skip(`${opened} (REQUIRE_SERVICES=1 installs it)`);
    postgres = opened;
    const params = { host: '127.0.0.1', port: sqlPort, database: 'postgres', user: 'postgres' };
    const spool = { type: 'sql', params };
    const { start, traffic, recovered, settle } = await newScene(t, proxy, { fault: 'PostgreSQL restarted', spool });
    await start();
    traffic.start();
    await traffic.accepts(100);
    process.kill(postgres.facts.pid, 'SIGKILL');
    await postgres.ended;
    await traffic.refuses(50);
    postgres = (await open()) as Service<PostgresFacts>;
    await traffic.accepts(100);
    proxy.set('pass');
    await recovered();
    const { spooled } = await settle();
    assert.ok(spooled >= 200);
  });
}

async function mayMount(): Promise<boolean> {
  const mounting = promisify(execFile)('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'none', tmpdir()]);
  return mounting.then(
    () => true,
    () => false,
  );
}
