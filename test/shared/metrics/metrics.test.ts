import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { pino } from 'pino';
import { Registry, register } from 'prom-client';
import { DaybookError } from '../../../shared/errors.ts';
import {
  declareMetrics,
  type MetricsListenerOptions,
  type MetricTable,
  openMetricsListener,
} from '../../../shared/metrics/metrics.ts';
import { openProcessMetrics, processMetrics } from '../../../shared/metrics/process-metrics.ts';
import { promtoolFindings } from '../../promtool.ts';

const table = {
  test_letters_total: {
    type: 'counter',
    unit: 'letters',
    labels: { from: 'configured', kind: ['post', 'parcel'] },
    meaning: 'Letters.',
  },
  test_room_bytes: { type: 'gauge', unit: 'bytes', meaning: 'Room.' },
  test_state: { type: 'gauge', unit: '1 or 0', labels: { state: ['open', 'closed'] }, meaning: 'State.' },
  test_way_seconds: {
    type: 'histogram',
    unit: 'seconds',
    labels: { kind: ['post', 'parcel'] },
    meaning: 'Way.',
    buckets: [1, 5],
  },
} as const satisfies MetricTable;

async function openListener(options: Partial<MetricsListenerOptions> = {}) {
  const lines: Record<string, unknown>[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const listener = await openMetricsListener({
    host: '127.0.0.1',
    port: 0,
    setting: 'TEST_PORT',
    scrape: async () => 'test_up 1\n',
    log,
    ...options,
  });
  return { ...listener, url: `http://127.0.0.1:${listener.port}`, lines };
}

test('every series is there at the start, at zero, for each combination of its labels', async () => {
  const registry = new Registry();
  declareMetrics(registry, table, { from: ['near', 'far'] });
  const series = (await registry.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  assert.deepEqual(
    series.filter((line) => !line.startsWith('test_way_seconds')),
    [
      'test_letters_total{from="near",kind="post"} 0',
      'test_letters_total{from="near",kind="parcel"} 0',
      'test_letters_total{from="far",kind="post"} 0',
      'test_letters_total{from="far",kind="parcel"} 0',
      'test_room_bytes 0',
      'test_state{state="open"} 0',
      'test_state{state="closed"} 0',
    ],
  );
  assert.deepEqual(
    series.filter((line) => line.startsWith('test_way_seconds') && line.includes('kind="post"')),
    [
      'test_way_seconds_bucket{le="1",kind="post"} 0',
      'test_way_seconds_bucket{le="5",kind="post"} 0',
      'test_way_seconds_bucket{le="+Inf",kind="post"} 0',
      'test_way_seconds_sum{kind="post"} 0',
      'test_way_seconds_count{kind="post"} 0',
    ],
  );
});

test('two programs in one process share no metric, and the global registry has none', async () => {
  const [one, other] = [new Registry(), new Registry()];
  declareMetrics(one, table, { from: ['near'] }).test_room_bytes.set(7);
  declareMetrics(other, table, { from: ['near'] });
  assert.match(await one.metrics(), /^test_room_bytes 7$/m);
  assert.match(await other.metrics(), /^test_room_bytes 0$/m);
  assert.deepEqual(register.getMetricsAsArray(), []);
});

test('the process tells its CPU time, memory, start and event-loop lag, as promtool wants them', async (t) => {
  const registry = new Registry();
  const ofProcess = openProcessMetrics(registry);
  t.after(() => ofProcess.close());
  const readingOf = async (name: string) =>
    Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(await registry.metrics())?.[1] ?? Number.NaN);

  // Two beats of its timer, with the process busy for longer than the first bucket in between.
  while ((await readingOf('nodejs_event_loop_lag_seconds_count')) < 1) await new Promise(setImmediate);
  const busyUntilMs = performance.now() + 300;
  while (performance.now() < busyUntilMs);
  while ((await readingOf('nodejs_event_loop_lag_seconds_count')) < 2) await new Promise(setImmediate);
  assert.ok((await readingOf('nodejs_event_loop_lag_seconds_sum')) >= 0.15);
  // Each beat is measured from the one before: a lag is not carried on.
  const inTime = () => readingOf('nodejs_event_loop_lag_seconds_bucket\\{le="0.1"\\}');
  const before = await inTime();
  while ((await inTime()) === before && (await readingOf('nodejs_event_loop_lag_seconds_count')) < 20) {
    await new Promise(setImmediate);
  }
  assert.ok((await inTime()) > before);

  ofProcess.refresh();
  ofProcess.refresh();
  const cpu = process.cpuUsage();
  assert.ok(Math.abs((await readingOf('process_cpu_seconds_total')) - (cpu.user + cpu.system) / 1e6) < 0.5);
  assert.ok((await readingOf('process_resident_memory_bytes')) > 1e7);
  assert.ok((await readingOf('nodejs_heap_used_bytes')) > 1e6);
  assert.ok(Math.abs((await readingOf('process_start_time_seconds')) - (Date.now() / 1000 - process.uptime())) < 1);
  assert.equal(registry.getMetricsAsArray().length, Object.keys(processMetrics).length);
  const findings = promtoolFindings(t, await registry.metrics());
  if (findings !== undefined) assert.equal(findings, '');
});

test('promtool refuses a gauge that ends in _total and a text that does not parse', (t) => {
  const wrongName = promtoolFindings(t, '# HELP a_total A.\n# TYPE a_total gauge\na_total 1\n');
  if (wrongName === undefined) return;
  assert.match(wrongName, /exit 3: .*_total/s);
  assert.match(promtoolFindings(t, 'no metric at all\n') ?? '', /exit 1/);
});

test('the admin listener answers GET and HEAD of /metrics, 405 to other methods, 404 elsewhere', async (t) => {
  const listener = await openListener();
  t.after(() => listener.close());
  const scraped = await fetch(`${listener.url}/metrics?format=any`);
  assert.equal(scraped.status, 200);
  assert.equal(scraped.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  assert.equal(await scraped.text(), 'test_up 1\n');
  const head = await fetch(`${listener.url}/metrics`, { method: 'HEAD' });
  assert.deepEqual([head.status, await head.text()], [200, '']);
  const posted = await fetch(`${listener.url}/metrics`, { method: 'POST', body: 'x' });
  assert.deepEqual([posted.status, posted.headers.get('allow')], [405, 'GET, HEAD']);
  for (const path of ['/', '/metrics/', '/healthz', '/webhooks/platform']) {
    assert.equal((await fetch(listener.url + path)).status, 404, path);
  }
});

test('a scrape that fails is a 500 whose reason is in the log alone', async (t) => {
  const listener = await openListener({
    async scrape() {
      throw new Error('inner matter');
    },
  });
  t.after(() => listener.close());
  const answered = await fetch(`${listener.url}/metrics`);
  assert.equal(answered.status, 500);
  assert.doesNotMatch(await answered.text(), /inner/);
  assert.deepEqual(
    listener.lines.map(({ msg, reason }) => [msg, reason]),
    [
      ['metrics listening', undefined],
      ['metrics cannot be given', 'inner matter'],
    ],
  );
});

test('a port that is taken is listener_unavailable', async (t) => {
  const listener = await openListener();
  t.after(() => listener.close());
  await assert.rejects(
    openListener({ port: listener.port }),
    (error) => error instanceof DaybookError && error.code === 'listener_unavailable',
  );
});

test('closing waits neither for a scrape that hangs nor for an idle connection, and may be repeated', async (t) => {
  let asked: (() => void) | undefined;
  const isAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const listener = await openListener({
    scrape: () => {
      asked?.();
      return new Promise<string>(() => {});
    },
  });
  const idle = connect(listener.port, '127.0.0.1');
  await once(idle, 'connect');
  const patience = new AbortController();
  const hanging = fetch(`${listener.url}/metrics`, { signal: patience.signal }).catch((error: unknown) => error);
  t.after(() => {
    idle.destroy();
    patience.abort();
  });
  await isAsked;
  await listener.close();
  await listener.close();
  assert.ok((await hanging) instanceof Error);
  assert.equal(patience.signal.aborted, false);
});
