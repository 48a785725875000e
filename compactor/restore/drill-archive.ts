/**
 * A drill: is what is archived there, and does it come back? With a private key the newest day and one at random are
 * verified and restored as in an emergency, into nothing; without one every hash and the whole chain are checked.
 */
import type { Day } from '../../shared/clock.ts';
import type { Identities } from '../../shared/crypto/identities.ts';
import type { VerifyingKeys } from '../../shared/crypto/signing.ts';
import type { ErrorCode } from '../../shared/errors.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import { headOf, type Ledger, loadLedger } from '../ledger/ledger.ts';
import { openSortBudget } from '../staging/external-sort.ts';
import { verifyArchive } from '../verify/verify-archive.ts';
import { restoreArchive } from './restore-archive.ts';
import { countLines, selectParts } from './restore-selection.ts';

export interface Drill {
  readonly store: ObjectStore;
  /** '' or folders that end in a slash. */
  readonly prefix: string;
  readonly verifyingKeys: VerifyingKeys;
  /** Undefined: nothing is opened. */
  readonly identities: Identities | undefined;
  /** From 0 to below 1. */
  random(): number;
  /** An empty folder for sorting ids, removed by the caller. */
  readonly temporaryDirectory: string;
  progress(step: string, count: number, total?: number): void;
}

export interface DrillFailure {
  readonly code: ErrorCode;
  readonly key: string;
  readonly message: string;
}

/** `drill --json`. */
export interface DrillReport {
  readonly ok: boolean;
  readonly head: { readonly number: number; readonly sha256: string } | null;
  /** Those that were restored; empty where nothing was opened, and where no day has events. */
  readonly days: readonly Day[];
  /** Whose bytes were read and compared. */
  readonly objects: number;
  /** Lines that came back, and their bytes. */
  readonly restored: { readonly events: number; readonly bytes: number };
  /** The first ones, at most 100. */
  readonly failures: readonly DrillFailure[];
}

const sortBytes = 16 * 1024 * 1024;
const maxFailures = 100;

/** Rejects where the store fails or the ledger does not load, and with `sealed_unreadable` where the key is a wrong one. */
export async function drillArchive(drill: Drill): Promise<DrillReport> {
  const { store, prefix, verifyingKeys, identities, temporaryDirectory, progress } = drill;
  const ledger = await loadLedger(store, prefix, verifyingKeys);
  const days = identities === undefined ? [] : daysOfDrill(ledger, drill.random);
  const only = days.length === 0 ? undefined : { sources: [], days };
  const shared = { store, prefix, verifyingKeys, identities, temporaryDirectory, progress };
  const { breaks, objects } = await verifyArchive({ ...shared, only });
  const failures: DrillFailure[] = breaks.map(({ code, key, message }) => ({ code, key, message }));

  const restored = { events: 0, bytes: 0 };
  if (identities !== undefined && days.length > 0) {
    const selection = { sources: [], days, types: [], ids: [], objects: [], except: [] };
    const budget = openSortBudget({ directory: temporaryDirectory, maxBytes: sortBytes });
    const output = {
      async write(lines: Buffer) {
        restored.events += countLines(lines);
        restored.bytes += lines.length;
      },
    };
    const report = await restoreArchive({ store, ledger, selection, identities, output, budget, progress });
    // What verify has named is not told twice.
    const named = new Set(failures.map(({ key }) => key));
    const others = report.failures.filter(({ key }) => !named.has(key));
    failures.push(...others.map(({ code, key, message }) => ({ code, key, message })));
    const expected = selectParts(ledger, selection).parts.reduce((sum, { events }) => sum + events, 0);
    if (failures.length === 0 && restored.events !== expected) {
      const message = `${restored.events} events came back instead of ${expected}`;
      failures.push({ code: 'content_wrong', key: days.join(' '), message });
    }
  }
  const head = headOf(ledger);
  return { ok: failures.length === 0, head, days, objects, restored, failures: failures.slice(0, maxFailures) };
}

/** The newest day that has events, and one of the others at random; of pruned ones nothing can come back. */
export function daysOfDrill({ sources, pruned }: Ledger, random: () => number): Day[] {
  const days = new Set<Day>();
  for (const states of sources.values()) {
    for (const [day, { parts }] of states) if (parts.some(({ key }) => !pruned.has(key))) days.add(day);
  }
  const [newest, ...others] = [...days].sort().reverse();
  const other = others[Math.floor(random() * others.length)];
  return [newest, other].filter((day) => day !== undefined).sort();
}
