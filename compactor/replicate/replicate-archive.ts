/**
 * THE PATH of replication: an archive is copied to a second store, manifest by manifest in their order, create-only. A
 * manifest follows when every object that it names is at the replica, with the bytes that it names. So the replica is at
 * any moment an archive of its own, which verifies, restores, and can be copied back. Nothing is written over.
 */
import { createHash } from 'node:crypto';
import type { VerifyingKeys } from '../../shared/crypto/signing.ts';
import { DaybookError, type ErrorCode, messageOf } from '../../shared/errors.ts';
import { inParallel } from '../../shared/parallel.ts';
import { bodyOf, type ObjectRemover, type ObjectStore, readWhole } from '../../shared/store/store.ts';
import {
  addManifest,
  checkManifest,
  type Ledger,
  listManifests,
  openManifests,
  startLedger,
} from '../ledger/ledger.ts';
import { anchorsFolder, appendManifest, readManifest, sha256Hex } from '../ledger/manifest.ts';
import { type NamedObject, objectsOf } from '../ledger/named-objects.ts';
import { heldKeys, type PruneFailure, removeAll } from '../ledger/prune-archive.ts';
import { openPrunedLookup } from '../ledger/pruned-objects.ts';

export interface Replication {
  /** What is copied. It is only read. */
  readonly archive: ObjectStore;
  readonly replica: ObjectStore;
  /** Of both, since manifests name whole keys: '' or folders that end in a slash. */
  readonly prefix: string;
  readonly verifyingKeys: VerifyingKeys;
  /** Reads both and compares them, every object of the replica too; copies nothing. */
  readonly check: boolean;
  /** Deletes at the replica what the archive has pruned; undefined: it stays there. */
  readonly remover?: ObjectRemover | undefined;
  progress(step: string, count: number, total?: number): void;
}

export interface ReplicaFailure {
  readonly code: ErrorCode;
  readonly key: string;
  readonly message: string;
}

/** `replicate --json`. */
export interface ReplicaReport {
  readonly check: boolean;
  /** The newest manifest of the archive and of the replica; null where there is none. */
  readonly archive: ReplicatedHead | null;
  readonly replica: ReplicatedHead | null;
  /** Manifests that the replica still lacks. */
  readonly behind: number;
  /** By this run: created at the replica. */
  readonly copied: { readonly manifests: number; readonly objects: number; readonly bytes: number };
  /** Objects whose bytes at the replica were read and are those that the manifest names. */
  readonly proven: number;
  /** Named by what was looked at, and pruned since: not copied, not asked for. */
  readonly pruned: number;
  /** Pruned objects deleted at the replica, those of them whose bytes it keeps as an older version, and those still there. */
  readonly removed: number;
  readonly hidden: number;
  /** null where nobody looked. */
  readonly left: number | null;
  readonly failures: readonly ReplicaFailure[];
}

export interface ReplicatedHead {
  readonly number: number;
  readonly sha256: string;
  readonly createdAt: string;
}

const objectsAtOnce = 4;

/**
 * Safe to run at any time and to kill at any moment: the next run goes on behind the newest manifest that the replica has.
 * An object that is missing or damaged keeps its manifest and all later ones from being copied, not their objects. Rejects
 * where a store fails, and where the archive's own chain does not hold: then nothing is written.
 */
export async function replicateArchive(replication: Replication): Promise<ReplicaReport> {
  const { archive, replica, prefix, verifyingKeys, check, remover, progress } = replication;
  // Before the archive's: what another replication adds meanwhile is in the archive by then.
  const there = new Set((await listManifests(replica, prefix)).keys);
  const { ledger, manifests } = await readChain(archive, prefix, verifyingKeys, (key) => check || !there.has(key));
  const copy = openCopy(replication, ledger);
  const failures = copy.failures;
  await refuseOther(replica, manifests, there, failures);
  // Of a replica of something else nothing is to be mended here.
  const isOther = failures.length > 0;

  let copiedManifests = 0;
  for (const manifest of isOther ? [] : manifests) {
    progress('manifests', manifest.number, manifests.length);
    if (check) {
      if (!there.has(manifest.key)) continue;
      await compareManifest(replica, manifest, failures);
      await inParallel(manifest.objects, objectsAtOnce, copy.prove);
    } else if (!there.has(manifest.key)) {
      await inParallel(manifest.objects, objectsAtOnce, copy.copy);
      if (failures.length > 0) continue;
      // Dies here: its objects are there and no manifest names them; the next run proves them again, and goes on.
      const bytes = await readManifest(archive, manifest.key);
      if (sha256Hex(bytes) !== manifest.sha256) throw new DaybookError('ledger_broken', { detail: manifest.key });
      if ((await appendManifest(replica, manifest.key, bytes)) === 'lost') {
        failures.push({ code: 'replica_differs', key: manifest.key, message: 'is another manifest there' });
        continue;
      }
      // Dies here: the replica is an archive up to this manifest.
      there.add(manifest.key);
      copiedManifests += 1;
    }
  }

  const behind = manifests.filter(({ key }) => !there.has(key)).length;
  const isWhole = behind === 0 && failures.length === 0;
  // Behind the manifests: an anchor of one that is not there would say that the replica was cut off.
  if (isWhole && !check) await copyAnchors(archive, replica, prefix);
  const pruned = isWhole && ledger.pruned.size > 0 ? await keysThere(replica, prefix, ledger) : undefined;
  const removal =
    pruned === undefined || remover === undefined || check
      ? { removed: 0, hidden: 0, failures: [] as PruneFailure[] }
      : await removeAll(remover, pruned, progress);
  const newest = manifests.findLast(({ key }) => there.has(key));
  return {
    check,
    archive: headOf(manifests.at(-1)),
    replica: isOther ? null : headOf(newest),
    behind,
    copied: { manifests: copiedManifests, ...copy.copied },
    ...copy.seen,
    removed: removal.removed,
    hidden: removal.hidden,
    left: ledger.pruned.size === 0 ? 0 : pruned === undefined ? null : pruned.length - removal.removed,
    failures: [...failures, ...removal.failures],
  };
}

interface ArchivedManifest extends ReplicatedHead {
  readonly key: string;
  /** None where nobody asks for them. */
  readonly objects: readonly NamedObject[];
}

/** Throws as loadLedger. */
async function readChain(
  store: ObjectStore,
  prefix: string,
  keys: VerifyingKeys,
  isWanted: (key: string) => boolean,
): Promise<{ ledger: Ledger; manifests: ArchivedManifest[] }> {
  const ledger = startLedger();
  const manifests: ArchivedManifest[] = [];
  for await (const { number, key, opened } of openManifests(store, prefix, keys)) {
    const signed = checkManifest(number, opened, ledger);
    const { sha256 } = opened;
    addManifest(ledger, signed, sha256);
    const objects = isWanted(key) ? [...objectsOf(signed.manifest)] : [];
    manifests.push({ number, key, sha256, createdAt: signed.manifest.createdAt, objects });
  }
  return { ledger, manifests };
}

/**
 * Whether the replica is one of this archive: its newest manifest is the archive's of that number, which by the chain of
 * hashes speaks for all before it. A replica that knows more is worth more than the archive.
 */
async function refuseOther(
  replica: ObjectStore,
  manifests: readonly ArchivedManifest[],
  there: ReadonlySet<string>,
  failures: ReplicaFailure[],
): Promise<void> {
  const known = new Set(manifests.map(({ key }) => key));
  const others = [...there].filter((key) => !known.has(key));
  const newest = manifests.findLast(({ key }) => there.has(key));
  if (newest !== undefined) await compareManifest(replica, newest, failures);
  if (others.length === 0 || failures.length > 0) return;
  const message = `is there, and the archive ends with manifest ${manifests.length}`;
  failures.push({ code: 'replica_ahead', key: others.sort().at(-1)!, message });
}

async function compareManifest(
  replica: ObjectStore,
  { key, sha256 }: ArchivedManifest,
  failures: ReplicaFailure[],
): Promise<void> {
  if (sha256Hex(await readManifest(replica, key)) === sha256) return;
  if (failures.some((failure) => failure.key === key)) return;
  failures.push({ code: 'replica_differs', key, message: 'is another manifest there' });
}

/** What is done with each object, and what came of all of them. */
function openCopy({ archive, replica, prefix, verifyingKeys, progress }: Replication, ledger: Ledger) {
  const failures: ReplicaFailure[] = [];
  const copied = { objects: 0, bytes: 0 };
  const seen = { proven: 0, pruned: 0 };
  const isPruned = openPrunedLookup(archive, prefix, verifyingKeys, ledger);
  const fail = (code: ErrorCode, key: string, message: string) => void failures.push({ code, key, message });

  async function prove(object: NamedObject): Promise<void> {
    const { key } = object;
    if (ledger.pruned.has(key)) {
      seen.pruned += 1;
      return;
    }
    const found = await digestOf(replica, key);
    // A prune may be at work.
    if (found === undefined && (await isPruned(key))) seen.pruned += 1;
    else if (found === undefined) fail('replica_differs', key, 'is not at the replica');
    else if (found !== object.sha256) fail('replica_differs', key, 'has other bytes at the replica');
    else {
      seen.proven += 1;
      progress('objects proven', seen.proven);
    }
  }

  /** What is pruned is not copied any more, also where it is still there: its end has been said. */
  async function copy(object: NamedObject): Promise<void> {
    const { key } = object;
    if (ledger.pruned.has(key)) return prove(object);
    if ((await replica.head(key)) !== undefined) {
      // No manifest comes of it in this run: it is proven when one does.
      return failures.length > 0 ? undefined : prove(object);
    }
    try {
      const found = await archive.head(key);
      if (found === undefined) throw new DaybookError('object_missing', { detail: 'is not in the archive' });
      const outcome = await replica.create(key, { bytes: found.bytes, open: () => provenBytes(archive, object) });
      // Dies here: the object is there, and no manifest names it; the next run finds it and proves it.
      if (outcome === 'created') {
        copied.objects += 1;
        copied.bytes += found.bytes;
      }
    } catch (error) {
      const code = error instanceof DaybookError ? error.code : undefined;
      if (code === 'object_missing' && (await isPruned(key))) {
        seen.pruned += 1;
        return;
      }
      if (code !== 'object_missing' && code !== 'object_damaged') throw error;
      return fail(code, key, code === 'object_missing' ? 'is not in the archive' : messageOf(error));
    }
    await prove(object);
  }

  return { prove, copy, failures, copied, seen };
}

/** The object's bytes; fails behind the last one where they are not those that the manifest names: nothing is created then. */
async function* provenBytes(store: ObjectStore, { key, sha256 }: NamedObject): AsyncGenerator<Uint8Array, void, void> {
  const hash = createHash('sha256');
  for await (const chunk of store.read(key)) {
    hash.update(chunk);
    yield chunk;
  }
  if (hash.digest('hex') === sha256) return;
  throw new DaybookError('object_damaged', { detail: 'has other bytes in the archive than its manifest names' });
}

/** What witnesses outside have seen. No manifest names it; verify tells whether it holds. */
async function copyAnchors(archive: ObjectStore, replica: ObjectStore, prefix: string): Promise<void> {
  const folder = `${prefix}${anchorsFolder}`;
  const keys = await Array.fromAsync(archive.list(folder));
  const there = new Set(keys.length === 0 ? [] : await Array.fromAsync(replica.list(folder)));
  for (const key of keys) {
    if (!there.has(key)) await replica.create(key, bodyOf(await readWhole(archive, key)));
  }
}

/** In hex; undefined where the object is not there. */
async function digestOf(store: ObjectStore, key: string): Promise<string | undefined> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of store.read(key)) hash.update(chunk);
  } catch (error) {
    if (error instanceof DaybookError && error.code === 'object_missing') return undefined;
    throw error;
  }
  return hash.digest('hex');
}

async function keysThere(replica: ObjectStore, prefix: string, ledger: Ledger): Promise<string[]> {
  const keys: string[] = [];
  // A hold that came since keeps them here too.
  const kept = heldKeys(ledger);
  for await (const key of replica.list(prefix)) if (ledger.pruned.has(key) && !kept.has(key)) keys.push(key);
  return keys;
}

function headOf(manifest: ArchivedManifest | undefined): ReplicatedHead | null {
  if (manifest === undefined) return null;
  const { number, sha256, createdAt } = manifest;
  return { number, sha256, createdAt };
}
