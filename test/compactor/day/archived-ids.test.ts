import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openIdFilter } from '../../../compactor/day/archived-ids.ts';

const idsOf = (word: string, count: number) => Array.from({ length: count }, (_, n) => `evt_${word}_${n}`);

for (const count of [0, 3, 10_000, 10_001, 200_000]) {
  test(`a filter of ${count} ids denies none of them, and lets few others pass`, () => {
    const filter = openIdFilter();
    const added = idsOf('added', count);
    for (const id of added) filter.add(id);
    assert.deepEqual(
      added.filter((id) => !filter.mayHave(id)),
      [],
    );
    const passed = idsOf('other', 10_000).filter((id) => filter.mayHave(id)).length;
    assert.ok(passed <= (count <= 10_000 ? 0 : 10), `${passed} of 10,000 others passed`);
  });
}
