import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type CursorRange, unionOf, without } from '../../../compactor/ledger/cursor-ranges.ts';

const ranges = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 1, max: 6 })), { maxLength: 12 })
  .map((pairs) => pairs.map(([from, size]): CursorRange => [BigInt(from), BigInt(from + size)]));
const members = (all: readonly CursorRange[]) => {
  const set = new Set<number>();
  for (const [from, to] of all) for (let n = from; n < to; n += 1n) set.add(Number(n));
  return [...set].sort((a, b) => a - b);
};

test('a union has exactly the members of its ranges, merged and ascending', () => {
  fc.assert(
    fc.property(ranges, (all) => {
      const union = unionOf(all);
      assert.deepEqual(members(union), members(all));
      for (const [index, [from]] of union.entries()) if (index > 0) assert.ok(union[index - 1]![1] < from);
    }),
  );
});

test('what is left has exactly the members that were not taken', () => {
  fc.assert(
    fc.property(ranges, ranges, (all, taken) => {
      const left = without(unionOf(all), unionOf(taken));
      const gone = new Set(members(taken));
      assert.deepEqual(
        members(left),
        members(all).filter((n) => !gone.has(n)),
      );
    }),
  );
});
