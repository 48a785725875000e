/**
 * Where records wait while the stream is down, as the spool needs it. Every type passes
 * test/contract/backing-store.ts.
 */
import type { Clock } from '../../shared/clock.ts';
import type { SpoolSettings } from '../../shared/config.ts';
import type { Logger } from '../../shared/program/log.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';

/** A record that waits. `sequence` names it and never comes back; the order of sequences is the order of appends. */
export interface SpooledRecord extends AppendRecord {
  readonly sequence: bigint;
}

/** Whole numbers. */
export interface PeekLimit {
  readonly maxRecords: number;
  /** Of keys and values; a single larger record is given alone. */
  readonly maxBytes: number;
}

export interface PeekedBatch {
  /** Oldest first, those of before the oldest not committed; empty where nothing waits or another instance drains. */
  readonly records: readonly SpooledRecord[];
  /** How many records this peek found unreadable and put among the dead letters. */
  readonly damaged: number;
  /**
   * Removes the acknowledged records, all of the batch where none are named, and nothing else: what was appended since
   * stays. Durable when it resolves. A commit that is lost costs a repeat, never a record.
   */
  commit(acknowledged?: readonly SpooledRecord[]): Promise<void>;
}

export interface SpoolSize {
  /** Live records. */
  readonly records: number;
  /** Of live and dead records, as `maxBytes` counts them: keys, values, and what the type adds to each. */
  readonly bytes: number;
  /** Age of the oldest live record; 0 where there is none. */
  readonly oldestSeconds: number;
  /** Dead letters. */
  readonly dead: number;
}

export interface DeadLetter {
  readonly sequence: bigint;
  readonly reason: string;
  /** When it was put aside: RFC 3339 with milliseconds. */
  readonly at: string;
  /** Null where the damage is such that it cannot be told. */
  readonly key: string | null;
  readonly raw: Uint8Array;
}

export interface BackingStore {
  /**
   * All or nothing, durable when it resolves. Rejects with `spool_full` where the records do not fit into what is left
   * of `maxBytes` (or of the disk), with `spool_unavailable` where the store fails otherwise. Neither latches: the next
   * call tries again.
   */
  append(records: readonly AppendRecord[]): Promise<void>;
  /** A record that cannot be read back as it was written goes to the dead letters here, once, and never blocks. */
  peek(limit: PeekLimit): Promise<PeekedBatch>;
  size(): Promise<SpoolSize>;
  /**
   * Live records, oldest first, in memory a few at a time. Changes nothing, and holds up neither appends nor the drain: those
   * that are drained meanwhile may be left out, and those that cannot be read are.
   */
  waiting(): AsyncIterable<SpooledRecord>;
  /** Moves a live record that the stream will never take to the dead letters, in one step. */
  deadLetter(record: SpooledRecord, reason: string): Promise<void>;
  /** Oldest first, in memory one at a time. */
  deadLetters(): AsyncIterable<DeadLetter>;
  /**
   * Moves dead letters (all where none are named) behind the live records, each in one step; resolves with how many.
   * Those without a key stay. They get new sequences.
   */
  requeue(sequences?: readonly bigint[]): Promise<number>;
  close(): Promise<void>;
}

export interface BackingStoreOptions {
  readonly params: SpoolSettings['params'];
  readonly dataDirectory: string;
  readonly clock: Clock;
  readonly log: Logger;
  /**
   * `drain`: the running ingest, which appends and drains. `inspect`: a command beside it, which looks, exports and
   * requeues, and must not disturb it: its peek gives nothing.
   */
  readonly use: 'drain' | 'inspect';
}

export type OpenBackingStore = (options: BackingStoreOptions) => Promise<BackingStore>;
