/** When each key was last used: each ingest tells it among its metrics, since it started. */
import { messageOf } from '../../shared/errors.ts';

export interface LastUse {
  /** One of the ingests that were asked. */
  readonly url: string;
  /** Why it did not answer. */
  readonly problem?: string;
  /** Epoch milliseconds of its start. */
  readonly sinceMs?: number;
  /** Epoch milliseconds, by source and keyid; 0: not since its start. None: it does not have the key. */
  readonly usedAtMs: ReadonlyMap<string, number>;
}

const waitMs = 3_000;
const series = /^daybook_ingest_key_last_used_timestamp_seconds\{source="([a-z0-9-]+)",keyid="([0-9a-f]{16})"\} (\S+)$/;

/** `url`: of an admin listener. Never rejects. */
export async function askLastUse(url: string): Promise<LastUse> {
  try {
    const response = await fetch(new URL('/metrics', url), { signal: AbortSignal.timeout(waitMs), redirect: 'error' });
    const lines = (await response.text()).split('\n');
    const since = Number(/^process_start_time_seconds (\S+)$/m.exec(lines.join('\n'))?.[1]);
    if (!response.ok || Number.isNaN(since)) return { url, problem: 'this is not an ingest', usedAtMs: new Map() };
    const usedAtMs = lines.flatMap((line) => {
      const [, source, keyid, seconds] = series.exec(line) ?? [];
      return seconds === undefined ? [] : [[keyOf(source!, keyid!), Number(seconds) * 1000] as const];
    });
    return { url, sinceMs: since * 1000, usedAtMs: new Map(usedAtMs) };
  } catch (error) {
    const { cause } = error as Error;
    return { url, problem: messageOf(cause instanceof Error ? cause : error), usedAtMs: new Map() };
  }
}

export function keyOf(source: string, keyid: string): string {
  return `${source} ${keyid}`;
}
