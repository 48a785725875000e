/** The admin listener of ingest as a process: what Prometheus is told of requests that were really sent. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, get, type IncomingMessage } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { promtoolFindings } from '../promtool.ts';
import { spawnIngest, startIngestProcess } from './ingest-process.ts';
import {
  pandaHeaders,
  pandaSecret,
  post,
  serverEvent,
  stripeEvent,
  stripeHeaders,
  stripeSecret,
} from './ingest-under-test.ts';

let directory: string;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'daybook-admin-'));
});
after(() => rm(directory, { recursive: true, force: true }));

const sources = [
  { name: 'platform', scheme: 'stripe', secrets: [stripeSecret], mode: 'test' },
  { name: 'billing', scheme: 'panda', secrets: [pandaSecret] },
];
const environment = (name: string) => ({
  DAYBOOK_SOURCES: JSON.stringify(sources),
  DAYBOOK_DATA_DIR: join(directory, name),
  INGEST_PORT: '0',
});

test('a scrape tells what was received, by source and outcome, and holds no secret and no id', async (t) => {
  const ingest = await startIngestProcess({ cwd: directory, environment: environment('scraped') });
  const webhook = `${ingest.url}/webhooks/platform`;
  const send = async (event: Record<string, unknown>, headers?: Record<string, string>) => {
    const body = JSON.stringify(event);
    return (await post(webhook, headers ?? stripeHeaders(body), body)).status;
  };
  assert.equal(await send(stripeEvent({ id: 'evt_told_1' })), 200);
  assert.equal(await send(stripeEvent({ id: 'evt_told_2' })), 200);
  assert.equal(await send(stripeEvent(), stripeHeaders('another body')), 400);
  assert.equal(await send(stripeEvent({ livemode: true })), 403);
  const events = JSON.stringify([serverEvent(), serverEvent({ type: 'other' }), serverEvent({ type: 'third' })]);
  assert.equal((await post(`${ingest.url}/events`, pandaHeaders(), events)).status, 201);
  assert.equal((await post(`${ingest.url}/events`, pandaHeaders('/events', 'made-up'), events)).status, 403);
  assert.equal((await post(`${ingest.url}/webhooks/made-up`, stripeHeaders('{}'), '{}')).status, 404);
  assert.equal((await fetch(`${ingest.url}/healthz`)).status, 200);
  assert.equal((await fetch(`${ingest.url}/metrics`)).status, 404, 'not on the public listener');

  const scraped = await (await fetch(`http://127.0.0.1:${ingest.adminPort}/metrics`)).text();
  const risen = scraped.split('\n').filter((line) => /^daybook_ingest_(?:requests|accepted|refusals)/.test(line));
  assert.deepEqual(risen.filter((line) => !line.endsWith(' 0')).sort(), [
    'daybook_ingest_accepted_events_total{source="billing"} 3',
    'daybook_ingest_accepted_events_total{source="platform"} 2',
    'daybook_ingest_refusals_total{code="signature_mismatch"} 1',
    'daybook_ingest_refusals_total{code="token_mismatch"} 1',
    'daybook_ingest_refusals_total{code="unknown_route"} 1',
    'daybook_ingest_refusals_total{code="unknown_source"} 1',
    'daybook_ingest_refusals_total{code="wrong_mode"} 1',
    'daybook_ingest_requests_total{source="_unknown",outcome="invalid"} 2',
    'daybook_ingest_requests_total{source="_unknown",outcome="unauthenticated"} 1',
    'daybook_ingest_requests_total{source="billing",outcome="accepted"} 1',
    'daybook_ingest_requests_total{source="platform",outcome="accepted"} 2',
    'daybook_ingest_requests_total{source="platform",outcome="invalid"} 1',
    'daybook_ingest_requests_total{source="platform",outcome="unauthenticated"} 1',
  ]);
  for (const line of [
    'daybook_ingest_publish_batch_records_sum 5',
    'daybook_ingest_circuit_state{state="closed"} 1',
    'daybook_ingest_circuit_state{state="open"} 0',
    'daybook_ingest_spool_up 1',
    'daybook_ingest_spool_records 0',
    'daybook_ingest_spool_dead_letters 0',
  ]) {
    assert.ok(scraped.split('\n').includes(line), line);
  }
  for (const hidden of [stripeSecret, pandaSecret, 'evt_', 'made-up']) {
    assert.ok(!scraped.includes(hidden), hidden);
  }
  const findings = promtoolFindings(t, scraped);
  if (findings !== undefined) assert.equal(findings, '');

  ingest.process.kill('SIGTERM');
  assert.deepEqual(await ingest.exited, [0, null]);
});

test('while the stream is away the circuit is not closed, and what is spooled and later drained is told', async (t) => {
  const away = createServer().listen(0, '127.0.0.1');
  await once(away, 'listening');
  const { port } = away.address() as { port: number };
  away.close();
  const stream = { type: 'kafka', params: { brokers: [`127.0.0.1:${port}`], topic: 'away' } };
  const ingest = await startIngestProcess({
    cwd: directory,
    environment: { ...environment('away'), DAYBOOK_STREAM: JSON.stringify(stream), INGEST_PUBLISH_DEADLINE_MS: '1000' },
  });
  const body = JSON.stringify(stripeEvent());
  assert.equal((await post(`${ingest.url}/webhooks/platform`, stripeHeaders(body), body)).status, 200);

  const scraped = await (await fetch(`http://127.0.0.1:${ingest.adminPort}/metrics`)).text();
  const readingOf = (name: string) =>
    scraped
      .split('\n')
      .find((line) => line.startsWith(`${name} `))
      ?.split(' ')[1];
  assert.equal(readingOf('daybook_ingest_circuit_state{state="closed"}'), '0');
  assert.equal(readingOf('daybook_ingest_spooled_records_total'), '1');
  assert.equal(readingOf('daybook_ingest_spool_append_duration_seconds_count'), '1');
  assert.equal(readingOf('daybook_ingest_publish_batch_records_count'), '0');
  assert.equal(readingOf('daybook_ingest_drained_records_total'), '0');
  assert.equal(readingOf('daybook_ingest_spool_records'), '1');
  assert.ok(Number(readingOf('daybook_ingest_spool_bytes')) > body.length);
  assert.ok(Number(readingOf('daybook_ingest_spool_oldest_age_seconds')) >= 0);
  const findings = promtoolFindings(t, scraped);
  if (findings !== undefined) assert.equal(findings, '');
  ingest.process.kill('SIGKILL');
  await ingest.exited;

  // A stream is there: the record is drained, counted as such and not as published through the door.
  const next = await startIngestProcess({ cwd: directory, environment: environment('away') });
  let later: string[];
  do later = (await (await fetch(`http://127.0.0.1:${next.adminPort}/metrics`)).text()).split('\n');
  while (!later.includes('daybook_ingest_spool_records 0'));
  assert.ok(later.includes('daybook_ingest_drained_records_total 1'));
  assert.ok(later.includes('daybook_ingest_spool_oldest_age_seconds 0'));
  assert.ok(later.includes('daybook_ingest_publish_batch_records_count 0'));
  next.process.kill('SIGTERM');
  assert.deepEqual(await next.exited, [0, null]);
});

test('an admin port that is taken is said, exit 2, before the public one is open', async () => {
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const { port } = holder.address() as { port: number };
  const child = spawnIngest({
    cwd: directory,
    environment: { ...environment('taken'), INGEST_ADMIN_PORT: String(port) },
  });
  const said = text(child.stderr);
  const [code] = await once(child, 'exit');
  holder.close();
  assert.equal(code, 2);
  assert.match(await said, new RegExp(`127.0.0.1:${port} cannot be opened`));
  assert.doesNotMatch(await said, /"listening"/);
});

test('a scraper that keeps its connection open does not keep ingest from stopping', async () => {
  const ingest = await startIngestProcess({ cwd: directory, environment: environment('kept') });
  const agent = new Agent({ keepAlive: true });
  const [response] = (await once(get(`http://127.0.0.1:${ingest.adminPort}/metrics`, { agent }), 'response')) as [
    IncomingMessage,
  ];
  assert.match(await text(response), /daybook_ingest_spool_up/);
  const startedMs = performance.now();
  ingest.process.kill('SIGTERM');
  assert.deepEqual(await ingest.exited, [0, null]);
  assert.ok(performance.now() - startedMs < 5_000);
  agent.destroy();
});
