/**
 * `npm run services [three-brokers]`: the servers that the tests use, for a developer: Kafka (one broker, or three),
 * Kinesis, S3, PostgreSQL. Installs what is missing into `.services`, prints the settings that name them, and runs until Ctrl-C or
 * SIGTERM. What they hold is gone afterwards.
 */
import { messageOf } from '../../shared/errors.ts';
import { createStream, openKinesis } from './kinesis-streams.ts';
import { createBucket } from './s3-buckets.ts';
import { openService, type Service } from './service.ts';

const [argument, ...more] = process.argv.slice(2);
const running = new Map<string, Service<unknown>>();
let isStopping = false;

/** Starts a service and prints what its facts are to daybook. One that cannot be had is said; the others go on. */
async function start<Facts>(name: string, script: string, settingOf: (facts: Facts) => Promise<string>): Promise<void> {
  try {
    const service = await openService<Facts>(script, { install: true });
    if (typeof service === 'string') return say(process.stderr, `${name}: ${service}`);
    running.set(name, service);
    void service.ended.then(() => {
      running.delete(name);
      if (!isStopping) say(process.stderr, `${name} has ended by itself.`);
    });
    if (isStopping) return await service.stop();
    say(process.stdout, `\n# ${name}\n${await settingOf(service.facts)}`);
  } catch (error) {
    if (isStopping) return;
    say(process.stderr, `${name}: ${messageOf(error)}`);
    process.exitCode = 1;
  }
}

async function stop(): Promise<void> {
  isStopping = true;
  await Promise.all([...running.values()].map((service) => service.stop()));
}

function say(to: NodeJS.WriteStream, text: string): void {
  to.write(`${text}\n`);
}

/** A line for a shell. The values hold no quotation mark. */
const setting = (name: string, value: object) => `export ${name}='${JSON.stringify(value)}'`;

async function kafkaSetting(brokers: readonly string[]): Promise<string> {
  const create = { partitions: 6, replicationFactor: brokers.length };
  return setting('DAYBOOK_STREAM', { type: 'kafka', params: { brokers, topic: 'daybook', create } });
}

async function kinesisSetting({ endpoint }: { readonly endpoint: string }): Promise<string> {
  const client = openKinesis(endpoint);
  const streamName = await createStream(client);
  client.destroy();
  return setting('DAYBOOK_STREAM', { type: 'kinesis', params: { streamName, endpoint, region: 'us-east-1' } });
}

async function s3Setting({ endpoint }: { readonly endpoint: string }): Promise<string> {
  return setting('DAYBOOK_STORE', { type: 's3', params: await createBucket(endpoint) });
}

async function postgresSetting({ port }: { readonly port: number }): Promise<string> {
  return setting('INGEST_SPOOL', { type: 'sql', params: { url: `postgres://postgres@127.0.0.1:${port}/postgres` } });
}

if (more.length > 0 || (argument !== undefined && argument !== 'three-brokers')) {
  say(process.stderr, 'usage: npm run services [-- three-brokers]');
  process.exitCode = 1;
} else {
  process.on('SIGTERM', stop).on('SIGINT', stop);
  say(
    process.stdout,
    'Starting; what is not installed yet is fetched first. Paste one stream, the store and the spool.',
  );
  await Promise.all([
    argument === 'three-brokers'
      ? start('Kafka, three brokers', 'kafka3.sh', ({ brokers }: { brokers: string[] }) => kafkaSetting(brokers))
      : start('Kafka', 'kafka.sh', ({ broker }: { broker: string }) => kafkaSetting([broker])),
    start('Kinesis', 'kinesis.sh', kinesisSetting),
    start('S3', 's3.sh', s3Setting),
    start('PostgreSQL', 'postgres.sh', postgresSetting),
  ]);
  if (running.size === 0) process.exitCode = 1;
  else if (!isStopping) {
    say(process.stdout, '\n# For Kinesis and S3\nexport AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=testsecret');
    say(process.stdout, '\nReady. Ctrl-C stops them all.');
  }
}
