/** Where the ledger stands in the stream: behind what was archived, or overtaken by what ages out, and what waits. */
import { dayMs } from '../../shared/clock.ts';
import type { StreamKeys } from '../../shared/crypto/stream-seal.ts';
import { counted, type Found, ok, problem, problemOf, warning } from '../../shared/doctor/finding.ts';
import { checkSeal, type Envelope, readEnvelope, type SealState } from '../../shared/envelope.ts';
import type { Cursor, EventStreamReader, StreamSnapshot } from '../../shared/stream/stream.ts';
import { without } from '../ledger/cursor-ranges.ts';
import { type Ledger, refuseLedgerBehind } from '../ledger/ledger.ts';
import { type ProvenPosition, provePositions } from '../stream/prove-position.ts';

/** A record waits until its day is closed, and no longer than to the night after. */
const longWaitMs = 2 * dayMs;

/** Reads the first batch of each partition that waits, and no more. */
export async function checkPosition(
  stream: EventStreamReader,
  ledger: Ledger,
  nowMs: number,
  streamKeys?: StreamKeys,
): Promise<Found[]> {
  const committed = await stream.committed();
  const snapshot = await stream.snapshot();
  try {
    await refuseLedgerBehind(stream, committed, ledger, snapshot.id);
  } catch (error) {
    return [problemOf(error)];
  }
  const found: Found[] = [];
  const isOther = ledger.stream !== undefined && ledger.stream.id !== snapshot.id;
  if (isOther) {
    const hint =
      'Nothing to do, if that is wanted; what the other one still holds is not read any more. Else mend DAYBOOK_STREAM.';
    const said = 'this is another stream than the one that the ledger stands in: it is read from its beginning';
    found.push(warning(said, hint));
  }
  const proven = await provePositions(stream, snapshot, isOther ? {} : (ledger.stream?.partitions ?? {}));
  const waiting: Waiting[] = [];
  for (const partition of snapshot.partitions.keys()) {
    const position = proven.get(partition);
    if (position !== undefined && position.from === undefined) {
      const hint = 'It is read from its beginning, and nothing is archived twice. Find out who did it.';
      const said = `partition ${partition} was made again, or put back to an older state, since the last night`;
      found.push(warning(said, hint, 'stream_recreated'));
    }
    const seen = await lookInto(stream, snapshot, partition, position, streamKeys);
    waiting.push(seen);
    if (seen.lost !== undefined) found.push(describeLoss(partition, seen.lost));
  }
  return [...found, ...describeSeals(waiting), ...describeWaiting(waiting, nowMs)];
}

interface Waiting {
  /** undefined where the service does not count them. */
  readonly records: bigint | undefined;
  readonly lost?: { readonly from: Cursor; readonly to: Cursor };
  /** When the first record that waits was received. */
  readonly sinceMs?: number;
  /** How its seal is, where keys are set. */
  readonly seal?: SealState;
}

async function lookInto(
  stream: EventStreamReader,
  snapshot: StreamSnapshot,
  partition: string,
  position: ProvenPosition | undefined,
  streamKeys: StreamKeys | undefined,
): Promise<Waiting> {
  const { start, end } = snapshot.partitions.get(partition)!;
  const { from, done = [] } = position ?? {};
  const ranges = start === undefined || end === undefined ? [] : [[maxOf(from, start), end] as const];
  const records =
    start === undefined || end === undefined
      ? undefined
      : without(ranges, done).reduce((sum, [a, b]) => sum + (b > a ? b - a : 0n), 0n);
  for await (const { hole, entries } of stream.read(partition, from, snapshot)) {
    const lost = hole === undefined ? undefined : without([[hole.from, hole.to]], done)[0];
    const first = entries.find(({ before, after }) => !done.some(([a, b]) => a <= before && after <= b));
    const envelope = first === undefined ? undefined : envelopeOf(first.value);
    if (lost === undefined && first === undefined) continue;
    return {
      records,
      ...(lost === undefined ? {} : { lost: { from: lost[0], to: lost[1] } }),
      ...(envelope === undefined ? {} : { sinceMs: Date.parse(envelope.header.receivedat) }),
      ...(envelope === undefined || streamKeys === undefined ? {} : { seal: checkSeal(envelope, streamKeys) }),
    };
  }
  return { records };
}

function describeLoss(partition: string, { from, to }: NonNullable<Waiting['lost']>): Found {
  const hint =
    "What Stripe still lists is recovered tonight; ask the other senders. Raise the stream's retention, and see why no night came in time.";
  const said = `partition ${partition}: what lay between ${from} and ${to} aged out before it was archived`;
  return problem(said, hint, 'stream_hole');
}

function describeWaiting(waiting: readonly Waiting[], nowMs: number): Found[] {
  const counts = waiting.map(({ records }) => records);
  const isCounted = counts.every((count) => count !== undefined);
  const total = counts.reduce<bigint>((sum, count) => sum + (count ?? 0n), 0n);
  const since = waiting.flatMap(({ sinceMs }) => sinceMs ?? []).sort((a, b) => a - b)[0];
  if (since === undefined) return [ok(total === 0n ? 'nothing waits in the stream' : waits(total, isCounted))];
  const said = `${waits(total, isCounted)}, the oldest since ${new Date(since).toISOString()}`;
  if (nowMs - since < longWaitMs) return [ok(said)];
  const hint = 'Nights do not come, or do not get through: see schedule, and what the log of the last night says.';
  return [warning(said, hint)];
}

function waits(total: bigint, isCounted: boolean): string {
  if (!isCounted) return 'records wait for their day to be closed';
  return `${counted(Number(total), 'record')} wait${total === 1n ? 's' : ''} for the day to be closed`;
}

/** By the first record of each partition: with a wrong key a night puts all of them into the quarantine. */
function describeSeals(waiting: readonly Waiting[]): Found[] {
  const code = 'records_quarantined';
  const next = 'the next night puts it into the quarantine';
  const seals = new Set(waiting.map(({ seal }) => seal));
  if (seals.has('unknown key') || seals.has('broken')) {
    const hint = 'Let the first key of DAYBOOK_STREAM_KEY of ingest be among those of the compactor before the night.';
    return [problem(`a record that waits is sealed by none of the keys of DAYBOOK_STREAM_KEY: ${next}`, hint, code)];
  }
  if (!seals.has('absent')) return [];
  const hint =
    'Where ingest has the key only since then: run --accept-unsealed-before. Else see who writes to the stream besides ingest.';
  return [warning(`a record that waits has no seal: ${next}`, hint, code)];
}

function envelopeOf(value: Uint8Array): Envelope | undefined {
  const envelope = readEnvelope(value);
  return 'reason' in envelope ? undefined : envelope;
}

function maxOf(one: Cursor | undefined, other: Cursor): Cursor {
  return one !== undefined && one > other ? one : other;
}
