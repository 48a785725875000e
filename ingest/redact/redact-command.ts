/** `daybook-ingest redact`: composes the way from the stream to the readers' stream. */
import { join } from 'node:path';
import { systemClock } from '../../shared/clock.ts';
import { unsealedWarning } from '../../shared/crypto/stream-seal.ts';
import { DaybookError } from '../../shared/errors.ts';
import { openMetricsListener } from '../../shared/metrics/metrics.ts';
import { type Logger, openLog } from '../../shared/program/log.ts';
import { keepHeapSmall } from '../../shared/program/memory.ts';
import { withTimeLimit } from '../../shared/program/time-limit.ts';
import { isLocalStream, openReader, openWriter } from '../../shared/stream/open.ts';
import type { StreamConfiguration } from '../../shared/stream/streams.ts';
import { readRedactConfiguration } from '../configuration.ts';
import { deadLetterFile, deadLetterStream } from './dead-letters.ts';
import { openRedactMetrics } from './metrics.ts';
import { consumerOf, positionsOf } from './positions.ts';
import { readersRecord } from './readers-record.ts';
import { keepRedacting, openRedaction, type StreamRedaction } from './redact-stream.ts';
import { compileRules } from './rules.ts';

export interface RedactOptions {
  readonly once?: boolean;
}

/** A stop waits no longer for a stream that does not answer. */
const stopMs = 9_000;

/** Ends by a signal, with `once` at the end of the stream, or by a failure that does not pass by itself: rejects with it. */
export async function redactCommand({ once = false }: RedactOptions): Promise<void> {
  keepHeapSmall();
  const settings = readRedactConfiguration();
  const { DAYBOOK_DATA_DIR: directory, DAYBOOK_STREAM: from, DAYBOOK_READERS_STREAM: to } = settings;
  const log = openLog('ingest', settings.LOG_LEVEL);
  if (settings.DAYBOOK_STREAM_KEY === undefined && !isLocalStream(from)) log.warn(unsealedWarning);
  const stopped = new AbortController();
  await using closing = new AsyncDisposableStack();

  const { readersDirectory } = foldersOf(directory);
  const readersId = await idOf(to, readersDirectory, log);
  const consumer = consumerOf(readersId);
  const stream = await openReader(from, directory, { consumer, clock: systemClock, log });
  closing.defer(() => stream.close());
  const streamId = (await stream.snapshot()).id;
  refuseSame('DAYBOOK_READERS_STREAM', 'DAYBOOK_STREAM', readersId, streamId);
  const deadLetters = await openDeadLetters(
    settings.DAYBOOK_READERS_DEAD_LETTERS,
    directory,
    [readersId, streamId],
    log,
  );
  closing.defer(() => deadLetters.close());
  const readers = await openWriter(to, readersDirectory, log);
  closing.defer(() => readers.close());

  const ruleOf = compileRules(settings.DAYBOOK_REDACTION);
  const rules = { ruleOf, hashKey: settings.DAYBOOK_REDACTION_KEY, streamKeys: settings.DAYBOOK_STREAM_KEY };
  let redaction: StreamRedaction | undefined;
  const metrics = openRedactMetrics(() => redaction?.lag() ?? { seconds: 0, records: 0 });
  closing.defer(() => metrics.close());
  redaction = await openRedaction({
    stream,
    readers,
    deadLetters,
    positions: positionsOf(from, stream, { directory, consumer, streamId }),
    redact: (value) => readersRecord(value, rules),
    observer: metrics.observer,
    clock: systemClock,
    log,
  });

  const stopping = Promise.withResolvers<void>();
  const stop = (signal: string): void => {
    log.info({ signal }, 'stopping');
    stopped.abort();
    stopping.resolve();
  };
  process.once('SIGTERM', stop).once('SIGINT', stop);
  if (once) {
    await redaction.passOver(stopped.signal);
    if (stopped.signal.aborted) process.exitCode = 2;
    return;
  }
  let isWell = false;
  const listener = await openMetricsListener({
    host: settings.INGEST_ADMIN_HOST,
    port: settings.INGEST_ADMIN_PORT,
    setting: 'INGEST_ADMIN_PORT',
    scrape: () => metrics.scrape(),
    isReady: () => isWell,
    log,
  });
  closing.defer(() => listener.close());
  const told = (well: boolean) => {
    isWell = well;
  };
  const running = keepRedacting(redaction, stopped.signal, told, log);
  await Promise.race([running, stopping.promise]);
  // What is under way ends by itself. Whatever still hangs on must not keep the process: it comes again.
  await withTimeLimit(stopMs, running).catch((error: unknown) => {
    if (!stopped.signal.aborted) throw error;
  });
  log.info('stopped');
  if (stopped.signal.aborted) setTimeout(() => process.exit(0), 500).unref();
}

/** An embedded stream is one file of a folder: those of `redact` have folders of their own in the data directory. */
export function foldersOf(directory: string) {
  return {
    readersDirectory: join(directory, 'readers'),
    lettersDirectory: join(directory, 'readers-dead-letters'),
    /** Where they are in no stream. */
    lettersFile: join(directory, 'redact', 'dead-letters.jsonl'),
  };
}

async function idOf(stream: StreamConfiguration, directory: string, log: Logger): Promise<string> {
  const reader = await openReader(stream, directory, { consumer: 'daybook-redact', clock: systemClock, log });
  try {
    return (await reader.snapshot()).id;
  } finally {
    await reader.close();
  }
}

async function openDeadLetters(
  stream: StreamConfiguration | undefined,
  directory: string,
  others: readonly [readers: string, stream: string],
  log: Logger,
) {
  if (stream === undefined) return deadLetterFile(foldersOf(directory).lettersFile);
  const { lettersDirectory } = foldersOf(directory);
  const id = await idOf(stream, lettersDirectory, log);
  refuseSame('DAYBOOK_READERS_DEAD_LETTERS', 'DAYBOOK_READERS_STREAM', id, others[0]);
  refuseSame('DAYBOOK_READERS_DEAD_LETTERS', 'DAYBOOK_STREAM', id, others[1]);
  return deadLetterStream(await openWriter(stream, lettersDirectory, log));
}

function refuseSame(name: string, other: string, id: string, otherId: string): void {
  if (id !== otherId) return;
  throw new DaybookError('configuration_invalid', { detail: `${name}: is the stream of ${other}; it must be another` });
}
