/**
 * `npm run bench [ingest|kafka|spool|compact|verify|ledger|redact|kafka-s3] [events…]`: what the table of figures in test/README.md is made of,
 * each with the limit that it is held to. All of it takes about a quarter of an hour. Servers that are not installed are
 * said by name, and what needs them is skipped.
 */
import { tableOf } from '../../shared/program/table.ts';
import type { StreamConfiguration } from '../../shared/stream/open.ts';
import type { PostgresFacts } from '../ingest/spool/sql-under-test.ts';
import { createBucket } from '../services/s3-buckets.ts';
import { openService } from '../services/service.ts';
import { newTopicName } from '../shared/stream/kafka/kafka-under-test.ts';
import { benchCompact, benchRoute, type CompactRow } from './compact.ts';
import { benchIngest, benchPlainServer, type IngestBenchRow } from './ingest.ts';
import { benchLedger } from './ledger.ts';
import { benchRedact } from './redact.ts';
import { benchSpool, benchSpoolMemory, type DrainRow } from './spool.ts';
import { benchVerify } from './verify.ts';

const [what, ...counts] = process.argv.slice(2);
const firstCount = counts[0] === undefined ? undefined : Number(counts[0]);
const figure = (value: number, digits: number) => Number(value.toFixed(digits));
const say = (text: string) => process.stdout.write(`${text}\n`);
const million = 1_000_000;

/** With what costs the least that a server can, measured just before. */
async function sayIngest(stream: StreamConfiguration, maxCpuSecondsPer1000: string): Promise<void> {
  const plain = await benchPlainServer(firstCount);
  const rows = [plain, ...(await benchIngest(stream, firstCount))];
  const head = ['ingest', 'events', 'CPU-s per 1,000', '× plain', 'wall s', 'p50 ms', 'p99 ms', 'limit'];
  const cells = rows.map(({ name, events, cpuSecondsPer1000, wallSeconds, p50Ms, p99Ms, isAtPeak }) => [
    name,
    events,
    figure(cpuSecondsPer1000, 4),
    figure(cpuSecondsPer1000 / plain.cpuSecondsPer1000, 2),
    figure(wallSeconds, 1),
    figure(p50Ms, 2),
    figure(p99Ms, 2),
    name === plain.name ? null : isAtPeak ? `${maxCpuSecondsPer1000} CPU-s per 1,000` : 'p99 50 ms',
  ]);
  say(tableOf(head, cells));
}

function sayCompact(
  rows: readonly CompactRow[],
  limitOf: (row: CompactRow) => string | null,
  what = 'compact',
  unit = 'events',
): void {
  const head = [what, unit, 'CPU-s per 1,000', `${unit} per CPU-s`, 'wall s', 'peak MB', 'limit'];
  const cells = rows.map((row) => [
    row.name,
    row.events,
    figure(row.cpuSeconds / (row.events / 1000), 4),
    Math.round(row.events / row.cpuSeconds),
    figure(row.wallSeconds, 1),
    Math.round(row.peakMegabytes),
    limitOf(row),
  ]);
  say(tableOf(head, cells));
}

function sayDrains(rows: readonly DrainRow[], inPerSecond: number | undefined, limit: string): void {
  const head = ['drain', 'records', 'records per s', '× the rate in', 'CPU-s per 1,000', 'peak MB', 'limit'];
  const cells = rows.map(({ name, records, wallSeconds, cpuSecondsPer1000, peakMegabytes }) => [
    name,
    records,
    Math.round(records / wallSeconds),
    inPerSecond === undefined ? null : figure(records / wallSeconds / inPerSecond, 2),
    figure(cpuSecondsPer1000, 4),
    Math.round(peakMegabytes),
    limit,
  ]);
  say(tableOf(head, cells));
}

async function saySpool(events: number, kafkaBroker: string | undefined): Promise<void> {
  const streams = [{ type: 'embedded' as const }, ...(kafkaBroker === undefined ? [] : [topicOn(kafkaBroker)])];
  const { embedded, spooling, drains } = await benchSpool(events, streams);
  const perSecond = (row: IngestBenchRow) => row.events / row.wallSeconds;
  const head = ['ingest', 'events', 'events per s', '× embedded', 'CPU-s per 1,000', 'p50 ms', 'p99 ms', 'limit'];
  const cells = [embedded, spooling].map((row) => [
    row.name,
    row.events,
    Math.round(perSecond(row)),
    figure(perSecond(row) / perSecond(embedded), 2),
    figure(row.cpuSecondsPer1000, 4),
    figure(row.p50Ms, 2),
    figure(row.p99Ms, 2),
    row === spooling ? 'at least 0.7 × embedded' : null,
  ]);
  say(tableOf(head, cells));
  sayDrains(drains, perSecond(spooling), 'at least 2 × the rate in');
}

/** Resolves with whether the service is there. */
async function withService<Facts>(script: string, work: (facts: Facts) => Promise<unknown>): Promise<boolean> {
  const service = await openService<Facts>(script);
  if (typeof service === 'string') {
    say(`skipped, since ${script} has no server: ${service} (REQUIRE_SERVICES=1 installs it)`);
    return false;
  }
  try {
    await work(service.facts);
    return true;
  } finally {
    await service.stop();
  }
}

const withKafka = (work: (facts: { readonly broker: string }) => Promise<unknown>) => withService('kafka.sh', work);
const withS3 = (work: (facts: { readonly endpoint: string }) => Promise<unknown>) => withService('s3.sh', work);

const topicOn = (broker: string) => ({
  type: 'kafka' as const,
  params: { brokers: [broker], topic: newTopicName(), create: { partitions: 6, replicationFactor: 1 } },
});

if (what === undefined || what === 'ingest') await sayIngest({ type: 'embedded' }, '0.10');
if (what === undefined || what === 'kafka') {
  await withKafka(async ({ broker }) => sayIngest(topicOn(broker), '0.12'));
}
if (what === undefined || what === 'spool') {
  const events = firstCount ?? 100_000;
  if (!(await withKafka(({ broker }) => saySpool(events, broker)))) await saySpool(events, undefined);
  const records = Number(counts[1] ?? million);
  sayDrains([await benchSpoolMemory(records, { type: 'file' })], undefined, '200 MB');
  await withService<PostgresFacts>('postgres.sh', async ({ port }) => {
    const params = { url: `postgres://postgres@127.0.0.1:${port}/postgres` };
    sayDrains([await benchSpoolMemory(records, { type: 'sql', params })], undefined, '200 MB');
  });
}
if (what === undefined || what === 'compact') {
  const rows = await benchCompact(counts.length > 0 ? counts.map(Number) : [100_000, million]);
  sayCompact(rows, ({ name }) => (name === 'compact' ? '300 MB, at least 10,000 per CPU-s' : null));
}
if (what === undefined || what === 'verify') {
  const rows = await benchVerify(counts.length > 0 ? counts.map(Number) : [million]);
  const limitOf = ({ name }: CompactRow) =>
    name.startsWith('restore') ? '300 MB, at least 20,000 per CPU-s' : '300 MB';
  sayCompact(rows, limitOf, 'one day');
}
if (what === undefined || what === 'ledger') {
  const rows = await benchLedger(firstCount ?? 3_650);
  sayCompact(rows, ({ name }) => (name.startsWith('run') ? '1 s, 150 MB' : null), 'ledger', 'manifests');
}
if (what === undefined || what === 'redact') {
  const limitOf = ({ peakMegabytes }: CompactRow) => (peakMegabytes === 0 ? null : '300 MB');
  sayCompact(await benchRedact({ type: 'embedded' }, { type: 'embedded' }, firstCount), limitOf, 'redact', 'records');
  await withKafka(async ({ broker }) => {
    sayCompact(await benchRedact(topicOn(broker), topicOn(broker), firstCount), limitOf, 'redact', 'records');
  });
}
if (what === undefined || what === 'kafka-s3') {
  await withKafka(({ broker }) =>
    withS3(async ({ endpoint }) => {
      const route = { stream: topicOn(broker), store: { type: 's3' as const, params: await createBucket(endpoint) } };
      const [embedded, other] = await benchRoute(route, firstCount);
      const ratio = figure(other.cpuSeconds / embedded.cpuSeconds, 2);
      sayCompact([embedded, other], (row) => (row === other ? `${ratio} × embedded, limit 1.3 ×` : null));
    }),
  );
}
