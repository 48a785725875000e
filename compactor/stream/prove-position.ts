/**
 * What of the ledger's position the stream still proves. A topic that is deleted and made anew keeps its name, and a machine
 * that is put back to a snapshot keeps its file's id: new records then get positions that the ledger has as archived. To
 * skip these would lose events that were answered 2xx. So a position is believed only where a record shows it:
 *
 * - `last` is the hash of the record before `next`; `doneLast` has, for each `done` range, that of its last record;
 * - a log has one history: if the record that ends at a position is the one that the ledger knows, all before it is too;
 * - what has aged out cannot be skipped any more, so nothing needs to be proven of it;
 * - where nothing is proven and nothing is disproven the records are read again. Ids dedupe: a copy that comes again is a
 *   late delivery, a record that is passed over is gone.
 */
import type { Cursor, EventStreamReader, StreamSnapshot } from '../../shared/stream/stream.ts';
import type { CursorRange } from '../ledger/cursor-ranges.ts';
import { hash16, type PartitionPosition, type StreamPosition } from '../ledger/manifest.ts';

export interface ProvenPosition {
  /** Where reading begins; undefined: at the oldest record kept. */
  readonly from: Cursor | undefined;
  /** Ranges that earlier runs are done with. */
  readonly done: readonly CursorRange[];
  /** The stream contradicts the ledger: it was made anew, put back to an older state, or lost its newest records. */
  readonly isContradicted: boolean;
}

/** By partition, for those of the snapshot that the ledger knows. */
export async function provePositions(
  stream: EventStreamReader,
  snapshot: StreamSnapshot,
  known: StreamPosition['partitions'],
): Promise<Map<string, ProvenPosition>> {
  const evidence = new Map<string, Evidence>();
  for (const partition of snapshot.partitions.keys()) {
    const position = known[partition];
    if (position !== undefined) evidence.set(partition, await gatherEvidence(stream, snapshot, partition, position));
  }
  // A topic is made anew as a whole, and its partitions never become fewer. (Shards of Kinesis, which tells no bounds, do.)
  const isAnew =
    [...evidence.values()].some(({ next }) => next === 'another') ||
    ([...snapshot.partitions.values()].some(({ end }) => end !== undefined) &&
      Object.keys(known).some((partition) => !snapshot.partitions.has(partition)));
  return new Map([...evidence].map(([partition, found]) => [partition, conclude(found, isAnew)]));
}

interface Evidence {
  readonly position: Cursor;
  /** Whether the record before `next` is the one that the ledger knows. */
  readonly next: 'the same' | 'another' | 'unknown';
  /** The newest end of a `done` range whose record is the one that the ledger knows. */
  readonly provenTo: Cursor | undefined;
  /** A `done` range ends with another record, or beyond the end of the log. */
  readonly isDoneContradicted: boolean;
  readonly done: readonly CursorRange[];
  /** The oldest position kept, where that is known. */
  readonly start: Cursor | undefined;
}

function conclude(
  { position, next, provenTo, isDoneContradicted, done, start }: Evidence,
  isAnew: boolean,
): ProvenPosition {
  const isUntold = next === 'unknown' && provenTo === undefined;
  if (next === 'another' || (isUntold && (isAnew || isDoneContradicted))) {
    return { from: undefined, done: [], isContradicted: true };
  }
  const believed = done.filter(
    ([, to]) => (provenTo !== undefined && to <= provenTo) || (start !== undefined && to <= start),
  );
  const from = isUntold && start !== undefined && start < position ? undefined : position;
  return { from, done: believed, isContradicted: isDoneContradicted };
}

async function gatherEvidence(
  stream: EventStreamReader,
  snapshot: StreamSnapshot,
  partition: string,
  { next, last, done, doneLast = [] }: PartitionPosition,
): Promise<Evidence> {
  const { start, end } = snapshot.partitions.get(partition)!;
  const position = BigInt(next);
  const ranges = done.map(([from, to]) => [BigInt(from), BigInt(to)] as const);
  const known = { position, done: ranges, start };
  const isCut = end !== undefined && end < position;
  const value = isCut || last === null ? undefined : await stream.recordBefore(partition, position);
  if (isCut || (value !== undefined && hash16(value) !== last)) {
    return { ...known, next: 'another', provenTo: undefined, isDoneContradicted: true };
  }
  const of = value === undefined ? ('unknown' as const) : ('the same' as const);
  return { ...known, next: of, ...(await compareDone(stream, snapshot, partition, position, ranges, doneLast)) };
}

/** Reads past the ranges once, which the run reads again anyway: they lie among the records of days that are not closed. */
async function compareDone(
  stream: EventStreamReader,
  snapshot: StreamSnapshot,
  partition: string,
  from: Cursor,
  ranges: readonly CursorRange[],
  doneLast: readonly (string | null)[],
): Promise<Pick<Evidence, 'provenTo' | 'isDoneContradicted'>> {
  const left = ranges.flatMap(([, to], index) => (doneLast[index] == null ? [] : [{ to, hash: doneLast[index] }]));
  let provenTo: Cursor | undefined;
  const verdict = (isDoneContradicted: boolean) => ({ provenTo, isDoneContradicted });
  if (left.length === 0) return verdict(false);
  for await (const { hole, entries } of stream.read(partition, from, snapshot)) {
    // Aged out, the end of the range with it: whether it was the same is not told, and not needed.
    while (hole !== undefined && left.length > 0 && left[0]!.to <= hole.to) left.shift();
    for (const { after, value } of entries) {
      const range = left[0];
      if (range === undefined) return verdict(false);
      if (after < range.to) continue;
      if (after > range.to || hash16(value) !== range.hash) return verdict(true);
      provenTo = range.to;
      left.shift();
    }
  }
  return verdict(left.length > 0);
}
