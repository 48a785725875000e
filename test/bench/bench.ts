/** `npm run bench [ingest|compact] [events…]`: what README's table of figures is made of. Takes about five minutes. */
import { tableOf } from '../../compactor/table.ts';
import { benchCompact } from './compact.ts';
import { benchIngest } from './ingest.ts';

const [what, ...counts] = process.argv.slice(2);
const figure = (value: number, digits: number) => Number(value.toFixed(digits));

if (what === undefined || what === 'ingest') {
  const head = ['ingest', 'events', 'CPU-s per 1,000', 'wall s', 'p50 ms', 'p99 ms'];
  const rows = (await benchIngest()).map(({ name, events, cpuSecondsPer1000, wallSeconds, p50Ms, p99Ms }) => [
    name,
    events,
    figure(cpuSecondsPer1000, 4),
    figure(wallSeconds, 1),
    figure(p50Ms, 2),
    figure(p99Ms, 2),
  ]);
  process.stdout.write(`${tableOf(head, rows)}\n`);
}
if (what === undefined || what === 'compact') {
  const head = ['compact', 'events', 'CPU-s per 1,000', 'events per CPU-s', 'wall s', 'peak MB'];
  const sizes = counts.length > 0 ? counts.map(Number) : [100_000, 1_000_000];
  const rows = (await benchCompact(sizes)).map(({ name, events, cpuSeconds, wallSeconds, peakMegabytes }) => [
    name,
    events,
    figure(cpuSeconds / (events / 1000), 4),
    Math.round(events / cpuSeconds),
    figure(wallSeconds, 1),
    Math.round(peakMegabytes),
  ]);
  process.stdout.write(`${tableOf(head, rows)}\n`);
}
