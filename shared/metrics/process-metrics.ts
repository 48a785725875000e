/**
 * What both programs say of their own process. Not prom-client's collectDefaultMetrics: it breaks the naming rules
 * (gauges that end in `_total`), and its observers cannot be closed.
 */
import type { Registry } from 'prom-client';
import { droppedLines } from '../program/standard-error.ts';
import { declareMetrics, type MetricTable } from './metrics.ts';

export const processMetrics = {
  process_cpu_seconds_total: { type: 'counter', unit: 'seconds', meaning: 'CPU time used, user and system.' },
  process_resident_memory_bytes: { type: 'gauge', unit: 'bytes', meaning: 'Memory held, as the system counts it.' },
  process_start_time_seconds: { type: 'gauge', unit: 'seconds', meaning: 'When the process started, Unix time.' },
  nodejs_heap_used_bytes: { type: 'gauge', unit: 'bytes', meaning: 'Of the JavaScript heap, in use.' },
  nodejs_event_loop_lag_seconds: {
    type: 'histogram',
    unit: 'seconds',
    meaning:
      'By how much a timer that is due every 100 ms was late: how long the process was busy with something else.',
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  },
  daybook_log_dropped_lines_total: {
    type: 'counter',
    unit: 'lines',
    meaning: 'Log lines dropped because whoever reads stderr did not, or because it could not be written.',
  },
} as const satisfies MetricTable;

const lagEveryMs = 100;

export interface ProcessMetrics {
  /** Brings them up to date; before each scrape. */
  refresh(): void;
  close(): void;
}

export function openProcessMetrics(registry: Registry): ProcessMetrics {
  const metrics = declareMetrics(registry, processMetrics);
  metrics.process_start_time_seconds.set(Date.now() / 1000 - process.uptime());

  let beforeMs = performance.now();
  // A histogram, not the largest since the last scrape: several may scrape, and none takes the other's figure away.
  const timer = setInterval(() => {
    const nowMs = performance.now();
    metrics.nodejs_event_loop_lag_seconds.observe(Math.max(0, nowMs - beforeMs - lagEveryMs) / 1000);
    beforeMs = nowMs;
  }, lagEveryMs).unref();

  return {
    refresh() {
      const { user, system } = process.cpuUsage();
      const { rss, heapUsed } = process.memoryUsage();
      metrics.process_cpu_seconds_total.reset();
      metrics.process_cpu_seconds_total.inc((user + system) / 1e6);
      metrics.process_resident_memory_bytes.set(rss);
      metrics.nodejs_heap_used_bytes.set(heapUsed);
      metrics.daybook_log_dropped_lines_total.reset();
      metrics.daybook_log_dropped_lines_total.inc(droppedLines());
    },
    close: () => clearInterval(timer),
  };
}
