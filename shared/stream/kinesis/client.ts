/** The connection to Kinesis, what is checked of a stream when it is opened, and how calls are repeated. */
import { setTimeout as rest } from 'node:timers/promises';
import { DescribeStreamSummaryCommand, KinesisClient, type StreamDescriptionSummary } from '@aws-sdk/client-kinesis';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { openAgents } from '../../http/agents.ts';
import type { Logger } from '../../program/log.ts';
import { isThrottling, kinesisErrorOf, mayPass } from './error.ts';
import type { KinesisParams } from './settings.ts';

/** Parameters for the sake of tests alone. All in milliseconds. */
export interface KinesisTimeouts {
  readonly connectMs: number;
  /** Of one request and its answer. */
  readonly requestMs: number;
  /** After this a call rejects, however often it may be tried again. */
  readonly patienceMs: number;
}

/** A reader has all night, a sender has not. */
export const writerTimeouts: KinesisTimeouts = { connectMs: 2_000, requestMs: 5_000, patienceMs: 10_000 };
export const readerTimeouts: KinesisTimeouts = { connectMs: 5_000, requestMs: 30_000, patienceMs: 60_000 };
const minPauseMs = 25;
const maxPauseMs = 2_000;
const minRetentionHours = 7 * 24;
/** Kinesis service quotas: what a record, its key included, may have unless the stream was raised. */
const defaultRecordKiB = 1024;

export function openKinesisClient({ region, endpoint }: KinesisParams, timeouts: KinesisTimeouts): KinesisClient {
  return new KinesisClient({
    ...(region !== undefined && { region }),
    ...(endpoint !== undefined && { endpoint }),
    // `patiently` repeats, and the writer does, record by record.
    maxAttempts: 1,
    // HTTP/1.1: HTTP/2, the client's default, is not spoken without TLS.
    requestHandler: new NodeHttpHandler({
      connectionTimeout: timeouts.connectMs,
      requestTimeout: timeouts.requestMs,
      throwOnRequestTimeout: true,
      ...openAgents(endpoint),
    }),
  });
}

/**
 * The stream as it is now, with a warning where its records age out before an outage of a few days is over. Rejects as
 * `kinesisErrorOf` says, also where the stream takes no records yet or no more.
 */
export async function checkStream(
  client: KinesisClient,
  params: KinesisParams,
  log: Logger,
  patienceMs: number,
): Promise<{ id: string; maxRecordBytes: number }> {
  try {
    const summary = await patiently(() => describeStream(client, params), patienceMs);
    const { StreamARN, StreamCreationTimestamp, RetentionPeriodHours = 24, MaxRecordSizeInKiB } = summary;
    if (RetentionPeriodHours < minRetentionHours) {
      log.warn(
        { stream: params.streamName, retentionHours: RetentionPeriodHours },
        'records may age out before they are read: raise the retention period of the stream to 168 hours at least',
      );
    }
    return {
      id: `${StreamARN}@${StreamCreationTimestamp?.toISOString()}`,
      maxRecordBytes: (MaxRecordSizeInKiB ?? defaultRecordKiB) * 1024,
    };
  } catch (error) {
    throw kinesisErrorOf(error, params);
  }
}

/** Rejects where the stream neither takes nor gives records. */
export async function describeStream(client: KinesisClient, params: KinesisParams): Promise<StreamDescriptionSummary> {
  const answer = await client.send(new DescribeStreamSummaryCommand({ StreamName: params.streamName }));
  const summary = answer.StreamDescriptionSummary;
  const status = summary?.StreamStatus;
  if (summary !== undefined && (status === 'ACTIVE' || status === 'UPDATING')) return summary;
  throw Object.assign(new Error(`the stream is ${status}`), { name: `StreamStatus ${status}`, $retryable: {} });
}

/**
 * Tries again what may pass, until it succeeds or `patienceMs` are over; these begin again with each refusal for the rate,
 * for `throttledMs` at most. Rejects with the last failure as it is.
 */
export async function patiently<T>(work: () => Promise<T>, patienceMs: number, throttledMs = patienceMs): Promise<T> {
  const begunAt = performance.now();
  let endsAt = begunAt + patienceMs;
  for (let failures = 1; ; failures += 1) {
    try {
      return await work();
    } catch (error) {
      const isThrottled = isThrottling(error);
      if (isThrottled) endsAt = Math.min(performance.now() + patienceMs, begunAt + throttledMs);
      // Rates are of a second: whoever asks again at once is refused again.
      const pauseMs = pauseAfter(isThrottled ? failures + 3 : failures);
      if (!mayPass(error) || performance.now() + pauseMs > endsAt) throw error;
      await rest(pauseMs);
    }
  }
}

/** Doubles with each failure in a row; half of it is chance, so that many clients do not come back at once. */
export function pauseAfter(failures: number): number {
  return Math.min(minPauseMs * 2 ** failures, maxPauseMs) * (0.5 + Math.random() / 2);
}
