import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  consistencyProof,
  leafHash,
  levelsOf,
  readTilePath,
  rootOf,
  rootsOf,
  tilesOf,
} from '../../../compactor/anchors/tree.ts';
import { sha256Hex } from '../../../compactor/ledger/manifest.ts';

const leavesOf = (count: number) =>
  Array.from({ length: count }, (_, number) => leafHash(sha256Hex(Buffer.from(String(number)))));
const hex = (hashes: readonly Buffer[]) => hashes.map((hash) => hash.toString('hex'));

test('the roots and proofs are those that Certificate Transparency has published', () => {
  // The leaves of its reference tests, and their roots.
  const inputs = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
  const leaves = inputs.map(leafHash);
  assert.equal(rootOf([]).toString('hex'), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  assert.deepEqual(hex([1, 2, 3, 8].map((size) => rootOf(leaves.slice(0, size)))), [
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
  ]);
  assert.deepEqual(hex(consistencyProof(leaves, 6)), [
    '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
    'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  ]);
});

test('the roots of all prefixes are those of each', () => {
  const leaves = leavesOf(70);
  assert.deepEqual(hex(rootsOf(leaves)), hex(leaves.map((_, at) => rootOf(leaves.slice(0, at + 1)))));
});

test('tiles: whole ones and the rest, levels above, and paths that are read back', () => {
  const leaves = leavesOf(256 * 2 + 3);
  const tiles = [...tilesOf(leaves)];
  assert.deepEqual(
    tiles.map(({ path, bytes }) => [path, bytes.length]),
    [
      ['tile/0/000', 8192],
      ['tile/0/001', 8192],
      ['tile/0/002.p/3', 96],
      ['tile/1/000.p/2', 64],
    ],
  );
  assert.equal(levelsOf(leaves)[1]![1]!.equals(rootOf(leaves.slice(256, 512))), true);
  assert.deepEqual(readTilePath('tile/1/x001/x234/067.p/9'), { level: 1, index: 1_234_067, width: 9 });
  assert.deepEqual(readTilePath('tile/0/000'), { level: 0, index: 0, width: 256 });
  for (const path of ['tile/0/0', 'tile/0/001/002', 'tile/0/000.p/257', 'tile/0/000.p/0', 'checkpoint']) {
    assert.equal(readTilePath(path), undefined, path);
  }
});
