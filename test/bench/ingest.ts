/**
 * What an accepted webhook costs: ingest as a process of its own, its log on (to a file), driven from this process by
 * keep-alive connections that send real bodies signed beforehand: first each as fast as it is answered, which gives the
 * peak rate, then at half that rate. CPU is that of ingest alone, as Linux counts it. Every id is then looked for in the
 * stream.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { systemClock } from '../../shared/clock.ts';
import { readEnvelope } from '../../shared/envelope.ts';
import { openReader, type StreamConfiguration } from '../../shared/stream/open.ts';
import { stripeEvents } from '../stripe/events.ts';
import { signatureHeader } from '../stripe/webhook-sender.ts';

export interface IngestBenchRow {
  readonly name: string;
  readonly events: number;
  /** Of the bodies, in the mean. */
  readonly bytes: number;
  /** As fast as it goes, not at a given rate. */
  readonly isAtPeak: boolean;
  readonly cpuSecondsPer1000: number;
  readonly wallSeconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const connections = 64;
export const warmUpEvents = 10_000;
const secret = 'whsec_bench';
const mainPath = fileURLToPath(new URL('../../ingest/main.ts', import.meta.url));
const plainPath = fileURLToPath(new URL('plain-server.ts', import.meta.url));

/** The same requests to a server that stores nothing, at its peak. */
export async function benchPlainServer(events = 40_000): Promise<IngestBenchRow> {
  const directory = await mkdtemp(join(tmpdir(), 'daybook-bench-'));
  const server = await startBenchedIngest(directory, { PLAIN_SECRET: secret }, plainPath);
  try {
    const made = makeRequests(warmUpEvents + events);
    await drive(server.port, made.requests.slice(0, warmUpEvents));
    return await measure(server, 'a plain server: node:http, HMAC, JSON.parse', made, warmUpEvents, events);
  } finally {
    await server.end();
    await rm(directory, { recursive: true });
  }
}

/** Rows at the peak and at half of it. Throws if an event was refused or is not in the stream. */
export async function benchIngest(stream: StreamConfiguration, events = 40_000): Promise<IngestBenchRow[]> {
  const directory = await mkdtemp(join(tmpdir(), 'daybook-bench-'));
  const ingest = await startBenchedIngest(directory, { DAYBOOK_STREAM: JSON.stringify(stream) });
  try {
    const made = makeRequests(warmUpEvents + 2 * events);
    await drive(ingest.port, made.requests.slice(0, warmUpEvents));
    const name = `ingest, ${stream.type} stream, ${connections} connections`;
    const peak = await measure(ingest, name, made, warmUpEvents, events);
    const halfPerSecond = events / peak.wallSeconds / 2;
    const half = await measure(ingest, `${name}, at half the rate`, made, warmUpEvents + events, events, halfPerSecond);
    await ingest.stop();
    await assertStored(made, stream, directory);
    return [peak, half];
  } finally {
    await ingest.end();
    await rm(directory, { recursive: true });
  }
}

interface LogLine {
  /** RFC 3339. */
  readonly time: string;
  readonly port: number;
}

export interface BenchedIngest {
  readonly pid: number;
  readonly port: number;
  /** Resolves with the first line of its log that holds the text. */
  said(part: string): Promise<LogLine>;
  /** By SIGTERM. */
  stop(): Promise<void>;
  /** At once, if it still runs. */
  end(): Promise<void>;
}

/** Resolves when it listens. Its log goes to a file of the folder, which is where its data is, too. */
export async function startBenchedIngest(
  directory: string,
  settings: Readonly<Record<string, string>>,
  program = mainPath,
): Promise<BenchedIngest> {
  const logPath = join(directory, 'log');
  const log = await open(logPath, 'w');
  const child = spawn(process.execPath, [program], {
    cwd: directory,
    env: {
      PATH: process.env.PATH ?? '',
      DAYBOOK_SOURCES: JSON.stringify([{ name: 'platform', scheme: 'stripe', secrets: [secret] }]),
      DAYBOOK_DATA_DIR: directory,
      INGEST_PORT: '0',
      INGEST_ADMIN_PORT: '0',
      ...settings,
    },
    stdio: ['ignore', 'ignore', log.fd],
  });
  await log.close();
  const exited = once(child, 'exit');
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    await exited;
  };
  try {
    const said = (part: string) => firstLine(logPath, part, () => child.exitCode === null);
    const { port } = await said('"listening"');
    return { pid: child.pid!, port, said, stop: () => end('SIGTERM'), end: () => end('SIGKILL') };
  } catch (error) {
    await end('SIGKILL');
    throw error;
  }
}

/** Signed just now, each once. */
export interface MadeRequests {
  readonly ids: readonly string[];
  readonly requests: readonly Buffer[];
  /** Of the bodies, in the mean. */
  readonly bytes: number;
}

export function makeRequests(count: number): MadeRequests {
  const nowSeconds = Math.floor(Date.now() / 1000);
  const made = stripeEvents({ count, seed: 'bench', fromSeconds: nowSeconds - 86_400, toSeconds: nowSeconds });
  return {
    ids: made.map(({ id }) => id),
    requests: made.map(({ text }) => requestOf(text)),
    bytes: Math.round(made.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0) / count),
  };
}

/** Sends `events` of the requests, `from` one on, as `drive` does. */
export async function measure(
  { pid, port }: BenchedIngest,
  name: string,
  { requests, bytes }: MadeRequests,
  from: number,
  events: number,
  perSecond?: number,
): Promise<IngestBenchRow> {
  const cpuBefore = await cpuSecondsOf(pid);
  const started = performance.now();
  const latenciesMs = await drive(port, requests.slice(from, from + events), perSecond);
  const wallSeconds = (performance.now() - started) / 1000;
  const cpuSeconds = (await cpuSecondsOf(pid)) - cpuBefore;
  latenciesMs.sort((a, b) => a - b);
  return {
    name,
    events,
    bytes,
    isAtPeak: perSecond === undefined,
    cpuSecondsPer1000: (cpuSeconds * 1000) / events,
    wallSeconds,
    p50Ms: latenciesMs[Math.floor(events * 0.5)]!,
    p99Ms: latenciesMs[Math.floor(events * 0.99)]!,
  };
}

/** Throws if one of them is not in the stream. */
export async function assertStored(
  { ids }: MadeRequests,
  stream: StreamConfiguration,
  directory: string,
): Promise<void> {
  const stored = await idsOf(stream, directory);
  const lost = ids.filter((id) => !stored.has(id)).length;
  if (lost > 0) throw new Error(`${lost} acknowledged events are not in the stream`);
}

async function idsOf(stream: StreamConfiguration, directory: string): Promise<Set<string>> {
  const log = pino({ level: 'silent' });
  const reader = await openReader(stream, directory, { consumer: 'bench', clock: systemClock, log });
  const ids = new Set<string>();
  const snapshot = await reader.snapshot();
  for (const partition of snapshot.partitions.keys()) {
    for await (const { entries } of reader.read(partition, undefined, snapshot)) {
      for (const { value } of entries) {
        const envelope = readEnvelope(value);
        if ('reason' in envelope) throw new Error(envelope.reason);
        ids.add(envelope.header.id);
      }
    }
  }
  await reader.close();
  return ids;
}

function requestOf(body: string): Buffer {
  const head = [
    'POST /webhooks/platform HTTP/1.1',
    'Host: 127.0.0.1',
    'User-Agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)',
    'Accept: */*; q=0.5, application/xml',
    'Cache-Control: no-cache',
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `Stripe-Signature: ${signatureHeader({ body, secrets: [secret] })}`,
  ];
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`);
}

/**
 * Sends each request once, one at a time on each connection; resolves with the latency of each. At `perSecond` each is
 * due at a time of its own, and its latency counts from then, so that waiting for a free connection is not hidden.
 */
export async function drive(port: number, requests: readonly Buffer[], perSecond?: number): Promise<number[]> {
  const latenciesMs: number[] = [];
  const startMs = performance.now();
  let next = 0;
  const clients = Array.from({ length: connections }, async () => {
    const socket = connect(port, '127.0.0.1').setNoDelay(true);
    await once(socket, 'connect');
    await new Promise<void>((resolve, reject) => {
      let sentMs = 0;
      let answer = '';
      const send = (): void => {
        const request = requests[next];
        if (request === undefined) {
          resolve();
          return;
        }
        const nowMs = performance.now();
        const dueMs = perSecond === undefined ? nowMs : startMs + (next * 1000) / perSecond;
        next += 1;
        const write = (): void => {
          // A timer may be early by a fraction of a millisecond.
          sentMs = Math.min(dueMs, performance.now());
          socket.write(request);
        };
        if (dueMs > nowMs) setTimeout(write, dueMs - nowMs);
        else write();
      };
      socket.on('error', reject);
      socket.on('data', (chunk) => {
        answer += chunk.toString('latin1');
        if (!answer.endsWith('}')) return;
        latenciesMs.push(performance.now() - sentMs);
        if (!answer.startsWith('HTTP/1.1 200 ')) return reject(new Error(answer));
        answer = '';
        send();
      });
      send();
    });
    socket.destroy();
  });
  await Promise.all(clients);
  return latenciesMs;
}

async function firstLine(logPath: string, part: string, isRunning: () => boolean): Promise<LogLine> {
  for (;;) {
    const isLastLook = !isRunning();
    const line = (await readFile(logPath, 'utf8')).split('\n').find((text) => text.includes(part));
    if (line !== undefined) return JSON.parse(line);
    if (isLastLook) throw new Error(`ingest ended:\n${await readFile(logPath, 'utf8')}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** User and system time, from /proc/<pid>/stat in ticks of 10 ms. */
export async function cpuSecondsOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
