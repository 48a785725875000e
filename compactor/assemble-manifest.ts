/** What a run has to say, as the manifest that says it. */
import type { ClosedSource } from './day/close-source.ts';
import type { CursorRange } from './ledger/cursor-ranges.ts';
import type { Ledger } from './ledger/ledger.ts';
import type { Manifest } from './ledger/manifest.ts';
import { timeAfter } from './ledger/prove-time.ts';
import type { Night } from './night.ts';
import type { SealedQuarantine } from './stream/quarantine.ts';
import { positionAfter, type StreamReading } from './stream/reading.ts';

/** What a run has: read, closed and put aside. */
export interface RunResult {
  readonly reading: StreamReading;
  readonly closed: readonly ClosedSource[];
  readonly quarantined: SealedQuarantine;
}

/** Undefined where there is nothing to say: moved positions alone are no reason for a manifest. */
export async function assembleManifest(
  night: Night,
  ledger: Ledger,
  { reading, closed, quarantined }: RunResult,
): Promise<Manifest | undefined> {
  const sources = Object.fromEntries(
    closed.filter(({ entries }) => entries.size > 0).map(({ name, entries }) => [name, Object.fromEntries(entries)]),
  );
  const isSilent = quarantined.objects.length === 0 && reading.holes.length === 0;
  if (Object.keys(sources).length === 0 && isSilent) return undefined;
  return {
    format: 'daybook-manifest/1',
    number: (ledger.head?.number ?? 0) + 1,
    previous: ledger.head === undefined ? null : { number: ledger.head.number, sha256: ledger.head.sha256 },
    createdAt: timeAfter(ledger.head, night.clock.now()),
    stream: await positionAfter(night.stream, reading, ledger.stream, pendingOf([...closed, quarantined])),
    holes: [...ledger.holes, ...reading.holes],
    quarantine: quarantined.objects,
    firstDays: {
      ...ledger.firstDays,
      ...Object.fromEntries(closed.flatMap(({ name, firstDay }) => (firstDay === undefined ? [] : [[name, firstDay]]))),
    },
    lists: { ...ledger.lists, ...Object.fromEntries(closed.map(({ name, lists }) => [name, lists])) },
    asked: Object.fromEntries(closed.flatMap(({ name, asked }) => (asked === undefined ? [] : [[name, asked]]))),
    ...(reading.recreated.length === 0 ? {} : { restarted: reading.recreated }),
    ...failedOf(closed),
    ...(night.days === undefined ? {} : { onlyDays: [...night.days].sort() }),
    ...(night.acceptRestored === true ? { acceptedRestored: true } : {}),
    sources,
  };
}

function failedOf(closed: readonly ClosedSource[]): Pick<Manifest, 'failed'> {
  const failed = closed.filter((source) => source.failed === null || source.failed.length > 0);
  return failed.length === 0 ? {} : { failed: Object.fromEntries(failed.map(({ name, failed }) => [name, failed])) };
}

function pendingOf(closed: readonly Pick<ClosedSource, 'pending'>[]): Map<string, CursorRange[]> {
  const all = new Map<string, CursorRange[]>();
  for (const { pending } of closed) {
    for (const [partition, ranges] of pending) all.set(partition, (all.get(partition) ?? []).concat(ranges));
  }
  return all;
}
