/** The metrics of ingest: the one table that declares them, and the observer and the scrape that fill them. */
import { type Counter, Registry } from 'prom-client';
import { errorCodes, errorKind, messageOf } from '../shared/errors.ts';
import { healthRoutes } from '../shared/http/route-requests.ts';
import { type Declared, declareMetrics, type MetricTable } from '../shared/metrics/metrics.ts';
import { openProcessMetrics } from '../shared/metrics/process-metrics.ts';
import type { Logger } from '../shared/program/log.ts';
import { withTimeLimit } from '../shared/program/time-limit.ts';
import type { AnsweredRequest, CircuitState, Observer } from './publish/observer.ts';
import type { SpoolSize } from './spool/backing-store.ts';

const outcomes = ['accepted', 'left_out', 'unauthenticated', 'invalid', 'aborted', 'unavailable', 'failed'] as const;
type Outcome = (typeof outcomes)[number];

const circuitStates: readonly CircuitState[] = ['closed', 'half_open', 'open'];
const durations = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export const ingestMetrics = {
  daybook_ingest_requests_total: {
    type: 'counter',
    unit: 'requests',
    labels: { source: 'configured', outcome: outcomes },
    meaning:
      'Requests answered, health checks left out. Of source "_unknown" are those that neither went to a source nor proved one. accepted: 2xx, stored; left_out: 2xx, nothing to store, as of the other mode of a source with accounts, a preflight, or the pixel where it is not recorded; unauthenticated: no valid signature or credentials, or from an address that is not allowed; invalid: refused for another reason; aborted: the sender went away; unavailable: 503; failed: 500.',
  },
  daybook_ingest_refusals_total: {
    type: 'counter',
    unit: 'requests',
    labels: { code: 'configured' },
    meaning: 'Requests refused, by error code.',
  },
  daybook_ingest_accepted_events_total: {
    type: 'counter',
    unit: 'events',
    labels: { source: 'configured' },
    meaning: 'Events stored and answered 2xx, repeated deliveries included.',
  },
  daybook_ingest_key_last_used_timestamp_seconds: {
    type: 'gauge',
    unit: 'seconds',
    labels: { source: 'configured', keyid: 'configured' },
    meaning:
      'When a request was last proven with this secret of the source, Unix time; 0: not since this process began. Each secret that ingest runs on, or has run on, has a series.',
  },
  daybook_ingest_sources_sound: {
    type: 'gauge',
    unit: '1 or 0',
    meaning:
      'Whether the sources are sound as their files say now. Where 0 ingest runs on those that it took before; the log says what is wrong.',
  },
  daybook_ingest_sources_changes_total: {
    type: 'counter',
    unit: 'changes',
    labels: { outcome: ['taken', 'refused'] },
    meaning: 'Changed sources that were read while ingest ran. refused: something is wrong with them.',
  },
  daybook_ingest_public_key_reads_total: {
    type: 'counter',
    unit: 'reads',
    labels: { outcome: ['read', 'failed'] },
    meaning: 'Times that a public key of a cookie source was read again from its place. failed: those at hand go on.',
  },
  daybook_ingest_request_duration_seconds: {
    type: 'histogram',
    unit: 'seconds',
    meaning: 'From the headers of a request to its answer, health checks left out.',
    buckets: durations,
  },
  daybook_ingest_publish_duration_seconds: {
    type: 'histogram',
    unit: 'seconds',
    meaning: 'Until the stream acknowledged a batch.',
    buckets: durations,
  },
  daybook_ingest_publish_batch_records: {
    type: 'histogram',
    unit: 'records',
    meaning: 'Records in a batch that the stream acknowledged.',
    buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
  },
  daybook_ingest_circuit_state: {
    type: 'gauge',
    unit: '1 for the state, else 0',
    labels: { state: circuitStates },
    meaning: 'closed: the stream takes events; open: it is away, events go to the spool; half_open: it is being tried.',
  },
  daybook_ingest_spooled_records_total: {
    type: 'counter',
    unit: 'records',
    meaning: 'Records that the spool took because the stream did not.',
  },
  daybook_ingest_spool_append_duration_seconds: {
    type: 'histogram',
    unit: 'seconds',
    meaning: 'Until a batch was durable in the spool.',
    buckets: durations,
  },
  daybook_ingest_drained_records_total: {
    type: 'counter',
    unit: 'records',
    meaning: 'Records of the spool that the stream acknowledged; its rate is the drain rate.',
  },
  daybook_ingest_dead_lettered_records_total: {
    type: 'counter',
    unit: 'records',
    meaning: 'Records put aside because the stream will never take them, or because they could not be read.',
  },
  daybook_ingest_spool_up: {
    type: 'gauge',
    unit: '1 or 0',
    meaning: 'Whether the spool told its size in time; where 0 the next four are the last that is known.',
  },
  daybook_ingest_spool_records: { type: 'gauge', unit: 'records', meaning: 'Records that wait for the stream.' },
  daybook_ingest_spool_bytes: {
    type: 'gauge',
    unit: 'bytes',
    meaning: 'Of waiting records and dead letters, as maxBytes counts them.',
  },
  daybook_ingest_spool_oldest_age_seconds: {
    type: 'gauge',
    unit: 'seconds',
    meaning: 'How long the oldest waiting record has waited; 0 where none waits.',
  },
  daybook_ingest_spool_dead_letters: {
    type: 'gauge',
    unit: 'records',
    meaning: 'Dead letters in the spool: node ingest/main.ts spool inspect.',
  },
} as const satisfies MetricTable;

/** No source can have this name. */
const unknownSource = '_unknown';

/** A configured source, and the keyids of its secrets. */
export interface KeyedSource {
  readonly name: string;
  readonly keyids: readonly string[];
}

export interface IngestMetricsOptions {
  readonly sources: readonly KeyedSource[];
  readonly spoolSize: () => Promise<SpoolSize>;
  readonly log: Logger;
  /** How long a scrape waits for the spool; a parameter for the sake of tests alone. */
  readonly spoolLimitMs?: number;
}

export interface IngestMetrics {
  readonly observer: Observer;
  /** These sources and keys are counted from now on, too. Those before keep their series. */
  know(sources: readonly KeyedSource[]): void;
  /** A public key was read again from its place, or could not be. */
  publicKeyRead(isRead: boolean): void;
  /** Changed sources were read, and taken where they are sound. */
  sourcesRead(isSound: boolean): void;
  /** All metrics as of now, in Prometheus' text format. Ends in time and does not fail, whatever the spool does. */
  scrape(): Promise<string>;
  close(): void;
}

type Metrics = Declared<typeof ingestMetrics>;

export function openIngestMetrics({
  sources,
  spoolSize,
  log,
  spoolLimitMs = 1_000,
}: IngestMetricsOptions): IngestMetrics {
  const registry = new Registry();
  const metrics = declareMetrics(registry, ingestMetrics, { code: [...outcomesOfCodes.keys()] });
  const { observer, know, showKeys } = observerOf(metrics);
  know([{ name: unknownSource, keyids: [] }, ...sources]);
  metrics.daybook_ingest_sources_sound.set(1);
  const ofProcess = openProcessMetrics(registry);
  const refreshSpool = spoolGauges(metrics, spoolSize, spoolLimitMs, log);
  return {
    observer,
    know,
    publicKeyRead: (isRead) =>
      metrics.daybook_ingest_public_key_reads_total.inc({ outcome: isRead ? 'read' : 'failed' }),
    sourcesRead(isSound) {
      metrics.daybook_ingest_sources_sound.set(isSound ? 1 : 0);
      metrics.daybook_ingest_sources_changes_total.inc({ outcome: isSound ? 'taken' : 'refused' });
    },
    async scrape() {
      ofProcess.refresh();
      showKeys();
      await refreshSpool();
      return registry.metrics();
    },
    close: () => ofProcess.close(),
  };
}

/** The series of a source. */
interface SourceSeries {
  readonly requests: ReadonlyMap<Outcome, Counter.Internal>;
  readonly events: Counter.Internal;
  /** When each was last used, epoch milliseconds. */
  readonly keys: Map<string, number>;
}

/** Counts on the path of events: the series of each label are looked up here, once, and not at each request. */
function observerOf(metrics: Metrics): Pick<IngestMetrics, 'observer' | 'know'> & { showKeys(): void } {
  const sourceSeries = new Map<string, SourceSeries>();
  const refusals = new Map(
    [...outcomesOfCodes.keys()].map((code) => [code, metrics.daybook_ingest_refusals_total.labels({ code })]),
  );

  function know(sources: readonly KeyedSource[]): void {
    for (const { name: source, keyids } of sources) {
      const series = sourceSeries.get(source) ?? newSeries(source);
      sourceSeries.set(source, series);
      for (const keyid of keyids) series.keys.set(keyid, series.keys.get(keyid) ?? 0);
    }
  }

  function newSeries(source: string): SourceSeries {
    const requests = outcomes.map(
      (outcome) => [outcome, metrics.daybook_ingest_requests_total.labels({ source, outcome })] as const,
    );
    const events = metrics.daybook_ingest_accepted_events_total.labels({ source });
    // A series that only appears with its first event hides that event from rate().
    for (const counter of [...requests.map(([, each]) => each), events]) counter.inc(0);
    return { requests: new Map(requests), events, keys: new Map() };
  }

  const observer: Observer = {
    answered(request) {
      const { route, source = unknownSource, keyid, code, records, seconds } = request;
      if (healthRoutes.has(route)) return;
      const series = sourceSeries.get(source) ?? sourceSeries.get(unknownSource)!;
      series.requests.get(outcomeOf(request))?.inc();
      if (records > 0) series.events.inc(records);
      if (keyid !== undefined && series.keys.has(keyid)) series.keys.set(keyid, Date.now());
      if (code !== undefined) refusals.get(code)?.inc();
      metrics.daybook_ingest_request_duration_seconds.observe(seconds);
    },
    published(records, seconds) {
      metrics.daybook_ingest_publish_batch_records.observe(records);
      metrics.daybook_ingest_publish_duration_seconds.observe(seconds);
    },
    spooled(records, seconds) {
      metrics.daybook_ingest_spooled_records_total.inc(records);
      metrics.daybook_ingest_spool_append_duration_seconds.observe(seconds);
    },
    drained: (records) => metrics.daybook_ingest_drained_records_total.inc(records),
    deadLettered: (records) => metrics.daybook_ingest_dead_lettered_records_total.inc(records),
    circuit(state) {
      for (const each of circuitStates)
        metrics.daybook_ingest_circuit_state.set({ state: each }, each === state ? 1 : 0);
    },
  };

  function showKeys(): void {
    for (const [source, { keys }] of sourceSeries) {
      for (const [keyid, usedAtMs] of keys) {
        metrics.daybook_ingest_key_last_used_timestamp_seconds.set({ source, keyid }, usedAtMs / 1000);
      }
    }
  }

  return { observer, know, showKeys };
}

/** Every code that a sender can be answered, and what it counts as. */
const outcomesOfCodes: ReadonlyMap<string, Outcome> = new Map(
  (Object.keys(errorCodes) as (keyof typeof errorCodes)[]).flatMap((code) => {
    const { status } = errorKind(code);
    return status === undefined ? [] : [[code, outcomeOfCode(code, status)] as const];
  }),
);

function outcomeOfCode(code: string, status: number): Outcome {
  if (status === 500) return 'failed';
  if (status === 503) return 'unavailable';
  if (code === 'request_aborted') return 'aborted';
  // How the codes of the signature schemes are named.
  return /^(?:signature|credentials|service|token|date|caller|origin)_|_(?:cookie|user)$/.test(code)
    ? 'unauthenticated'
    : 'invalid';
}

function outcomeOf({ code, records }: AnsweredRequest): Outcome {
  if (code === undefined) return records > 0 ? 'accepted' : 'left_out';
  return outcomesOfCodes.get(code) ?? 'failed';
}

/** Asks the spool once at a time: one that hangs is not asked again until it answers, however often is scraped. */
function spoolGauges(
  metrics: Metrics,
  spoolSize: () => Promise<SpoolSize>,
  limitMs: number,
  log: Logger,
): () => Promise<void> {
  let asking: Promise<boolean> | undefined;

  async function ask(): Promise<boolean> {
    try {
      show(await spoolSize());
      return true;
    } catch (error) {
      log.warn({ reason: messageOf(error) }, 'the spool does not tell its size');
      return false;
    } finally {
      asking = undefined;
    }
  }

  function show({ records, bytes, oldestSeconds, dead }: SpoolSize): void {
    metrics.daybook_ingest_spool_records.set(records);
    metrics.daybook_ingest_spool_bytes.set(bytes);
    metrics.daybook_ingest_spool_oldest_age_seconds.set(oldestSeconds);
    metrics.daybook_ingest_spool_dead_letters.set(dead);
  }

  // Nothing is known yet, which is not the same as nothing waiting.
  show({ records: Number.NaN, bytes: Number.NaN, oldestSeconds: Number.NaN, dead: Number.NaN });
  return async () => {
    asking ??= Promise.resolve().then(ask);
    const isUp = await withTimeLimit(limitMs, asking).catch(() => false);
    metrics.daybook_ingest_spool_up.set(isUp ? 1 : 0);
  };
}
