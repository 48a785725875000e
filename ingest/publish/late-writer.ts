/**
 * A stream that does not answer at the start is not a reason to refuse events: the spool takes them while the stream is tried
 * again and again. A configuration that is wrong is one: what the driver says will not pass by itself (`retry` false: no
 * such topic, credentials refused, a compacted topic, no TLS) ends the program with its message. A file that is damaged is
 * none: as where a stream is found so while ingest runs, the spool takes events, and who asks whether it is ready is told.
 */
import { setTimeout as rest } from 'node:timers/promises';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/program/log.ts';
import { withTimeLimit } from '../../shared/program/time-limit.ts';
import { AppendError } from '../../shared/stream/append-error.ts';
import type { EventStreamWriter } from '../../shared/stream/stream.ts';
import { isUnproven } from './proven-writer.ts';

export interface LateWriterOptions {
  readonly open: () => Promise<EventStreamWriter>;
  readonly log: Logger;
  /** Called at most once, when a stream that did not answer at first refuses for good, three times in a row. */
  readonly onRefused: (error: DaybookError) => void;
  /** How long the start waits for the stream. */
  readonly waitMs?: number;
  /** The first pause between two tries, doubled up to the longest. */
  readonly minPauseMs?: number;
  readonly maxPauseMs?: number;
}

export interface LateWriter extends EventStreamWriter {
  /** False: it fails at once until the stream answers, and knows no `maxValueBytes`. */
  isOpen(): boolean;
}

/** A broker that is just coming up may not know of a topic yet. */
const triesBeforeRefused = 3;

/** Rejects where the stream answers and refuses for good. Else resolves: with the stream open, or being tried. */
export async function openLateWriter(options: LateWriterOptions): Promise<LateWriter> {
  const { open, log, onRefused, waitMs = 5_000, minPauseMs = 50, maxPauseMs = 1_000 } = options;
  const closed = new AbortController();
  let writer: EventStreamWriter | undefined;
  let reason: unknown;

  async function tryOnce(): Promise<void> {
    const opened = await open();
    if (closed.signal.aborted) await opened.close();
    else writer = opened;
  }

  async function tryAgain(first: Promise<void>): Promise<void> {
    let refusals = 0;
    let pauseMs = minPauseMs;
    for (let trying = first; ; trying = tryOnce()) {
      const startedMs = performance.now();
      try {
        await trying;
        if (writer !== undefined) log.info('the stream is open');
        return;
      } catch (error) {
        reason = error;
        refusals = isForGood(error) ? refusals + 1 : 0;
        if (refusals === triesBeforeRefused && !closed.signal.aborted) return onRefused(error as DaybookError);
      }
      // A proof may have read all that the stream holds: not again at once.
      const pauseOfTryMs = Math.max(pauseMs, 10 * (performance.now() - startedMs));
      await rest(pauseOfTryMs, undefined, { signal: closed.signal }).catch(() => undefined);
      if (closed.signal.aborted) return;
      pauseMs = Math.min(pauseMs * 2, maxPauseMs);
    }
  }

  const first = tryOnce();
  try {
    await withTimeLimit(waitMs, first);
  } catch (error) {
    if (isForGood(error)) throw error;
    reason = error;
    log.warn(
      { reason: messageOf(error) },
      'the stream does not answer; it is tried again while the spool takes events',
    );
    void tryAgain(first);
  }

  function unavailable(): DaybookError {
    if (isUnproven(reason)) return reason;
    if (isDamaged(reason)) return new DaybookError('stream_unreadable', { detail: reason.message, cause: reason });
    return new DaybookError('stream_unavailable', { detail: 'The stream is not open yet.', cause: reason });
  }

  return {
    isOpen: () => writer !== undefined,
    get maxValueBytes() {
      return writer?.maxValueBytes;
    },
    async append(records) {
      if (writer !== undefined) return writer.append(records);
      const { message: detail, retry, cause } = unavailable();
      throw new AppendError([...records.keys()], { detail, retry, cause });
    },
    async probe() {
      if (writer === undefined) throw unavailable();
      return writer.probe();
    },
    async prove() {
      if (writer === undefined) throw unavailable();
      return writer.prove();
    },
    async close() {
      closed.abort();
      await writer?.close();
    },
  };
}

function isForGood(error: unknown): boolean {
  return error instanceof DaybookError && !error.retry && !isDamaged(error);
}

function isDamaged(error: unknown): error is DaybookError {
  return error instanceof DaybookError && error.code === 'stream_damaged';
}
