/** The Kinesis stream against a real server (test/services/kinesis.sh). */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { after } from 'node:test';
import { openLog } from '../../../../shared/program/log.ts';
import { openReader, openWriter } from '../../../../shared/stream/open.ts';
import { eventStreamContract } from '../../../contract/event-stream.ts';
import { createStream, deleteStream, kinesisClock, openKinesis } from '../../../services/kinesis-streams.ts';
import { startService } from '../../../services/service.ts';

const service = await startService<{ endpoint: string }>('kinesis.sh');
const log = openLog('test', 'silent');

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
      openWriter: () => openWriter(stream, '', log),
      openReader: (consumer) => openReader(stream, '', { consumer, clock: kinesisClock, log }),
      startAppender: () =>
        spawn(process.execPath, [join(import.meta.dirname, 'appender.ts'), endpoint, streamName], {
          stdio: ['ignore', 'pipe', 'inherit'],
        }),
      remove: () => deleteStream(client, streamName),
    };
  });
}
