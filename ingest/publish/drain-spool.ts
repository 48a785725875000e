/**
 * Empties the spool into the stream, oldest first, one batch after the other, and gives the door back to the stream.
 *
 * Which order is promised: records of one key that one ingest took reach the stream, as far as their first copies go, in
 * the order in which their senders were answered. Since
 * - there is one queue at the door, and while a record that came through it may wait in the spool, every later one goes
 *   to the spool behind it. Senders do not notice: the spool answers at once, and the drain is faster than the door;
 * - the spool is emptied from its old end, and a batch is read again until all of it is acknowledged and committed;
 * - the door changes over while it is held: nothing is under way to the spool, and a last look has found it empty.
 * An append that was given up, and a batch whose commit was lost, come a second time: copies, which the compactor drops.
 * No order is promised between two ingests (their senders could not tell either), nor of dead letters that are requeued,
 * nor of records whose senders were refused.
 *
 * A record leaves the spool in two ways: the stream acknowledged it, or it will never take it (dead letter). Batches begin
 * small after a failure and double, so that a stream that is barely there is not filled with copies of large ones.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/program/log.ts';
import { withTimeLimit } from '../../shared/program/time-limit.ts';
import { deliverBatch } from '../../shared/stream/deliver-batch.ts';
import type { EventStreamWriter } from '../../shared/stream/stream.ts';
import type { BackingStore, SpooledRecord } from '../spool/backing-store.ts';
import type { GroupCommit } from './group-commit.ts';
import type { CircuitState, Observer } from './observer.ts';

/** What the drain must know of the door, and do to it. */
export interface Door {
  /** Whether new records go to the spool. */
  isSpooling(): boolean;
  /** Whether records that came through this door may wait in the spool. */
  mayWait(): boolean;
  circuit(): CircuitState;
  setCircuit(state: CircuitState, reason?: unknown): void;
  /** A part of the spool was emptied: there may be room again. */
  madeRoom(): void;
  /** New records go to the stream from now on. To be called while the queue is held. */
  goDirect(): void;
  readonly queue: Pick<GroupCommit, 'hold' | 'release'>;
}

const limits = {
  /** Of the first batch after a failure, and of the largest. Bytes in proportion. */
  firstBatchRecords: 16,
  maxBatchRecords: 1000,
  maxBatchBytes: 4 * 1024 * 1024,
  minPauseMs: 50,
  maxPauseMs: 1_000,
  /** How often an idle drain looks for records that came otherwise: requeued, or another ingest's. */
  pollMs: 5_000,
};

export interface DrainOptions {
  readonly store: BackingStore;
  readonly writer: EventStreamWriter;
  readonly door: Door;
  /** An append or a probe that does not answer in this time is given up, and tried again. */
  readonly appendLimitMs: number;
  readonly observer: Observer;
  readonly log: Logger;
  /** How long the door may be held while it changes over. */
  readonly handOverMs: number;
}

export interface Drain {
  /** Ends an idle rest: there is something to do. */
  wake(): void;
  /** Goes on until the spool is empty, the time is over or, unless it is patient, the stream is away. */
  finish(limitMs: number, isPatient: boolean): Promise<void>;
}

/**
 * `caught_up`: delivered, and the batch was all there was. `hindered`: a part was delivered. Failed: nothing was, and the
 * circuit is open, or the spool could not be read or written.
 */
type Outcome = 'delivered' | 'caught_up' | 'empty' | 'hindered' | 'stream_failed' | 'spool_failed';

export function startDrain(options: DrainOptions): Drain {
  const { store, writer, door, appendLimitMs, handOverMs, observer, log } = options;
  /** Acknowledged, but not known to have left the spool: never appended again by this process. */
  const uncommitted = new Set<bigint>();
  let batchRecords = limits.firstBatchRecords;
  let pauseMs = 0;
  let spoolFailed = false;
  let stopped = false;
  let ending: { readonly isPatient: boolean } | undefined;
  let endRest: (() => void) | undefined;
  let isIdle = false;

  async function run(): Promise<void> {
    while (!stopped) {
      const outcome = await step();
      if (outcome === 'delivered' || outcome === 'caught_up') pauseMs = 0;
      if (outcome === 'delivered') continue;
      if (ending !== undefined && (outcome === 'empty' || (isFailure(outcome) && !ending.isPatient))) return;
      if (mayBeDone(outcome) && door.isSpooling() && (await handOver())) continue;
      if (outcome === 'caught_up') continue;
      if (outcome !== 'empty' || door.isSpooling()) await rest(nextPause());
      else await rest(limits.pollMs, true);
    }
  }

  function mayBeDone(outcome: Outcome): boolean {
    return outcome === 'empty' || outcome === 'caught_up' || (outcome === 'spool_failed' && !door.mayWait());
  }

  /** One batch from the spool to the stream. Never rejects. */
  async function step(): Promise<Outcome> {
    // A file spool and the embedded stream answer at once: without this no request would get a turn until all is drained.
    await turn();
    if (door.circuit() !== 'closed' && !(await streamAnswers())) return 'stream_failed';
    try {
      const maxBytes = Math.ceil((limits.maxBatchBytes * batchRecords) / limits.maxBatchRecords);
      const batch = await store.peek({ maxRecords: batchRecords, maxBytes });
      if (batch.damaged > 0) observer.deadLettered(batch.damaged);
      if (batch.records.length === 0) {
        uncommitted.clear();
        spoolWorks();
        return 'empty';
      }
      const isAll = batch.records.length < batchRecords && bytesOf(batch.records) < maxBytes / 2;
      const fresh = batch.records.filter(({ sequence }) => !uncommitted.has(sequence));
      const startedMs = performance.now();
      const { acknowledged, refused, failure } = await deliverBatch(fresh, appendInTime);
      for (const { sequence } of acknowledged) uncommitted.add(sequence);
      if (acknowledged.length > 0) observer.drained(acknowledged.length, (performance.now() - startedMs) / 1000);
      const done = batch.records.filter(({ sequence }) => uncommitted.has(sequence));
      // Dies here: the stream has records that the spool still holds; the next run appends them again, as copies.
      if (done.length > 0) {
        await batch.commit(done);
        door.madeRoom();
      }
      // Dies here: the spool holds what the stream did not acknowledge, and nothing else of this batch.
      for (const { sequence } of done) uncommitted.delete(sequence);
      for (const [record, reason] of refused) await putAside(record, reason);
      spoolWorks();
      return outcomeOf(failure, done.length + refused.size, isAll);
    } catch (error) {
      if (!spoolFailed) log.warn({ reason: messageOf(error) }, 'the spool cannot be drained at the moment');
      spoolFailed = true;
      return 'spool_failed';
    }
  }

  function outcomeOf(failure: unknown, gone: number, isAll: boolean): Outcome {
    if (failure !== undefined) batchRecords = limits.firstBatchRecords;
    if (failure !== undefined && gone === 0) {
      door.setCircuit('open', failure);
      return 'stream_failed';
    }
    door.setCircuit('closed');
    if (failure !== undefined) return 'hindered';
    batchRecords = Math.min(batchRecords * 2, limits.maxBatchRecords);
    return isAll ? 'caught_up' : 'delivered';
  }

  async function putAside(record: SpooledRecord, reason: string): Promise<void> {
    await store.deadLetter(record, reason);
    // Dies here: it is a dead letter, once; whoever looks finds it.
    observer.deadLettered(1);
    log.error({ sequence: `${record.sequence}`, bytes: record.value.byteLength, reason }, 'record put aside');
  }

  async function streamAnswers(): Promise<boolean> {
    door.setCircuit('half_open');
    try {
      await withTimeLimit(appendLimitMs, writer.probe(), noAnswer);
      return true;
    } catch (error) {
      door.setCircuit('open', error);
      return false;
    }
  }

  const appendInTime = (records: readonly SpooledRecord[]) =>
    withTimeLimit(appendLimitMs, writer.append(records), noAnswer);

  function noAnswer(): DaybookError {
    return new DaybookError('stream_unavailable', { detail: `No acknowledgement within ${appendLimitMs} ms.` });
  }

  function spoolWorks(): void {
    if (spoolFailed) log.info('the spool can be drained again');
    spoolFailed = false;
  }

  /**
   * Lets new records go to the stream again, if none that came through this door is left in the spool. Meanwhile those
   * that come wait in the queue, for `handOverMs` at most.
   */
  async function handOver(): Promise<boolean> {
    let isHeld = true;
    const release = () => {
      isHeld = false;
      door.queue.release();
    };
    const timer = setTimeout(release, handOverMs);
    try {
      await door.queue.hold();
      let outcome: Outcome;
      do outcome = await step();
      while (isHeld && (outcome === 'delivered' || outcome === 'caught_up'));
      if (!(await isNoneLeft(outcome)) || !isHeld) return false;
      door.goDirect();
      pauseMs = 0;
      return true;
    } finally {
      clearTimeout(timer);
      release();
    }
  }

  async function isNoneLeft(outcome: Outcome): Promise<boolean> {
    if (outcome === 'spool_failed') return !door.mayWait();
    if (outcome !== 'empty') return false;
    // Of a spool that is shared another ingest may drain what came through this door: then nothing is given here.
    const { records } = await store.size().catch(() => ({ records: Number.NaN }));
    return records === 0;
  }

  function nextPause(): number {
    pauseMs = Math.min(Math.max(pauseMs * 2, limits.minPauseMs), limits.maxPauseMs);
    return pauseMs;
  }

  async function rest(ms: number, idle = false): Promise<void> {
    isIdle = idle;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      endRest = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    isIdle = false;
    endRest = undefined;
  }

  const running = run();

  return {
    wake() {
      if (isIdle) endRest?.();
    },
    async finish(limitMs, isPatient) {
      ending = { isPatient };
      endRest?.();
      if (isPatient || door.circuit() === 'closed') await withTimeLimit(limitMs, running).catch(() => undefined);
      stopped = true;
      endRest?.();
    },
  };
}

function isFailure(outcome: Outcome): boolean {
  return outcome === 'stream_failed' || outcome === 'spool_failed';
}

function bytesOf(records: readonly SpooledRecord[]): number {
  return records.reduce((sum, { value }) => sum + value.byteLength, 0);
}
