/** The carriers of deploy/elk as processes: what takes the readers' topic to OpenSearch. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../house/source-files.ts';

export interface CarrierRoute {
  /** `host:port` */
  readonly broker: string;
  readonly topic: string;
  readonly opensearch: { readonly url: string; readonly port: number };
  /** Where it keeps its state and its log. */
  readonly folder: string;
}

export interface Carrier {
  kill(): Promise<void>;
  stop(): Promise<void>;
}

const rsyslogFile = join(root, 'deploy/elk/rsyslog.conf');

/** Its environment, as the files of deploy/elk ask for it. */
function environmentOf({ broker, topic, opensearch, folder }: CarrierRoute): Record<string, string> {
  return {
    ...{ ELK_BROKER: broker, ELK_TOPIC: topic, ELK_FOLDER: folder },
    ...{ ELK_URL: opensearch.url, ELK_HOST: '127.0.0.1', ELK_PORT: `${opensearch.port}` },
  };
}

/** Why rsyslog cannot run its configuration here; undefined where it can. With REQUIRE_SERVICES=1 that is an error. */
export function missingRsyslog(): string | undefined {
  const route = { broker: '127.0.0.1:9092', topic: 'none', opensearch: { url: 'http://127.0.0.1:9200', port: 9200 } };
  const { error, stderr, status } = spawnSync('rsyslogd', ['-N1', '-f', rsyslogFile], {
    env: { ...process.env, ...environmentOf({ ...route, folder: tmpdir() }) },
    encoding: 'utf8',
  });
  if (error === undefined && status === 0) return undefined;
  const reason = error === undefined ? stderr.trim() : 'needs the command rsyslogd';
  if (process.env.REQUIRE_SERVICES === '1' || (error === undefined && !/could not load module/.test(stderr))) {
    throw new Error(`rsyslog: ${reason}`);
  }
  return reason;
}

export async function startRsyslog(route: CarrierRoute): Promise<Carrier> {
  const { folder } = route;
  await mkdir(folder, { recursive: true });
  return start('rsyslogd', ['-n', '-f', rsyslogFile, '-i', join(folder, 'pid')], route);
}

export async function startFluentBit(route: CarrierRoute): Promise<Carrier> {
  await mkdir(route.folder, { recursive: true });
  return start('fluent-bit', ['-c', join(root, 'deploy/elk/fluent-bit.yaml')], route);
}

/** Rejects where the program ends at once. */
async function start(program: string, args: readonly string[], route: CarrierRoute): Promise<Carrier> {
  const log = openSync(join(route.folder, 'log'), 'a');
  const child = spawn(program, args, {
    env: { ...process.env, ...environmentOf(route) },
    stdio: ['ignore', log, log],
  });
  await once(child, 'spawn');
  return { kill: () => end(child, 'SIGKILL'), stop: () => end(child, 'SIGTERM') };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill(signal);
  await exit;
}
