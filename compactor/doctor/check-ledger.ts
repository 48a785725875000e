/** What the ledger says of the archive: is it whole, who signed it last, and which days need somebody to act? */
import { addDays, type Day, dayMs, dayOf } from '../../shared/clock.ts';
import { counted, type Found, ok, warning } from '../../shared/doctor/finding.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import { newestClosedDay } from '../day/closing.ts';
import { firstOf, uncoveredOf } from '../day/coverage.ts';
import { daysNearRetention } from '../day/retention.ts';
import type { DayState, Ledger } from '../ledger/ledger.ts';
import { manifestKey, readManifest } from '../ledger/manifest.ts';

/** A night on D+4 settles a day: one that is provisional for longer has no listing that succeeds. */
const settledByNight = 5;
const maxNamed = 5;

/** The key that signed the newest manifest, as its second line says; the ledger is checked already. */
export async function checkSigner(
  store: ObjectStore,
  prefix: string,
  { head }: Ledger,
  ownKeyId: string | undefined,
): Promise<Found[]> {
  if (head === undefined) return [ok('there is no manifest: nothing is archived yet')];
  const bytes = await readManifest(store, manifestKey(prefix, head.number));
  const { key } = JSON.parse(bytes.toString().split('\n')[1]!);
  const chain = `${counted(head.number, 'manifest')}, chained and signed, the newest of ${head.createdAt}`;
  if (key === ownKeyId || ownKeyId === undefined) return [ok(`${chain}, by ${key}`)];
  return [ok(`${chain}, by ${key}; the next will be signed by ${ownKeyId}`)];
}

export interface LedgerView {
  readonly nowMs: number;
  readonly lagSeconds: number;
  /** The sources that are configured, and whether their missed events can be asked for. */
  readonly sources: ReadonlyMap<string, { readonly isListed: boolean }>;
}

export function checkDays(ledger: Ledger, { nowMs, lagSeconds, sources }: LedgerView): Found[] {
  const today = dayOf(nowMs);
  const near = daysNearRetention(ledger.sources, today);
  const isNear = (source: string, day: Day) => near.some((one) => one.source === source && one.day === day);
  // A day that is closed for longer than from one night to the next.
  const expected = newestClosedDay(new Date(nowMs - dayMs - 2 * 3_600_000), lagSeconds);
  const isNightFresh = Date.parse(ledger.newestNight?.createdAt ?? '') > nowMs - dayMs - 2 * 3_600_000;
  const found: Found[] = [];
  for (const [source, days] of [...ledger.sources].sort()) {
    found.push(ok(`${source}: ${describeDays(days)}`));
    const stuck = daysOf(
      days,
      'provisional',
      (day) => day <= addDays(today, -settledByNight) && sources.get(source)?.isListed === true && !isNear(source, day),
    );
    if (stuck.length > 0) {
      const said = `${source}: ${named(stuck)} ${stuck.length === 1 ? 'is' : 'are'} provisional, and could be settled by now`;
      found.push(
        warning(said, 'Its listing fails: see the check of the source, and the errors that `run` tells (its log).'),
      );
    }
    const incomplete = daysOf(days, 'incomplete', (day) => !isNear(source, day));
    if (incomplete.length > 0) {
      const said = `${source}: events are known of ${named(incomplete)} that could not be had`;
      const hint = 'list --json has their ids under `missing`, and what Stripe never made under `generationFailures`.';
      found.push(warning(said, hint));
    }
    const unreconciled = daysOf(days, 'unreconciled', () => sources.get(source)?.isListed === true);
    if (unreconciled.length > 0) {
      const names = new Set(unreconciled.flatMap((day) => uncoveredOf(ledger, source, days.get(day)!)));
      const of = names.size === 0 ? '' : `: of ${firstOf([...names])}`;
      const said = `${source}: ${named(unreconciled)} ${unreconciled.length === 1 ? 'has' : 'have'} events that are not listed${of}`;
      found.push(
        warning(
          said,
          'Name the account in `accounts` of the source, or write "all"; list --json has all under `uncovered`.',
        ),
      );
    }
    const newest = [...days.keys()].sort().at(-1);
    if (isNightFresh && sources.has(source) && newest !== undefined && newest < expected) {
      const said = `${source}: ${addDays(newest, 1)} is the oldest day that is not archived, though nights run`;
      found.push(warning(said, 'The day fails: see the errors that `run` tells (its log).'));
    }
  }
  const told = near.slice(0, maxNamed).map(({ source, day, verdict, listedUntil }) => {
    const hint =
      verdict === 'incomplete'
        ? 'list --json has the ids under `missing`: ask Stripe for them while it has them.'
        : 'Mend what the check of the source says; each night asks again until then.';
    return warning(`${source}: ${day} is ${verdict}, and listed until ${listedUntil} alone`, hint, 'retention_near');
  });
  const more = near.length - told.length;
  if (more > 0) told.push(warning(`${more} more days are as near to it`, 'See `list`.', 'retention_near'));
  return [...found, ...told, ...checkHoles(ledger)];
}

function checkHoles({ holes }: Ledger): Found[] {
  if (holes.length === 0) return [];
  const last = holes
    .map(({ seenAt }) => seenAt)
    .sort()
    .at(-1);
  return [ok(`records aged out of the stream unread ${counted(holes.length, 'time')}, last seen at ${last}`)];
}

function daysOf(days: ReadonlyMap<Day, DayState>, verdict: DayState['verdict'], isMeant: (day: Day) => boolean): Day[] {
  return [...days]
    .filter(([day, state]) => state.verdict === verdict && isMeant(day))
    .map(([day]) => day)
    .sort();
}

function named(days: readonly Day[]): string {
  const shown = days.slice(0, maxNamed).join(', ');
  return days.length > maxNamed ? `${shown} and ${days.length - maxNamed} more days` : shown;
}

function describeDays(days: ReadonlyMap<Day, DayState>): string {
  const sorted = [...days.keys()].sort();
  const counts = new Map<string, number>();
  for (const { verdict } of days.values()) counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
  const verdicts = [...counts].map(([verdict, count]) => `${count} ${verdict}`).join(', ');
  return `${counted(days.size, 'day')}, ${sorted[0]} to ${sorted.at(-1)}: ${verdicts}`;
}
