import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseInstant } from '../../shared/clock.ts';

test('fractions of a second are cut to the millisecond, however many digits they have', () => {
  const start = Date.UTC(2026, 10, 20, 23, 59, 59);
  for (const [fraction, ms] of [
    ['', 0],
    ['.5', 500],
    ['.05', 50],
    ['.029', 29],
    ['.1239', 123],
    ['.99999999', 999],
    ['.000999999', 0],
    // Rounded, it would be of the next day.
    ['.999999999', 999],
    [`.${'9'.repeat(30)}`, 999],
  ] as const) {
    assert.equal(parseInstant(`2026-11-20T23:59:59${fraction}Z`), start + ms, fraction);
    assert.equal(parseInstant(`2026-11-21T01:29:59${fraction}+01:30`), start + ms, fraction);
  }
});
