import type { z } from 'zod';
import type { Clock } from '../clock.ts';
import type { streamSchema } from '../config.ts';
import { DaybookError } from '../errors.ts';
import { openEmbeddedReader, openEmbeddedWriter } from './embedded.ts';
import type { EventStreamReader, EventStreamWriter } from './stream.ts';

export type StreamConfiguration = z.infer<typeof streamSchema>;

/** The writing end of the stream of DAYBOOK_STREAM. */
export async function openWriter(stream: StreamConfiguration, dataDirectory: string): Promise<EventStreamWriter> {
  refuseOthers(stream);
  return openEmbeddedWriter({ directory: dataDirectory });
}

/** Its reading end, for one consumer. `retainMs`: the least age of records that an embedded stream drops on commit. */
export async function openReader(
  stream: StreamConfiguration,
  dataDirectory: string,
  options: { readonly consumer: string; readonly clock: Clock; readonly retainMs?: number },
): Promise<EventStreamReader> {
  refuseOthers(stream);
  return openEmbeddedReader({ directory: dataDirectory, ...options });
}

function refuseOthers(stream: StreamConfiguration): void {
  if (stream.type !== 'embedded') throw new DaybookError('not_available', { detail: `a ${stream.type} stream` });
}
