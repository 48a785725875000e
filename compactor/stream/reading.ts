/** What a run has read of the stream, and what the manifest says of that. */
import type { Cursor, EventStreamReader } from '../../shared/stream/stream.ts';
import { type CursorRange, unionOf, without } from '../ledger/cursor-ranges.ts';
import { type Hole, hash16, type StreamPosition, type Tip } from '../ledger/manifest.ts';

/** Where each partition stands after reading; turned into the manifest's positions once it is known what failed. */
export interface PartitionReading {
  /** Archived by earlier runs, all below the first cursor read: `next` of the ledger, or undefined at a first reading. */
  readonly from: Cursor | undefined;
  readonly doneBefore: readonly CursorRange[];
  /** Every record seen, skipped ones included. */
  readonly seen: [Cursor, Cursor][];
  /** Records that wait. */
  readonly waiting: [Cursor, Cursor][];
  /** How far it was read; where nothing was, as far as before. */
  tip: Tip | undefined;
  /** Records that have aged out unread. */
  readonly lost: [Cursor, Cursor][];
}

export interface StreamReading {
  readonly id: string;
  readonly partitions: ReadonlyMap<string, PartitionReading>;
  readonly holes: readonly Hole[];
  /** Partitions that are not what the ledger knows: they were read from their beginning. */
  readonly recreated: readonly string[];
}

/** How far a partition was read, by this run or before. */
export function endOf({ from, seen }: PartitionReading): Cursor | undefined {
  return seen.at(-1)?.[1] ?? from;
}

/** By partition, those of which something was ever read. */
export function endsOf(partitions: StreamReading['partitions']): Map<string, Cursor> {
  return new Map(
    [...partitions].flatMap(([partition, reading]) => {
      const end = endOf(reading);
      return end === undefined ? [] : [[partition, end] as const];
    }),
  );
}

/**
 * The stream's position once `pending` (records of days that failed) is known: everything seen is archived but for what
 * waits or is pending.
 */
export async function positionAfter(
  stream: EventStreamReader,
  reading: StreamReading,
  ledger: StreamPosition | undefined,
  pending: ReadonlyMap<string, readonly CursorRange[]>,
): Promise<StreamPosition> {
  const before = ledger?.id === reading.id ? ledger.partitions : {};
  const partitions: Record<string, StreamPosition['partitions'][string]> = { ...before };
  for (const [partition, { from, seen, waiting, doneBefore, tip }] of reading.partitions) {
    const start = from ?? seen[0]?.[0];
    if (start === undefined) {
      // Nothing was ever read of it: also where it was created again and is empty.
      delete partitions[partition];
      continue;
    }
    const open = unionOf([...waiting, ...(pending.get(partition) ?? [])]);
    const end = seen.at(-1)?.[1] ?? start;
    const next = open[0]?.[0] ?? end;
    const known = before[partition];
    // Offsets may have gaps between records: whatever lies between two cursors seen is done with as well.
    const read: CursorRange[] = end > next ? [[next, end]] : [];
    const done = without(unionOf([...read, ...doneBefore.filter(([, to]) => to > next)]), open).filter(
      ([, to]) => to > next,
    );
    const unmoved = known !== undefined && BigInt(known.next) === next && from !== undefined;
    const record = unmoved ? undefined : await stream.recordBefore(partition, next);
    partitions[partition] = {
      next: String(next),
      last: unmoved ? known.last : record === undefined ? null : hash16(record.value),
      done: done.map(([a, b]) => [String(a), String(b)]),
      ...(tip === undefined ? {} : { tip }),
    };
  }
  return { id: reading.id, partitions };
}
