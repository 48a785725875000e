/** Ingest as a process of its own, as it runs in production, on the embedded stream of a directory. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../shared/clock.ts';
import { readEnvelope } from '../../shared/envelope.ts';
import { openEmbeddedReader } from '../../shared/stream/embedded/embedded.ts';
import type { UnreadPipe } from '../unread-pipe.ts';

const mainPath = fileURLToPath(new URL('../../ingest/main.ts', import.meta.url));

export interface ProcessOptions {
  readonly cwd: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly commands?: readonly string[];
  /** Imported before the program. */
  readonly preload?: URL;
  /** A command that starts it, given as its last arguments. */
  readonly through?: readonly string[];
  /** Takes its log instead of this process. */
  readonly log?: UnreadPipe;
}

export type IngestChild = ChildProcessByStdio<null, null, Readable>;

export interface IngestProcess {
  readonly process: IngestChild;
  readonly url: string;
  readonly port: number;
  readonly adminPort: number;
  /** Its exit code and signal. */
  readonly exited: Promise<[number | null, NodeJS.Signals | null]>;
}

export function spawnIngest({ cwd, environment, commands = [], ...options }: ProcessOptions): IngestChild {
  // Nothing of this environment's but what a process needs to run: settings of the developer's must not come in.
  const env = { PATH: process.env.PATH ?? '', INGEST_ADMIN_PORT: '0', ...environment };
  const preload = options.preload === undefined ? [] : ['--import', options.preload.href];
  const [command, ...parameters] = [...(options.through ?? []), process.execPath, ...preload, mainPath, ...commands];
  const log = options.log?.fd ?? 'pipe';
  return spawn(command!, parameters, { cwd, env, stdio: ['ignore', 'ignore', log] }) as IngestChild;
}

/** Resolves when the port is open; rejects with what stderr said if the process ends before. */
export async function startIngestProcess(options: ProcessOptions): Promise<IngestProcess> {
  const child = spawnIngest(options);
  const exited = once(child, 'exit') as IngestProcess['exited'];
  if (options.log !== undefined) {
    // Read until its ports are known, and then no more.
    const started = await portsIn(options.log, exited);
    return { process: child, url: `http://127.0.0.1:${started.port}`, ...started, exited };
  }
  const said: string[] = [];
  let adminPort = 0;
  const port = await new Promise<number>((resolve, reject) => {
    const lines = createInterface({ input: child.stderr });
    lines.on('line', (line) => {
      if (said.length < 20) said.push(line);
      if (line.includes('"metrics listening"')) adminPort = JSON.parse(line).port;
      if (line.includes('"listening"')) resolve(JSON.parse(line).port);
    });
    lines.on('close', () => reject(new Error(said.join('\n'))));
  });
  return { process: child, url: `http://127.0.0.1:${port}`, port, adminPort, exited };
}

async function portsIn(log: UnreadPipe, exited: Promise<unknown>): Promise<{ port: number; adminPort: number }> {
  let isOver = false;
  void exited.then(() => {
    isOver = true;
  });
  for (;;) {
    const lines = log.read().split('\n');
    const [port, adminPort] = ['listening', 'metrics listening'].map((message) => {
      const line = lines.find((each) => each.endsWith(`"msg":"${message}"}`));
      return line === undefined ? undefined : (JSON.parse(line).port as number);
    });
    if (port !== undefined && adminPort !== undefined) return { port, adminPort };
    if (isOver) throw new Error(lines.join('\n'));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** What the embedded stream of a data directory holds. */
export async function readRecords(dataDirectory: string): Promise<{ id: string; data: string }[]> {
  const reader = await openEmbeddedReader({ directory: dataDirectory, consumer: 'test', clock: systemClock });
  const snapshot = await reader.snapshot();
  const found: { id: string; data: string }[] = [];
  for (const partition of snapshot.partitions.keys()) {
    for await (const { entries } of reader.read(partition, undefined, snapshot)) {
      for (const { value } of entries) {
        const envelope = readEnvelope(value);
        if ('reason' in envelope) throw new Error(envelope.reason);
        found.push({ id: envelope.header.id, data: envelope.data.toString() });
      }
    }
  }
  await reader.close();
  return found;
}
