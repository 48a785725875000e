/**
 * What witnesses outside have seen of the ledger: each anchor must be of the manifest that is here, and hold. An anchor of a
 * manifest that is not here says that the end of the chain was cut off.
 */
import type { VerifyingKeys } from '../../shared/crypto/signing.ts';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import { inParallel } from '../../shared/parallel.ts';
import { counted } from '../../shared/program/counted.ts';
import { type ObjectStore, readWhole } from '../../shared/store/store.ts';
import { maxAnchorBytes, type Witnesses } from '../anchors/anchor-ledger.ts';
import { isOfArchive, readCheckpoint, witnessedAt } from '../anchors/checkpoint.ts';
import { readTimestamp } from '../anchors/timestamp.ts';
import { type Hash, leafHash, levelsOf, readTilePath, rootsOf } from '../anchors/tree.ts';
import { anchorsFolder, manifestKey, readManifest, sha256Hex } from '../ledger/manifest.ts';
import type { Breaks } from './breaks.ts';
import type { Chain } from './verify-chain.ts';

export interface Witnessed {
  readonly number: number;
  /** RFC 3339 UTC: when the witness says that it was there. */
  readonly at: string;
  readonly by: string;
}

export interface AnchorsFound {
  /** The newest manifest of which an anchor holds, by the earliest word on it; undefined: none is. */
  readonly newest: Witnessed | undefined;
  readonly held: number;
  /** Anchors by whom is not known here. */
  readonly unknown: number;
  readonly strays: readonly string[];
}

interface Archive {
  readonly store: ObjectStore;
  readonly prefix: string;
  readonly verifyingKeys: VerifyingKeys;
  readonly witnesses?: Witnesses | undefined;
}

export async function verifyAnchors(
  archive: Archive,
  { ledger, isWhole }: Chain,
  breaks: Breaks,
): Promise<AnchorsFound> {
  const { store, prefix } = archive;
  const folder = `${prefix}${anchorsFolder}`;
  const count = ledger.hashes.length;
  const leaves = ledger.hashes.map(leafHash);
  const tree = { roots: rootsOf(leaves), levels: levelsOf(leaves) };
  const strays: string[] = [];
  const anchors: { key: string; number: number; path: string }[] = [];
  for await (const key of store.list(folder)) {
    const path = key.slice(folder.length);
    const number = numberOf(path);
    if (number === undefined) strays.push(key);
    else anchors.push({ key, number, path });
  }
  // Where the chain is broken, what is behind the break is known to be not relied on.
  const behind = isWhole ? anchors.filter(({ number }) => number > count) : [];
  const last = behind.reduce((a, b) => (b.number > (a?.number ?? 0) ? b : a), behind[0]);
  if (last !== undefined) {
    const { number, key } = last;
    const message = `is not in the chain, and was witnessed: ${key} (${counted(behind.length, 'anchor')} of manifests that are not here)`;
    breaks.add({ code: 'head_unexpected', manifest: number, key: manifestKey(prefix, number), message });
  }

  let newest: Witnessed | undefined;
  let held = 0;
  let unknown = 0;
  await inParallel(
    anchors.filter(({ number }) => number <= count),
    4,
    async ({ key, number, path }) => {
      try {
        const bytes = await readWhole(store, key, maxAnchorBytes);
        const found = path.startsWith('tile/')
          ? checkTile(path, bytes, tree.levels)
          : path.endsWith('.tsr')
            ? await checkTimestamp(archive, number, ledger.hashes[number - 1]!, bytes)
            : checkCheckpoint(archive, number, tree.roots[number - 1]!, bytes, path);
        if (found === 'tile') return;
        if (found === undefined) unknown += 1;
        else {
          held += 1;
          if (newest === undefined || number > newest.number || (number === newest.number && found.at < newest.at)) {
            newest = { number, ...found };
          }
        }
      } catch (error) {
        if (!(error instanceof DaybookError) || error.code !== 'anchor_wrong') throw error;
        breaks.add({ code: 'anchor_wrong', manifest: number, key, message: messageOf(error) });
      }
    },
  );
  return { newest, held, unknown, strays };
}

/** Of which manifest an anchor is, a tile of the last one in it; undefined: the name is of no anchor. */
function numberOf(path: string): number | undefined {
  const number = /^(\d{8})(?:-[0-9a-f]{8}\.checkpoint|\.tsr)$/.exec(path)?.[1];
  if (number !== undefined && Number(number) > 0) return Number(number);
  const tile = readTilePath(path);
  return tile === undefined ? undefined : (tile.index * 256 + tile.width) * 256 ** tile.level;
}

type Word = Omit<Witnessed, 'number'>;

async function checkTimestamp(
  { store, prefix, witnesses }: Archive,
  number: number,
  sha256: string,
  bytes: Buffer,
): Promise<Word | undefined> {
  const roots = witnesses?.timestamps?.roots;
  if (roots === undefined) return undefined;
  const manifest = await readManifest(store, manifestKey(prefix, number));
  if (sha256Hex(manifest) !== sha256) throw wrong('its manifest changed meanwhile');
  const { at, by } = await readTimestamp(bytes, manifest, roots);
  return { at: at.toISOString(), by };
}

function checkCheckpoint(
  { verifyingKeys, witnesses }: Archive,
  number: number,
  root: Hash,
  bytes: Buffer,
  path: string,
): Word | undefined {
  const checkpoint = readCheckpoint(bytes.toString());
  if (checkpoint.size !== number) throw wrong(`is of ${checkpoint.size} manifests`);
  if (checkpoint.root !== root.toString('base64')) throw wrong('has another root than the manifests here');
  if (!isOfArchive(checkpoint, verifyingKeys)) throw wrong('is signed by none of the signers of this archive');
  const key = witnesses?.log?.witnesses.find(({ key }) => path.includes(`-${key.id}.`))?.key;
  if (key === undefined) return undefined;
  const at = witnessedAt(checkpoint, key);
  if (at === undefined) throw wrong(`the signature of ${key.name} does not hold`);
  return { at: at.toISOString(), by: key.name };
}

function checkTile(path: string, bytes: Buffer, levels: readonly (readonly Hash[])[]): 'tile' {
  const { level, index, width } = readTilePath(path)!;
  const hashes = levels[level]!.slice(index * 256, index * 256 + width);
  if (!Buffer.concat(hashes).equals(bytes)) throw wrong('is not the tile of the manifests here');
  return 'tile';
}

function wrong(detail: string): DaybookError {
  return new DaybookError('anchor_wrong', { detail });
}
