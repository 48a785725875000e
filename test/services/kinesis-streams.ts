/** Streams of a test's own on the Kinesis server of test/services/kinesis.sh. */
import { randomBytes } from 'node:crypto';
import {
  CreateStreamCommand,
  DeleteStreamCommand,
  DescribeStreamSummaryCommand,
  KinesisClient,
} from '@aws-sdk/client-kinesis';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import type { Clock } from '../../shared/clock.ts';

/**
 * For readers. The server counts its time from its start on, as ours does not once the machine's clock is adjusted: what it
 * took a moment ago can bear a time that is milliseconds ahead, and a reader would leave it to the next reading.
 */
export const kinesisClock: Clock = { now: () => new Date(Date.now() + 200) };

export function openKinesis(endpoint: string): KinesisClient {
  process.env.AWS_ACCESS_KEY_ID = 'test';
  process.env.AWS_SECRET_ACCESS_KEY = 'testsecret';
  return new KinesisClient({ endpoint, region: 'us-east-1', requestHandler: new NodeHttpHandler() });
}

/** Makes a stream and resolves to its name when it is active. */
export async function createStream(client: KinesisClient, shards = 3): Promise<string> {
  const name = `daybook-${randomBytes(6).toString('hex')}`;
  await client.send(new CreateStreamCommand({ StreamName: name, ShardCount: shards }));
  await untilActive(client, name);
  return name;
}

export async function untilActive(client: KinesisClient, name: string): Promise<void> {
  for (;;) {
    const { StreamDescriptionSummary } = await client.send(new DescribeStreamSummaryCommand({ StreamName: name }));
    if (StreamDescriptionSummary?.StreamStatus === 'ACTIVE') return;
  }
}

export async function deleteStream(client: KinesisClient, name: string): Promise<void> {
  await client.send(new DeleteStreamCommand({ StreamName: name }));
}
