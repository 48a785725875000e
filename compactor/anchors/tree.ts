/**
 * The tree of RFC 6962 over the manifests (section 2.1), and its tiles (c2sp.org/tlog-tiles). Leaf n-1 is of the 32 bytes of
 * the SHA-256 of manifest n. Everything here is computed from the leaves: an archive has one more of them a night.
 */
import { createHash } from 'node:crypto';

/** 32 bytes. */
export type Hash = Buffer;

export function leafHash(manifestSha256: string): Hash {
  return createHash('sha256').update(Buffer.of(0)).update(Buffer.from(manifestSha256, 'hex')).digest();
}

export function rootOf(leaves: readonly Hash[]): Hash {
  if (leaves.length === 0) return createHash('sha256').digest();
  if (leaves.length === 1) return leaves[0]!;
  const at = splitOf(leaves.length);
  return nodeOf(rootOf(leaves.slice(0, at)), rootOf(leaves.slice(at)));
}

/** Proves that the tree of these leaves begins with that of the first `size` of them, 0 to all. */
export function consistencyProof(leaves: readonly Hash[], size: number): Hash[] {
  return size === 0 ? [] : subproof(leaves, size, true);
}

/** Section 2.1.2. `isKnown`: whoever asks has the root of the first `size` leaves. */
function subproof(leaves: readonly Hash[], size: number, isKnown: boolean): Hash[] {
  if (size === leaves.length) return isKnown ? [] : [rootOf(leaves)];
  const at = splitOf(leaves.length);
  const [left, right] = [leaves.slice(0, at), leaves.slice(at)];
  if (size <= at) return [...subproof(left, size, isKnown), rootOf(right)];
  return [...subproof(right, size - at, false), rootOf(left)];
}

/** The largest power of two below `count`. */
function splitOf(count: number): number {
  let power = 1;
  while (power * 2 < count) power *= 2;
  return power;
}

function nodeOf(left: Hash, right: Hash): Hash {
  return createHash('sha256').update(Buffer.of(1)).update(left).update(right).digest();
}

/** The roots of the trees of the first leaf, of the first two, and so on. */
export function rootsOf(leaves: readonly Hash[]): Hash[] {
  // Whole subtrees from the left, each half as large as the one before it or less.
  const whole: { size: number; hash: Hash }[] = [];
  return leaves.map((leaf) => {
    let last = { size: 1, hash: leaf };
    for (let before = whole.at(-1); before?.size === last.size; before = whole.at(-1)) {
      whole.pop();
      last = { size: last.size * 2, hash: nodeOf(before.hash, last.hash) };
    }
    whole.push(last);
    return whole.map(({ hash }) => hash).reduceRight((right, left) => nodeOf(left, right));
  });
}

const tileWidth = 256;

/** The hashes that tiles hold, by level: the leaves, then the roots of each 256 of them that are whole, and so on. */
export function levelsOf(leaves: readonly Hash[]): (readonly Hash[])[] {
  const levels: (readonly Hash[])[] = [];
  for (let hashes = leaves; hashes.length > 0; ) {
    levels.push(hashes);
    const whole = Math.floor(hashes.length / tileWidth);
    const below = hashes;
    hashes = Array.from({ length: whole }, (_, at) => rootOf(below.slice(at * tileWidth, (at + 1) * tileWidth)));
  }
  return levels;
}

/** The tiles of the tree, by their paths as the specification has them. */
export function* tilesOf(leaves: readonly Hash[]): Generator<{ path: string; bytes: Buffer }, void, void> {
  for (const [level, hashes] of levelsOf(leaves).entries()) {
    for (let from = 0; from < hashes.length; from += tileWidth) {
      const tile = hashes.slice(from, from + tileWidth);
      const part = tile.length < tileWidth ? `.p/${tile.length}` : '';
      yield { path: `tile/${level}/${indexOf(from / tileWidth)}${part}`, bytes: Buffer.concat(tile) };
    }
  }
}

/** Undefined where the path is not a tile's. */
export function readTilePath(path: string): { level: number; index: number; width: number } | undefined {
  const [, level, index, width = '256'] = /^tile\/(\d)\/((?:x\d{3}\/)*\d{3})(?:\.p\/([1-9]\d{0,2}))?$/.exec(path) ?? [];
  if (level === undefined || Number(width) > tileWidth) return undefined;
  return { level: Number(level), index: Number(index!.replaceAll(/[x/]/g, '')), width: Number(width) };
}

/** 1234067 is x001/x234/067. */
function indexOf(index: number): string {
  const digits = String(index);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, '0').match(/\d{3}/g)!;
  return groups.map((group, at) => (at < groups.length - 1 ? `x${group}` : group)).join('/');
}
