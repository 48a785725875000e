/**
 * From the stream to the readers' stream, at least once. One pass reads every partition from where it was left to where the
 * stream ended as the pass began, a batch of each in turn: reading `passOver` is reading the redaction. A failure ends the
 * pass; the next one begins where the last batch was acknowledged.
 *
 * Memory: a batch of the stream, and what becomes of it. So a partition's reading is opened for each batch: one that is kept
 * open keeps its batch, and those of 48 partitions of Kafka's were 200 MB.
 *
 * Why no stage of ingest: deploy/elk/README.md has what was measured.
 */
import { setTimeout as rest } from 'node:timers/promises';
import type { Clock } from '../../shared/clock.ts';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/program/log.ts';
import { deliverBatch } from '../../shared/stream/deliver-batch.ts';
import { markOf, proveRecord } from '../../shared/stream/prove-record.ts';
import type {
  AppendRecord,
  EventStreamReader,
  EventStreamWriter,
  StreamBatch,
  StreamSnapshot,
} from '../../shared/stream/stream.ts';
import type { DeadLetter, DeadLetters } from './dead-letters.ts';
import type { RedactObserver, Step } from './metrics.ts';
import type { Place, Positions } from './positions.ts';

/** Kafka forgets positions that nobody has committed for a week, unless it is set to keep them longer. */
const commitAgainMs = 3_600_000;

export interface RedactionOptions {
  readonly stream: EventStreamReader;
  readonly readers: EventStreamWriter;
  readonly deadLetters: DeadLetters;
  readonly positions: Positions;
  /** What readers get of a record's value, or why nothing. */
  readonly redact: (value: Uint8Array) => AppendRecord | { readonly reason: string };
  readonly observer: RedactObserver;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface StreamRedaction {
  /**
   * Resolves when all that the stream held at the call is acknowledged and committed, or, between two batches, once
   * `stopped` is. Rejects with the first failure: what was not committed comes again.
   */
  passOver(stopped: AbortSignal): Promise<void>;
  lag(): { readonly seconds: number; readonly records: number };
}

/** Rejects where the positions cannot be read. */
export async function openRedaction(options: RedactionOptions): Promise<StreamRedaction> {
  const { stream, readers, deadLetters, redact, observer, clock, log } = options;
  const places = await step('read', () => options.positions.read());
  let committed: ReadonlyMap<string, Place> = new Map(places);
  let committedAt = clock.now();
  /** All that the stream held then is done with. */
  let doneAt = clock.now();
  let bounds: StreamSnapshot['partitions'] = new Map();

  async function passOver(stopped: AbortSignal): Promise<void> {
    const startedAt = clock.now();
    const snapshot = await step('read', () => stream.snapshot());
    await step('read', () => startAgainWhereAnother(snapshot));
    const unread = new Set(snapshot.partitions.keys());
    while (unread.size > 0 && !stopped.aborted) {
      for (const partition of unread) {
        const batch = await step('read', () => nextBatch(partition, snapshot));
        if (batch === undefined) unread.delete(partition);
        else await deliver(snapshot.id, partition, batch);
      }
      await commit();
    }
    if (!stopped.aborted) doneAt = startedAt;
  }

  async function nextBatch(partition: string, snapshot: StreamSnapshot): Promise<StreamBatch | undefined> {
    for await (const batch of stream.read(partition, places.get(partition)?.cursor, snapshot)) return batch;
    return undefined;
  }

  async function deliver(streamId: string, partition: string, { entries, hole }: StreamBatch): Promise<void> {
    if (hole !== undefined) {
      observer.missed();
      log.error(
        { partition, from: `${hole.from}`, to: `${hole.to}` },
        'records had aged out before they were redacted',
      );
    }
    const letters: DeadLetter[] = [];
    const bury = (position: bigint, reason: string) =>
      letters.push({ stream: streamId, partition, position: `${position}`, reason, at: clock.now().toISOString() });
    const records: AppendRecord[] = [];
    const positionOf = new Map<AppendRecord, bigint>();
    for (const { value, position } of entries) {
      const redacted = redact(value);
      if ('reason' in redacted) bury(position, redacted.reason);
      else {
        records.push(redacted);
        positionOf.set(redacted, position);
      }
    }
    const { acknowledged, refused, failure } = await deliverBatch(records, (part) => readers.append(part));
    observer.done('redacted', acknowledged.length);
    if (failure !== undefined) {
      observer.failed('append');
      throw failure;
    }
    // Dies here: readers have them, and get them again; the key is the event's id.
    for (const [record, reason] of refused) bury(positionOf.get(record)!, `the readers' stream refuses it: ${reason}`);
    if (letters.length > 0) {
      await step('dead_letter', () => deadLetters.write(letters));
      // Dies here: the letters are written again.
      observer.done('dead_lettered', letters.length);
      const [{ position, reason }] = letters as [DeadLetter];
      log.error({ partition, position, reason, records: letters.length }, 'records went to the dead letters');
    }
    const last = entries.at(-1);
    if (last !== undefined) places.set(partition, { cursor: last.after, mark: markOf(last) });
    else if (hole !== undefined) places.set(partition, { cursor: hole.to, mark: undefined });
  }

  /** All places, those that did not move too; and again after a while, though none did. */
  async function commit(): Promise<void> {
    const now = clock.now();
    const isMoved = [...places].some(([partition, { cursor }]) => committed.get(partition)?.cursor !== cursor);
    if (!isMoved && (places.size === 0 || now.getTime() - committedAt.getTime() < commitAgainMs)) return;
    await step('commit', () => options.positions.write(places));
    // Dies here: what comes next begins behind all that is acknowledged. Before: the same records come again.
    committed = new Map(places);
    committedAt = now;
  }

  /** All of a partition is read where it is not the log in which it was left: made again under its name, or put back. */
  async function startAgainWhereAnother(snapshot: StreamSnapshot): Promise<void> {
    for (const [partition, { end }] of snapshot.partitions) {
      const place = places.get(partition);
      // Kinesis tells no end, and gives no position twice.
      if (place === undefined || end === undefined) continue;
      const { cursor, mark } = place;
      // Nothing has come: there is nothing that could be missed.
      if (end === cursor && end === bounds.get(partition)?.end) continue;
      const isOther =
        mark === undefined
          ? end < cursor
          : (await proveRecord(stream, snapshot, partition, cursor, (record) => markOf(record) === mark)) === 'another';
      if (!isOther) continue;
      const facts = { partition, position: `${cursor}`, end: `${end}` };
      log.warn(facts, 'the partition was made again, or put back: all of it is read');
      places.delete(partition);
    }
    bounds = snapshot.partitions;
  }

  async function step<T>(name: Step, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      observer.failed(name);
      throw error;
    }
  }

  return {
    passOver,
    lag() {
      let records = 0;
      for (const [partition, { start = 0n, end }] of bounds) {
        if (end !== undefined) records += Math.max(0, Number(end - (places.get(partition)?.cursor ?? start)));
      }
      return { seconds: Math.max(0, (clock.now().getTime() - doneAt.getTime()) / 1000), records };
    },
  };
}

export interface Pace {
  /** Between the beginnings of two passes. */
  readonly everyMs: number;
  /** After a failure, doubled with each further one up to the longest. */
  readonly minPauseMs: number;
  readonly maxPauseMs: number;
}

const usualPace: Pace = { everyMs: 1_000, minPauseMs: 1_000, maxPauseMs: 30_000 };

/** Passes over the stream until `stopped`. Rejects with a failure that does not pass by itself; `told` hears of each pass. */
export async function keepRedacting(
  { passOver }: StreamRedaction,
  stopped: AbortSignal,
  told: (isWell: boolean) => void,
  log: Logger,
  pace: Pace = usualPace,
): Promise<void> {
  for (let failures = 0; !stopped.aborted; ) {
    const startedMs = performance.now();
    let pauseMs: number;
    try {
      await passOver(stopped);
      failures = 0;
      told(true);
      pauseMs = pace.everyMs - (performance.now() - startedMs);
    } catch (error) {
      told(false);
      if (!(error instanceof DaybookError && error.retry)) throw error;
      pauseMs = Math.min(pace.minPauseMs * 2 ** failures, pace.maxPauseMs);
      failures += 1;
      log.warn({ reason: messageOf(error), failures, pauseMs }, 'redacting is tried again');
    }
    if (pauseMs > 0) await rest(pauseMs, undefined, { signal: stopped }).catch(() => undefined);
  }
}
