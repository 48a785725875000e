import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import {
  type IngestMetrics,
  type IngestMetricsOptions,
  ingestMetrics,
  openIngestMetrics,
} from '../../ingest/metrics.ts';
import type { AnsweredRequest } from '../../ingest/publish/observer.ts';
import type { SpoolSize } from '../../ingest/spool/backing-store.ts';
import { type ErrorCode, errorCodes, errorKind } from '../../shared/errors.ts';
import { promtoolFindings } from '../promtool.ts';

const someSize: SpoolSize = { records: 3, bytes: 4_000, oldestSeconds: 12.5, dead: 1 };

function openMetrics(options: Partial<IngestMetricsOptions> = {}): IngestMetrics {
  return openIngestMetrics({
    sources: ['platform', 'billing'].map((name) => ({ name, keyids: [`key-of-${name}`] })),
    spoolSize: async () => someSize,
    log: pino({ level: 'silent' }),
    ...options,
  });
}

/** The series of a scrape by their text before the value. */
async function seriesOf({ scrape }: Pick<IngestMetrics, 'scrape'>): Promise<Map<string, number>> {
  const lines = (await scrape()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const space = line.lastIndexOf(' ');
      const text = line.slice(space + 1);
      return [line.slice(0, space), text === 'Nan' ? Number.NaN : Number(text)];
    }),
  );
}

function answered(changes: Partial<AnsweredRequest> = {}): AnsweredRequest {
  return {
    route: '/webhooks/:source',
    source: 'platform',
    keyid: undefined,
    status: 200,
    code: undefined,
    records: 1,
    seconds: 0.004,
    ...changes,
  };
}

function refused(code: ErrorCode, source: string | undefined = 'platform'): AnsweredRequest {
  return answered({ source, code, status: errorKind(code).status ?? 500, records: 0 });
}

const codesOfSenders = (Object.keys(errorCodes) as ErrorCode[]).filter((code) => errorKind(code).status !== undefined);

test('promtool finds nothing wrong with what ingest tells, before and after events', async (t) => {
  const metrics = openMetrics();
  t.after(() => metrics.close());
  const before = promtoolFindings(t, await metrics.scrape());
  if (before === undefined) return;
  assert.equal(before, '');
  metrics.observer.answered(answered());
  metrics.observer.published(2, 0.003);
  metrics.observer.circuit('open');
  assert.equal(promtoolFindings(t, await metrics.scrape()), '');
});

test('promtool finds nothing wrong while nothing is known of the spool', async (t) => {
  const metrics = openMetrics({ spoolSize: () => Promise.reject(new Error('away')) });
  t.after(() => metrics.close());
  const findings = promtoolFindings(t, await metrics.scrape());
  if (findings !== undefined) assert.equal(findings, '');
});

test('each source has all outcomes, and each code its series, at zero from the start; each metric is of the table', async (t) => {
  const metrics = openMetrics();
  t.after(() => metrics.close());
  const series = await seriesOf(metrics);
  const { outcome: outcomes } = ingestMetrics.daybook_ingest_requests_total.labels;
  for (const source of ['platform', 'billing', '_unknown']) {
    for (const outcome of outcomes) {
      assert.equal(series.get(`daybook_ingest_requests_total{source="${source}",outcome="${outcome}"}`), 0);
    }
    assert.equal(series.get(`daybook_ingest_accepted_events_total{source="${source}"}`), 0);
  }
  for (const code of codesOfSenders) {
    assert.equal(series.get(`daybook_ingest_refusals_total{code="${code}"}`), 0, code);
  }
  const names = new Set(
    [...series.keys()]
      .filter((each) => each.startsWith('daybook_ingest_'))
      .map((each) => each.replace(/\{.*/, '').replace(/(?<!_total)_(?:bucket|sum|count)$/, '')),
  );
  assert.deepEqual([...names].sort(), Object.keys(ingestMetrics).sort());
});

test('a request counts once, under its source and outcome, and a refusal under its code', async (t) => {
  const metrics = openMetrics();
  t.after(() => metrics.close());
  const { observer } = metrics;
  observer.answered(answered({ records: 5 }));
  observer.answered(answered());
  observer.answered(answered({ source: 'billing', records: 0 }));
  observer.answered(refused('signature_mismatch'));
  observer.answered(refused('body_too_large'));
  observer.answered(refused('request_aborted'));
  observer.answered(refused('overloaded'));
  observer.answered(refused('stream_unavailable'));
  observer.answered(refused('internal_error'));

  const series = await seriesOf(metrics);
  const counted = [...series].filter(([name, value]) => name.startsWith('daybook_ingest_requests_total') && value > 0);
  assert.deepEqual(Object.fromEntries(counted), {
    'daybook_ingest_requests_total{source="platform",outcome="accepted"}': 2,
    'daybook_ingest_requests_total{source="platform",outcome="unauthenticated"}': 1,
    'daybook_ingest_requests_total{source="platform",outcome="invalid"}': 1,
    'daybook_ingest_requests_total{source="platform",outcome="aborted"}': 1,
    'daybook_ingest_requests_total{source="platform",outcome="unavailable"}': 2,
    'daybook_ingest_requests_total{source="platform",outcome="failed"}': 1,
    'daybook_ingest_requests_total{source="billing",outcome="left_out"}': 1,
  });
  assert.equal(series.get('daybook_ingest_accepted_events_total{source="platform"}'), 6);
  assert.equal(series.get('daybook_ingest_accepted_events_total{source="billing"}'), 0);
  const codes = [...series].filter(([name, value]) => name.startsWith('daybook_ingest_refusals_total') && value > 0);
  assert.deepEqual(codes.map(([name, value]) => [/"(.*)"/.exec(name)?.[1], value]).sort(), [
    ['body_too_large', 1],
    ['internal_error', 1],
    ['overloaded', 1],
    ['request_aborted', 1],
    ['signature_mismatch', 1],
    ['stream_unavailable', 1],
  ]);
  assert.equal(series.get('daybook_ingest_request_duration_seconds_count'), 9);
});

test('every code is an outcome: what a sender must prove is unauthenticated, whatever its status', async (t) => {
  const metrics = openMetrics({ sources: [] });
  t.after(() => metrics.close());
  const outcomeOf = async (code: ErrorCode) => {
    const before = await seriesOf(metrics);
    metrics.observer.answered(refused(code, undefined));
    const after = await seriesOf(metrics);
    const risen = [...after].filter(
      ([name, value]) => name.startsWith('daybook_ingest_requests_total') && value > (before.get(name) ?? 0),
    );
    return risen.map(([name]) => /outcome="(.*)"/.exec(name)?.[1]).join();
  };
  const first = codesOfSenders.indexOf('signature_missing');
  const proofs = ['caller_refused', ...codesOfSenders.slice(first, codesOfSenders.indexOf('date_in_future') + 1)];
  for (const code of codesOfSenders) {
    const { status } = errorKind(code);
    const found = await outcomeOf(code);
    if (status === 503) assert.equal(found, 'unavailable', code);
    else if (status === 500) assert.equal(found, 'failed', code);
    else if (code === 'request_aborted') assert.equal(found, 'aborted');
    else assert.equal(found, proofs.includes(code) ? 'unauthenticated' : 'invalid', code);
  }
});

test('a source that is not configured makes no series, nor does a code that is not declared', async (t) => {
  const metrics = openMetrics();
  t.after(() => metrics.close());
  const before = [...(await seriesOf(metrics)).keys()];
  metrics.observer.answered(answered({ source: 'made-up' }));
  metrics.observer.answered(answered({ source: undefined, route: 'unknown', code: 'unknown_route', records: 0 }));
  metrics.observer.answered(answered({ code: 'made_up', records: 0 }));
  const after = await seriesOf(metrics);
  assert.deepEqual([...after.keys()], before);
  assert.equal(after.get('daybook_ingest_requests_total{source="_unknown",outcome="accepted"}'), 1);
  assert.equal(after.get('daybook_ingest_requests_total{source="_unknown",outcome="invalid"}'), 1);
  assert.equal(after.get('daybook_ingest_requests_total{source="platform",outcome="failed"}'), 1);
});

test('health checks are not requests', async (t) => {
  const metrics = openMetrics();
  t.after(() => metrics.close());
  const before = await seriesOf(metrics);
  metrics.observer.answered(answered({ route: '/healthz', source: undefined, records: 0 }));
  metrics.observer.answered(answered({ route: '/readyz', source: undefined, records: 0, code: 'stream_unavailable' }));
  const after = await seriesOf(metrics);
  const ofIngest = (series: Map<string, number>) => [...series].filter(([name]) => name.startsWith('daybook_'));
  assert.deepEqual(ofIngest(after), ofIngest(before));
});

test('batches, spooled, drained and dead records are counted, and one circuit state is 1', async (t) => {
  const metrics = openMetrics();
  t.after(() => metrics.close());
  const { observer } = metrics;
  observer.published(7, 0.02);
  observer.published(1, 3);
  observer.spooled(40, 0.006);
  observer.drained(30, 0.1);
  observer.drained(9, 0.1);
  observer.deadLettered(1);
  observer.circuit('closed');
  observer.circuit('half_open');
  const series = await seriesOf(metrics);
  const wanted = {
    daybook_ingest_publish_batch_records_sum: 8,
    daybook_ingest_publish_batch_records_count: 2,
    'daybook_ingest_publish_batch_records_bucket{le="5"}': 1,
    'daybook_ingest_publish_batch_records_bucket{le="10"}': 2,
    daybook_ingest_publish_duration_seconds_sum: 3.02,
    'daybook_ingest_publish_duration_seconds_bucket{le="0.025"}': 1,
    daybook_ingest_spooled_records_total: 40,
    daybook_ingest_spool_append_duration_seconds_count: 1,
    daybook_ingest_drained_records_total: 39,
    daybook_ingest_dead_lettered_records_total: 1,
    'daybook_ingest_circuit_state{state="closed"}': 0,
    'daybook_ingest_circuit_state{state="half_open"}': 1,
    'daybook_ingest_circuit_state{state="open"}': 0,
  };
  assert.deepEqual(Object.fromEntries(Object.keys(wanted).map((name) => [name, series.get(name)])), wanted);
});

const spoolSeries = [
  'daybook_ingest_spool_up',
  'daybook_ingest_spool_records',
  'daybook_ingest_spool_bytes',
  'daybook_ingest_spool_oldest_age_seconds',
  'daybook_ingest_spool_dead_letters',
];
async function spoolOf(metrics: IngestMetrics): Promise<(number | undefined)[]> {
  const series = await seriesOf(metrics);
  return spoolSeries.map((name) => series.get(name));
}

test('the size of the spool is that of the scrape; when it is away the last one stays, and spool_up is 0', async (t) => {
  let answer: () => Promise<SpoolSize> = () => Promise.reject(new Error('away'));
  const metrics = openMetrics({ spoolSize: () => answer() });
  t.after(() => metrics.close());
  assert.deepEqual(await spoolOf(metrics), [0, Number.NaN, Number.NaN, Number.NaN, Number.NaN]);
  answer = async () => someSize;
  assert.deepEqual(await spoolOf(metrics), [1, 3, 4_000, 12.5, 1]);
  answer = async () => ({ records: 0, bytes: 0, oldestSeconds: 0, dead: 0 });
  assert.deepEqual(await spoolOf(metrics), [1, 0, 0, 0, 0]);
  answer = async () => someSize;
  await spoolOf(metrics);
  // Thrown before there is a promise, too.
  answer = () => {
    throw new Error('closed');
  };
  assert.deepEqual(await spoolOf(metrics), [0, 3, 4_000, 12.5, 1]);
});

test('a spool that hangs holds no scrape, and is asked once however often is scraped', async (t) => {
  let asked = 0;
  let tell: ((size: SpoolSize) => void) | undefined;
  const metrics = openMetrics({
    spoolLimitMs: 10,
    spoolSize: () => {
      asked += 1;
      return new Promise((resolve) => {
        tell = resolve;
      });
    },
  });
  t.after(() => metrics.close());
  const scrapes = await Promise.all([spoolOf(metrics), spoolOf(metrics), spoolOf(metrics)]);
  assert.deepEqual(
    scrapes.map(([up]) => up),
    [0, 0, 0],
  );
  await spoolOf(metrics);
  assert.equal(asked, 1);
  // It answers late: the answer is kept, the next scrape asks again.
  tell?.(someSize);
  await new Promise(setImmediate);
  assert.deepEqual(await spoolOf(metrics), [0, 3, 4_000, 12.5, 1]);
  assert.equal(asked, 2);
});
