import type { Clock } from '../../../ingest/client/client.ts';

export interface ManualClock extends Clock {
  /** Runs what falls due on the way, in its order, and lets all that follows from each happen before the next. */
  advance(ms: number): Promise<void>;
  /** Timers that are set. */
  pending(): number;
}

export function manualClock(startMs = Date.parse('2026-11-20T12:00:00Z')): ManualClock {
  const timers = new Set<{ readonly atMs: number; readonly run: () => void }>();
  let nowMs = startMs;
  return {
    now: () => nowMs,
    after(delayMs, run) {
      const timer = { atMs: nowMs + delayMs, run };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    async advance(ms) {
      const endMs = nowMs + ms;
      await settled();
      for (;;) {
        const [next] = [...timers].filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs);
        if (next === undefined) break;
        timers.delete(next);
        nowMs = next.atMs;
        next.run();
        await settled();
      }
      nowMs = endMs;
    },
    pending: () => timers.size,
  };
}

/** All promises that can go on have done so. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}
