import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { keyText, openSortBudget, type Sorter, sortKey } from '../../../compactor/staging/external-sort.ts';

let directory: string;
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'daybook-sort-'));
});
after(() => rmSync(directory, { recursive: true, force: true }));

const everything = (sorter: Sorter) =>
  [...sorter.sorted()].map(({ key, payload }) => `${keyText(key)}=${payload.toString('hex')}`);
const expected = (entries: readonly (readonly [string, Uint8Array])[]) =>
  entries
    .toSorted((a, b) => Buffer.compare(Buffer.from(a[0]), Buffer.from(b[0])) || Buffer.compare(a[1], b[1]))
    .map(([key, payload]) => `${key}=${Buffer.from(payload).toString('hex')}`);

test('whatever is added comes out in the order of key bytes, then payload bytes, however small the memory', () => {
  const entry = fc.tuple(fc.string({ unit: 'binary', maxLength: 6 }), fc.uint8Array({ maxLength: 40 }));
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 400 }), fc.constantFrom(500, 20_000, 10_000_000), (entries, maxBytes) => {
      const sorter = openSortBudget({ directory, maxBytes }).sorter();
      for (const [key, payload] of entries) sorter.add(sortKey(key), [payload.subarray(0, 3), payload.subarray(3)]);
      assert.deepEqual(everything(sorter), expected(entries));
      assert.deepEqual(everything(sorter), expected(entries), 'a second pass gives the same');
      sorter.close();
      assert.deepEqual(readdirSync(directory), []);
    }),
    { numRuns: 60 },
  );
});

test('code points order astral characters after the private use area, as bytes do and UTF-16 does not', () => {
  const sorter = openSortBudget({ directory, maxBytes: 1000 }).sorter();
  for (const key of ['\u{1f600}', '\ue000', 'a']) sorter.add(sortKey(key), []);
  assert.deepEqual(
    [...sorter.sorted()].map(({ key }) => keyText(key)),
    ['a', '\ue000', '\u{1f600}'],
  );
  sorter.close();
});

test('a sorter that is being read keeps its entries while another one needs the memory', () => {
  const budget = openSortBudget({ directory, maxBytes: 4 * 1024 * 1024 });
  const [read, written] = [budget.sorter(), budget.sorter()];
  const payload = Buffer.alloc(1000, 7);
  for (let n = 0; n < 500; n += 1) read.add(sortKey(`r${String(n).padStart(5, '0')}`), [payload]);
  let seen = 0;
  for (const { key, payload: bytes } of read.sorted()) {
    assert.equal(keyText(key), `r${String(seen).padStart(5, '0')}`);
    assert.ok(bytes.equals(payload));
    for (let n = 0; n < 40; n += 1) written.add(sortKey(`w${seen}-${n}`), [Buffer.alloc(1000, 9)]);
    seen += 1;
  }
  assert.deepEqual([seen, [...written.sorted()].length], [500, 20_000]);
  read.close();
  written.close();
});

test('more runs than are merged at once are merged in levels, nothing is lost', () => {
  const sorter = openSortBudget({ directory, maxBytes: 1 }).sorter();
  const keys = Array.from({ length: 700 }, (_, n) => String((n * 7919) % 700).padStart(4, '0'));
  for (const key of keys) sorter.add(sortKey(key), [Buffer.from(key)]);
  assert.ok(readdirSync(directory).length < 300);
  assert.deepEqual(
    [...sorter.sorted()].map(({ key }) => key),
    keys.toSorted(),
  );
  sorter.close();
});

test('an entry larger than every buffer comes out whole', () => {
  const sorter = openSortBudget({ directory, maxBytes: 1 }).sorter();
  const large = Buffer.alloc(3 * 1024 * 1024, 'x');
  sorter.add(sortKey('b'), [large]);
  sorter.add(sortKey('a'), [Buffer.from('small')]);
  assert.deepEqual(
    [...sorter.sorted()].map(({ payload }) => payload.length),
    [5, large.length],
  );
  sorter.close();
});
