/** Sets of stream records as ranges of cursors, `[from, to)` in reading order, kept merged and ascending. */
import type { Cursor } from '../../shared/stream/stream.ts';

export type CursorRange = readonly [from: Cursor, to: Cursor];

/** Adds a record that follows all others so far: extends the last range where it touches it. */
export function pushCursors(ranges: [Cursor, Cursor][], before: Cursor, after: Cursor): void {
  const last = ranges.at(-1);
  if (last !== undefined && last[1] >= before) last[1] = after > last[1] ? after : last[1];
  else ranges.push([before, after]);
}

/** The union of any ranges. */
export function unionOf(ranges: readonly CursorRange[]): [Cursor, Cursor][] {
  const union: [Cursor, Cursor][] = [];
  for (const [from, to] of ranges.toSorted((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0))) {
    pushCursors(union, from, to);
  }
  return union;
}

/** What of `ranges` lies in none of `taken`. Both are merged and ascending. */
export function without(ranges: readonly CursorRange[], taken: readonly CursorRange[]): [Cursor, Cursor][] {
  const left: [Cursor, Cursor][] = [];
  let at = 0;
  for (const [from, to] of ranges) {
    let start = from;
    while (at < taken.length && taken[at]![1] <= start) at += 1;
    for (let next = at; start < to; next += 1) {
      const hole = taken[next];
      if (hole === undefined || hole[0] >= to) {
        left.push([start, to]);
        break;
      }
      if (hole[0] > start) left.push([start, hole[0]]);
      if (hole[1] > start) start = hole[1];
    }
  }
  return left;
}
