/** What a run reports: what went wrong, what is to be looked at, and the days of its manifest. */
import { type Day, dayOf } from '../shared/clock.ts';
import { DaybookError, messageOf } from '../shared/errors.ts';
import type { RunResult } from './assemble-manifest.ts';
import type { ClosedSource } from './day/close-source.ts';
import { daysNearRetention } from './day/retention.ts';
import { without } from './ledger/cursor-ranges.ts';
import type { Ledger } from './ledger/ledger.ts';
import type { Manifest, Verdict } from './ledger/manifest.ts';
import type { Night, NightReport, Problem } from './night.ts';

/** All that is known before the manifest is written. What fails after it is added to `errors`. */
export function problemsOf(
  night: Night,
  ledger: Ledger,
  { reading, closed, quarantined }: RunResult,
): { errors: Problem[]; warnings: Problem[] } {
  const errors: Problem[] = [
    ...reading.recreated.map((partition) => problem('stream_recreated', `partition ${partition}`)),
    ...reading.holes.map(({ partition, from, to }) =>
      problem('stream_hole', `partition ${partition}, ${from} to ${to}`),
    ),
    ...closed.flatMap((source) => source.errors),
    ...failureOf(quarantined),
  ];
  const warnings: Problem[] = [
    ...leftBehind(ledger.stream, reading.id).map((where) => problem('stream_changed', where)),
    ...closed.flatMap((source) => source.warnings),
    ...quarantined.objects.map(({ key, records }) => problem('records_quarantined', `${records} in ${key}`)),
    ...retentionWarnings(ledger, closed, dayOf(night.clock.now())),
  ];
  return { errors, warnings };
}

/** The stream before this one: nobody reads on in it, and what it had that waited for its day will not come. */
function leftBehind(before: Ledger['stream'], id: string): string[] {
  if (before === undefined || before.id === id) return [];
  const waited = Object.entries(before.partitions).flatMap(([partition, { next, done, tip }]) => {
    if (tip === undefined) return [];
    const ranges = done.map(([from, to]) => [BigInt(from), BigInt(to)] as const);
    const left = without([[BigInt(next), BigInt(tip.at)]], ranges);
    return left.length === 0
      ? []
      : [`partition ${partition} of ${before.id}: read up to ${tip.at}, archived up to ${next}`];
  });
  if (waited.length > 0) return waited;
  return [`it was ${before.id}, and is ${id}: what came to the former after that night is not read`];
}

export function reportOf(manifest: Manifest, errors: readonly Problem[], warnings: readonly Problem[]): NightReport {
  const days = Object.entries(manifest.sources).flatMap(([source, entries]) =>
    Object.entries(entries).map(([day, { verdict, counts, parts }]) => ({
      source,
      day,
      verdict,
      counts,
      parts: parts.map(({ key }) => key),
    })),
  );
  return { manifest: manifest.number, days, errors, warnings };
}

export function failureOf({ failure }: { readonly failure?: unknown }): Problem[] {
  if (failure === undefined) return [];
  return [problem(failure instanceof DaybookError ? failure.code : 'day_failed', messageOf(failure))];
}

function problem(code: Problem['code'], message: string): Problem {
  return { code, source: null, day: null, message };
}

/** Of the days as they are once this run's entries are archived. */
function retentionWarnings(ledger: Ledger, closed: readonly ClosedSource[], today: Day): Problem[] {
  const sources = new Map<string, ReadonlyMap<Day, { readonly verdict: Verdict }>>(ledger.sources);
  for (const { name, entries } of closed) sources.set(name, new Map([...(sources.get(name) ?? []), ...entries]));
  return daysNearRetention(sources, today).map(({ source, day, verdict, listedUntil }) => ({
    code: 'retention_near',
    source,
    day,
    message: `${verdict}; Stripe lists it whole until the end of ${listedUntil}`,
  }));
}
