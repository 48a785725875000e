/** A process that appends without end to the Kinesis stream of its arguments, as test/contract/event-stream.ts tells. */
import { openLog } from '../../../../shared/program/log.ts';
import { openWriter } from '../../../../shared/stream/open.ts';

const [endpoint, streamName] = process.argv.slice(2);
const params = { streamName: streamName!, endpoint: endpoint!, region: 'us-east-1' };
const writer = await openWriter({ type: 'kinesis', params }, '', openLog('appender', 'silent'));

async function appendAll(key: string): Promise<void> {
  for (let number = 0; ; number++) {
    await writer.append([{ key, value: Buffer.from(`${key} ${number} `) }]);
    process.stdout.write(`${key} ${number}\n`);
  }
}

await Promise.all(['a', 'b', 'c', 'd'].map(appendAll));
