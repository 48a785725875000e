import type { Logger } from '../program/log.ts';
import type { ReaderOptions, StreamDriver, StreamFindings } from './driver.ts';
import type { EventStreamReader, EventStreamWriter } from './stream.ts';
import { type StreamConfiguration, streams } from './streams.ts';

export type { StreamConfiguration } from './streams.ts';

/** The writing end of the stream of DAYBOOK_STREAM. */
export async function openWriter(
  stream: StreamConfiguration,
  dataDirectory: string,
  log: Logger,
): Promise<EventStreamWriter> {
  return driverOf(stream).openWriter(paramsOf(stream), dataDirectory, log);
}

/** Its reading end, for one consumer. */
export async function openReader(
  stream: StreamConfiguration,
  dataDirectory: string,
  options: ReaderOptions,
): Promise<EventStreamReader> {
  return driverOf(stream).openReader(paramsOf(stream), dataDirectory, options);
}

/** As its driver sees it when it opens it, for doctor. Makes nothing and writes nothing. */
export async function checkDriver(stream: StreamConfiguration, dataDirectory: string): Promise<StreamFindings> {
  return driverOf(stream).check(paramsOf(stream), dataDirectory);
}

export function isLocalStream(stream: StreamConfiguration): boolean {
  return driverOf(stream).isLocal;
}

export function keepsPositions(stream: StreamConfiguration): boolean {
  return driverOf(stream).keepsPositions;
}

/** Whether there is none yet, and opening would make it. */
export function isStreamAbsent(stream: StreamConfiguration, dataDirectory: string): boolean {
  return driverOf(stream).isAbsent?.(dataDirectory) ?? false;
}

/** The same stream, and opening it makes nothing; the very same settings where it would not anyway. */
export function withoutCreate(stream: StreamConfiguration): StreamConfiguration {
  const params = driverOf(stream).withoutCreate?.(paramsOf(stream));
  return params === undefined ? stream : ({ type: stream.type, params } as StreamConfiguration);
}

/** The settings were read by this driver's schema. */
function driverOf({ type }: StreamConfiguration): StreamDriver<unknown> {
  return streams[type] as StreamDriver<unknown>;
}

function paramsOf(stream: StreamConfiguration): unknown {
  return 'params' in stream ? stream.params : undefined;
}
