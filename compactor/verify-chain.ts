/** The first half of `verify`: the manifests from the first on, their signatures and their chain, and their counts. */

import type { VerifyingKeys } from '../shared/crypto/signing.ts';
import { DaybookError, messageOf } from '../shared/errors.ts';
import { type ObjectStore, readWhole } from '../shared/store/store.ts';
import type { Breaks } from './breaks.ts';
import { addManifest, checkManifest, type DayState, type Ledger, type LedgerInLoading, startLedger } from './ledger.ts';
import { type Manifest, manifestKey, type QuarantineObject, sha256Hex } from './manifest.ts';

export interface Chain {
  /** What the manifests say, up to the first that cannot be trusted. */
  readonly ledger: Ledger;
  readonly quarantine: readonly (QuarantineObject & { readonly manifest: number })[];
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
  for await (const key of store.list(`${prefix}manifests/`)) {
    const number = (ledger.head?.number ?? 0) + 1;
    const expected = manifestKey(prefix, number);
    if (!/^\d{8}\.jsonl$/.test(key.slice(`${prefix}manifests/`.length))) {
      breaks.add({
        code: 'ledger_broken',
        manifest: number,
        key,
        message: 'is no manifest, and none other belongs here',
      });
      continue;
    }
    if (key !== expected) {
      breaks.add({ code: 'ledger_broken', manifest: number, key: expected, message: `is not there, but ${key} is` });
      return { ledger, quarantine, isWhole: false };
    }
    try {
      const bytes = await readWhole(store, key);
      const manifest = checkManifest(number, bytes, ledger.head, keys);
      take(ledger, manifest, sha256Hex(bytes));
      quarantine.push(...manifest.quarantine.map((object) => ({ ...object, manifest: number })));
      checkCounts(ledger, manifest, key, breaks);
    } catch (error) {
      const code = error instanceof DaybookError ? error.code : undefined;
      if (code !== 'ledger_broken' && code !== 'signer_unknown' && code !== 'object_missing') throw error;
      breaks.add({ code, manifest: number, key, message: messageOf(error) });
      return { ledger, quarantine, isWhole: false };
    }
  }
  return { ledger, quarantine, isWhole: true };
}

function take(ledger: LedgerInLoading, manifest: Manifest, sha256: string): void {
  try {
    addManifest(ledger, manifest, sha256);
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
