/** The metrics of `daybook-compactor serve`: the one table that declares them, and what fills them. */
import { Registry } from 'prom-client';
import { addDays, type Clock, type Day, dayOf, startOfDayMs } from '../../shared/clock.ts';
import { declareMetrics, type MetricTable } from '../../shared/metrics/metrics.ts';
import { openProcessMetrics } from '../../shared/metrics/process-metrics.ts';
import type { Standing } from '../anchors/standing.ts';
import { daysNearRetention } from '../day/retention.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { type Verdict, verdicts } from '../ledger/manifest.ts';
import { type EndedJob, type JobName, jobNames, type Outcome } from './jobs.ts';

const outcomes: readonly Outcome[] = ['done', 'fault', 'failed', 'stopped'];

export const compactorMetrics = {
  daybook_compactor_job_running: {
    type: 'gauge',
    unit: '1 or 0',
    labels: { job: jobNames },
    meaning: 'Whether the job is running.',
  },
  daybook_compactor_jobs_total: {
    type: 'counter',
    unit: 'jobs',
    labels: { job: jobNames, outcome: outcomes },
    meaning:
      'Jobs that ended. fault: exit code 3, in the archive, a day known to be incomplete, or events lost after a 2xx; stopped: serve itself was ended.',
  },
  daybook_compactor_last_run_start_timestamp_seconds: {
    type: 'gauge',
    unit: 'seconds',
    meaning: 'When the last run began, Unix time; NaN before the first since the start.',
  },
  daybook_compactor_last_run_end_timestamp_seconds: {
    type: 'gauge',
    unit: 'seconds',
    meaning: 'When the last run ended, Unix time; NaN before the first since the start.',
  },
  daybook_compactor_last_run_duration_seconds: {
    type: 'gauge',
    unit: 'seconds',
    meaning: 'How long the last run took; NaN before the first since the start.',
  },
  daybook_compactor_last_run_exit_code: {
    type: 'gauge',
    unit: 'exit code',
    meaning: 'Of the last run; -1 where a signal ended it, NaN before the first since the start.',
  },
  daybook_compactor_last_success_timestamp_seconds: {
    type: 'gauge',
    unit: 'seconds',
    meaning:
      'When the last run without an error ended, Unix time (a day known to be incomplete is none); before the first since the start, when the newest manifest was made.',
  },
  daybook_compactor_job_last_success_timestamp_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: { job: jobNames },
    meaning: 'When the job last ended with exit code 0, Unix time; NaN before that since the start.',
  },
  daybook_compactor_drill_restored_events: {
    type: 'gauge',
    unit: 'events',
    meaning:
      'Events that the last `drill` brought back; 0 where it had no private key and checked hashes alone, NaN before it since the start.',
  },
  daybook_compactor_replica_manifests_behind: {
    type: 'gauge',
    unit: 'manifests',
    meaning: 'How many manifests the replica lacked when `replicate` last looked; NaN before that since the start.',
  },
  daybook_compactor_replica_newest_manifest_timestamp_seconds: {
    type: 'gauge',
    unit: 'seconds',
    meaning:
      'When the newest manifest that the replica then had was made, Unix time: to be compared with that of the archive. NaN before that since the start, and where it has none.',
  },
  daybook_compactor_witness_failures_total: {
    type: 'counter',
    unit: 'runs',
    labels: { witness: 'configured' },
    meaning:
      'Runs after which the witness had not seen the newest manifest: it was away, refused, or knows another history.',
  },
  daybook_compactor_witness_manifests_behind: {
    type: 'gauge',
    unit: 'manifests',
    labels: { witness: 'configured' },
    meaning:
      'How many manifests the witness has not seen, by the anchors that are kept, at the start or after the last run; NaN before that.',
  },
  daybook_compactor_witness_behind_since_timestamp_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: { witness: 'configured' },
    meaning: 'When the oldest manifest was made that the witness has not seen, Unix time; NaN where it has seen all.',
  },
  daybook_compactor_archive_up: {
    type: 'gauge',
    unit: '1 or 0',
    meaning:
      'Whether the ledger could be read at the start or after the last run; where 0 what follows is the last that is known.',
  },
  daybook_compactor_newest_manifest_timestamp_seconds: {
    type: 'gauge',
    unit: 'seconds',
    meaning: 'When the newest manifest was made, Unix time; NaN where there is none.',
  },
  daybook_compactor_quarantined_records: {
    type: 'gauge',
    unit: 'records',
    meaning:
      'Records that nights have put into the quarantine since the first: it grows where something is on the stream that is not archived.',
  },
  daybook_compactor_day_verdicts: {
    type: 'gauge',
    unit: 'days',
    labels: { source: 'configured', verdict: verdicts },
    meaning: 'Archived days, by their verdict.',
  },
  daybook_compactor_day_verdicts_near_retention: {
    type: 'gauge',
    unit: 'days',
    labels: { source: 'configured' },
    meaning: 'Provisional or incomplete days of 24 days or more that Stripe still lists: the warning retention_near.',
  },
  daybook_compactor_newest_archived_day_timestamp_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: { source: 'configured' },
    meaning: 'Beginning of the newest archived day, Unix time; NaN where there is none.',
  },
  daybook_compactor_oldest_unarchived_day_timestamp_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: { source: 'configured' },
    meaning:
      "Beginning of the oldest day since the source's first that is not archived, Unix time: today or yesterday, unless days are late. NaN before the first.",
  },
} as const satisfies MetricTable;

export interface CompactorMetricsOptions {
  /** Names of the configured sources. */
  readonly sources: readonly string[];
  /** What those who are asked to witness are called. */
  readonly witnesses: readonly string[];
  readonly running: () => JobName | undefined;
  readonly clock: Clock;
}

export interface CompactorMetrics {
  ended(job: EndedJob): void;
  /** What the ledger says; undefined where it could not be read. */
  archive(ledger: Ledger | undefined): void;
  witnessed(standings: readonly Standing[]): void;
  scrape(): Promise<string>;
  close(): void;
}

type Days = ReadonlyMap<string, ReadonlyMap<Day, { readonly verdict: Verdict }>>;

export function openCompactorMetrics({
  sources,
  witnesses,
  running,
  clock,
}: CompactorMetricsOptions): CompactorMetrics {
  const registry = new Registry();
  const metrics = declareMetrics(registry, compactorMetrics, { source: sources, witness: witnesses });
  const ofProcess = openProcessMetrics(registry);
  let unsettled: Days = new Map();
  let hasRun = false;

  metrics.daybook_compactor_last_run_start_timestamp_seconds.set(Number.NaN);
  metrics.daybook_compactor_last_run_end_timestamp_seconds.set(Number.NaN);
  metrics.daybook_compactor_last_run_duration_seconds.set(Number.NaN);
  metrics.daybook_compactor_last_run_exit_code.set(Number.NaN);
  metrics.daybook_compactor_last_success_timestamp_seconds.set(Number.NaN);
  metrics.daybook_compactor_newest_manifest_timestamp_seconds.set(Number.NaN);
  metrics.daybook_compactor_drill_restored_events.set(Number.NaN);
  metrics.daybook_compactor_replica_manifests_behind.set(Number.NaN);
  metrics.daybook_compactor_replica_newest_manifest_timestamp_seconds.set(Number.NaN);
  for (const witness of witnesses) {
    metrics.daybook_compactor_witness_manifests_behind.set({ witness }, Number.NaN);
    metrics.daybook_compactor_witness_behind_since_timestamp_seconds.set({ witness }, Number.NaN);
  }
  for (const job of jobNames) metrics.daybook_compactor_job_last_success_timestamp_seconds.set({ job }, Number.NaN);
  for (const source of sources) {
    metrics.daybook_compactor_newest_archived_day_timestamp_seconds.set({ source }, Number.NaN);
    metrics.daybook_compactor_oldest_unarchived_day_timestamp_seconds.set({ source }, Number.NaN);
  }

  function ended({ job, outcome, startedAt, endedAt, exitCode, report }: EndedJob): void {
    metrics.daybook_compactor_jobs_total.inc({ job, outcome });
    const [startSeconds, endSeconds] = [Date.parse(startedAt) / 1000, Date.parse(endedAt) / 1000];
    if (exitCode === 0) metrics.daybook_compactor_job_last_success_timestamp_seconds.set({ job }, endSeconds);
    if (job === 'replicate' && typeof report?.behind === 'number') {
      const { createdAt = '' } = Object(report.replica) as { createdAt?: string };
      metrics.daybook_compactor_replica_manifests_behind.set(report.behind);
      metrics.daybook_compactor_replica_newest_manifest_timestamp_seconds.set(Date.parse(createdAt) / 1000);
    }
    if (job === 'drill' && report !== null) {
      const { events = Number.NaN } = Object(report.restored) as { events?: number };
      metrics.daybook_compactor_drill_restored_events.set(events);
    }
    if (job !== 'run') return;
    metrics.daybook_compactor_last_run_start_timestamp_seconds.set(startSeconds);
    metrics.daybook_compactor_last_run_end_timestamp_seconds.set(endSeconds);
    metrics.daybook_compactor_last_run_duration_seconds.set(endSeconds - startSeconds);
    metrics.daybook_compactor_last_run_exit_code.set(exitCode ?? -1);
    for (const { witness, code } of Array.isArray(report?.witnesses) ? report.witnesses : []) {
      if (code !== null) metrics.daybook_compactor_witness_failures_total.inc({ witness });
    }
    if (!Array.isArray(report?.errors) || report.errors.length > 0) return;
    hasRun = true;
    metrics.daybook_compactor_last_success_timestamp_seconds.set(endSeconds);
  }

  function archive(ledger: Ledger | undefined): void {
    metrics.daybook_compactor_archive_up.set(ledger === undefined ? 0 : 1);
    if (ledger === undefined) return;
    const madeAt = (manifest: Ledger['head']) =>
      manifest === undefined ? Number.NaN : Date.parse(manifest.createdAt) / 1000;
    metrics.daybook_compactor_newest_manifest_timestamp_seconds.set(madeAt(ledger.head));
    const quarantined = [...ledger.quarantine.values()].reduce((sum, { records }) => sum + records, 0);
    metrics.daybook_compactor_quarantined_records.set(quarantined);
    if (!hasRun) metrics.daybook_compactor_last_success_timestamp_seconds.set(madeAt(ledger.newestNight));
    for (const source of new Set([...sources, ...ledger.sources.keys()])) {
      const days = ledger.sources.get(source) ?? new Map<Day, { verdict: Verdict }>();
      for (const verdict of verdicts) {
        const count = [...days.values()].filter((state) => state.verdict === verdict).length;
        metrics.daybook_compactor_day_verdicts.set({ source, verdict }, count);
      }
      const newest = [...days.keys()].reduce((found, day) => (day > found ? day : found), '');
      metrics.daybook_compactor_newest_archived_day_timestamp_seconds.set({ source }, secondsOf(newest));
    }
    for (const source of sources) {
      const oldest = oldestUnarchived(ledger, source);
      metrics.daybook_compactor_oldest_unarchived_day_timestamp_seconds.set({ source }, secondsOf(oldest));
    }
    unsettled = unsettledDays(ledger.sources);
  }

  function witnessed(standings: readonly Standing[]): void {
    for (const { witness, behind, since } of standings) {
      metrics.daybook_compactor_witness_manifests_behind.set({ witness }, behind);
      const sinceSeconds = Date.parse(since ?? '') / 1000;
      metrics.daybook_compactor_witness_behind_since_timestamp_seconds.set({ witness }, sinceSeconds);
    }
  }

  return {
    ended,
    archive,
    witnessed,
    scrape() {
      ofProcess.refresh();
      for (const job of jobNames) metrics.daybook_compactor_job_running.set({ job }, running() === job ? 1 : 0);
      const near = daysNearRetention(unsettled, dayOf(clock.now()));
      for (const source of new Set([...sources, ...unsettled.keys()])) {
        const count = near.filter((day) => day.source === source).length;
        metrics.daybook_compactor_day_verdicts_near_retention.set({ source }, count);
      }
      return registry.metrics();
    },
    close: () => ofProcess.close(),
  };
}

/** NaN for '' and undefined: no day. */
function secondsOf(day: Day | undefined): number {
  return startOfDayMs(day ?? '') / 1000;
}

/** The first day without an entry; undefined where the source has no first day yet. */
function oldestUnarchived({ firstDays, sources }: Ledger, source: string): Day | undefined {
  let day = firstDays[source];
  while (day !== undefined && sources.get(source)?.has(day)) day = addDays(day, 1);
  return day;
}

/** What is kept of the ledger from one run to the next: the days that can come near the end of the list. */
function unsettledDays(sources: Days): Days {
  const kept = [...sources].map(([source, days]) => {
    const open = [...days].filter(([, { verdict }]) => verdict === 'provisional' || verdict === 'incomplete');
    return [source, new Map(open.map(([day, { verdict }]) => [day, { verdict }]))] as const;
  });
  return new Map(kept);
}
