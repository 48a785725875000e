/** The Kinesis stream against a real server (test/services/kinesis.sh). */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { after } from 'node:test';
import { openLog } from '../../../../shared/program/log.ts';
import { openKinesisWriter } from '../../../../shared/stream/kinesis/writer.ts';
import { openReader } from '../../../../shared/stream/open.ts';
import { eventStreamContract } from '../../../contract/event-stream.ts';
import { createStream, deleteStream, kinesisClock, openKinesis } from '../../../services/kinesis-streams.ts';
import { startService } from '../../../services/service.ts';

const service = await startService<{ endpoint: string }>('kinesis.sh');
const log = openLog('test', 'silent');
/** For a busy machine: a request whose answer is late is sent again, and its records may then be there twice. */
const timeouts = { connectMs: 60_000, requestMs: 60_000, patienceMs: 120_000 };

if (service !== undefined) {
  const { endpoint } = service.facts;
  const client = openKinesis(endpoint);
  after(async () => {
    client.destroy();
    await service.stop();
  });

  eventStreamContract('Kinesis stream', async () => {
    const streamName = await createStream(client);
    const stream = { type: 'kinesis', params: { streamName, endpoint, region: 'us-east-1' } } as const;
    return {
      openWriter: () => openKinesisWriter({ params: stream.params, log, timeouts }),
      openReader: (consumer) => openReader(stream, '', { consumer, clock: kinesisClock, log }),
      startAppender: () =>
        spawn(process.execPath, [join(import.meta.dirname, 'appender.ts'), endpoint, streamName], {
          stdio: ['ignore', 'pipe', 'inherit'],
        }),
      remove: () => deleteStream(client, streamName),
    };
  });
}
