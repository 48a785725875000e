/** What deploy/elk/README.md shows to readers of Kinesis. elk.test.ts has that of Kafka's. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { PutRecordsCommand } from '@aws-sdk/client-kinesis';
import { createStream, openKinesis } from '../services/kinesis-streams.ts';
import { openService } from '../services/service.ts';
import type { ReadersRecord } from './readers-records.ts';
import { assertTaken, recordsToRead, startReader } from './shown-reader.ts';

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
  const folder = await mkdtemp(join(tmpdir(), 'daybook-readers-'));
  t.after(() => rm(folder, { recursive: true }));
  const { records, last } = recordsToRead();
  const database = join(folder, 'kinesis.db');
  const environment = { DATABASE: database, ELK_STREAM: stream, ENDPOINT: endpoint, AWS_REGION: 'us-east-1' };
  await put(records);
  const first = startReader(t, 'client-kinesis', environment);
  await first.idsUntil(() => true);
  await first.kill();
  await put(records);
  await put([last]);
  const second = startReader(t, 'client-kinesis', environment);
  await second.idsUntil((id) => id === last.key);
  await second.kill();
  assertTaken(database, [...records, last]);
});
