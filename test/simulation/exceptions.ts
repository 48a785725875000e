/** The exceptions of one entry: each id that the model expects is named once, in order, and no other. */
import assert from 'node:assert/strict';
import type { DayEntry } from '../../compactor/ledger/manifest.ts';
import { canonicalJson, compareCodePoints } from '../../shared/json/canonical-json.ts';

export interface ExpectedExceptions {
  readonly notListed: readonly string[];
  readonly differing: readonly string[];
  readonly missing: readonly string[];
  readonly listedBody: readonly string[];
  /** Counts of lines that are left out here. */
  readonly others?: object;
}

export function checkExceptions(
  what: string,
  entry: DayEntry,
  lines: readonly string[],
  { notListed, differing, missing, listedBody, others = {} }: ExpectedExceptions,
  isListedNow: boolean,
): void {
  const counts = {
    ...{ notListed: notListed.length, differing: differing.length, missing: missing.length },
    ...(listedBody.length > 0 ? { listedBody: listedBody.length } : {}),
    ...others,
  };
  const expected = [
    ...differing.map((id) => `differing ${id}`),
    ...missing.map((id) => `missing ${id}`),
    ...listedBody.map((id) => `listed_body ${id}`),
    ...notListed.map((id) => `not_listed ${id}`),
  ].sort(compareCodePoints);
  const found = lines.map((line) => {
    assert.equal(canonicalJson(line), line, `exceptions of ${what} are canonical`);
    const { kind, id, copies } = JSON.parse(line);
    if (kind === 'differing') assert.equal(copies.length, 2, 'both sides');
    return `${kind} ${id}`;
  });
  assert.deepEqual(found, expected, `the exceptions of ${what}`);
  if (expected.length + Object.keys(others).length === 0) assert.equal(entry.exceptions, null, `${what} has none`);
  else {
    assert.deepEqual(entry.exceptions?.counts, counts);
    assert.equal(entry.exceptions?.listedAt, isListedNow ? entry.listedAt : null);
  }
}
