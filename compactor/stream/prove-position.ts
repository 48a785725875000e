/**
 * What of the ledger's positions the stream still proves (prove-record.ts has how it may not). New records may have positions
 * that the ledger has as archived: to skip these would lose events that were answered 2xx.
 *
 * One record proves every position of its partition: the one at `tip`, up to which the last run had read. Its mark holds the
 * time at which the stream took it, since a spool that was put back too may send an equal record to the same position, behind
 * others.
 *
 * - The record is the same: all is believed.
 * - It is another, or the log ends before it: nothing is. All is read again, and the report says so; also where only
 *   records are gone that waited for their day to be closed. Ids dedupe: a copy that comes again is a late delivery.
 * - It has aged out: then all that could be skipped has, so there is nothing to prove. This is what a quiet partition is
 *   like, and no fault. Where the log keeps something below `tip`, it has not aged out: then it is another log.
 */
import { markOf, proveRecord } from '../../shared/stream/prove-record.ts';
import type { Cursor, EventStreamReader, StoredRecord, StreamSnapshot } from '../../shared/stream/stream.ts';
import type { CursorRange } from '../ledger/cursor-ranges.ts';
import { hash16, type PartitionPosition, type StreamPosition } from '../ledger/manifest.ts';

export interface ProvenPosition {
  /** Where reading begins; undefined: at the oldest record kept, since the stream is not what the ledger knows. */
  readonly from: Cursor | undefined;
  /** Ranges that earlier runs are done with. */
  readonly done: readonly CursorRange[];
}

/** By partition, for those of the snapshot that the ledger knows. */
export async function provePositions(
  stream: EventStreamReader,
  snapshot: StreamSnapshot,
  known: StreamPosition['partitions'],
): Promise<Map<string, ProvenPosition>> {
  const proven = new Map<string, ProvenPosition>();
  for (const partition of snapshot.partitions.keys()) {
    const position = known[partition];
    if (position !== undefined) proven.set(partition, await provePosition(stream, snapshot, partition, position));
  }
  return proven;
}

async function provePosition(
  stream: EventStreamReader,
  snapshot: StreamSnapshot,
  partition: string,
  position: PartitionPosition,
): Promise<ProvenPosition> {
  const done = position.done.map(([from, to]) => [BigInt(from), BigInt(to)] as const);
  const from = BigInt(position.next);
  const { start, end } = snapshot.partitions.get(partition)!;
  const { tip } = position;
  const at = BigInt(tip?.at ?? position.next);
  const top = done.reduce((highest, [, to]) => (to > highest ? to : highest), at);
  if (end !== undefined && end < top) return nothing;

  const mark = tip === undefined ? position.last : tip.mark;
  const isSame = (record: StoredRecord) => mark === (tip === undefined ? hash16(record.value) : markOf(record));
  const proof = await proveRecord(stream, snapshot, partition, at, mark === null ? undefined : isSame);
  if (proof === 'another') return nothing;
  // An older manifest does not prove what it has as done.
  if (proof === 'same') return { from, done: tip === undefined ? [] : done };
  return { from, done: start === undefined ? done : done.filter(([, to]) => to <= start) };
}

const nothing: ProvenPosition = { from: undefined, done: [] };
