/**
 * The manifest: what one run archived, said once and for ever (FORMAT.md, Manifests).
 *
 * An object `<prefix>manifests/<n, eight digits>.jsonl` of two lines, each ended by LF:
 *   line 1  the manifest as canonical JSON;
 *   line 2  {"key":<key id>,"signature":<base64 of Ed25519 over line 1's bytes, its LF left out, or their SHA-256>}.
 * Numbers have no gaps; `previous.sha256` is that of the whole object before it. It is created, never overwritten:
 * whoever writes number n won.
 */
import { createHash } from 'node:crypto';
import type { Day } from '../../shared/clock.ts';
import type { Signer } from '../../shared/crypto/signing.ts';
import { canonicalJson } from '../../shared/json/canonical-json.ts';
import type { AskedScope, Mode } from '../../shared/schemes/stripe-scope.ts';
import type { GenerationFailure } from '../../shared/schemes/stripe-thin-events.ts';
import { bodyOf, type ObjectStore, readWhole } from '../../shared/store/store.ts';
import type { Hold } from './holds.ts';

export const verdicts = ['complete', 'provisional', 'incomplete', 'unverifiable', 'unreconciled'] as const;
export type Verdict = (typeof verdicts)[number];

/**
 * Per name of a list the start of the run since when every listable day has been asked of it. Null while days that were
 * listed before the list was known have not been asked of it yet.
 */
export type ListsKnown = Readonly<Record<string, string | null>>;

export interface Hashes {
  readonly plaintext: string;
  readonly ciphertext: string;
}

export interface Part {
  readonly key: string;
  readonly events: number;
  /** RFC 3339 UTC with milliseconds: the instants of the first and the last line. */
  readonly firstCreated: string;
  readonly lastCreated: string;
  readonly bytes: { readonly plaintext: number; readonly ciphertext: number };
  readonly sha256: Hashes;
  /** `sha256` is of the object's own bytes. */
  readonly ids: { readonly key: string; readonly sha256: string };
  readonly deliveries: DeliveriesObject | null;
  /** Where several workers made the night: which of how many wrote it. So another one need not read its ids. */
  readonly share?: readonly [index: number, count: number];
}

export interface DeliveriesObject {
  readonly key: string;
  readonly sha256: Hashes;
  /** Lines in it. */
  readonly count: number;
}

export interface DayCounts {
  /** Lines that a delivery brought. */
  readonly delivered: number;
  /** All other lines. */
  readonly recovered: number;
  /**
   * Those of `recovered` whose twin was delivered: the thin event of a snapshot, or its snapshot. Not there in older
   * manifests.
   */
  readonly twins?: number;
  /**
   * Stripe's own word on others of `recovered`, said once, of a day older than any retry: not delivered; delivered, and of a type
   * that the endpoint does not send; delivered, and sent, and not here. Of the rest nothing is said. All three or none.
   */
  readonly neverDelivered?: number;
  readonly unsubscribed?: number;
  readonly lostAfter2xx?: number;
  /** Ids in Stripe's list; null where nothing was listed. */
  readonly listed: number | null;
  /** Events of the day that are not in the list; null where nothing was listed. */
  readonly notListed: number | null;
  /** Ids whose copies in hand at a run differ, summed over runs. */
  readonly differing: number;
  /** Lines in all deliveries and late deliveries, less `delivered`. */
  readonly duplicates: number;
}

/** What a run has to say against a day, by id (FORMAT.md, Exceptions). */
export interface ExceptionsObject {
  readonly key: string;
  readonly sha256: Hashes;
  /**
   * The start of the listing that it tells of: then it names all of the day that are missing or not listed. Null where
   * this run did not list the day: then it names what this run adds to them.
   */
  readonly listedAt: string | null;
  /** Its lines by kind. Further kinds may come, and those behind `missing` are there where they are counted. */
  readonly counts: {
    readonly notListed: number;
    readonly differing: number;
    readonly missing: number;
    readonly listedBody?: number;
    readonly lostAfter2xx?: number;
  };
}

export interface DayEntry {
  readonly parts: readonly Part[];
  readonly lateDeliveries: readonly DeliveriesObject[];
  /** Null where there are none; manifests from before there were such objects have no such member. */
  readonly exceptions?: ExceptionsObject | null;
  readonly verdict: Verdict;
  /** The start of the last listing that succeeded. */
  readonly listedAt: string | null;
  /** The accounts that delivered events name, by `account`, `user_id` or `context`. */
  readonly accounts: readonly string[];
  /** Whether a delivered event names none: it is of the key's own account. Not there in older manifests. */
  readonly ownAccount?: boolean;
  /** `live` and `test`, of delivered events. Not there in older manifests. */
  readonly modes?: readonly Mode[];
  readonly counts: DayCounts;
  /** Ids known that could not be had. */
  readonly missing: readonly string[];
  /**
   * Ids of `recovered` of which no delivery came so far, until Stripe's word is said or the day leaves its list; null: more than
   * are kept, or not known. Not there where there is no word to ask for.
   */
  readonly undelivered?: readonly string[] | null;
  /** Events that Stripe says it never generated, with the day on which it said so: when they would have been is not told. */
  readonly generationFailures: readonly GenerationFailure[];
}

export interface PartitionPosition {
  /** The cursor up to which everything is archived. */
  readonly next: string;
  /** First 16 hex of the SHA-256 of the value of the record before `next`. */
  readonly last: string | null;
  /** Ranges above `next` that are archived or quarantined already. */
  readonly done: readonly (readonly [string, string])[];
  /** What proves all of this. Not there in older manifests: of theirs `last` proves `next`, and nothing proves `done`. */
  readonly tip?: Tip;
}

/** How far a run had read: no position that the ledger knows lies beyond it. */
export interface Tip {
  readonly at: string;
  /** The mark of the record that ends there (`markOf`); null: it has aged out unread, as all before it. */
  readonly mark: string | null;
}

export interface StreamPosition {
  readonly id: string;
  readonly partitions: Readonly<Record<string, PartitionPosition>>;
}

export interface Hole {
  readonly partition: string;
  readonly from: string;
  readonly to: string;
  readonly seenAt: string;
}

export interface QuarantineObject {
  readonly key: string;
  readonly records: number;
  readonly sha256: Hashes;
}

/** An object that is deleted once its manifest is there. */
export interface PrunedObject {
  readonly key: string;
  /** Why: `evidenceDays=400`, `eventDays=3650`. */
  readonly rule: string;
}

export interface Manifest {
  readonly format: 'daybook-manifest/1';
  readonly number: number;
  readonly previous: { readonly number: number; readonly sha256: string } | null;
  readonly createdAt: string;
  readonly stream: StreamPosition;
  readonly holes: readonly Hole[];
  readonly quarantine: readonly QuarantineObject[];
  /** Per source the day from which on every closed day has an entry. Cumulative. */
  readonly firstDays: Readonly<Record<string, Day>>;
  /** Per source Stripe's lists that are asked for it. Cumulative. */
  readonly lists: Readonly<Record<string, ListsKnown>>;
  /**
   * Per source what could be asked for as this manifest was made: null where there is no list, or where the accounts could
   * not be asked for. The verdicts are by it. This manifest's own; not there in older ones.
   */
  readonly asked?: Readonly<Record<string, AskedScope | null>>;
  /** Partitions that were read again from their beginning, so that positions fell. This manifest's own. */
  readonly restarted?: readonly string[];
  /** Per source the days that could not be closed, null for all of them: the next night closes them. This manifest's own. */
  readonly failed?: Readonly<Record<string, readonly Day[] | null>>;
  /** The days that the run was limited to. This manifest's own. */
  readonly onlyDays?: readonly Day[];
  /** Restored records made lines of their own: an archive was written again. */
  readonly acceptedRestored?: true;
  readonly sources: Readonly<Record<string, Readonly<Record<Day, DayEntry>>>>;
  /** The signature is of the SHA-256 of line 1: a KMS signs short messages alone. */
  readonly signed?: 'sha256';
  /** This manifest's own: those that were pruned with it. Not there in the manifest of a night. */
  readonly pruned?: readonly PrunedObject[];
  /** Legal holds that begin with it, and the names of those that end. Not there in the manifest of a night. */
  readonly holds?: readonly Hold[];
  readonly released?: readonly string[];
}

/** Whether a night wrote it; else it says that something is pruned, held or released, and nothing more. */
export function isOfNight({ pruned, holds, released }: Manifest): boolean {
  return pruned === undefined && holds === undefined && released === undefined;
}

/** What witnesses outside have seen of the manifests lies there, named by none of them. */
export const anchorsFolder = 'anchors/';

/** How many lines an object of exceptions has, of all kinds. */
export function exceptionLines({ counts }: Pick<ExceptionsObject, 'counts'>): number {
  return Object.values(counts).reduce((sum, lines) => sum + lines, 0);
}

export function manifestKey(prefix: string, number: number): string {
  return `${prefix}manifests/${String(number).padStart(8, '0')}.jsonl`;
}

export async function encodeManifest(manifest: Manifest, signer: Signer): Promise<Buffer> {
  const whole: Manifest = signer.signsHash === true ? { ...manifest, signed: 'sha256' } : manifest;
  const line = canonicalJson(JSON.stringify(whole));
  const signature = { key: signer.keyId, signature: await signer.sign(signedBytes(Buffer.from(line), whole)) };
  const bytes = Buffer.from(`${line}\n${JSON.stringify(signature)}\n`);
  if (bytes.length > maxManifestBytes)
    throw new RangeError(`a manifest of ${bytes.length} bytes is larger than can be read`);
  return bytes;
}

/** What the signature is of: line 1 without its LF or, where that says so, its SHA-256, the 32 bytes. */
export function signedBytes(line: Uint8Array, { signed }: Pick<Manifest, 'signed'>): Uint8Array {
  return signed === 'sha256' ? createHash('sha256').update(line).digest() : line;
}

/** What `last` is of a stream record's value. */
export function hash16(value: Uint8Array): string {
  return sha256Hex(value).slice(0, 16);
}

export function sha256Hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** No night writes a larger one. */
export const maxManifestBytes = 32 * 1024 * 1024;

/** Its bytes. One that somebody made larger than any can be is cut, so that its signature fails and not the memory. */
export function readManifest(store: ObjectStore, key: string): Promise<Buffer> {
  return readWhole(store, key, maxManifestBytes);
}

/**
 * Creates the manifest's object: the commit point of a run. `lost` means that another run wrote this number first.
 * A rejection means that it is not known whether the object is there; the next run finds out by loading the ledger.
 */
export async function appendManifest(store: ObjectStore, key: string, bytes: Buffer): Promise<'won' | 'lost'> {
  let failure: unknown;
  try {
    if ((await store.create(key, bodyOf(bytes))) === 'created') return 'won';
  } catch (error) {
    failure = error;
  }
  // Dies here: the manifest is there or it is not. If it is, the next run reads it as its own past.
  if (failure !== undefined && (await store.head(key)) === undefined) throw failure;
  // It exists: with exactly our bytes it is ours, created by a call that reported failure after the effect.
  return (await readWhole(store, key)).equals(bytes) ? 'won' : 'lost';
}
