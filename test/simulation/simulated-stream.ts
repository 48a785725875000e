/**
 * A stream in memory that keeps the contract of stream.ts, numbered in either way that it knows: by offsets (with gaps, as
 * Kafka has them) or by sequence numbers (as Kinesis has them, which tells neither bounds nor committed positions).
 */
import { crc32 } from 'node:zlib';
import type {
  Cursor,
  EventStreamReader,
  StreamBatch,
  StreamEntry,
  StreamSnapshot,
} from '../../shared/stream/stream.ts';
import type { Random } from './random.ts';
import type { Sent } from './sent.ts';

export type Numbering = 'offsets' | 'sequence numbers';

export interface StandingRecord {
  readonly streamId: string;
  readonly partition: string;
  readonly position: bigint;
  readonly appendedMs: number;
  readonly sent: Sent;
}

export interface SimulatedStream extends EventStreamReader {
  readonly id: string;
  readonly numbering: Numbering;
  append(sent: Sent, nowMs: number): StandingRecord;
  /** Every record that is kept. */
  records(): StandingRecord[];
  /** The records that are gone: those from before a time, and, where asked, committed ones only. */
  drop(beforeMs: number, committedOnly: boolean): StandingRecord[];
  /** Empties it; by offsets it may keep its id, as a topic of the same name does. It may get another number of partitions. */
  recreate(keepsId: boolean, partitionCount: number): Fork;
  addPartition(): void;
  /** What a snapshot of its machine holds of it. By offsets only. */
  remember(): RememberedStream;
  /** As it was then, its id too; what consumers committed as well, where that lies in the same file. */
  putBack(to: RememberedStream, withCommitted: boolean): Fork;
  /** Its newest records are gone from one partition: a broker that did not have them leads it now. By offsets only. */
  cut(partition: string, records: number): Fork;
  bounds(): StreamSnapshot['partitions'];
}

/** Where a stream leaves the history that it had. */
export interface Fork {
  readonly gone: readonly StandingRecord[];
  /** By partition: what is below this position is as it was; what comes at it or above is another record. */
  readonly from: ReadonlyMap<string, bigint>;
}

export interface RememberedStream {
  readonly id: string;
  readonly partitions: ReadonlyMap<string, Readonly<Partition>>;
  readonly committed: ReadonlyMap<string, Cursor>;
}

interface Partition {
  records: StandingRecord[];
  /** The oldest position that may be there, and the one after the newest ever. */
  start: bigint;
  next: bigint;
}

export function simulatedStream(random: Random, numbering: Numbering, partitionCount: number): SimulatedStream {
  const byOffset = numbering === 'offsets';
  let generation = 0;
  let id = streamId();
  let committed = new Map<string, Cursor>();
  let partitions = emptyPartitions(partitionCount);
  const ends = new WeakMap<StreamSnapshot, ReadonlyMap<string, bigint>>();

  function streamId(): string {
    generation += 1;
    return `simulated-${random.between(0, 1e9)}-${generation}`;
  }

  function firstPosition(): bigint {
    return byOffset ? 0n : 49_000_000_000_000_000_000n + BigInt(random.between(0, 1e9));
  }

  function emptyPartitions(count: number): Map<string, Partition> {
    return new Map(
      Array.from({ length: count }, (_, number) => {
        const position = firstPosition();
        return [`${number}`, { records: [], start: position, next: position }];
      }),
    );
  }

  function partitionOf(name: string): Partition {
    const partition = partitions.get(name);
    if (partition === undefined) throw new RangeError(`no partition ${name}`);
    return partition;
  }

  /** Cursors around a record; with sequence numbers the one before it depends on what was read before. */
  const afterOf = (position: bigint) => (byOffset ? position + 1n : position);

  async function* readOffsets(name: string, from: Cursor | undefined, end: bigint): AsyncGenerator<StreamBatch> {
    const { records, start } = partitionOf(name);
    const first = from ?? start;
    if (first < start) yield { entries: [], hole: { from: first, to: start < end ? start : end } };
    const entries = records
      .filter(({ position }) => position >= first && position < end)
      .map(({ position, sent, appendedMs }) => ({
        ...{ before: position, after: position + 1n, position },
        ...{ value: sent.value, appendedMs },
      }));
    yield* inBatches(entries);
  }

  async function* readSequence(name: string, from: Cursor | undefined, end: bigint): AsyncGenerator<StreamBatch> {
    let cursor = from;
    let isProven = from === undefined;
    let hole: StreamBatch['hole'];
    const entries: StreamEntry[] = [];
    for (const { position, sent } of partitionOf(name).records) {
      if (position >= end) break;
      if (cursor !== undefined && position <= cursor) {
        isProven = true;
        continue;
      }
      const before = isProven && cursor !== undefined ? cursor : position - 1n;
      if (!isProven && cursor !== undefined && cursor < before) hole = { from: cursor, to: before };
      entries.push({ before, after: position, position, value: sent.value, appendedMs: undefined });
      cursor = position;
      isProven = true;
    }
    if (hole === undefined) yield* inBatches(entries);
    else yield { entries, hole };
  }

  function* inBatches(entries: readonly StreamEntry[]): Generator<StreamBatch> {
    for (let at = 0; at < entries.length; ) {
      const batch = entries.slice(at, at + random.between(1, 60));
      yield { entries: batch };
      at += batch.length;
    }
  }

  return {
    get id() {
      return id;
    },
    numbering,
    append(sent, nowMs) {
      const name = `${crc32(sent.key) % partitions.size}`;
      const partition = partitionOf(name);
      const gap = byOffset ? (random.chance(0.05) ? random.between(1, 4) : 0) : random.between(1, 1_000_000);
      const position = partition.next + BigInt(gap);
      const record = { streamId: id, partition: name, position, appendedMs: nowMs, sent };
      partition.records.push(record);
      partition.next = position + 1n;
      return record;
    },
    records: () => [...partitions.values()].flatMap(({ records }) => records),
    drop(beforeMs, committedOnly) {
      const dropped: StandingRecord[] = [];
      for (const [name, partition] of partitions) {
        const isKept = ({ appendedMs, position }: StandingRecord) =>
          appendedMs >= beforeMs || (committedOnly && afterOf(position) > (committed.get(name) ?? 0n));
        const kept = partition.records.findIndex(isKept);
        const gone = partition.records.splice(0, kept < 0 ? partition.records.length : kept);
        dropped.push(...gone);
        if (gone.length > 0) partition.start = partition.records[0]?.position ?? partition.next;
      }
      return dropped;
    },
    recreate(keepsId, count) {
      const gone = [...partitions.values()].flatMap(({ records }) => records);
      const from = new Map([...partitions.keys()].map((name) => [name, 0n]));
      partitions = emptyPartitions(count);
      if (!keepsId || !byOffset) {
        id = streamId();
        committed = new Map();
      }
      return { gone, from };
    },
    remember: () => ({
      id,
      committed: new Map(committed),
      partitions: new Map([...partitions].map(([name, one]) => [name, { ...one, records: [...one.records] }])),
    }),
    putBack(to, withCommitted) {
      const kept = new Set([...to.partitions.values()].flatMap(({ records }) => records));
      const gone = [...partitions.values()].flatMap(({ records }) => records).filter((record) => !kept.has(record));
      const from = new Map([...partitions.keys()].map((name) => [name, to.partitions.get(name)?.next ?? 0n]));
      partitions = new Map([...to.partitions].map(([name, one]) => [name, { ...one, records: [...one.records] }]));
      id = to.id;
      if (withCommitted) committed = new Map(to.committed);
      return { gone, from };
    },
    cut(name, count) {
      const partition = partitionOf(name);
      const gone = partition.records.splice(Math.max(0, partition.records.length - count));
      const end = gone[0]?.position ?? partition.next;
      partition.next = end;
      if (partition.start > end) partition.start = end;
      return { gone, from: new Map([[name, end]]) };
    },
    bounds: () =>
      new Map([...partitions].map(([name, { start, next }]) => [name, byOffset ? { start, end: next } : {}])),
    addPartition() {
      const position = firstPosition();
      partitions.set(`${partitions.size}`, { records: [], start: position, next: position });
    },

    async committed() {
      return byOffset ? new Map(committed) : new Map();
    },
    async snapshot() {
      const names = random.shuffled([...partitions.keys()]);
      const bounds = names.map((name) => {
        const { start, next } = partitionOf(name);
        return [name, byOffset ? { start, end: next } : {}] as const;
      });
      const snapshot = { id, partitions: new Map(bounds) };
      ends.set(snapshot, new Map(names.map((name) => [name, partitionOf(name).next])));
      return snapshot;
    },
    read(partition, from, snapshot) {
      const end = ends.get(snapshot)!.get(partition)!;
      return byOffset ? readOffsets(partition, from, end) : readSequence(partition, from, end);
    },
    async recordBefore(partition, cursor) {
      const position = byOffset ? cursor - 1n : cursor;
      const found = partitionOf(partition).records.find((record) => record.position === position);
      return found && { value: found.sent.value, appendedMs: byOffset ? found.appendedMs : undefined };
    },
    async commit(positions) {
      committed = new Map([...committed, ...positions]);
    },
    async close() {},
  };
}

/** Whether a manifest's position of the record's partition says that it is done with. */
export function isDone(
  { position, numbering }: { readonly position: bigint; readonly numbering: Numbering },
  said: { readonly next: string; readonly done: readonly (readonly [string, string])[] },
): boolean {
  const [before, after] = numbering === 'offsets' ? [position, position + 1n] : [position - 1n, position];
  if (after <= BigInt(said.next)) return true;
  return said.done.some(([from, to]) => BigInt(from) <= before && after <= BigInt(to));
}
