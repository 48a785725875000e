/** What deploy/elk/README.md shows to readers, run as it stands: each id once, however often its record comes. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { after, type TestContext, test } from 'node:test';
import { PutRecordsCommand } from '@aws-sdk/client-kinesis';
import { root } from '../house/source-files.ts';
import { createStream, openKinesis } from '../services/kinesis-streams.ts';
import { openService } from '../services/service.ts';
import { createTopic, newTopicName, testClient } from '../shared/stream/kafka/kafka-under-test.ts';
import { passedOn, type ReadersRecord, streamedEvents } from './readers-records.ts';
import { shownBlock } from './search-cluster.ts';

const toSeconds = Date.parse('2026-11-20T12:00:00Z') / 1_000;
const recordsOf = (count: number, seed: string, fromSeconds: number) =>
  streamedEvents({ count, seed, fromSeconds, toSeconds: fromSeconds + 3_600 }).map(passedOn);
const records = recordsOf(200, 'read', toSeconds - 86_400);
const [last] = recordsOf(1, 'last', toSeconds);
const sent = [...records, ...records, last!];

const folder = await mkdtemp(join(tmpdir(), 'daybook-readers-'));
after(() => rm(folder, { recursive: true, force: true }));

test('the reader by kafkajs takes each id once', async (t) => {
  const kafka = await openService<{ readonly broker: string }>('kafka.sh');
  if (typeof kafka === 'string') return t.skip(kafka);
  t.after(() => kafka.stop());
  const { broker } = kafka.facts;
  const topic = newTopicName();
  await createTopic([broker], { topic, numPartitions: 1 });
  const producer = testClient([broker]).producer();
  await producer.connect();
  for (let at = 0; at < sent.length; at += 100) await producer.send({ topic, messages: sent.slice(at, at + 100) });
  await producer.disconnect();
  const database = join(folder, 'kafka.db');
  const reader = startReader(t, 'kafkajs', { DATABASE: database, ELK_BROKER: broker, ELK_TOPIC: topic });
  const said = await reader.idsUntil((id) => id === last!.key);
  await reader.kill();
  assert.deepEqual(
    said,
    [...records, last!].map(({ key }) => key),
  );
  assertTaken(database);
});

test('the reader of Kinesis takes each id once, killed in between too', async (t) => {
  const kinesis = await openService<{ readonly endpoint: string }>('kinesis.sh');
  if (typeof kinesis === 'string') return t.skip(kinesis);
  t.after(() => kinesis.stop());
  const { endpoint } = kinesis.facts;
  const client = openKinesis(endpoint);
  t.after(() => client.destroy());
  const stream = await createStream(client, 1);
  const put = (some: readonly ReadersRecord[]) =>
    client.send(
      new PutRecordsCommand({
        StreamName: stream,
        Records: some.map(({ key, value }) => ({ PartitionKey: key, Data: Buffer.from(value) })),
      }),
    );
  const database = join(folder, 'kinesis.db');
  const environment = { DATABASE: database, ELK_STREAM: stream, ENDPOINT: endpoint, AWS_REGION: 'us-east-1' };
  await put(records);
  const first = startReader(t, 'client-kinesis', environment);
  await first.idsUntil(() => true);
  await first.kill();
  await put(records);
  await put([last!]);
  const second = startReader(t, 'client-kinesis', environment);
  await second.idsUntil((id) => id === last!.key);
  await second.kill();
  assertTaken(database);
});

function assertTaken(path: string): void {
  const database = new DatabaseSync(path, { readOnly: true });
  const rows = database.prepare('SELECT id AS key, document AS value FROM events ORDER BY rowid').all();
  database.close();
  assert.deepEqual(
    rows.map((row) => ({ ...row })),
    [...records, last!],
  );
}

/** Runs the block of the README that holds the text. */
function startReader(t: TestContext, part: string, environment: Record<string, string>) {
  const args = ['--no-warnings', '--input-type=module', '--eval', shownBlock('js', part)];
  const child: ChildProcess = spawn(process.execPath, args, {
    cwd: root,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exit = once(child, 'exit');
  let complaint = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const kill = async () => {
    child.kill('SIGKILL');
    await exit;
  };
  t.after(kill);
  return {
    kill,
    /** The ids that it says to be new, up to the first that ends it. */
    async idsUntil(isLast: (id: string) => boolean): Promise<string[]> {
      const ids: string[] = [];
      for await (const line of createInterface({ input: child.stdout! })) {
        if (!line.startsWith('new: ')) continue;
        const id = line.slice('new: '.length);
        ids.push(id);
        if (isLast(id)) return ids;
      }
      throw new Error(`the reader ended after ${ids.length} ids: ${complaint}`);
    },
  };
}
