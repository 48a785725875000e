/**
 * Concurrent callers share one append: a durable commit costs the disk or the cluster about the same for one record as
 * for a thousand. Where a batch goes, to the stream or to the spool, is decided when it is taken from the one queue that
 * there is, so changing from one to the other lets no record overtake another. Promises:
 * - a call resolves only when all its records are acknowledged, by whichever target took them;
 * - a call's records go in one append, in order; one append is in flight at a time, so records of a key keep their order;
 * - a failure is that of the calls whose records it names; the others of the batch resolve;
 * - a call that rejects may be stored all the same: its sender repeats, the compactor dedupes;
 * - what waits is bounded in bytes and in time, whatever the targets do.
 */
import { DaybookError } from '../../shared/errors.ts';
import { AppendError } from '../../shared/stream/append-error.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';

export interface GroupCommitLimits {
  /** How long the first call of a batch waits for company: at least, and, where there was some the last time, at most. */
  readonly minLingerMs: number;
  readonly maxLingerMs: number;
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
  minLingerMs: 2,
  maxLingerMs: 8,
  maxBatchRecords: 1000,
  maxBatchBytes: 4 * 1024 * 1024,
  maxQueuedBytes: 64 * 1024 * 1024,
  minRetryPauseMs: 20,
  maxRetryPauseMs: 500,
};

/** Where batches go at the moment. */
export interface Target {
  /** Durable when it resolves. Of an AppendError those that it does not name are; of anything else none is known to be. */
  append(records: readonly AppendRecord[]): Promise<void>;
  /**
   * What becomes of the calls whose append failed. `again`: they go first in the next batch, while they have time.
   * `apart`: each goes once by itself, since one of them may be why. An error: they reject with it.
   */
  judge(error: unknown, isAlone: boolean): 'again' | 'apart' | DaybookError;
  /** A call's time is over: the error that it rejects with, or undefined where it was given more (`startOver`). */
  late(lastError: unknown, deadlineMs: number): DaybookError | undefined;
}

export interface GroupCommit {
  /**
   * Resolves when every record is acknowledged. Rejects as the target says, with `overloaded` when too much waits
   * already, with `stream_unavailable` after `close`.
   */
  append(records: readonly AppendRecord[], deadlineMs: number): Promise<void>;
  /**
   * For a target that has just changed. Gives up the append in flight (its effect may come late: those are copies), puts
   * what it did not acknowledge back to the front, and gives every call its time again, once in its life.
   */
  startOver(): void;
  /**
   * Resolves when no append is in flight; none begins before `release`. Calls are taken, and expire, as ever. What failed
   * at one target has been tried at the next by then: else a hold that changes the target back would keep it from there.
   */
  hold(): Promise<void>;
  release(): void;
  /** Rejects what still waits and all that comes later; resolves when no append is in flight. */
  close(): Promise<void>;
}

interface Call {
  records: readonly AppendRecord[];
  readonly bytes: number;
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (error: DaybookError) => void;
  timer: NodeJS.Timeout | undefined;
  settled: boolean;
  startedOver: boolean;
  lastError?: unknown;
}

/** What a waiting record costs beside its bytes, roughly: objects, promise, timer. */
const recordOverheadBytes = 256;
const givenUp = new Error('the append was given up');

export function openGroupCommit(targetNow: () => Target, limits: GroupCommitLimits = defaultLimits): GroupCommit {
  let queue: Call[] = [];
  let inFlight: Call[] = [];
  let queuedBytes = 0;
  let pump: Promise<void> | undefined;
  let closed = false;
  let wake: (() => void) | undefined;
  let giveUp: (() => void) | undefined;
  /** The next batch is tried before any hold. */
  let mustTry = false;
  let lingerMs = limits.minLingerMs;
  let tookBeforeMs = 0;
  let held: { reached(): void; readonly released: Promise<void>; release(): void } | undefined;

  function append(records: readonly AppendRecord[], deadlineMs: number): Promise<void> {
    const bytes = bytesOf(records);
    if (closed) return Promise.reject(new DaybookError('stream_unavailable', { detail: 'Shutting down.' }));
    // A call larger than the queue is let in when nothing waits: else it never would be.
    if (queuedBytes > 0 && queuedBytes + bytes > limits.maxQueuedBytes) {
      return Promise.reject(new DaybookError('overloaded', { detail: 'Too many records wait to be stored.' }));
    }
    queuedBytes += bytes;
    return new Promise((resolve, reject) => {
      const call: Call = {
        records,
        bytes,
        deadlineMs,
        resolve,
        reject,
        timer: undefined,
        settled: false,
        startedOver: false,
      };
      giveTime(call);
      queue.push(call);
      pump ??= run();
    });
  }

  function giveTime(call: Call): void {
    clearTimeout(call.timer);
    call.timer = setTimeout(expire, call.deadlineMs, call);
  }

  /** Where the call is in flight its bytes stay counted until that append ends; where it waits it leaves the queue. */
  function expire(call: Call): void {
    const { startedOver, lastError, deadlineMs } = call;
    let error = targetNow().late(lastError, deadlineMs);
    if (error === undefined) {
      if (!startedOver) return;
      const detail = `No acknowledgement within twice ${deadlineMs} ms.`;
      error = new DaybookError('stream_unavailable', { detail, cause: lastError });
    }
    settle(call, error);
    const waiting = queue.indexOf(call);
    if (waiting >= 0) {
      queue.splice(waiting, 1);
      queuedBytes -= call.bytes;
    }
  }

  function startOver(): void {
    for (const call of [...inFlight, ...queue]) {
      if (call.settled || call.startedOver) continue;
      call.startedOver = true;
      giveTime(call);
    }
    mustTry = pump !== undefined;
    giveUp?.();
    wake?.();
  }

  async function run(): Promise<void> {
    let pauseMs = 0;
    await pause(lingerMs);
    while (queue.length > 0) {
      if (held !== undefined && !mustTry) {
        await held.released;
        continue;
      }
      const target = targetNow();
      inFlight = takeBatch();
      const taken = inFlight.length;
      const startedMs = performance.now();
      const failed = await appendBatch(inFlight, taken === 1);
      // As long as an append takes, so that under load two batches become one: the quicker of the last two, that a hiccup is
      // not waited for twice. Who comes alone is not kept waiting for nobody.
      const tookMs = taken === 1 ? 0 : performance.now() - startedMs;
      lingerMs = Math.min(Math.max(Math.min(tookMs, tookBeforeMs), limits.minLingerMs), limits.maxLingerMs);
      tookBeforeMs = tookMs;
      inFlight = [];
      mustTry = failed.length > 0 && targetNow() !== target;
      if (!mustTry) reachHold();
      if (closed) {
        for (const call of failed) refuseForClosing(call);
        break;
      }
      // Back to the front, so that records of one key keep their order; newcomers join the next try.
      queue = [...failed.filter(isWaiting), ...queue];
      if (mustTry) continue;
      const stuck = failed.length > 0 && failed.length === taken;
      pauseMs = stuck ? Math.min(Math.max(pauseMs * 2, limits.minRetryPauseMs), limits.maxRetryPauseMs) : 0;
      if (failed.length > 0) await pause(Math.max(pauseMs, limits.minRetryPauseMs));
      // Behind a slow append company has come already.
      else if (queue.length > 0 && tookMs < limits.maxLingerMs) await pause(lingerMs);
    }
    pump = undefined;
    mustTry = false;
    reachHold();
  }

  /** Whether its caller still waits. Where not, its bytes are given back. */
  function isWaiting(call: Call): boolean {
    if (call.settled) queuedBytes -= call.bytes;
    return !call.settled;
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
  async function appendBatch(batch: readonly Call[], isAlone: boolean): Promise<Call[]> {
    const target = targetNow();
    try {
      await unlessGivenUp(target.append(batch.flatMap((call) => call.records)));
      // Dies here: the records are stored and no sender knows. Each repeats; the compactor dedupes by id.
      for (const call of batch) finish(call);
      return [];
    } catch (error) {
      return settleFailed(target, batch, error, isAlone);
    }
  }

  async function unlessGivenUp(appending: Promise<void>): Promise<void> {
    await Promise.race([
      appending,
      new Promise<never>((_, reject) => {
        giveUp = () => reject(givenUp);
      }),
    ]).finally(() => {
      giveUp = undefined;
    });
  }

  async function settleFailed(
    target: Target,
    batch: readonly Call[],
    error: unknown,
    isAlone: boolean,
  ): Promise<Call[]> {
    const unacknowledged = error instanceof AppendError ? new Set(error.unacknowledged) : undefined;
    const failed: Call[] = [];
    let first = 0;
    for (const call of batch) {
      const from = first;
      first += call.records.length;
      const left = call.records.filter((_, index) => unacknowledged?.has(from + index) ?? true);
      // That it was given up says nothing that its caller could use.
      if (error !== givenUp) call.lastError = error;
      call.records = left;
      if (left.length === 0) finish(call);
      else if (isWaiting(call)) failed.push(call);
    }
    if (failed.length === 0) return [];
    const next = error === givenUp ? 'again' : target.judge(error, isAlone);
    if (next === 'again') return failed;
    if (next !== 'apart') {
      for (const call of failed) finish(call, next);
      return [];
    }
    const again: Call[] = [];
    for (const call of failed) {
      // Once one is to be tried again the others follow it, in their order.
      if (again.length > 0) again.push(call);
      else if (isWaiting(call)) again.push(...(await appendBatch([call], true)));
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

  function hold(): Promise<void> {
    const reached = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    held = { reached: reached.resolve, released: released.promise, release: released.resolve };
    // Else the pump rests or is not there: it looks before its next batch.
    if (inFlight.length === 0 && !mustTry) reached.resolve();
    return reached.promise;
  }

  function reachHold(): void {
    held?.reached();
  }

  function release(): void {
    reachHold();
    held?.release();
    held = undefined;
  }

  async function close(): Promise<void> {
    closed = true;
    const waiting = queue;
    queue = [];
    for (const call of waiting) refuseForClosing(call);
    release();
    wake?.();
    await pump;
  }

  return { append, startOver, hold, release, close };
}

function bytesOf(records: readonly AppendRecord[]): number {
  return records.reduce((sum, { key, value }) => sum + key.length + value.byteLength + recordOverheadBytes, 0);
}
