/**
 * The stream between ingest and compactor, as its users need it. Every driver passes test/contract/event-stream.ts.
 *
 * A *cursor* is a point between two records of one partition, written as a decimal number. Kafka and the embedded
 * stream count offsets: the cursor before the record at offset 7 is 7, the one after it 8. Kinesis numbers records with
 * gaps: the cursor after a record is its sequence number, the one before it is the cursor after its predecessor.
 * Positions in manifests (`next`, and both ends of `done` ranges) are cursors.
 */
export type Cursor = bigint;

export interface AppendRecord {
  /** The partition key: records of one key keep their order. */
  readonly key: string;
  readonly value: Uint8Array;
}

export interface EventStreamWriter {
  /**
   * Resolves when every record is acknowledged (would survive a power cut; on a cluster: on all replicas), and not
   * before. Rejects with an AppendError that names those not acknowledged: these may be there all the same, so a
   * repeat may write them twice. Records of one key in one call keep their order.
   */
  append(records: readonly AppendRecord[]): Promise<void>;
  /** The largest value in bytes that one record may have; undefined where the stream sets no limit. */
  readonly maxValueBytes: number | undefined;
  /** Resolves if the stream takes records now, else rejects with the reason. Writes nothing. */
  probe(): Promise<void>;
  /**
   * Reads back what was written, the first time all that can be had at a fair price, as the reader will, and looks again at
   * the settings that must hold of the stream. Rejects with `stream_unreadable` or `stream_unsuitable`: then what is
   * appended may never be archived. Any other rejection says that it could not be tried. Writes nothing.
   */
  prove(): Promise<void>;
  close(): Promise<void>;
}

export interface StoredRecord {
  readonly value: Uint8Array;
  /**
   * When the stream took it, as it keeps that: the same at every reading. Tells a record from an equal one that was sent
   * again and got its position. Undefined where no position is ever given twice (Kinesis).
   */
  readonly appendedMs: number | undefined;
}

export interface StreamEntry extends StoredRecord {
  readonly before: Cursor;
  readonly after: Cursor;
  /** The record's own number as its stream shows it: an offset or a sequence number. */
  readonly position: bigint;
}

export interface StreamBatch {
  readonly entries: readonly StreamEntry[];
  /** Records that were asked for but have aged out, found missing just before `entries`. */
  readonly hole?: { readonly from: Cursor; readonly to: Cursor };
}

export interface PartitionBounds {
  /** The cursor before the oldest record kept. Undefined where the service tells only on reading. */
  readonly start?: Cursor;
  /** The cursor after the newest record as of the snapshot. Undefined where the service tells only on reading. */
  readonly end?: Cursor;
}

/** Where the stream stood at one moment: what arrives later belongs to the next run. */
export interface StreamSnapshot {
  /** Names this very stream. A topic that is made again under its name keeps it, and so does a file that is put back. */
  readonly id: string;
  readonly partitions: ReadonlyMap<string, PartitionBounds>;
  /** When it was made, in ms since 1970, where some partition has no `end`: a reading of that one ends by this time. */
  readonly madeAtMs?: number;
}

export interface EventStreamReader {
  /** How many partitions are best read at once, where the service gives each at a rate of its own; undefined: one. */
  readonly readsAtOnce?: number;
  /** What this reader's consumer committed last, for lag and retention only: the ledger says what is archived. */
  committed(): Promise<ReadonlyMap<string, Cursor>>;
  /** What this consumer noted beside its positions as it committed them. Only where the service keeps such notes: Kafka. */
  notes?(): Promise<ReadonlyMap<string, string>>;
  snapshot(): Promise<StreamSnapshot>;
  /**
   * The records of one partition from a cursor (undefined: the oldest kept) to the snapshot's end, in order, in batches
   * of bounded bytes. Each entry's `before` is the `after` of the one before it, or lies past it where offsets have gaps.
   * The snapshot may be another reader's, put together again from what it shows. A partition of it may have an `end` although the
   * service tells none: one to which another reading came.
   */
  read(partition: string, from: Cursor | undefined, snapshot: StreamSnapshot): AsyncIterable<StreamBatch>;
  /** The record that ends at this cursor, or undefined where it is no longer kept. */
  recordBefore(partition: string, cursor: Cursor): Promise<StoredRecord | undefined>;
  /**
   * Says how far this consumer is done with each partition. Idempotent; never moves a partition that is not named. `notes`,
   * of up to 1 KiB each, go with the positions where there is `notes`; a position that is given none loses what it had.
   */
  commit(positions: ReadonlyMap<string, Cursor>, notes?: ReadonlyMap<string, string>): Promise<void>;
  close(): Promise<void>;
}
