/**
 * A process that appends to a Kafka topic without end: `kafka-appender.ts PARAMS`, the params of DAYBOOK_STREAM as JSON.
 * What it appends and prints is told in test/contract/event-stream.ts.
 */
import { openLog } from '../../../../shared/program/log.ts';
import { openKafkaWriter } from '../../../../shared/stream/kafka/writer.ts';

const writer = await openKafkaWriter({ params: JSON.parse(process.argv[2]!), log: openLog('appender', 'error') });
const padding = ' '.repeat(3_000);

async function appendAll(key: string): Promise<never> {
  for (let number = 0; ; number++) {
    await writer.append([{ key, value: Buffer.from(`${key} ${number} ${padding}`) }]);
    if (!process.stdout.write(`${key} ${number}\n`))
      await new Promise((resolve) => process.stdout.once('drain', resolve));
  }
}

await Promise.all(['a', 'b', 'c', 'd'].map(appendAll));
