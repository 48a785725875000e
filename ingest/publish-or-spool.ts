/** Where a request's records go: to the stream while it answers, to the spool while it does not. */
import type { Clock } from '../shared/clock.ts';
import { DaybookError, messageOf } from '../shared/errors.ts';
import type { Logger } from '../shared/program/log.ts';
import { withTimeLimit } from '../shared/program/time-limit.ts';
import type { AppendRecord, EventStreamWriter } from '../shared/stream/stream.ts';
import { startDrain } from './publish/drain-spool.ts';
import {
  defaultLimits,
  type GroupCommit,
  type GroupCommitLimits,
  openGroupCommit,
  type Target,
} from './publish/group-commit.ts';
import type { CircuitState, Observer } from './publish/observer.ts';
import { isUnproven } from './publish/proven-writer.ts';
import type { BackingStore } from './spool/backing-store.ts';

/** `deadlineMs` is how long a request waits for the stream; then the spool has as long again. */
export interface Publishing {
  readonly groupCommit: Pick<GroupCommit, 'append'>;
  readonly deadlineMs: number;
}

/**
 * Resolves when every record is durable, in the stream or in the spool, and not before: only then may a sender get its
 * 2xx. Rejects with `spool_full`, `spool_unavailable`, `stream_unavailable` or `overloaded` (503, Retry-After) where that
 * cannot be said in time; the records may be stored all the same, since an acknowledgement can come late or be lost.
 * Senders repeat and the compactor dedupes.
 */
export async function publishOrSpool(records: readonly AppendRecord[], publishing: Publishing): Promise<void> {
  // Dies here: nothing is stored and nothing was answered. The sender repeats.
  await publishing.groupCommit.append(records, publishing.deadlineMs);
  // Dies here: all is stored and nothing was answered. The sender repeats; its copy is one more delivery of the same id.
}

export interface PublishingOptions {
  readonly writer: EventStreamWriter;
  readonly store: BackingStore;
  readonly deadlineMs: number;
  /** The stream is known to be away as this starts: nobody waits for it first. */
  readonly isStreamAway?: boolean;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly log: Logger;
  readonly limits?: GroupCommitLimits;
}

export interface OpenPublishing extends Publishing {
  /**
   * Resolves where the stream or the spool takes events now, as far as can be told within `limitMs`. Rejects too where the
   * stream's records cannot be read back, though the spool takes events.
   */
  ready(limitMs: number): Promise<void>;
  /** What waits for the stream goes to the spool now, and so does all that comes later. */
  spoolNow(): void;
  /** What still waits is refused, and all that comes later. */
  stop(): Promise<void>;
  /**
   * To be called last: drains for `limitMs` at most, where `isPatient` even though the stream is away. Resolves with the
   * number of records left in the spool; undefined where the spool does not say.
   */
  finish(limitMs: number, isPatient: boolean): Promise<number | undefined>;
}

/** For so long a refusal of the spool counts as its state. Then it is asked again: nothing latches. */
const refusalMs = 10_000;
const sizeLimitMs = 400;
/** The least time that the drain gives an append or a probe. */
const minAppendLimitMs = 1_000;
/** How long the door may be held while it changes over to the stream. */
const maxHandOverMs = 250;

/**
 * Opens the door to stream and spool, and starts the drain. Records that a former run left go first: while there are any
 * the door leads to the spool.
 */
export async function openPublishing(options: PublishingOptions): Promise<OpenPublishing> {
  const { writer, store, deadlineMs, isStreamAway = false, clock, observer, log, limits = defaultLimits } = options;
  let circuit: CircuitState = isStreamAway ? 'open' : 'closed';
  observer.circuit(circuit);
  const left = await store.size().catch(() => undefined);
  let mayWait = left?.records !== 0;
  let target: 'stream' | 'spool' = mayWait || isStreamAway ? 'spool' : 'stream';
  /** What keeps events from the stream though it takes them: nobody could read them. */
  let unproven: DaybookError | undefined;
  let refusal: { readonly error: DaybookError; readonly atMs: number } | undefined;

  const stream: Target = {
    async append(records) {
      const startedMs = performance.now();
      await writer.append(records);
      observer.published(records.length, (performance.now() - startedMs) / 1000);
    },
    judge(error) {
      // Whether it is a record that the stream will never take, or all of them, the drain finds out.
      if (error instanceof DaybookError && !error.retry) goThroughSpool();
      return 'again';
    },
    late(lastError, deadlineMs) {
      setCircuit('open', lastError ?? new Error(`no acknowledgement within ${deadlineMs} ms`));
      return undefined;
    },
  };

  const spool: Target = {
    async append(records) {
      const startedMs = performance.now();
      await store.append(records);
      // Dies here: the records are in the spool and no sender knows. The next run drains them; the senders' repeats are copies.
      mayWait = true;
      refusal = undefined;
      observer.spooled(records.length, (performance.now() - startedMs) / 1000);
    },
    judge(error, isAlone) {
      const refused = spoolErrorOf(error);
      refusal = { error: refused, atMs: clock.now().getTime() };
      // What is left may be room for some of the calls.
      if (refused.code === 'spool_full' && !isAlone) return 'apart';
      // Where the stream answers, the drain makes room, or gives the door back: worth waiting for. Else it has had its time.
      return circuit === 'closed' ? 'again' : refused;
    },
    late(lastError, deadlineMs) {
      if (isOfSpool(lastError)) return lastError;
      const detail = `The spool did not answer within ${deadlineMs} ms.`;
      return new DaybookError('spool_unavailable', { detail, cause: lastError });
    },
  };

  const queue = openGroupCommit(() => (target === 'stream' ? stream : spool), limits);
  const drain = startDrain({
    store,
    writer,
    door: {
      isSpooling: () => target === 'spool',
      mayWait: () => mayWait,
      circuit: () => circuit,
      setCircuit,
      madeRoom() {
        refusal = undefined;
      },
      goDirect() {
        setCircuit('closed');
        target = 'stream';
        mayWait = false;
        log.info('events go to the stream');
      },
      queue,
    },
    appendLimitMs: Math.max(deadlineMs, minAppendLimitMs),
    observer,
    log,
    // Those who wait meanwhile have time left for what comes after it.
    handOverMs: Math.min(maxHandOverMs, deadlineMs / 4),
  });

  function setCircuit(state: CircuitState, reason?: unknown): void {
    if (state !== 'half_open') unproven = isUnproven(reason) ? reason : undefined;
    if (state === circuit) return;
    const wasClosed = circuit === 'closed';
    circuit = state;
    observer.circuit(state);
    // What does not pass by itself has a hint of its own.
    const hint = reason instanceof DaybookError && !reason.retry ? { hint: reason.hint } : {};
    if (wasClosed) log.warn({ reason: messageOf(reason), ...hint }, 'the stream is away');
    else if (state === 'closed') log.info('the stream answers');
    if (state === 'open') spoolNow();
  }

  /** What is under way to the stream goes to the spool as well: it may be in both, then. */
  function spoolNow(): void {
    if (target === 'spool') return;
    goThroughSpool();
    queue.startOver();
  }

  function goThroughSpool(): void {
    if (target === 'spool') return;
    target = 'spool';
    log.warn('events go to the spool');
    drain.wake();
  }

  async function spoolTakes(limitMs: number): Promise<void> {
    if (refusal !== undefined && clock.now().getTime() - refusal.atMs < refusalMs) throw refusal.error;
    await withTimeLimit(limitMs, store.size());
  }

  return {
    groupCommit: queue,
    deadlineMs,
    async ready(limitMs) {
      try {
        // A stream that hangs leaves the spool its share of the time.
        if (target === 'stream' && (await answers(withTimeLimit(limitMs / 2, writer.probe())))) return;
        await spoolTakes(limitMs / 2);
        // The spool takes events, and nothing is lost; but somebody has to look at the stream.
        if (unproven !== undefined) throw unproven;
      } catch (error) {
        if (isUnproven(error)) throw error;
        const detail = 'Neither the stream nor the spool takes events.';
        throw new DaybookError('stream_unavailable', { detail, cause: error });
      }
    },
    spoolNow,
    stop: () => queue.close(),
    async finish(limitMs, isPatient) {
      await drain.finish(limitMs, isPatient);
      return withTimeLimit(sizeLimitMs, store.size()).then(
        ({ records }) => records,
        () => undefined,
      );
    },
  };
}

async function answers(asking: Promise<void>): Promise<boolean> {
  return asking.then(
    () => true,
    () => false,
  );
}

function spoolErrorOf(error: unknown): DaybookError {
  return isOfSpool(error) ? error : new DaybookError('spool_unavailable', { cause: error });
}

function isOfSpool(error: unknown): error is DaybookError {
  return error instanceof DaybookError && (error.code === 'spool_full' || error.code === 'spool_unavailable');
}
