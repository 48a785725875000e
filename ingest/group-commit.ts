/**
 * Concurrent callers share one append: a durable commit costs the disk or the cluster about the same for one record as
 * for a thousand. Promises:
 * - a call resolves only when all its records are acknowledged by the stream;
 * - a call's records go in one append, in order; one append is in flight at a time, so records of a key keep their order;
 * - a failure is that of the calls whose records it names; the others of the batch resolve;
 * - a call that rejects may be in the stream all the same: its sender repeats, the compactor dedupes;
 * - what waits is bounded in bytes and in time, whatever the stream does.
 */
import { DaybookError } from '../shared/errors.ts';
import { AppendError } from '../shared/stream/append-error.ts';
import type { AppendRecord, EventStreamWriter } from '../shared/stream/stream.ts';

export interface GroupCommitLimits {
  /** How long the first call of a batch waits for company. */
  readonly lingerMs: number;
  /** A batch takes calls up to here; a single larger call goes alone. */
  readonly maxBatchRecords: number;
  readonly maxBatchBytes: number;
  /** Bytes of waiting calls; above, `overloaded`. */
  readonly maxQueuedBytes: number;
  /** The pause after a failed append, doubled up to the longest while nothing gets through. */
  readonly minRetryPauseMs: number;
  readonly maxRetryPauseMs: number;
}

export const defaultLimits: GroupCommitLimits = {
  lingerMs: 2,
  maxBatchRecords: 1000,
  maxBatchBytes: 4 * 1024 * 1024,
  maxQueuedBytes: 64 * 1024 * 1024,
  minRetryPauseMs: 20,
  maxRetryPauseMs: 500,
};

export interface GroupCommit {
  /**
   * Resolves when every record is acknowledged. Rejects with `stream_unavailable` when the stream refused a record or
   * `deadlineMs` passed first, with `overloaded` when too much waits already.
   */
  append(records: readonly AppendRecord[], deadlineMs: number): Promise<void>;
  /** Rejects what still waits and all that comes later; resolves when no append is in flight. */
  close(): Promise<void>;
}

interface Call {
  records: readonly AppendRecord[];
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: DaybookError) => void;
  readonly timer: NodeJS.Timeout;
  settled: boolean;
  lastError?: unknown;
}

/** What a waiting record costs beside its bytes, roughly: objects, promise, timer. */
const recordOverheadBytes = 256;

export function openGroupCommit(writer: EventStreamWriter, limits: GroupCommitLimits = defaultLimits): GroupCommit {
  let queue: Call[] = [];
  let queuedBytes = 0;
  let pump: Promise<void> | undefined;
  let closed = false;
  let wake: (() => void) | undefined;

  function append(records: readonly AppendRecord[], deadlineMs: number): Promise<void> {
    const bytes = bytesOf(records);
    if (closed) return Promise.reject(new DaybookError('stream_unavailable', { detail: 'Shutting down.' }));
    // A call larger than the queue is let in when nothing waits: else it never would be.
    if (queuedBytes > 0 && queuedBytes + bytes > limits.maxQueuedBytes) {
      return Promise.reject(new DaybookError('overloaded', { detail: 'Too many records wait for the stream.' }));
    }
    queuedBytes += bytes;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => expire(call, deadlineMs), deadlineMs);
      const call: Call = { records, bytes, resolve, reject, timer, settled: false };
      queue.push(call);
      pump ??= run();
    });
  }

  /** Where the call is in flight its bytes stay counted until that append ends; where it waits it leaves the queue. */
  function expire(call: Call, deadlineMs: number): void {
    settle(
      call,
      new DaybookError('stream_unavailable', {
        detail: `No acknowledgement within ${deadlineMs} ms.`,
        cause: call.lastError,
      }),
    );
    const waiting = queue.indexOf(call);
    if (waiting >= 0) {
      queue.splice(waiting, 1);
      queuedBytes -= call.bytes;
    }
  }

  async function run(): Promise<void> {
    let pauseMs = 0;
    await pause(limits.lingerMs);
    while (queue.length > 0) {
      const batch = takeBatch();
      const failed = await appendBatch(batch);
      if (closed) {
        for (const call of failed) refuseForClosing(call);
        break;
      }
      // Back to the front, so that records of one key keep their order; newcomers join the next try.
      queue = [...failed, ...queue];
      const stuck = failed.length > 0 && failed.length === batch.length;
      pauseMs = stuck ? Math.min(Math.max(pauseMs * 2, limits.minRetryPauseMs), limits.maxRetryPauseMs) : 0;
      if (failed.length > 0) await pause(Math.max(pauseMs, limits.minRetryPauseMs));
      else if (queue.length > 0) await pause(limits.lingerMs);
    }
    pump = undefined;
  }

  function takeBatch(): Call[] {
    let records = 0;
    let bytes = 0;
    let calls = 0;
    for (const call of queue) {
      records += call.records.length;
      bytes += call.bytes;
      if (calls > 0 && (records > limits.maxBatchRecords || bytes > limits.maxBatchBytes)) break;
      calls++;
    }
    return queue.splice(0, calls);
  }

  /** Settles the calls that this append decides, and gives back those that are to be tried again. */
  async function appendBatch(batch: readonly Call[]): Promise<Call[]> {
    try {
      await writer.append(batch.flatMap((call) => call.records));
      // Dies here: the records are in the stream and no sender knows. Each repeats; the compactor dedupes by id.
      for (const call of batch) finish(call);
      return [];
    } catch (error) {
      return sortOut(batch, error);
    }
  }

  async function sortOut(batch: readonly Call[], error: unknown): Promise<Call[]> {
    const unacknowledged = error instanceof AppendError ? new Set(error.unacknowledged) : undefined;
    const retry = error instanceof DaybookError && error.retry;
    const failed: Call[] = [];
    let first = 0;
    for (const call of batch) {
      const from = first;
      first += call.records.length;
      const left = call.records.filter((_, index) => unacknowledged?.has(from + index) ?? true);
      call.lastError = error;
      call.records = left;
      if (left.length === 0) finish(call);
      else if (call.settled) queuedBytes -= call.bytes;
      else failed.push(call);
    }
    if (retry) return failed;
    if (batch.length === 1) {
      for (const call of failed) finish(call, new DaybookError('stream_unavailable', { cause: error }));
      return [];
    }
    // One record that the stream will never take must not fail its neighbours: each call goes once alone.
    const again: Call[] = [];
    for (const call of failed) {
      if (call.settled) queuedBytes -= call.bytes;
      else again.push(...(await appendBatch([call])));
    }
    return again;
  }

  function finish(call: Call, error?: DaybookError): void {
    queuedBytes -= call.bytes;
    settle(call, error);
  }

  function refuseForClosing(call: Call): void {
    finish(call, new DaybookError('stream_unavailable', { detail: 'Shutting down.', cause: call.lastError }));
  }

  function settle(call: Call, error?: DaybookError): void {
    call.settled = true;
    clearTimeout(call.timer);
    if (error === undefined) call.resolve();
    else call.reject(error);
  }

  function pause(ms: number): Promise<void> {
    if (closed) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async function close(): Promise<void> {
    closed = true;
    const waiting = queue;
    queue = [];
    for (const call of waiting) refuseForClosing(call);
    wake?.();
    await pump;
  }

  return { append, close };
}

function bytesOf(records: readonly AppendRecord[]): number {
  return records.reduce((sum, { key, value }) => sum + key.length + value.byteLength + recordOverheadBytes, 0);
}
