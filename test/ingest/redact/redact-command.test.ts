/** `daybook-ingest redact` as a process, on the embedded stream and against real servers of Kafka and Kinesis. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { text } from 'node:stream/consumers';
import { after, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { consumerOf } from '../../../ingest/redact/positions.ts';
import { systemClock } from '../../../shared/clock.ts';
import { openReader, openWriter } from '../../../shared/stream/open.ts';
import type { AppendRecord } from '../../../shared/stream/stream.ts';
import type { StreamConfiguration } from '../../../shared/stream/streams.ts';
import { stripeRecord } from '../../compactor/books.ts';
import { promtoolFindings } from '../../promtool.ts';
import { createStream, kinesisClock, openKinesis } from '../../services/kinesis-streams.ts';
import { startService } from '../../services/service.ts';
import { newTopicName } from '../../shared/stream/kafka/kafka-under-test.ts';
import { stripeEvents } from '../../stripe/events.ts';
import { spawnIngest } from '../ingest-process.ts';
import { documentsOf, idsOf } from './redact-under-test.ts';

const main = fileURLToPath(new URL('../../../ingest/main.ts', import.meta.url));
const log = pino({ level: 'silent' });

interface Streams {
  readonly stream: StreamConfiguration;
  readonly readers: StreamConfiguration;
  readonly letters?: StreamConfiguration;
  /** The folders where they are, if they are embedded. */
  readonly directory: string;
}

async function newDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'daybook-redact-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

function eventsNamed(seed: string, count: number): { ids: string[]; records: AppendRecord[] } {
  const made = stripeEvents({ count, seed, fromSeconds: 1_763_600_000, toSeconds: 1_763_603_600 });
  return { ids: made.map(({ id }) => id), records: made.map(({ text }) => stripeRecord(text)) };
}

async function append({ stream, directory }: Streams, records: readonly AppendRecord[]): Promise<void> {
  const writer = await openWriter(stream, directory, log);
  for (let at = 0; at < records.length; at += 100) await writer.append(records.slice(at, at + 100));
  await writer.close();
}

async function snapshotOf(stream: StreamConfiguration, directory: string) {
  const reader = await openReader(stream, directory, { consumer: 'test', clock: systemClock, log });
  try {
    return await reader.snapshot();
  } finally {
    await reader.close();
  }
}

async function readAll(stream: StreamConfiguration, directory: string) {
  const clock = stream.type === 'kinesis' ? kinesisClock : systemClock;
  const reader = await openReader(stream, directory, { consumer: 'test', clock, log });
  try {
    return await documentsOf(reader);
  } finally {
    await reader.close();
  }
}

function environmentOf({ stream, readers, letters, directory }: Streams): Record<string, string> {
  return {
    DAYBOOK_DATA_DIR: directory,
    DAYBOOK_STREAM: JSON.stringify(stream),
    DAYBOOK_READERS_STREAM: JSON.stringify(readers),
    ...(letters === undefined ? {} : { DAYBOOK_READERS_DEAD_LETTERS: JSON.stringify(letters) }),
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'testsecret',
  };
}

/** Runs it to its end. */
async function redact(streams: Streams, environment: Record<string, string> = {}, ...options: string[]) {
  const all = { ...environmentOf(streams), LOG_LEVEL: 'silent', ...environment };
  const child = spawnIngest({ cwd: streams.directory, environment: all, commands: ['redact', ...options] });
  const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
  return { code, said };
}

/** One that runs on. `ready` resolves with the text of /metrics once /readyz says 200. */
function startRedact(t: TestContext, streams: Streams) {
  const child = spawnIngest({ cwd: streams.directory, environment: environmentOf(streams), commands: ['redact'] });
  const exited = once(child, 'exit');
  t.after(() => child.kill('SIGKILL'));
  let said = '';
  const listening = new Promise<number>((resolve, reject) => {
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk;
      const line = said.split('\n').find((each) => each.endsWith('"msg":"metrics listening"}'));
      if (line !== undefined) resolve(JSON.parse(line).port);
    });
    child.stderr.on('close', () => reject(new Error(said)));
  });
  return {
    child,
    exited,
    async ready(): Promise<string> {
      const url = `http://127.0.0.1:${await listening}`;
      for (;;) {
        const answer = await fetch(`${url}/readyz`);
        await answer.text();
        if (answer.status === 200) return (await fetch(`${url}/metrics`)).text();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
  };
}

const unique = (ids: readonly string[]) => [...new Set(ids)].sort();
const embedded = { type: 'embedded' } as const;

test('settings that cannot be are all named, and a readers’ stream that is the stream itself is refused', async (t) => {
  const streams = { stream: embedded, readers: embedded, directory: await newDirectory(t) };
  const { code, said } = await redact(streams, {
    DAYBOOK_READERS_STREAM: '{"type":"kafka"}',
    DAYBOOK_READERS_DEAD_LETTERS: '{"type":"file"}',
    DAYBOOK_REDACTION:
      '{"rules":[{"hash":["a"]},{"remove":["a..b"]},{"type":"x"},{"truncate":{"a":-1}}],"default":true}',
  });
  assert.equal(code, 1);
  for (const part of [
    'DAYBOOK_READERS_STREAM.params: ',
    'DAYBOOK_READERS_DEAD_LETTERS.type: ',
    'DAYBOOK_REDACTION.rules[1].remove[0]: must be names joined by dots',
    'DAYBOOK_REDACTION.rules[2]: says nothing: give keep, hash, truncate or remove',
    'DAYBOOK_REDACTION.rules[3].truncate.a: ',
    'DAYBOOK_REDACTION: has no member "default"',
  ]) {
    assert.ok(said.includes(part), `${part} in ${said}`);
  }
  const hashing = await redact(streams, { DAYBOOK_REDACTION: '{"rules":[{"hash":["a"]}]}' });
  assert.equal(hashing.code, 1);
  assert.match(hashing.said, /DAYBOOK_REDACTION_KEY: is required where a rule of DAYBOOK_REDACTION hashes/);
});

test('on embedded streams: to the end and no further, on where it ended, and nothing is dropped for others', async (t) => {
  const streams = { stream: embedded, readers: embedded, directory: await newDirectory(t) };
  const readersDirectory = join(streams.directory, 'readers');
  const { ids, records } = eventsNamed('embedded', 300);
  await append(streams, records.slice(0, 200));
  const rules = { DAYBOOK_REDACTION: '{"rules":[{"hash":["customer"]}]}', DAYBOOK_REDACTION_KEY: 'k'.repeat(32) };
  for (let run = 0; run < 2; run++) assert.deepEqual(await redact(streams, rules, '--once'), { code: 0, said: '' });
  await append(streams, records.slice(200));
  assert.deepEqual(await redact(streams, rules, '--once'), { code: 0, said: '' });
  const documents = await readAll(embedded, readersDirectory);
  assert.deepEqual(idsOf(documents).sort(), [...ids].sort());
  assert.match(JSON.stringify(documents), /"customer":"hmac-sha256:[0-9a-f]{64}"/);
  assert.doesNotMatch(JSON.stringify(documents), /"customer":"cus_|"email"|"last4"|"client_secret"/);

  // A commit would let go what no night has archived yet.
  const database = new DatabaseSync(join(streams.directory, 'stream.sqlite'));
  assert.deepEqual(database.prepare('SELECT * FROM committed').all(), []);
  database.close();
});

test('as it runs: ready and measured once all is passed on, and ended by SIGTERM', async (t) => {
  const streams = { stream: embedded, readers: embedded, directory: await newDirectory(t) };
  const { ids, records } = eventsNamed('running', 200);
  await append(streams, [...records, { key: 's', value: Buffer.from('a stranger') }]);
  const { child, exited, ready } = startRedact(t, streams);
  const scraped = await ready();
  assert.deepEqual(idsOf(await readAll(embedded, join(streams.directory, 'readers'))).sort(), [...ids].sort());
  const risen = scraped.split('\n').filter((line) => /^daybook_redact_/.test(line) && !/ 0$|_lag_seconds /.test(line));
  assert.deepEqual(risen, [
    'daybook_redact_records_total{outcome="redacted"} 200',
    'daybook_redact_records_total{outcome="dead_lettered"} 1',
  ]);
  assert.ok(Number(/^daybook_redact_lag_seconds (.*)$/m.exec(scraped)?.[1]) < 60);
  const findings = promtoolFindings(t, scraped);
  if (findings !== undefined) assert.equal(findings, '');
  child.kill('SIGTERM');
  assert.deepEqual(await exited, [0, null]);
});

/** What holds between any two streams. `newStreams`: three that are empty. `count`: events that they take in seconds. */
function betweenStreams(name: string, count: number, newStreams: (t: TestContext) => Promise<Streams>): void {
  test(`${name}: killed under load and started again every event comes, and then nothing comes again`, async (t) => {
    const streams = await newStreams(t);
    const { ids, records } = eventsNamed(name, count);
    await append(streams, records.slice(0, count / 2));
    const killed = startRedact(t, streams);
    // The first are there: it is at work on the rest.
    while ((await readAll(streams.readers, streams.directory)).length === 0);
    await append(streams, [...records.slice(count / 2), { key: 's', value: Buffer.from('a stranger') }]);
    killed.child.kill('SIGKILL');
    await killed.exited;

    const again = startRedact(t, streams);
    await again.ready();
    const documents = await readAll(streams.readers, streams.directory);
    assert.deepEqual(unique(idsOf(documents)), [...ids].sort());
    t.diagnostic(`${documents.length - ids.length} of ${ids.length} came twice`);
    again.child.kill('SIGTERM');
    assert.deepEqual(await again.exited, [0, null]);

    assert.deepEqual(await redact(streams, {}, '--once'), { code: 0, said: '' });
    assert.equal((await readAll(streams.readers, streams.directory)).length, documents.length);
    const letters = (await readAll(streams.letters!, streams.directory)) as unknown as { reason: string }[];
    assert.deepEqual([...new Set(letters.map(({ reason }) => reason))], ['no data member']);
    assert.doesNotMatch(JSON.stringify(letters), /stranger/);
  });

  test(`${name}: a readers’ stream or one of dead letters that is another of them is refused`, async (t) => {
    const streams = await newStreams(t);
    const same = await redact({ ...streams, readers: streams.stream }, {}, '--once');
    assert.equal(same.code, 1);
    assert.match(same.said, /DAYBOOK_READERS_STREAM: is the stream of DAYBOOK_STREAM; it must be another/);
    const letters = await redact({ ...streams, letters: streams.readers }, {}, '--once');
    assert.equal(letters.code, 1);
    assert.match(letters.said, /DAYBOOK_READERS_DEAD_LETTERS: is the stream of DAYBOOK_READERS_STREAM/);
    const sources = { DAYBOOK_SOURCES: '[{"name":"a","scheme":"stripe","secrets":["whsec_0123456789abcdef"]}]' };
    const environment = { ...environmentOf({ ...streams, letters: streams.readers }), ...sources };
    const doctor = spawnSync(process.execPath, [main, 'doctor'], { env: environment, cwd: streams.directory });
    assert.match(`${doctor.stdout}`, /redact +DAYBOOK_READERS_DEAD_LETTERS is the stream of DAYBOOK_READERS_STREAM/);
  });
}

/** What a broker keeps of a topic that was made again under its name, once it is as long as it was. */
function provenPositions(newStreams: (t: TestContext) => Promise<Streams>): void {
  test('Kafka: positions of another stream of the same name, as their marks tell, are not believed', async (t) => {
    const streams = await newStreams(t);
    const { ids, records } = eventsNamed('made again', 60);
    await append(streams, records);
    const count = async () => idsOf(await readAll(streams.readers, streams.directory)).length;
    for (let run = 0; run < 2; run++) {
      assert.deepEqual(await redact(streams, {}, '--once'), { code: 0, said: '' });
      assert.equal(await count(), ids.length);
    }
    const { id } = await snapshotOf(streams.readers, streams.directory);
    const consumer = consumerOf(id);
    const reader = await openReader(streams.stream, streams.directory, { consumer, clock: systemClock, log });
    const [committed, notes] = [await reader.committed(), await reader.notes!()];
    for (const [partition, cursor] of committed) {
      assert.match(notes.get(partition)!, new RegExp(`^${cursor} [0-9a-f]{16}$`));
    }
    await reader.commit(
      committed,
      new Map([...committed].map(([partition, at]) => [partition, `${at} ${'0'.repeat(16)}`])),
    );
    await reader.close();
    assert.deepEqual(await redact(streams, {}, '--once'), { code: 0, said: '' });
    assert.equal(await count(), 2 * ids.length);
  });
}

const kafka = await startService<{ readonly broker: string }>('kafka.sh');
if (kafka !== undefined) {
  after(() => kafka.stop());
  const topic = () => ({
    type: 'kafka' as const,
    params: { brokers: [kafka.facts.broker], topic: newTopicName(), create: { partitions: 3, replicationFactor: 1 } },
  });
  const newTopics = async (t: TestContext) => ({
    ...{ stream: topic(), readers: topic(), letters: topic() },
    directory: await newDirectory(t),
  });
  betweenStreams('Kafka', 5_000, newTopics);
  provenPositions(newTopics);
}

const kinesis = await startService<{ readonly endpoint: string }>('kinesis.sh');
if (kinesis !== undefined) {
  const { endpoint } = kinesis.facts;
  const client = openKinesis(endpoint);
  after(async () => {
    client.destroy();
    await kinesis.stop();
  });
  const stream = async () => ({
    type: 'kinesis' as const,
    params: { streamName: await createStream(client, 2), endpoint, region: 'us-east-1' },
  });
  betweenStreams('Kinesis', 1_000, async (t) => ({
    ...{ stream: await stream(), readers: await stream(), letters: await stream() },
    directory: await newDirectory(t),
  }));
}
