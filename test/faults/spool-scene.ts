/**
 * A scene of a fault: ingest as a process of its own with its spool, a Kafka topic behind a proxy, senders that go on
 * whatever happens, and at the end the night, whose archive must hold every event that was answered 2xx, once.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as rest } from 'node:timers/promises';
import { pino } from 'pino';
import { systemClock } from '../../shared/clock.ts';
import { tableOf } from '../../shared/program/table.ts';
import { openReader } from '../../shared/stream/open.ts';
import { type Books, openBooks } from '../compactor/books.ts';
import { until } from '../compactor/until.ts';
import { readAll, valuesOf } from '../contract/event-stream.ts';
import { type IngestProcess, type ProcessOptions, startIngestProcess } from '../ingest/ingest-process.ts';
import { freePorts } from '../services/service.ts';
import { createTopic, newTopicName } from '../shared/stream/kafka/kafka-under-test.ts';
import { eachStripeEvent } from '../stripe/events.ts';
import { sendWebhook } from '../stripe/webhook-sender.ts';

const secret = 'whsec_of_the_faults';
export const deadlineMs = 400;
const senders = 8;
const pauseMs = 15;

export interface SceneOptions {
  /** As the table of faults calls it. */
  readonly fault: string;
  /** What clients of the broker are told. */
  readonly brokerPort: number;
  /** INGEST_SPOOL; default: a file. */
  readonly spool?: object;
  /** The topic is made before ingest starts. Otherwise ingest makes it. */
  readonly makesTopic?: boolean;
  readonly maxMessageBytes?: number;
}

type StartOptions = Pick<ProcessOptions, 'preload' | 'through'> & {
  readonly environment?: ProcessOptions['environment'];
};

export interface Scene {
  readonly books: Books;
  readonly topic: string;
  readonly traffic: Traffic;
  /** Starts it, on the same ports and data at each time. */
  start(options?: StartOptions): Promise<IngestProcess>;
  /** The settings of ingest, for its commands. */
  readonly environment: ProcessOptions['environment'];
  /** A sample of ingest's metrics. */
  metric(name: string): Promise<number>;
  /** Resolves when, under the traffic, the spool is empty and events go to the stream again; notes how long that took. */
  recovered(): Promise<void>;
  /**
   * Ends the traffic and ingest, lets the night come, and checks and notes what is archived. Resolves with what the spool
   * took since the last start, and how many records of the stream were copies.
   */
  settle(): Promise<{ readonly spooled: number; readonly copies: number }>;
}

interface Row {
  readonly fault: string;
  readonly sent: number;
  readonly accepted: number;
  readonly refused: number;
  readonly cut: number;
  readonly slowestMs: number;
  readonly recoveredMs: number | null;
  readonly spooled: number;
  /** Records of the stream. */
  readonly streamed: number;
  readonly archived: number;
}

const rows: Row[] = [];
const head = ['fault', 'sent', '2xx', '503', 'cut', 'slowest ms', 'back after ms', 'spooled', 'in stream', 'archived'];

/** To be called after the tests of a file: prints what they noted. */
export function faultTable(): void {
  test('the table of faults: events sent and answered 2xx, tries answered 503 or cut, records with copies, ids archived', (t) => {
    const cells = rows.map((row) => Object.values(row) as (string | number | null)[]);
    for (const line of tableOf(head, cells).trimEnd().split('\n')) t.diagnostic(line);
  });
}

export async function openScene(t: TestContext, options: SceneOptions): Promise<Scene> {
  const { fault, brokerPort, spool = { type: 'file' }, makesTopic = true, maxMessageBytes } = options;
  const books = await openBooks();
  const [port, adminPort] = await freePorts(2);
  const broker = `127.0.0.1:${brokerPort}`;
  const topic = newTopicName();
  const stream = {
    type: 'kafka' as const,
    params: { brokers: [broker], topic, create: { partitions: 3, replicationFactor: 1 } },
  };
  if (makesTopic) {
    const configEntries =
      maxMessageBytes === undefined ? [] : [{ name: 'max.message.bytes', value: `${maxMessageBytes}` }];
    await createTopic([broker], { topic, numPartitions: 3, configEntries });
  }
  const environment = {
    DAYBOOK_SOURCES: JSON.stringify([{ name: 'platform', scheme: 'stripe', secrets: [secret] }]),
    DAYBOOK_DATA_DIR: books.directory,
    DAYBOOK_STREAM: JSON.stringify(stream),
    INGEST_SPOOL: JSON.stringify(spool),
    INGEST_PORT: `${port}`,
    INGEST_ADMIN_PORT: `${adminPort}`,
    INGEST_PUBLISH_DEADLINE_MS: `${deadlineMs}`,
  };
  const traffic = openTraffic(`http://127.0.0.1:${port}/webhooks/platform`, topic);
  let ingest: IngestProcess | undefined;
  let recoveredMs: number | null = null;
  t.after(async () => {
    await traffic.stop(0);
    ingest?.process.kill('SIGKILL');
    await ingest?.exited;
    await books.close();
  });

  async function metric(name: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text();
    const line = text.split('\n').find((one) => one.startsWith(`${name} `));
    assert.ok(line !== undefined, `metric ${name}`);
    return Number(line.slice(name.length + 1));
  }

  /** The records of the stream, and the ids in the archive. */
  async function archive(): Promise<{ streamed: number; ids: string[] }> {
    books.at(new Date(Date.now() + 2 * 86_400_000).toISOString());
    const log = pino({ level: 'silent' });
    const reader = await openReader(stream, books.directory, { consumer: 'night', clock: systemClock, log });
    t.after(() => reader.close());
    const streamed = valuesOf(await readAll(reader)).length;
    const report = await books.night([{ name: 'platform' }], { stream: () => reader });
    assert.deepEqual(report.errors, []);
    const ids: string[] = [];
    for (const { parts } of report.days) {
      for (const key of parts) ids.push(...(await books.lines(key)).map((line) => JSON.parse(line).id as string));
    }
    return { streamed, ids };
  }

  return {
    books,
    topic,
    traffic,
    environment,
    metric,
    async start({ environment: more, ...how } = {}) {
      ingest = await startIngestProcess({
        cwd: books.directory,
        environment: { ...environment, ...more },
        ...how,
      });
      return ingest;
    },
    async recovered() {
      const startedMs = performance.now();
      let before: { readonly spooled: number; readonly accepted: number; readonly atMs: number } | undefined;
      recoveredMs = await until(async () => {
        const spooled = await metric('daybook_ingest_spooled_records_total');
        const isClosed = (await metric('daybook_ingest_circuit_state{state="closed"}')) === 1;
        const isEmpty = (await metric('daybook_ingest_spool_records')) === 0;
        if (!isClosed || !isEmpty || spooled !== before?.spooled) before = undefined;
        if (!isClosed || !isEmpty) return undefined;
        before ??= { spooled, accepted: traffic.accepted.size, atMs: performance.now() };
        // Events were taken, and none of them by the spool.
        return traffic.accepted.size > before.accepted + 2 * senders ? before.atMs - startedMs : undefined;
      });
    },
    async settle() {
      await traffic.stop();
      const spooled = await metric('daybook_ingest_spooled_records_total');
      ingest?.process.kill('SIGTERM');
      assert.deepEqual(await ingest?.exited, [0, null], 'ingest ran to the end');
      const { ids, streamed } = await archive();
      const { sent, accepted, refused, cut, slowestMs } = traffic;
      const archived = new Set(ids);
      rows.push({
        fault,
        sent,
        accepted: accepted.size,
        refused,
        cut,
        slowestMs: Math.round(slowestMs),
        recoveredMs: recoveredMs === null ? null : Math.round(recoveredMs),
        spooled,
        streamed,
        archived: archived.size,
      });
      assert.equal(archived.size, ids.length, 'no event is archived twice');
      const lost = [...accepted].filter((id) => !archived.has(id));
      assert.deepEqual(lost, [], 'every event that was answered 2xx is archived');
      return { spooled, copies: streamed - archived.size };
    },
  };
}

export interface Traffic {
  /** Ids that were answered 2xx. */
  readonly accepted: ReadonlySet<string>;
  /** Events; each is sent again until it is accepted, as Stripe does. */
  readonly sent: number;
  /** Tries that were answered 503, and whose connection broke. */
  readonly refused: number;
  readonly cut: number;
  /** Of answers of 2xx, from the try they answer. */
  readonly slowestMs: number;
  /** Begins to send. Of every tenth event the body is made so long, where that is given. */
  start(options?: { readonly paddedBytes?: number }): void;
  /** Resolves when so many more are accepted. */
  accepts(more: number): Promise<void>;
  /** Resolves when so many more tries are refused. */
  refuses(more: number): Promise<void>;
  /** Each sender waits until its last event is accepted, or for so long. */
  stop(limitMs?: number): Promise<void>;
}

function openTraffic(url: string, seed: string): Traffic {
  const nowSeconds = Math.floor(Date.now() / 1000);
  const events = eachStripeEvent({ count: 1e6, seed, fromSeconds: nowSeconds - 1_000, toSeconds: nowSeconds });
  const accepted = new Set<string>();
  const counts = { sent: 0, refused: 0, cut: 0, slowestMs: 0 };
  const abort = new AbortController();
  let isStopping = false;
  let running = Promise.resolve();
  let failure: unknown;

  async function attempt(id: string, body: string): Promise<boolean> {
    const startedMs = performance.now();
    const answer = await sendWebhook({ url, body, secrets: [secret] }).catch(() => undefined);
    if (answer === undefined) {
      counts.cut += 1;
      return false;
    }
    if (answer.status === 503) {
      assert.ok(Number(answer.headers.get('retry-after')) > 0, 'a refusal says when to try again');
      counts.refused += 1;
      return false;
    }
    assert.equal(answer.status, 200, answer.body);
    accepted.add(id);
    counts.slowestMs = Math.max(counts.slowestMs, performance.now() - startedMs);
    return true;
  }

  async function send(paddedBytes: number): Promise<void> {
    while (!isStopping) {
      const { id, text } = events.next().value!;
      const body = counts.sent % 10 === 0 ? padded(text, paddedBytes) : text;
      counts.sent += 1;
      while (!(await attempt(id, body)) && !abort.signal.aborted) await rest(pauseMs);
      await rest(pauseMs);
    }
  }

  async function grown(count: () => number, more: number): Promise<void> {
    const target = count() + more;
    await until(() => {
      if (failure !== undefined) throw failure;
      return count() >= target ? true : undefined;
    });
  }

  return {
    accepted,
    get sent() {
      return counts.sent;
    },
    get refused() {
      return counts.refused;
    },
    get cut() {
      return counts.cut;
    },
    get slowestMs() {
      return counts.slowestMs;
    },
    start({ paddedBytes = 0 } = {}) {
      isStopping = false;
      running = Promise.all(Array.from({ length: senders }, () => send(paddedBytes))).then(
        () => undefined,
        (error) => {
          failure = error;
        },
      );
    },
    accepts: (more) => grown(() => accepted.size, more),
    refuses: (more) => grown(() => counts.refused, more),
    async stop(limitMs = 10_000) {
      isStopping = true;
      const timer = setTimeout(() => abort.abort(), limitMs);
      await running;
      clearTimeout(timer);
      if (failure !== undefined) throw failure;
    },
  };
}

function padded(text: string, bytes: number): string {
  const missing = bytes - Buffer.byteLength(text);
  return missing <= 0 ? text : text.replace(/^\{/, `{"padding":"${'x'.repeat(missing)}",`);
}
