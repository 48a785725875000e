/** How many records of the stream lie above what is archived: asked now and then, since opening a stream is not cheap. */
import type { Clock } from '../../shared/clock.ts';
import { withTimeLimit } from '../../shared/program/time-limit.ts';
import type { EventStreamReader } from '../../shared/stream/stream.ts';
import type { StreamPosition } from '../ledger/manifest.ts';
import { streamTrouble } from './find-in-stream.ts';
import type { StreamNow } from './now-shapes.ts';

const freshMs = 30_000;
const limitMs = 5_000;

export interface StreamLagOptions {
  readonly type: string;
  openStream(): Promise<EventStreamReader>;
  readonly clock: Clock;
}

/** Does not reject: `trouble` says what is wrong. */
export function openStreamLag({
  type,
  openStream,
  clock,
}: StreamLagOptions): (ledger: StreamPosition | undefined) => Promise<StreamNow> {
  let answer: { readonly atMs: number; readonly now: Promise<StreamNow> } | undefined;

  async function ask(ledger: StreamPosition | undefined): Promise<StreamNow> {
    const at = clock.now().toISOString();
    try {
      return { type, lag: await withTimeLimit(limitMs, lagOf(openStream, ledger)), at, trouble: null };
    } catch (error) {
      return { type, lag: null, at, trouble: streamTrouble(error) };
    }
  }

  return (ledger) => {
    const nowMs = performance.now();
    if (answer === undefined || nowMs - answer.atMs > freshMs) answer = { atMs: nowMs, now: ask(ledger) };
    return answer.now;
  };
}

/** Null where the stream does not tell where it begins and ends. Offsets with gaps count too much. */
async function lagOf(
  openStream: StreamLagOptions['openStream'],
  ledger: StreamPosition | undefined,
): Promise<number | null> {
  const stream = await openStream();
  try {
    const { id, partitions } = await stream.snapshot();
    const known = ledger?.id === id ? ledger.partitions : {};
    let lag = 0n;
    for (const [partition, { start, end }] of partitions) {
      if (start === undefined || end === undefined) return null;
      const position = known[partition];
      const next = BigInt(position?.next ?? start);
      const from = next > start ? next : start;
      if (end > from) lag += end - from;
      for (const [first, to] of position?.done ?? []) lag -= BigInt(to) - BigInt(first);
    }
    return Number(lag > 0n ? lag : 0n);
  } finally {
    await stream.close();
  }
}
