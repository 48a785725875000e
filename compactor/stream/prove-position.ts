/**
 * What of the ledger's positions the stream still proves. A topic that is deleted and made again keeps its name, a machine
 * that is put back to a snapshot keeps its file's id, and a broker that takes over without the newest records keeps both:
 * new records then get positions that the ledger has as archived. To skip these would lose events that were answered 2xx.
 *
 * A log has one history: where a record is the one that the ledger knows, all before it is as it was. So one record proves
 * every position of its partition: the one at `tip`, up to which the last run had read. Its mark holds the time at which the
 * stream took it, since a spool that was put back too may send an equal record to the same position, behind others.
 *
 * - The record is the same: all is believed.
 * - It is another, or the log ends before it: nothing is. All is read again, and the report says so; also where only
 *   records are gone that waited for their day to be closed. Ids dedupe: a copy that comes again is a late delivery.
 * - It has aged out: then all that could be skipped has, so there is nothing to prove. This is what a quiet partition is
 *   like, and no fault. Where the log keeps something below `tip`, it has not aged out: then it is another log.
 */
import type { Cursor, EventStreamReader, StreamSnapshot } from '../../shared/stream/stream.ts';
import type { CursorRange } from '../ledger/cursor-ranges.ts';
import { hash16, markOf, type PartitionPosition, type StreamPosition } from '../ledger/manifest.ts';

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
  const record = mark === null ? undefined : await stream.recordBefore(partition, at);
  if (record !== undefined) {
    if (mark !== (tip === undefined ? hash16(record.value) : markOf(record))) return nothing;
    // An older manifest does not prove what it has as done.
    return { from, done: tip === undefined ? [] : done };
  }
  if (start === undefined) return { from, done };
  if (start < at && !(await hasAgedOut(stream, partition, at))) return nothing;
  return { from, done: done.filter(([, to]) => to <= start) };
}

const nothing: ProvenPosition = { from: undefined, done: [] };

/** Whether it was only dropped since the snapshot was made. */
async function hasAgedOut(stream: EventStreamReader, partition: string, at: Cursor): Promise<boolean> {
  const { start } = (await stream.snapshot()).partitions.get(partition) ?? {};
  return start !== undefined && start >= at;
}
