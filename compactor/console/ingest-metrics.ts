/** What one ingest's metrics tell, read from Prometheus' text as its admin listener gives it. */
import { isSourceName } from '../../shared/schemes/source-members.ts';
import type { IngestNow, SourceNow } from './now-shapes.ts';

/** Values by `name` or `name label=value …`, labels in the order of the text. */
export type Sample = ReadonlyMap<string, Series>;

interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const prefix = 'daybook_ingest_';
const line = /^(\w+)(?:\{([^\n]*)\})? (\S+)$/;
const label = /(\w+)="((?:[^"\\]|\\.)*)"/g;
/** An ingest has hundreds at most. */
const maxSeries = 20_000;

export function readSample(text: string): Sample {
  const sample = new Map<string, Series>();
  for (const each of text.split('\n')) {
    if (!each.startsWith(prefix) && !each.startsWith('process_start_time_seconds ')) continue;
    const [, name, labels = '', number] = line.exec(each) ?? [];
    if (name === undefined || sample.size >= maxSeries) continue;
    const found = Object.fromEntries([...labels.matchAll(label)].map(([, key, value]) => [key!, value!]));
    sample.set(`${name} ${labels}`, { name, labels: found, value: Number(number) });
  }
  return sample;
}

export interface Figures extends Omit<IngestNow, 'address' | 'trouble' | 'overSeconds'> {}

/** `before`: an earlier sample, and how many seconds lie between. */
export function figuresOf(
  sample: Sample,
  before: { readonly sample: Sample; readonly seconds: number } | undefined,
): Figures {
  const all = [...sample];
  const one = (name: string): number | null => {
    const value = sample.get(`${prefix}${name} `)?.value;
    return value === undefined || Number.isNaN(value) ? null : value;
  };
  /** What a counter has counted, and how many a minute of late; null where it began again meanwhile. */
  const counted = ([key, { value }]: (typeof all)[number]) => {
    const then = before?.sample.get(key)?.value;
    const isKnown = before !== undefined && then !== undefined && value >= then;
    return { total: value, perMinute: isKnown ? ((value - then) / before.seconds) * 60 : null };
  };
  const of = (name: string) => all.filter(([, series]) => series.name === `${prefix}${name}`);

  const names = [...new Set(of('accepted_events_total').map(([, { labels }]) => labels.source ?? ''))];
  const sources: SourceNow[] = names
    .filter((name) => isSourceName(name) || name === '_unknown')
    .map((source) => {
      const events = of('accepted_events_total').find(([, { labels }]) => labels.source === source)!;
      const requests = of('requests_total').filter(([, { labels }]) => labels.source === source);
      return {
        source,
        events: counted(events),
        requests: Object.fromEntries(requests.map((each) => [word(each[1].labels.outcome), counted(each)])),
      };
    });
  const started = sample.get('process_start_time_seconds ')?.value;
  const circuit = of('circuit_state').find(([, { value }]) => value === 1)?.[1].labels.state;
  const up = one('spool_up');
  return {
    startedAt:
      started === undefined || !(started > 0 && started < 1e11) ? null : new Date(started * 1000).toISOString(),
    sources,
    refusals: of('refusals_total')
      .filter(([, { value }]) => value > 0)
      .map((each) => ({ code: word(each[1].labels.code), ...counted(each) }))
      .sort((a, b) => b.total - a.total),
    spool: {
      isUp: up === null ? null : up === 1,
      records: one('spool_records'),
      bytes: one('spool_bytes'),
      oldestSeconds: one('spool_oldest_age_seconds'),
      deadLetters: one('spool_dead_letters'),
    },
    circuit: circuit === 'closed' || circuit === 'half_open' || circuit === 'open' ? circuit : null,
  };
}

/** A code or an outcome; what is none is said so. */
function word(text: string | undefined): string {
  return /^[a-z_]{1,60}$/.test(text ?? '') ? text! : 'unknown';
}
