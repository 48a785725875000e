import type { z } from 'zod';
import type { Clock } from '../clock.ts';
import type { streamSchema } from '../config.ts';
import type { Logger } from '../program/log.ts';
import { openEmbeddedReader, openEmbeddedWriter } from './embedded.ts';
import type { EventStreamReader, EventStreamWriter } from './stream.ts';

// A driver with a client library is loaded only where it is configured.

export type StreamConfiguration = z.infer<typeof streamSchema>;

/** The writing end of the stream of DAYBOOK_STREAM. */
export async function openWriter(
  stream: StreamConfiguration,
  dataDirectory: string,
  log: Logger,
): Promise<EventStreamWriter> {
  switch (stream.type) {
    case 'embedded':
      return openEmbeddedWriter({ directory: dataDirectory });
    case 'kafka': {
      const { openKafkaWriter } = await import('./kafka/writer.ts');
      return openKafkaWriter({ params: stream.params, log });
    }
    case 'kinesis': {
      const { openKinesisWriter } = await import('./kinesis/writer.ts');
      return openKinesisWriter({ params: stream.params, log });
    }
  }
}

/** Its reading end, for one consumer. `retainMs`: the least age of records that an embedded stream drops on commit. */
export async function openReader(
  stream: StreamConfiguration,
  dataDirectory: string,
  options: {
    readonly consumer: string;
    readonly clock: Clock;
    readonly retainMs?: number;
    readonly log: Logger;
  },
): Promise<EventStreamReader> {
  const { consumer, log } = options;
  switch (stream.type) {
    case 'embedded':
      return openEmbeddedReader({ directory: dataDirectory, ...options });
    case 'kafka': {
      const { openKafkaReader } = await import('./kafka/reader.ts');
      return openKafkaReader({ params: stream.params, consumer, log });
    }
    case 'kinesis': {
      const { openKinesisReader } = await import('./kinesis/reader.ts');
      return openKinesisReader({ params: stream.params, clock: options.clock, log });
    }
  }
}
