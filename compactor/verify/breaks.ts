/** What `verify` finds wrong in an archive: each break names the manifest that the truth was to be found in, and the key. */
import type { Day } from '../../shared/clock.ts';
import type { ErrorCode } from '../../shared/errors.ts';

export type BreakCode = Extract<
  ErrorCode,
  | 'ledger_broken'
  | 'signer_unknown'
  | 'signer_retired'
  | 'archive_empty'
  | 'head_unexpected'
  | 'anchor_wrong'
  | 'claims_wrong'
  | 'object_key_invalid'
  | 'object_missing'
  | 'object_damaged'
  | 'object_misnamed'
  | 'sealed_unreadable'
  | 'line_too_long'
  | 'ids_wrong'
  | 'id_twice'
  | 'counts_wrong'
  | 'content_wrong'
  | 'delivery_unproven'
  | 'prune_wrong'
>;

/** What is wrong with one object, or one day. */
export interface Finding {
  readonly code: BreakCode;
  readonly message: string;
}

export interface Break extends Finding {
  readonly manifest: number;
  readonly key: string;
}

export interface Breaks {
  add(found: Break, where?: { readonly source: string; readonly day: Day }): void;
  /** The first of them, ordered by manifest, then by source and day, whatever was looked into first. */
  list(): readonly Break[];
  /** How many more there are than the list holds. */
  omitted(): number;
  countOf(source: string, day: Day): number;
}

/** Keeps the breaks of the lowest manifests, `maxKept` at least and twice as many at most. */
export function openBreaks(maxKept = 1000): Breaks {
  let kept: { readonly found: Break; readonly place: string }[] = [];
  let total = 0;
  const counts = new Map<string, number>();
  // A stable sort: what was found first in a day stays first.
  const sort = () =>
    kept.sort((a, b) => a.found.manifest - b.found.manifest || (a.place === b.place ? 0 : a.place < b.place ? -1 : 1));
  return {
    add(found, where) {
      // What belongs to no day comes last: no source begins with it.
      const place = where === undefined ? '~' : `${where.source}/${where.day}`;
      kept.push({ found, place });
      total += 1;
      if (kept.length > 2 * maxKept) kept = sort().slice(0, maxKept);
      if (where !== undefined) counts.set(place, (counts.get(place) ?? 0) + 1);
    },
    list: () =>
      sort()
        .slice(0, maxKept)
        .map(({ found }) => found),
    omitted: () => Math.max(0, total - Math.min(kept.length, maxKept)),
    countOf: (source, day) => counts.get(`${source}/${day}`) ?? 0,
  };
}

/** Findings of one object: of each rule that lines break, the first line and how many more there are. */
export function openFindings() {
  const found = new Map<string, { code: BreakCode; line: number | undefined; more: number }>();
  return {
    add(code: BreakCode, message: string, line?: number): void {
      const before = found.get(message);
      if (before === undefined) found.set(message, { code, line, more: 0 });
      else before.more += 1;
    },
    list(): Finding[] {
      return [...found].map(([message, { code, line, more }]) => ({
        code,
        message: `${line === undefined ? '' : `line ${line}: `}${message}${more === 0 ? '' : ` (and ${more} more)`}`,
      }));
    },
  };
}

export type Findings = ReturnType<typeof openFindings>;
