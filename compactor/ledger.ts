/**
 * The ledger: all manifests, read in order. It is the only state of the compactor: what is archived, up to where the
 * stream is done, what is known of each day.
 */

import type { Day } from '../shared/clock.ts';
import type { VerifyingKeys } from '../shared/crypto/signing.ts';
import { DaybookError } from '../shared/errors.ts';
import { type ObjectStore, readWhole } from '../shared/store/store.ts';
import type { ListsKnown } from './list-days.ts';
import {
  type DayCounts,
  type DayEntry,
  type DeliveriesObject,
  type Hole,
  type Manifest,
  manifestKey,
  type Part,
  type StreamPosition,
  sha256Hex,
  type Verdict,
} from './manifest.ts';
import type { GenerationFailure } from './thin-events.ts';

/** All that the manifests so far say of one source's day. */
export interface DayState {
  readonly parts: readonly (Part & { readonly manifest: number })[];
  readonly lateDeliveries: readonly (DeliveriesObject & { readonly manifest: number })[];
  readonly verdict: Verdict;
  readonly listedAt: string | null;
  readonly accounts: readonly string[];
  readonly counts: DayCounts;
  readonly missing: readonly string[];
  readonly generationFailures: readonly GenerationFailure[];
}

export interface Ledger {
  /** The newest manifest; undefined while there is none. */
  readonly head: { readonly number: number; readonly sha256: string; readonly createdAt: string } | undefined;
  readonly stream: StreamPosition | undefined;
  readonly holes: readonly Hole[];
  readonly firstDays: Readonly<Record<string, Day>>;
  readonly lists: Readonly<Record<string, ListsKnown>>;
  readonly sources: ReadonlyMap<string, ReadonlyMap<Day, DayState>>;
}

const readAhead = 16;

/**
 * Reads and checks the whole chain. Throws `ledger_broken` at the first manifest that is missing, changed or out of its
 * place, `signer_unknown` where the key that signed is none of ours.
 */
export async function loadLedger(store: ObjectStore, prefix: string, keys: VerifyingKeys): Promise<Ledger> {
  const loading = startLedger();
  for await (const { number, bytes } of readManifests(store, prefix)) {
    addManifest(loading, checkManifest(number, bytes, loading.head, keys), sha256Hex(bytes));
  }
  return loading;
}

/** The manifests' bytes in order of their numbers, read some at a time. */
export async function* readManifests(
  store: ObjectStore,
  prefix: string,
): AsyncGenerator<{ number: number; key: string; bytes: Buffer }, void, void> {
  let expected = 1;
  let waiting: { number: number; key: string; bytes: Promise<Buffer> }[] = [];
  const settle = async function* () {
    const settled = await Promise.allSettled(waiting.map((one) => one.bytes));
    for (const [index, { number, key }] of waiting.entries()) {
      const result = settled[index]!;
      if (result.status === 'rejected') throw result.reason;
      yield { number, key, bytes: result.value };
    }
    waiting = [];
  };
  for await (const key of store.list(`${prefix}manifests/`)) {
    const number = expected;
    if (key !== manifestKey(prefix, number)) {
      throw new DaybookError('ledger_broken', { detail: `expected ${manifestKey(prefix, number)}, found ${key}` });
    }
    const bytes = readWhole(store, key);
    // Heard in `settle`, if it comes to that: the list may break off before, and that failure is the one to tell.
    bytes.catch(() => {});
    waiting.push({ number, key, bytes });
    expected += 1;
    if (waiting.length === readAhead) yield* settle();
  }
  yield* settle();
}

/** The manifest in an object's bytes, if signature, number and chain hold; else throws. */
export function checkManifest(number: number, bytes: Buffer, head: Ledger['head'], keys: VerifyingKeys): Manifest {
  const broken = (why: string) => new DaybookError('ledger_broken', { detail: `manifest ${number}: ${why}` });
  const end = bytes.indexOf(0x0a);
  const line = bytes.subarray(0, end);
  let manifest: Manifest;
  let signed: { key?: unknown; signature?: unknown };
  try {
    manifest = JSON.parse(line.toString());
    signed = JSON.parse(bytes.subarray(end + 1).toString());
  } catch {
    throw broken('is not two lines of JSON');
  }
  if (end < 0 || bytes.at(-1) !== 0x0a || bytes.indexOf(0x0a, end + 1) !== bytes.length - 1) {
    throw broken('is not two lines');
  }
  if (typeof signed.key !== 'string' || typeof signed.signature !== 'string') throw broken('line 2 is no signature');
  const verify = keys.get(signed.key);
  if (verify === undefined) {
    throw new DaybookError('signer_unknown', { detail: `manifest ${number} is signed by the key ${signed.key}` });
  }
  if (!verify(line, signed.signature)) throw broken('its signature does not hold');
  if (manifest.format !== 'daybook-manifest/1') throw broken(`has the format ${String(manifest.format)}`);
  if (manifest.number !== number) throw broken(`says that it is number ${manifest.number}`);
  const { previous } = manifest;
  if (previous?.number !== head?.number || previous?.sha256 !== head?.sha256) {
    throw broken('does not follow the manifest before it');
  }
  return manifest;
}

export interface LedgerInLoading extends Ledger {
  head: Ledger['head'];
  stream: Ledger['stream'];
  holes: Ledger['holes'];
  firstDays: Ledger['firstDays'];
  lists: Ledger['lists'];
  readonly sources: Map<string, Map<Day, DayState>>;
}

export function startLedger(): LedgerInLoading {
  return { head: undefined, stream: undefined, holes: [], firstDays: {}, lists: {}, sources: new Map() };
}

/** What the ledger says once this manifest is part of it. */
export function addManifest(ledger: LedgerInLoading, manifest: Manifest, sha256: string): void {
  const { number, createdAt } = manifest;
  ledger.head = { number, sha256, createdAt };
  ledger.stream = manifest.stream;
  ledger.holes = manifest.holes;
  ledger.firstDays = manifest.firstDays ?? {};
  // Manifests from before there was more than one list have none.
  ledger.lists = manifest.lists ?? {};
  for (const [source, days] of Object.entries(manifest.sources)) {
    const states = ledger.sources.get(source) ?? new Map<Day, DayState>();
    ledger.sources.set(source, states);
    for (const [day, entry] of Object.entries(days)) states.set(day, addEntry(states.get(day), entry, number));
  }
}

function addEntry(before: DayState | undefined, entry: DayEntry, manifest: number): DayState {
  const { parts, lateDeliveries, ...whole } = entry;
  return {
    ...whole,
    generationFailures: whole.generationFailures ?? [],
    parts: [...(before?.parts ?? []), ...parts.map((part) => ({ ...part, manifest }))],
    lateDeliveries: [...(before?.lateDeliveries ?? []), ...lateDeliveries.map((late) => ({ ...late, manifest }))],
  };
}
