/**
 * Metrics as Prometheus reads them. A program declares its own in one table, which shared/README.md shows; names follow
 * Prometheus' rules (base units, `_total` for what only grows) and `promtool check metrics` holds them to it. Each
 * program has a registry of its own: prom-client's global one would be shared by all that run in one process.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { messageOf } from '../errors.ts';
import { listen } from '../http/listen.ts';
import { nodeHttp } from '../http/node-http.ts';
import type { Logger } from '../program/log.ts';

export interface MetricDeclaration {
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** What one is. Where it is seconds or bytes the name ends with it (a counter's with `_total` behind). */
  readonly unit: string;
  readonly meaning: string;
  /** Each label with all its values, or `configured` where these are known at the start alone. */
  readonly labels?: Readonly<Record<string, readonly string[] | 'configured'>>;
  /** Upper bounds of a histogram. */
  readonly buckets?: readonly number[];
}

export type MetricTable = Readonly<Record<string, MetricDeclaration>>;

export type Declared<T extends MetricTable> = {
  readonly [Name in keyof T]: {
    counter: Counter;
    gauge: Gauge;
    histogram: Histogram;
  }[T[Name]['type']];
};

/**
 * Makes every metric of a table, each combination of its labels at zero: a series that only appears with its first
 * event hides that event from `rate()`. `configured` are the values of the labels that the table leaves open.
 */
export function declareMetrics<T extends MetricTable>(
  registry: Registry,
  table: T,
  configured: Readonly<Record<string, readonly string[]>> = {},
): Declared<T> {
  const made = Object.entries(table).map(([name, declared]) => {
    const labels = Object.entries(declared.labels ?? {}).map(
      ([label, values]) => [label, values === 'configured' ? (configured[label] ?? []) : values] as const,
    );
    return [name, metricOf(registry, name, declared, combinations(labels))];
  });
  return Object.fromEntries(made) as Declared<T>;
}

type Labels = Readonly<Record<string, string>>;

function metricOf(
  registry: Registry,
  name: string,
  { type, meaning: help, labels = {}, buckets }: MetricDeclaration,
  series: readonly Labels[],
): Counter | Gauge | Histogram {
  const options = { name, help, labelNames: Object.keys(labels), registers: [registry] };
  if (type === 'counter') {
    const counter = new Counter(options);
    for (const each of series) counter.inc(each, 0);
    return counter;
  }
  if (type === 'gauge') {
    const gauge = new Gauge(options);
    for (const each of series) gauge.set(each, 0);
    return gauge;
  }
  const histogram = new Histogram({ ...options, ...(buckets === undefined ? {} : { buckets: [...buckets] }) });
  for (const each of series) histogram.zero(each);
  return histogram;
}

function combinations(labels: readonly (readonly [string, readonly string[]])[]): Labels[] {
  return labels.reduce<Labels[]>(
    (found, [label, values]) => found.flatMap((each) => values.map((value) => ({ ...each, [label]: value }))),
    [{}],
  );
}

export interface MetricsListenerOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Where the port comes from. */
  readonly setting: string;
  /** The text of a scrape, brought up to date. Must end by itself in a second or so. */
  readonly scrape: () => Promise<string>;
  /** Answers GET at other paths with JSON: by its path, given the parameters; undefined: not now (503). Must end by itself in seconds. */
  readonly questions?: Readonly<Record<string, (parameters: URLSearchParams) => Promise<unknown>>>;
  /** What GET /readyz answers, where that is asked here: 200, or 503. */
  readonly isReady?: () => boolean;
  readonly log: Logger;
}

export interface MetricsListener {
  /** The real one, also where 0 was asked for. */
  readonly port: number;
  /** Ends scrapes that are under way, and resolves at once. May be called again. */
  close(): Promise<void>;
}

/** The admin listener: GET /metrics, and /readyz where `isReady` is given. Resolves when it is open; rejects with `listener_unavailable`. */
export async function openMetricsListener(options: MetricsListenerOptions): Promise<MetricsListener> {
  const server: Server = nodeHttp().createServer((request, response) => void answer(request, response, options));
  const { address: host, port } = await listen(server, options.host, options.port, options.setting);
  options.log.info({ host, port }, 'metrics listening');
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { scrape, questions = {}, isReady, log }: MetricsListenerOptions,
): Promise<void> {
  const { method, url = '' } = request;
  const [path = ''] = url.split('?');
  if (method === 'GET' && Object.hasOwn(questions, path)) {
    return answerQuestion(response, questions[path]!(new URLSearchParams(url.slice(path.length + 1))), log);
  }
  if (path === '/readyz' && isReady !== undefined) {
    return isReady() ? end(response, 200, 'ready\n') : end(response, 503, 'The log has the reason.\n');
  }
  if (path !== '/metrics') return end(response, 404, 'The metrics are at /metrics.\n');
  if (method !== 'GET' && method !== 'HEAD') return end(response, 405, 'GET alone.\n', { allow: 'GET, HEAD' });
  try {
    end(response, 200, await scrape(), { 'content-type': Registry.PROMETHEUS_CONTENT_TYPE });
  } catch (error) {
    log.error({ reason: messageOf(error) }, 'metrics cannot be given');
    end(response, 500, 'The log has the reason.\n');
  }
}

async function answerQuestion(response: ServerResponse, asked: Promise<unknown>, log: Logger): Promise<void> {
  try {
    const found = await asked;
    if (found === undefined) end(response, 503, 'Not now, or not this.\n');
    else end(response, 200, JSON.stringify(found), { 'content-type': 'application/json' });
  } catch (error) {
    log.error({ reason: messageOf(error) }, 'a question at the admin listener cannot be answered');
    end(response, 500, 'The log has the reason.\n');
  }
}

function end(
  response: ServerResponse,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    ...headers,
  });
  response.end(text);
}
