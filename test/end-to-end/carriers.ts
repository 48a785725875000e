/** The carriers of deploy/elk as processes: what takes the readers' topic to OpenSearch. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../house/source-files.ts';
import { freePorts } from '../services/service.ts';

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

/** What takes the readers' topic to the cluster. */
export interface CarrierKind {
  readonly name: string;
  /** Why it cannot run here; undefined where it can. */
  readonly missing: string | undefined;
  /** Whether it names the index of the month, so that nothing goes astray while OpenSearch starts. */
  readonly namesIndex: boolean;
  start(route: CarrierRoute): Promise<Carrier>;
}

/** The one that must be there with REQUIRE_SERVICES=1, and others where their parts are there. */
export function carrierKinds(): readonly [CarrierKind, ...CarrierKind[]] {
  return [
    {
      name: 'rsyslog',
      missing: missingRsyslog(),
      namesIndex: true,
      start: (route) => start('rsyslogd', ['-n', '-f', rsyslogFile, '-i', join(route.folder, 'pid')], route),
    },
    {
      name: 'Fluent Bit',
      missing: spawnSync('fluent-bit', ['--version']).status === 0 ? undefined : 'needs fluent-bit on the PATH',
      namesIndex: false,
      start: (route) => start('fluent-bit', ['-c', join(root, 'deploy/elk/fluent-bit.yaml')], route),
    },
    {
      name: 'Kafka Connect',
      missing: process.env.KAFKA_CONNECT_HOME ? undefined : 'needs KAFKA_CONNECT_HOME, a folder with libs and plugins',
      namesIndex: false,
      start: startKafkaConnect,
    },
  ];
}

async function startKafkaConnect(route: CarrierRoute): Promise<Carrier> {
  const home = process.env.KAFKA_CONNECT_HOME!;
  const properties = join(root, 'deploy/elk/kafka-connect');
  const worker = join(route.folder, 'worker.properties');
  const [port] = await freePorts(1);
  // The last of two lines counts.
  const pluginPath = `plugin.path=${join(home, 'plugins')}\n`;
  await writeFile(worker, (await readFile(join(properties, 'worker.properties'), 'utf8')) + pluginPath);
  const options = ['-Xmx384m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-cp', join(home, 'libs/*')];
  const program = ['org.apache.kafka.connect.cli.ConnectStandalone', worker, join(properties, 'sink.properties')];
  const environment = { ELK_REST: `http://127.0.0.1:${port}` };
  return start(process.env.KAFKA_CONNECT_JAVA ?? 'java', [...options, ...program], route, environment);
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

/** Rejects where the program ends at once. */
async function start(
  program: string,
  args: readonly string[],
  route: CarrierRoute,
  environment: Record<string, string> = {},
): Promise<Carrier> {
  const log = openSync(join(route.folder, 'log'), 'a');
  const child = spawn(program, args, {
    env: { ...process.env, ...environmentOf(route), ...environment },
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
