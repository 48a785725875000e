/** The exceptions of one entry: each id that the model expects is named once, in order, and no other. */
import assert from 'node:assert/strict';
import type { DayEntry } from '../../compactor/ledger/manifest.ts';
import { canonicalJson, compareCodePoints } from '../../shared/json/canonical-json.ts';

export interface ExpectedExceptions {
  readonly notListed: readonly string[];
  readonly differing: readonly string[];
  readonly missing: readonly string[];
  readonly listedBody: readonly string[];
  readonly lost: readonly string[];
}

export function checkExceptions(
  what: string,
  entry: DayEntry,
  lines: readonly string[],
  { notListed, differing, missing, listedBody, lost }: ExpectedExceptions,
  isListedNow: boolean,
): void {
  const counts = {
    ...{ notListed: notListed.length, differing: differing.length, missing: missing.length },
    ...(listedBody.length > 0 ? { listedBody: listedBody.length } : {}),
    ...(lost.length > 0 ? { lostAfter2xx: lost.length } : {}),
  };
  const expected = [
    ...differing.map((id) => `differing ${id}`),
    ...missing.map((id) => `missing ${id}`),
    ...listedBody.map((id) => `listed_body ${id}`),
    ...lost.map((id) => `lost_after_2xx ${id}`),
    ...notListed.map((id) => `not_listed ${id}`),
  ].sort(compareCodePoints);
  const found = lines.map((line) => {
    assert.equal(canonicalJson(line), line, `exceptions of ${what} are canonical`);
    const { kind, id, copies } = JSON.parse(line);
    if (kind === 'differing') assert.equal(copies.length, 2, 'both sides');
    return `${kind} ${id}`;
  });
  assert.deepEqual(found, expected, `the exceptions of ${what}`);
  if (expected.length === 0) assert.equal(entry.exceptions, null, `${what} has none`);
  else {
    assert.deepEqual(entry.exceptions?.counts, counts);
    assert.equal(entry.exceptions?.listedAt, isListedNow ? entry.listedAt : null);
  }
}

/** What is said to be lost after a 2xx. */
export function idsLost(lines: readonly string[] = []): string[] {
  return lines.map((line) => JSON.parse(line)).flatMap(({ kind, id }) => (kind === 'lost_after_2xx' ? [id] : []));
}

/** A thin event as the list has it, which tells more than its notification. */
export function isThinBody(text: string): boolean {
  const { object, data, changes } = JSON.parse(text);
  return object === 'v2.core.event' && (data != null || changes != null);
}
