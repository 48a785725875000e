/** Topics of a test's own on real brokers, and what the driver said about them. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import kafkajs, { type Admin, type ITopicConfig } from 'kafkajs';
import { pino } from 'pino';
import type { Logger } from '../../../../shared/program/log.ts';
import { patiently } from '../../../../shared/stream/kafka/client.ts';
import { mendKafkajs } from '../../../../shared/stream/kafka/internals.ts';
import { openKafkaReader } from '../../../../shared/stream/kafka/reader.ts';
import type { KafkaParams } from '../../../../shared/stream/kafka/settings.ts';
import { openKafkaWriter } from '../../../../shared/stream/kafka/writer.ts';
import type { StreamUnderTest } from '../../../contract/event-stream.ts';

export const newTopicName = () => `test-${randomUUID()}`;

export interface LogLines {
  readonly lines: { readonly level: number; readonly msg: string; readonly [field: string]: unknown }[];
  readonly log: Logger;
}

export function logLines(): LogLines {
  const lines: LogLines['lines'] = [];
  return { lines, log: pino({ level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line)) }) };
}

/** A new topic for each test of the contract, made by the driver itself. */
export async function kafkaUnderTest(brokers: readonly string[], replicationFactor: number): Promise<StreamUnderTest> {
  const params: KafkaParams = {
    brokers: [...brokers],
    topic: newTopicName(),
    create: { partitions: 6, replicationFactor },
  };
  const { log } = logLines();
  return {
    openWriter: () => openKafkaWriter({ params, log }),
    openReader: (consumer) => openKafkaReader({ params, consumer, log }),
    keepsCommitted: true,
    startAppender: () =>
      spawn(process.execPath, [join(import.meta.dirname, 'appender.ts'), JSON.stringify(params)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      }),
    remove: () => withTestAdmin(brokers, (admin) => admin.deleteTopics({ topics: [params.topic] })),
  };
}

/** A plain client of the brokers, apart from the driver. */
export function testClient(brokers: readonly string[]) {
  mendKafkajs();
  return new kafkajs.Kafka({ brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING });
}

export async function withTestAdmin<T>(brokers: readonly string[], work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = testClient(brokers).admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

export async function createTopic(brokers: readonly string[], topic: ITopicConfig): Promise<void> {
  await withTestAdmin(brokers, async (admin) => {
    await admin.createTopics({ topics: [topic], waitForLeaders: false });
    // Until every partition is led: kafkajs would write some of the first records twice.
    await patiently(
      () => admin.fetchTopicOffsets(topic.topic),
      () => true,
      10_000,
    );
  });
}
