/** The first half of `verify`: the manifests from the first on, their signatures and their chain, and their counts. */
import { addDays, type Day, dayOf, parseInstant } from '../../shared/clock.ts';
import { minPruneDays } from '../../shared/config.ts';
import type { VerifyingKeys } from '../../shared/crypto/signing.ts';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import { mapAhead } from '../../shared/parallel.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import { holdOn } from '../ledger/holds.ts';
import {
  addManifest,
  checkManifest,
  type DayState,
  type Ledger,
  type LedgerInLoading,
  listManifests,
  type NamedManifest,
  openManifest,
  readAhead,
  type SignedManifest,
  startLedger,
} from '../ledger/ledger.ts';
import { isOfNight, type Manifest, manifestKey, type QuarantineObject, readManifest } from '../ledger/manifest.ts';
import type { Breaks } from './breaks.ts';
import { type SaidBefore, wrongClaims, wrongGaps } from './check-claims.ts';

export interface Chain {
  /** What the manifests say, up to the first that cannot be trusted. */
  readonly ledger: Ledger;
  readonly quarantine: readonly (QuarantineObject & { readonly manifest: number })[];
  /** Other names in the folder of manifests. */
  readonly strays: readonly string[];
  /** Whether every manifest that is there was read. */
  readonly isWhole: boolean;
}

/** Stops at the first manifest that is missing, changed or signed by an unknown key: nothing after it can be trusted. */
export async function walkChain(
  store: ObjectStore,
  prefix: string,
  keys: VerifyingKeys,
  breaks: Breaks,
): Promise<Chain> {
  const ledger = startLedger();
  const quarantine: (QuarantineObject & { manifest: number })[] = [];
  const prunable = new Map<string, { source: string; day: Day }>();
  let newestNight: Manifest | undefined;
  const { keys: listed, strays } = await listManifests(store, prefix);
  const open = async ({ number, key }: NamedManifest) => openManifest(number, await readManifest(store, key), keys);
  const attempt = (named: NamedManifest) => open(named).catch((error: unknown) => ({ error }));
  for await (const { item, result } of mapAhead(numbered(listed), readAhead, attempt)) {
    const { number, key } = item;
    const expected = manifestKey(prefix, number);
    if (key !== expected) {
      breaks.add({ code: 'ledger_broken', manifest: number, key: expected, message: `is not there, but ${key} is` });
      return { ledger, quarantine, strays, isWhole: false };
    }
    try {
      if ('error' in result) throw result.error;
      const signed = checkManifest(number, result, ledger);
      const { manifest } = signed;
      const before = saidBefore(ledger, manifest);
      take(ledger, signed, result.sha256);
      if (isOfNight(manifest)) newestNight = manifest;
      quarantine.push(...manifest.quarantine.map((object) => ({ ...object, manifest: number })));
      for (const { message, source, day } of wrongClaims(manifest, result.bytes, before, prefix)) {
        const where = source === undefined || day === undefined ? undefined : { source, day };
        breaks.add({ code: 'claims_wrong', manifest: number, key, message }, where);
      }
      checkCounts(ledger, manifest, key, breaks);
      checkPruned(prunable, ledger.held, manifest, key, breaks);
    } catch (error) {
      const code = error instanceof DaybookError ? error.code : undefined;
      if (code === undefined || !isOfChain(code)) throw error;
      breaks.add({ code, manifest: number, key, message: messageOf(error) });
      return { ledger, quarantine, strays, isWhole: false };
    }
  }
  if (newestNight !== undefined) {
    const { number: manifest } = newestNight;
    for (const { message } of wrongGaps(newestNight, ledger)) {
      breaks.add({ code: 'claims_wrong', manifest, key: manifestKey(prefix, manifest), message });
    }
  }
  return { ledger, quarantine, strays, isWhole: true };
}

async function* numbered(keys: readonly string[]): AsyncGenerator<NamedManifest, void, void> {
  for (const [index, key] of keys.entries()) yield { number: index + 1, key };
}

function isOfChain(code: string): code is 'ledger_broken' | 'signer_unknown' | 'signer_retired' | 'object_missing' {
  return ['ledger_broken', 'signer_unknown', 'signer_retired', 'object_missing'].includes(code);
}

/** What a manifest's claims are held against: what was said before it, of the days that it speaks of. */
function saidBefore({ head, stream, holes, firstDays, sources }: Ledger, manifest: Manifest): SaidBefore {
  const states = new Map(
    Object.entries(manifest.sources ?? {}).map(([source, days]) => {
      const known = sources.get(source);
      return [source, new Map(Object.keys(days).flatMap((day) => (known?.has(day) ? [[day, known.get(day)!]] : [])))];
    }),
  );
  return { head, stream, holes, firstDays, states };
}

function take(ledger: LedgerInLoading, signed: SignedManifest, sha256: string): void {
  const { manifest } = signed;
  try {
    addManifest(ledger, signed, sha256);
  } catch (cause) {
    // Its signature holds, so its writer meant it.
    const detail = `manifest ${manifest.number} lacks what a manifest has`;
    throw new DaybookError('ledger_broken', { detail, cause });
  }
}

/** The counts are of the whole day as known at that manifest, so they are checked at every one. */
function checkCounts(ledger: Ledger, manifest: Manifest, key: string, breaks: Breaks): void {
  for (const [source, days] of Object.entries(manifest.sources)) {
    for (const day of Object.keys(days)) {
      for (const message of wrongCounts(ledger.sources.get(source)!.get(day)!)) {
        const found = { code: 'counts_wrong', manifest: manifest.number, key, message: `${source} ${day}: ${message}` };
        breaks.add(found as typeof found & { code: 'counts_wrong' }, { source, day });
      }
    }
  }
}

/**
 * Parts, deliveries and exceptions alone are pruned, not before they are so old that their day is settled, and not while their
 * day is held. `prunable`: by their keys, the days of those named so far.
 */
function checkPruned(
  prunable: Map<string, { readonly source: string; readonly day: Day }>,
  held: Ledger['held'],
  manifest: Manifest,
  key: string,
  breaks: Breaks,
): void {
  const madeAt = parseInstant(manifest.createdAt);
  // A time that is none is told among the claims.
  const youngest = madeAt === undefined ? '' : addDays(dayOf(madeAt), -minPruneDays);
  for (const pruned of manifest.pruned ?? []) {
    const found = prunable.get(pruned.key);
    const hold = found && holdOn(held.values(), found.source, found.day);
    if (found !== undefined && found.day < youngest && hold === undefined) continue;
    const why =
      found === undefined
        ? 'is not a part, deliveries or exceptions of a manifest before it'
        : hold !== undefined
          ? `the hold ${hold.name} of manifest ${hold.manifest} keeps`
          : `is of ${found.day}, not yet ${minPruneDays} days old`;
    const message = `prunes ${pruned.key}, which ${why}`;
    breaks.add({ code: 'prune_wrong', manifest: manifest.number, key, message });
  }
  for (const [source, days] of Object.entries(manifest.sources)) {
    for (const [day, { parts, lateDeliveries, exceptions }] of Object.entries(days)) {
      const place = { source, day };
      for (const part of parts) prunable.set(part.key, place);
      for (const { deliveries } of parts) if (deliveries !== null) prunable.set(deliveries.key, place);
      for (const late of lateDeliveries) prunable.set(late.key, place);
      if (exceptions != null) prunable.set(exceptions.key, place);
    }
  }
}

function* wrongCounts({ counts, parts, lateDeliveries }: DayState): Generator<string, void, void> {
  const { delivered, recovered, duplicates } = counts;
  const events = sum(parts.map((part) => part.events));
  if (delivered + recovered !== events) {
    yield `delivered ${delivered} and recovered ${recovered} are not the ${events} events of its parts`;
  }
  const lines = sum([...parts.map(({ deliveries }) => deliveries?.count ?? 0), ...lateDeliveries.map((l) => l.count)]);
  if (duplicates !== lines - delivered) {
    yield `duplicates ${duplicates} are not its ${lines} delivery lines less delivered ${delivered}`;
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
