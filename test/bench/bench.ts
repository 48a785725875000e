/**
 * `npm run bench [ingest|compact|kafka|kafka-s3] [events…]`: what README's table of figures is made of. Takes about seven
 * minutes. Servers that are not installed are said by name, and what needs them is skipped.
 */
import { tableOf } from '../../compactor/table.ts';
import { createBucket } from '../services/s3-buckets.ts';
import { openService } from '../services/service.ts';
import { newTopicName } from '../shared/stream/kafka-under-test.ts';
import { benchCompact, benchRoute, type CompactRow } from './compact.ts';
import { benchIngest, type IngestBenchRow } from './ingest.ts';

const [what, ...counts] = process.argv.slice(2);
const firstCount = counts[0] === undefined ? undefined : Number(counts[0]);
const figure = (value: number, digits: number) => Number(value.toFixed(digits));
const say = (text: string) => process.stdout.write(`${text}\n`);

function sayIngest(rows: readonly IngestBenchRow[]): void {
  const head = ['ingest', 'events', 'CPU-s per 1,000', 'wall s', 'p50 ms', 'p99 ms'];
  const cells = rows.map(({ name, events, cpuSecondsPer1000, wallSeconds, p50Ms, p99Ms }) => [
    name,
    events,
    figure(cpuSecondsPer1000, 4),
    figure(wallSeconds, 1),
    figure(p50Ms, 2),
    figure(p99Ms, 2),
  ]);
  say(tableOf(head, cells));
}

function sayCompact(rows: readonly CompactRow[]): void {
  const head = ['compact', 'events', 'CPU-s per 1,000', 'events per CPU-s', 'wall s', 'peak MB'];
  const cells = rows.map(({ name, events, cpuSeconds, wallSeconds, peakMegabytes }) => [
    name,
    events,
    figure(cpuSeconds / (events / 1000), 4),
    Math.round(events / cpuSeconds),
    figure(wallSeconds, 1),
    Math.round(peakMegabytes),
  ]);
  say(tableOf(head, cells));
}

async function withService<Facts>(script: string, work: (facts: Facts) => Promise<void>): Promise<void> {
  const service = await openService<Facts>(script);
  if (typeof service === 'string') {
    say(`skipped, since ${script} has no server: ${service} (REQUIRE_SERVICES=1 installs it)`);
    return;
  }
  try {
    await work(service.facts);
  } finally {
    await service.stop();
  }
}

const withKafka = (work: (facts: { readonly broker: string }) => Promise<void>) => withService('kafka.sh', work);
const withS3 = (work: (facts: { readonly endpoint: string }) => Promise<void>) => withService('s3.sh', work);

const topicOn = (broker: string) => ({
  type: 'kafka' as const,
  params: { brokers: [broker], topic: newTopicName(), create: { partitions: 6, replicationFactor: 1 } },
});

if (what === undefined || what === 'ingest') sayIngest(await benchIngest({ type: 'embedded' }));
if (what === undefined || what === 'kafka') {
  await withKafka(async ({ broker }) => sayIngest(await benchIngest(topicOn(broker), firstCount)));
}
if (what === undefined || what === 'compact') {
  sayCompact(await benchCompact(counts.length > 0 ? counts.map(Number) : [100_000, 1_000_000]));
}
if (what === undefined || what === 'kafka-s3') {
  await withKafka(({ broker }) =>
    withS3(async ({ endpoint }) => {
      const route = { stream: topicOn(broker), store: { type: 's3' as const, params: await createBucket(endpoint) } };
      const [embedded, other] = await benchRoute(route, firstCount);
      sayCompact([embedded, other]);
      say(`${other.name}: ${figure(other.cpuSeconds / embedded.cpuSeconds, 2)} × the CPU seconds of embedded`);
    }),
  );
}
