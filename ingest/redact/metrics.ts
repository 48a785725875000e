/** The metrics of `daybook-ingest redact`: the table that declares them, and what fills it. */
import { Registry } from 'prom-client';
import { declareMetrics, type MetricTable } from '../../shared/metrics/metrics.ts';
import { openProcessMetrics } from '../../shared/metrics/process-metrics.ts';

const steps = ['read', 'append', 'dead_letter', 'commit'] as const;
export type Step = (typeof steps)[number];

export const redactMetrics = {
  daybook_redact_records_total: {
    type: 'counter',
    unit: 'records',
    labels: { outcome: ['redacted', 'dead_lettered'] },
    meaning:
      "Records of the stream that are done with. redacted: the readers' stream acknowledged them; dead_lettered: told by position and reason alone. Repeats count again.",
  },
  daybook_redact_lag_seconds: {
    type: 'gauge',
    unit: 'seconds',
    meaning:
      "All that the stream had this long ago is in the readers' stream, or a dead letter. Grows while one of the streams is away.",
  },
  daybook_redact_lag_records: {
    type: 'gauge',
    unit: 'records',
    meaning:
      "By how many positions the readers' stream was behind when the stream was last looked at. Of Kinesis, which tells no end, always 0.",
  },
  daybook_redact_failures_total: {
    type: 'counter',
    unit: 'failures',
    labels: { step: steps },
    meaning: 'Steps that failed and are tried again: reading, appending, writing dead letters, committing.',
  },
  daybook_redact_holes_total: {
    type: 'counter',
    unit: 'stretches',
    meaning:
      'Stretches of the stream whose records had aged out before they were read; the log has their ends. The archive has those events, if a night ran.',
  },
} as const satisfies MetricTable;

export interface RedactObserver {
  done(outcome: 'redacted' | 'dead_lettered', records: number): void;
  failed(step: Step): void;
  missed(): void;
}

export interface RedactMetrics {
  readonly observer: RedactObserver;
  scrape(): Promise<string>;
  close(): void;
}

/** `lag` as of now. */
export function openRedactMetrics(lag: () => { readonly seconds: number; readonly records: number }): RedactMetrics {
  const registry = new Registry();
  const metrics = declareMetrics(registry, redactMetrics);
  const ofProcess = openProcessMetrics(registry);
  return {
    observer: {
      done: (outcome, records) => metrics.daybook_redact_records_total.inc({ outcome }, records),
      failed: (step) => metrics.daybook_redact_failures_total.inc({ step }),
      missed: () => metrics.daybook_redact_holes_total.inc(),
    },
    scrape() {
      ofProcess.refresh();
      const { seconds, records } = lag();
      metrics.daybook_redact_lag_seconds.set(seconds);
      metrics.daybook_redact_lag_records.set(records);
      return registry.metrics();
    },
    close: () => ofProcess.close(),
  };
}
