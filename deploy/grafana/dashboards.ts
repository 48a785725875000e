/**
 * The Grafana dashboards, built from types. The JSON files beside this one are what Grafana imports;
 * test/deploy/grafana/dashboards.test.ts holds them equal, and UPDATE_DOCS=1 writes them.
 */
import { ReduceDataOptionsBuilder } from '@grafana/grafana-foundation-sdk/common';
import {
  type Dashboard,
  DashboardBuilder,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  VariableRefresh,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as TimeSeriesBuilder } from '@grafana/grafana-foundation-sdk/timeseries';

/** By the name of the file. */
export const dashboards: Readonly<Record<string, () => Dashboard>> = { 'ingest.json': ingest, 'archive.json': archive };

/** Of 24 columns. */
type Width = 4 | 12;

interface Panel {
  readonly title: string;
  /** Of Grafana: s, bytes, reqps, short, dateTimeFromNow …. */
  readonly unit: string;
  readonly width: Width;
  /** What is drawn, by its legend; `{{source}}` is the value of a label. */
  readonly queries: Readonly<Record<string, string>>;
  /** A single number is red from here on; without it, below 1. */
  readonly alarmFrom?: number;
}

const source = { type: 'prometheus', uid: `$${'{datasource}'}` };

function ingest(): Dashboard {
  return dashboardOf('daybook: ingest', 'daybook-ingest', 'daybook_ingest_circuit_state', [
    [
      'Now',
      number('Stream takes events', 'bool_yes_no', 'min(daybook_ingest_circuit_state{JOB,state="closed"})'),
      number('Waiting in the spool', 'short', 'sum(daybook_ingest_spool_records{JOB})', 1),
      number('Oldest waits', 's', 'max(daybook_ingest_spool_oldest_age_seconds{JOB})', 1800),
      number('Dead letters', 'short', 'sum(daybook_ingest_spool_dead_letters{JOB})', 1),
      number('Sources sound', 'bool_yes_no', 'min(daybook_ingest_sources_sound{JOB})'),
      number('Spool tells its size', 'bool_yes_no', 'min(daybook_ingest_spool_up{JOB})'),
    ],
    [
      'Requests',
      lines('Events stored', 'eps', {
        '{{source}}': 'sum by (source) (rate(daybook_ingest_accepted_events_total{JOB}[$__rate_interval]))',
      }),
      lines('Answers', 'reqps', {
        '{{outcome}}': 'sum by (outcome) (rate(daybook_ingest_requests_total{JOB}[$__rate_interval]))',
      }),
      lines('Refused, by code', 'reqps', {
        '{{code}}': 'sum by (code) (rate(daybook_ingest_refusals_total{JOB}[$__rate_interval])) > 0',
      }),
      lines('Time to answer', 's', quantiles('daybook_ingest_request_duration_seconds')),
    ],
    [
      'Stream and spool',
      lines('Time until the stream acknowledges', 's', quantiles('daybook_ingest_publish_duration_seconds')),
      lines('Records in a batch', 'short', quantiles('daybook_ingest_publish_batch_records')),
      lines('Into the spool, and out of it', 'eps', {
        spooled: 'sum(rate(daybook_ingest_spooled_records_total{JOB}[$__rate_interval]))',
        drained: 'sum(rate(daybook_ingest_drained_records_total{JOB}[$__rate_interval]))',
        'put aside': 'sum(rate(daybook_ingest_dead_lettered_records_total{JOB}[$__rate_interval]))',
      }),
      lines('Bytes in the spool', 'bytes', { '{{instance}}': 'daybook_ingest_spool_bytes{JOB}' }),
      lines('Time until the spool has it on disk', 's', quantiles('daybook_ingest_spool_append_duration_seconds')),
      lines('Circuit', 'short', { '{{instance}} {{state}}': 'daybook_ingest_circuit_state{JOB} == 1' }),
    ],
    [
      'Secrets',
      lines('Hours since a key was last used', 'h', {
        '{{source}} {{keyid}}':
          '(time() - max by (source, keyid) (daybook_ingest_key_last_used_timestamp_seconds{JOB} > 0)) / 3600',
      }),
      lines('Changed sources, public keys read', 'short', {
        'sources {{outcome}}':
          'sum by (outcome) (increase(daybook_ingest_sources_changes_total{JOB}[$__rate_interval]))',
        'public keys {{outcome}}':
          'sum by (outcome) (increase(daybook_ingest_public_key_reads_total{JOB}[$__rate_interval]))',
      }),
    ],
    [
      'Readers (redact)',
      lines('Behind the stream', 's', { '{{instance}}': 'daybook_redact_lag_seconds' }),
      lines('Behind, in records', 'short', { '{{instance}}': 'daybook_redact_lag_records' }),
      lines('Records', 'eps', {
        '{{outcome}}': 'sum by (outcome) (rate(daybook_redact_records_total[$__rate_interval]))',
      }),
      lines('Failures, holes', 'short', {
        '{{step}}': 'sum by (step) (increase(daybook_redact_failures_total[$__rate_interval]))',
        holes: 'sum(increase(daybook_redact_holes_total[$__rate_interval]))',
      }),
    ],
    processRow(),
  ]);
}

function archive(): Dashboard {
  return dashboardOf('daybook: archive', 'daybook-archive', 'daybook_compactor_archive_up', [
    [
      'Now',
      number(
        'Since the last night without an error',
        's',
        'time() - max(daybook_compactor_last_success_timestamp_seconds{JOB})',
        26 * 3600,
      ),
      number('Exit code of the last run', 'short', 'max(daybook_compactor_last_run_exit_code{JOB})', 1),
      number('Ledger can be read', 'bool_yes_no', 'min(daybook_compactor_archive_up{JOB})'),
      number(
        "Days about to leave Stripe's list",
        'short',
        'sum(daybook_compactor_day_verdicts_near_retention{JOB})',
        1,
      ),
      number(
        'Incomplete days',
        'short',
        'sum(daybook_compactor_day_verdicts{JOB,verdict=~"incomplete|unverifiable"})',
        1,
      ),
      number(
        'Records put into the quarantine',
        'short',
        'sum(delta(daybook_compactor_quarantined_records{JOB}[$__range]))',
        1,
      ),
      number(
        'Since the newest manifest',
        's',
        'time() - max(daybook_compactor_newest_manifest_timestamp_seconds{JOB})',
        26 * 3600,
      ),
    ],
    [
      'Days',
      lines('Days by verdict', 'short', {
        '{{source}} {{verdict}}': 'sum by (source, verdict) (daybook_compactor_day_verdicts{JOB}) > 0',
      }),
      lines('Age of the oldest day that is not archived', 's', {
        '{{source}}': 'time() - max by (source) (daybook_compactor_oldest_unarchived_day_timestamp_seconds{JOB})',
      }),
      lines('Age of the newest archived day', 's', {
        '{{source}}': 'time() - max by (source) (daybook_compactor_newest_archived_day_timestamp_seconds{JOB})',
      }),
      lines('How long a night takes', 's', {
        'last run': 'daybook_compactor_last_run_duration_seconds{JOB}',
        'under way':
          '(time() - daybook_compactor_last_run_start_timestamp_seconds{JOB}) and daybook_compactor_last_run_end_timestamp_seconds{JOB} < daybook_compactor_last_run_start_timestamp_seconds{JOB}',
      }),
    ],
    [
      'Jobs',
      lines('Jobs that ended', 'short', {
        '{{exported_job}} {{outcome}}':
          'sum by (exported_job, outcome) (increase(daybook_compactor_jobs_total{JOB}[$__range])) > 0',
      }),
      lines('Running', 'short', { '{{exported_job}}': 'daybook_compactor_job_running{JOB} == 1' }),
      lines('Age of the last success', 's', {
        '{{exported_job}}': 'time() - daybook_compactor_job_last_success_timestamp_seconds{JOB}',
      }),
      lines('Replica', 'short', {
        'manifests behind': 'daybook_compactor_replica_manifests_behind{JOB}',
        'days behind':
          '(daybook_compactor_newest_manifest_timestamp_seconds{JOB} - daybook_compactor_replica_newest_manifest_timestamp_seconds{JOB}) / 86400',
      }),
      lines('Witnesses', 'short', {
        '{{witness}}: manifests behind': 'daybook_compactor_witness_manifests_behind{JOB}',
        '{{witness}}: days behind': '(time() - daybook_compactor_witness_behind_since_timestamp_seconds{JOB}) / 86400',
        '{{witness}}: failures': 'increase(daybook_compactor_witness_failures_total{JOB}[$__range])',
      }),
      lines('Events that the last drill brought back', 'short', {
        events: 'daybook_compactor_drill_restored_events{JOB}',
      }),
    ],
    processRow(),
  ]);
}

type Row = readonly [title: string, ...panels: Panel[]];

function processRow(): Row {
  return [
    'Process',
    lines('CPU', 'percentunit', { '{{instance}}': 'rate(process_cpu_seconds_total{JOB}[$__rate_interval])' }),
    lines('Memory', 'bytes', {
      '{{instance}}': 'process_resident_memory_bytes{JOB}',
      '{{instance}} heap': 'nodejs_heap_used_bytes{JOB}',
    }),
    lines('How long the process is busy at a time', 's', quantiles('nodejs_event_loop_lag_seconds')),
    lines('Log lines dropped, starts', 'short', {
      'dropped {{instance}}': 'increase(daybook_log_dropped_lines_total{JOB}[$__rate_interval])',
      'starts {{instance}}': 'changes(process_start_time_seconds{JOB}[$__rate_interval])',
    }),
  ];
}

function number(title: string, unit: string, query: string, alarmFrom?: number): Panel {
  return { title, unit, width: 4, queries: { [title]: query }, ...(alarmFrom === undefined ? {} : { alarmFrom }) };
}

function lines(title: string, unit: string, queries: Panel['queries']): Panel {
  return { title, unit, width: 12, queries };
}

function quantiles(histogram: string): Panel['queries'] {
  const of = (part: number) =>
    `histogram_quantile(${part}, sum by (le) (rate(${histogram}_bucket{JOB}[$__rate_interval])))`;
  return { 'half of them': of(0.5), '99 in 100': of(0.99) };
}

/** `JOB` in a query stands for the job that is chosen; those to choose from have the metric `jobsOf`. */
function dashboardOf(title: string, uid: string, jobsOf: string, rows: readonly Row[]): Dashboard {
  const dashboard = new DashboardBuilder(title)
    .uid(uid)
    .tags(['daybook'])
    .timezone('utc')
    .refresh('1m')
    .time({ from: 'now-24h', to: 'now' })
    .readonly()
    .withVariable(new DatasourceVariableBuilder('datasource').label('Prometheus').type('prometheus'))
    .withVariable(
      new QueryVariableBuilder('job')
        .label('Job')
        .datasource(source)
        .query({ query: `label_values(${jobsOf}, job)`, refId: 'job' })
        .refresh(VariableRefresh.OnTimeRangeChanged),
    );
  for (const [name, ...panels] of rows) {
    dashboard.withRow(new RowBuilder(name));
    for (const panel of panels) dashboard.withPanel(panelOf(panel));
  }
  return dashboard.build();
}

function panelOf({ title, unit, width, queries, alarmFrom }: Panel): StatBuilder | TimeSeriesBuilder {
  const isNumber = width === 4;
  const newest = new ReduceDataOptionsBuilder().calcs(['lastNotNull']);
  const panel = isNumber
    ? new StatBuilder().thresholds(thresholdsOf(alarmFrom)).reduceOptions(newest)
    : new TimeSeriesBuilder().min(0);
  panel
    .title(title)
    .unit(unit)
    .datasource(source)
    .span(width)
    .height(isNumber ? 4 : 8);
  for (const [index, [legend, query]] of Object.entries(queries).entries()) {
    const target = new DataqueryBuilder().refId('ABC'[index]!).expr(query.replaceAll('{JOB', '{job="$job"'));
    panel.withTarget(isNumber ? target : target.legendFormat(legend));
  }
  return panel;
}

/** Without a number: 1 is good, 0 is not. */
function thresholdsOf(alarmFrom: number | undefined): ThresholdsConfigBuilder {
  const [below, from] = alarmFrom === undefined ? ['red', 'green'] : ['green', 'red'];
  return new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps([
    { value: null, color: below! },
    { value: alarmFrom ?? 1, color: from! },
  ]);
}
