/**
 * The ledger: all manifests, read in order. It is the only state of the compactor: what is archived, up to where the
 * stream is done, what is known of each day.
 */

import type { Day } from '../../shared/clock.ts';
import type { VerifyingKey, VerifyingKeys } from '../../shared/crypto/signing.ts';
import { DaybookError } from '../../shared/errors.ts';
import { mapAhead } from '../../shared/parallel.ts';
import type { AskedScope, Mode } from '../../shared/schemes/stripe-scope.ts';
import type { GenerationFailure } from '../../shared/schemes/stripe-thin-events.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import type { Cursor, EventStreamReader } from '../../shared/stream/stream.ts';
import type { Hold } from './holds.ts';
import {
  anchorsFolder,
  type DayCounts,
  type DayEntry,
  type DeliveriesObject,
  type ExceptionsObject,
  type Hole,
  isOfNight,
  type ListsKnown,
  type Manifest,
  manifestKey,
  type Part,
  type QuarantineObject,
  readManifest,
  type StreamPosition,
  sha256Hex,
  signedBytes,
  type Verdict,
} from './manifest.ts';

/** All that the manifests so far say of one source's day. */
export interface DayState {
  readonly parts: readonly (Part & { readonly manifest: number })[];
  readonly lateDeliveries: readonly (DeliveriesObject & { readonly manifest: number })[];
  /** Each with the manifest that names it and what that says is missing. */
  readonly exceptions: readonly (ExceptionsObject & {
    readonly manifest: number;
    readonly lacking: readonly string[];
  })[];
  readonly verdict: Verdict;
  readonly listedAt: string | null;
  readonly accounts: readonly string[];
  readonly ownAccount?: boolean;
  readonly modes?: readonly Mode[];
  readonly counts: DayCounts;
  readonly missing: readonly string[];
  readonly undelivered?: readonly string[] | null;
  readonly generationFailures: readonly GenerationFailure[];
  /** When the first manifest that has an entry of the day was made. */
  readonly archivedAt: string;
  /** The newest that has one. */
  readonly manifest: NumberedManifest;
}

export interface NumberedManifest {
  readonly number: number;
  /** Of the whole object, in hex. */
  readonly sha256: string;
  readonly createdAt: string;
  /** As its manifest has it. */
  readonly signed?: 'sha256';
}

/** What a manifest says of an object before it is deleted. */
export interface Pruned {
  readonly manifest: number;
  readonly rule: string;
}

export interface Ledger {
  /** The newest manifest; undefined while there is none. */
  readonly head: NumberedManifest | undefined;
  /** Of all manifests, in their order: SHA-256 of the whole object, in hex. */
  readonly hashes: readonly string[];
  /** The key that signed it. */
  readonly signer: string | undefined;
  /** Keys that signed before another one did: they sign no more. */
  readonly retiredSigners: ReadonlySet<string>;
  /** The newest that a night wrote. */
  readonly newestNight: NumberedManifest | undefined;
  readonly stream: StreamPosition | undefined;
  readonly holes: readonly Hole[];
  readonly firstDays: Readonly<Record<string, Day>>;
  readonly lists: Readonly<Record<string, ListsKnown>>;
  /** Per source what could be asked for, as the newest manifest with a word on it says. */
  readonly asked: Readonly<Record<string, AskedScope | null>>;
  readonly sources: ReadonlyMap<string, ReadonlyMap<Day, DayState>>;
  /** By their keys, the objects of the quarantine. */
  readonly quarantine: ReadonlyMap<string, QuarantineObject>;
  /** By their keys, the objects that are pruned: gone, or about to be. */
  readonly pruned: ReadonlyMap<string, Pruned>;
  /** By their names, the legal holds in force. */
  readonly held: ReadonlyMap<string, Hold & { readonly manifest: number }>;
}

/** Manifests that are read at once. */
export const readAhead = 16;

/**
 * Reads and checks the whole chain. Throws `ledger_broken` at the first manifest that is missing, changed or out of its
 * place, `signer_unknown` where the key that signed is none of ours.
 *
 * Each manifest has the hash of the one before it, line 2 and all, so the signature of the newest vouches for every one, and until
 * it is reached nothing that was read goes further. Where it is not, whatever the error, each is asked for its own, so that the
 * first that is wrong is named. `verify` always asks for all.
 */
export async function loadLedger(store: ObjectStore, prefix: string, keys: VerifyingKeys): Promise<LedgerInLoading> {
  return readLedger(openManifests(store, prefix, keys, 'newest')).catch((error: unknown) => {
    if (error instanceof DaybookError && error.retry) throw error;
    return readLedger(openManifests(store, prefix, keys));
  });
}

async function readLedger(manifests: ReturnType<typeof openManifests>): Promise<LedgerInLoading> {
  const loading = startLedger();
  for await (const { number, opened } of manifests) {
    addManifest(loading, checkManifest(number, opened, loading), opened.sha256);
  }
  return loading;
}

/**
 * The manifests in order of their numbers, read and opened some ahead. Throws as loadLedger, but for their places in the chain.
 * `newest`: of the signatures that one is asked alone, which says nothing to who does not check the chain.
 */
export async function* openManifests(
  store: ObjectStore,
  prefix: string,
  keys: VerifyingKeys,
  signatures: 'all' | 'newest' = 'all',
): AsyncGenerator<NamedManifest & { readonly opened: OpenedManifest }, void, void> {
  const open = async ({ number, key, isNewest }: NamedManifest & { readonly isNewest: boolean }) =>
    openManifest(number, await readManifest(store, key), keys, signatures === 'newest' && !isNewest);
  for await (const { item, result } of mapAhead(manifestKeys(store, prefix), readAhead, open)) {
    yield { ...item, opened: result };
  }
}

export interface NamedManifest {
  readonly number: number;
  readonly key: string;
}

/** Those that are there, in order of their numbers. Throws `ledger_broken` where one is missing. */
export async function* manifestKeys(
  store: ObjectStore,
  prefix: string,
): AsyncGenerator<NamedManifest & { readonly isNewest: boolean }, void, void> {
  const { keys } = await listManifests(store, prefix);
  for (const [index, key] of keys.entries()) {
    const number = index + 1;
    if (key !== manifestKey(prefix, number)) {
      throw new DaybookError('ledger_broken', { detail: `expected ${manifestKey(prefix, number)}, found ${key}` });
    }
    yield { number, key, isNewest: number === keys.length };
  }
}

const maxStrays = 100;

/**
 * The keys of the manifests in the order of their numbers, and other names in their folder: what a file manager, a
 * synchronisation or a console leaves there is nobody's manifest. Not every store lists in the order of keys.
 */
export async function listManifests(store: ObjectStore, prefix: string): Promise<{ keys: string[]; strays: string[] }> {
  const folder = `${prefix}manifests/`;
  const keys: string[] = [];
  const strays: string[] = [];
  for await (const key of store.list(folder)) {
    if (/^\d{8}\.jsonl$/.test(key.slice(folder.length))) keys.push(key);
    else if (strays.length < maxStrays) strays.push(key);
  }
  return { keys: keys.sort(), strays };
}

export interface SignedManifest {
  readonly manifest: Manifest;
  /** The id of the key that signed it. */
  readonly signer: string;
}

/** A manifest whose signature holds. Whether it is in its place is another question. */
export interface OpenedManifest extends SignedManifest {
  readonly bytes: Buffer;
  /** Of the bytes, in hex. */
  readonly sha256: string;
  readonly key: VerifyingKey;
}

function brokenOf(number: number, why: string): DaybookError {
  return new DaybookError('ledger_broken', { detail: `manifest ${number}: ${why}` });
}

/**
 * The manifest in an object's bytes. Rejects with `ledger_broken`, `signer_unknown` where it is not signed by one of the keys.
 * `isVouchedFor`: by another one, so that its own signature is not asked.
 */
export async function openManifest(
  number: number,
  bytes: Buffer,
  keys: VerifyingKeys,
  isVouchedFor = false,
): Promise<OpenedManifest> {
  const broken = (why: string) => brokenOf(number, why);
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
  if (typeof signed.key !== 'string' || typeof signed.signature !== 'string') throw broken('line 2 is not a signature');
  // Nothing but these two members in this form: no byte of it is unsigned and free to say something else.
  const lineTwo = JSON.stringify({ key: signed.key, signature: signed.signature });
  if (bytes.toString('utf8', end + 1) !== `${lineTwo}\n`) throw broken('line 2 has more than a key and a signature');
  const known = keys.get(signed.key);
  if (known === undefined) {
    throw new DaybookError('signer_unknown', { detail: `manifest ${number} is signed by the key ${signed.key}` });
  }
  const { beside } = known.verify;
  if (!isVouchedFor && !(await beside(signedBytes(line, Object(manifest)), signed.signature))) {
    throw broken('its signature does not hold');
  }
  return { manifest, signer: signed.key, bytes, sha256: sha256Hex(bytes), key: known };
}

/** The manifest, if its signer, its number and the chain hold; else throws. */
export function checkManifest(
  number: number,
  { manifest, signer: keyId, key }: OpenedManifest,
  { head, signer, retiredSigners }: Pick<Ledger, 'head' | 'signer' | 'retiredSigners'>,
): SignedManifest {
  const broken = (why: string) => brokenOf(number, why);
  refuseRetired(number, keyId, key, signer, retiredSigners);
  if (manifest.format !== 'daybook-manifest/1') throw broken(`has the format ${String(manifest.format)}`);
  if (manifest.number !== number) throw broken(`says that it is number ${manifest.number}`);
  const { previous } = manifest;
  if (previous?.number !== head?.number || previous?.sha256 !== head?.sha256) {
    throw broken('does not follow the manifest before it');
  }
  return { manifest, signer: keyId };
}

/** Throws `signer_retired` where the key may not sign this manifest. */
export function refuseRetired(
  number: number,
  keyId: string,
  { from = 1, until = Number.POSITIVE_INFINITY }: Pick<VerifyingKey, 'from' | 'until'>,
  signer: string | undefined,
  retired: ReadonlySet<string>,
): void {
  const isOutside = number < from || number > until;
  if (!isOutside && (keyId === signer || !retired.has(keyId))) return;
  const why = isOutside ? `may sign ${from} to ${until}` : `signed before ${signer} did, and signs no more`;
  throw new DaybookError('signer_retired', { detail: `manifest ${number}: the key ${keyId} ${why}` });
}

/**
 * A ledger that knows less than the stream's committed positions is not the ledger that was written. The positions are to be
 * read before the ledger is loaded. One that has moved since says nothing: another run found that its partition was made again
 * and took it back, before the ledger did. @throws DaybookError `ledger_behind`
 */
export async function refuseLedgerBehind(
  stream: Pick<EventStreamReader, 'committed'>,
  committed: ReadonlyMap<string, Cursor>,
  ledger: Ledger,
  streamId: string,
): Promise<void> {
  if (ledger.stream !== undefined && ledger.stream.id !== streamId) return;
  const nextOf = (partition: string) => BigInt(ledger.stream?.partitions[partition]?.next ?? 0);
  const ahead = [...committed].filter(([partition, cursor]) => cursor > nextOf(partition));
  const now = ahead.length === 0 ? committed : await stream.committed();
  for (const [partition, cursor] of ahead) {
    if (now.get(partition) !== cursor) continue;
    const detail = `partition ${partition}: archived up to ${cursor} by its committed position, ${nextOf(partition)} by the ledger`;
    throw new DaybookError('ledger_behind', { detail });
  }
}

/**
 * An anchor is made after its manifest: one whose manifest is not there says that the end of the chain was cut off. Names
 * alone are looked at, and no signature. @throws DaybookError `ledger_behind`
 */
export async function refuseCutOff(store: ObjectStore, prefix: string): Promise<void> {
  const folder = `${prefix}${anchorsFolder}`;
  let newest: string | undefined;
  // Not every store lists in the order of keys; the tiles of the witnesses lie among them.
  for await (const key of store.list(folder)) {
    const name = key.slice(folder.length);
    if (/^\d{8}(\.tsr|-\w+\.checkpoint)$/.test(name) && (newest === undefined || name > newest)) newest = name;
  }
  if (newest === undefined) return;
  const key = manifestKey(prefix, Number(newest.slice(0, 8)));
  if ((await store.head(key)) !== undefined) return;
  throw new DaybookError('ledger_behind', { detail: `${key} is not there, and was witnessed: ${folder}${newest}` });
}

/** The objects of a day that age: parts, deliveries and exceptions. */
export function prunableOf({ parts, lateDeliveries, exceptions }: DayState): readonly { readonly key: string }[] {
  return [...parts, ...parts.flatMap(({ deliveries }) => deliveries ?? []), ...lateDeliveries, ...exceptions];
}

/** What names the newest manifest to somebody else. */
export function headOf({ head }: Ledger): { number: number; sha256: string } | null {
  return head === undefined ? null : { number: head.number, sha256: head.sha256 };
}

export interface LedgerInLoading extends Ledger {
  head: Ledger['head'];
  readonly hashes: string[];
  signer: Ledger['signer'];
  readonly retiredSigners: Set<string>;
  stream: Ledger['stream'];
  holes: Ledger['holes'];
  firstDays: Ledger['firstDays'];
  lists: Ledger['lists'];
  asked: Ledger['asked'];
  newestNight: Ledger['newestNight'];
  readonly sources: Map<string, Map<Day, DayState>>;
  readonly quarantine: Map<string, QuarantineObject>;
  readonly pruned: Map<string, Pruned>;
  readonly held: Map<string, Hold & { readonly manifest: number }>;
}

export function startLedger(): LedgerInLoading {
  return {
    head: undefined,
    hashes: [],
    signer: undefined,
    retiredSigners: new Set(),
    newestNight: undefined,
    stream: undefined,
    holes: [],
    firstDays: {},
    lists: {},
    asked: {},
    sources: new Map(),
    quarantine: new Map(),
    pruned: new Map(),
    held: new Map(),
  };
}

/** What the ledger says once this manifest is part of it. */
export function addManifest(ledger: LedgerInLoading, { manifest, signer }: SignedManifest, sha256: string): void {
  if (ledger.signer !== undefined && ledger.signer !== signer) ledger.retiredSigners.add(ledger.signer);
  ledger.signer = signer;
  const { number, createdAt, signed } = manifest;
  const head: NumberedManifest = { number, sha256, createdAt, ...(signed !== undefined && { signed }) };
  ledger.head = head;
  ledger.hashes.push(sha256);
  if (isOfNight(manifest)) ledger.newestNight = head;
  ledger.stream = manifest.stream;
  ledger.holes = manifest.holes;
  ledger.firstDays = manifest.firstDays ?? {};
  // Manifests from before there was more than one list have none.
  ledger.lists = manifest.lists ?? {};
  ledger.asked = { ...ledger.asked, ...manifest.asked };
  for (const [source, days] of Object.entries(manifest.sources)) {
    const states = ledger.sources.get(source) ?? new Map<Day, DayState>();
    ledger.sources.set(source, states);
    for (const [day, entry] of Object.entries(days)) states.set(day, addEntry(states.get(day), entry, head));
  }
  for (const object of manifest.quarantine) ledger.quarantine.set(object.key, object);
  for (const { key, rule } of manifest.pruned ?? []) ledger.pruned.set(key, { manifest: number, rule });
  for (const name of manifest.released ?? []) ledger.held.delete(name);
  for (const hold of manifest.holds ?? []) ledger.held.set(hold.name, { ...hold, manifest: number });
}

function addEntry(before: DayState | undefined, entry: DayEntry, said: NumberedManifest): DayState {
  const { parts, lateDeliveries, exceptions, ...whole } = entry;
  const { number: manifest, createdAt } = said;
  return {
    ...whole,
    archivedAt: before?.archivedAt ?? createdAt,
    manifest: said,
    generationFailures: whole.generationFailures ?? [],
    parts: [...(before?.parts ?? []), ...parts.map((part) => ({ ...part, manifest }))],
    lateDeliveries: [...(before?.lateDeliveries ?? []), ...lateDeliveries.map((late) => ({ ...late, manifest }))],
    exceptions: [
      ...(before?.exceptions ?? []),
      ...(exceptions == null ? [] : [{ ...exceptions, manifest, lacking: whole.missing }]),
    ],
  };
}
