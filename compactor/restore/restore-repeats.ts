/**
 * Ids that more than one part holds. The archive promises that there is none (of Stripe ever, of others within the window
 * of the look-up); where it was broken a restore still gives each event once, and says so.
 */

import { DaybookError } from '../../shared/errors.ts';
import { isCloudEventLine } from '../../shared/event-line.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import { idsOf } from '../day/archived-ids.ts';
import { keyText, type SortBudget, sortKey } from '../staging/external-sort.ts';
import { isSeen, looksLikeStripe } from '../verify/verify-ids.ts';
import type { SelectedPart } from './restore-selection.ts';

/** They are in memory; an archive with more is not repaired by leaving lines out. */
const maxRepeated = 100_000;

type RepeatedIds = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * Per source the ids that are repeated in its parts, by their `ids.gz`. `damaged` is told of each that cannot be read:
 * ids that it alone repeats are not found. @throws DaybookError `id_twice` where there are too many
 */
export async function findRepeatedIds(
  store: ObjectStore,
  parts: readonly SelectedPart[],
  budget: SortBudget,
  damaged: (part: SelectedPart, error: unknown) => void,
  progress: (ids: number) => void,
): Promise<RepeatedIds> {
  const repeated = new Map<string, ReadonlySet<string>>();
  const sources = new Set(parts.map(({ source }) => source));
  let read = 0;
  for (const source of sources) {
    const own = parts.filter((part) => part.source === source);
    if (own.length < 2) continue;
    const sorter = budget.sorter();
    try {
      for (const [index, part] of own.entries()) {
        const place = Buffer.alloc(4);
        place.writeUInt32BE(index);
        try {
          for await (const id of idsOf(store, part.ids)) {
            sorter.add(sortKey(id), [place]);
            read += 1;
            if (read % 10_000 === 0) progress(read);
          }
        } catch (error) {
          damaged(part, error);
        }
      }
      const ids = new Set<string>();
      for (const id of repeatedIn(sorter.sorted(), own)) {
        ids.add(id);
        if (ids.size <= maxRepeated) continue;
        throw new DaybookError('id_twice', { detail: `more than ${maxRepeated} ids of ${source} are archived twice` });
      }
      if (ids.size > 0) repeated.set(source, ids);
    } finally {
      sorter.close();
    }
  }
  return repeated;
}

function* repeatedIn(
  sorted: Iterable<{ readonly key: string; readonly payload: Buffer }>,
  parts: readonly SelectedPart[],
): Generator<string, void, void> {
  let last: string | undefined;
  let places: SelectedPart[] = [];
  const isRepeated = () => {
    if (places.length < 2 || last === undefined) return false;
    return looksLikeStripe.test(last) || places.some((a) => places.some((b) => a !== b && isCopy(a, b)));
  };
  for (const { key, payload } of sorted) {
    if (key !== last) {
      if (isRepeated()) yield keyText(last!);
      last = key;
      places = [];
    }
    places.push(parts[payload.readUInt32BE()]!);
  }
  if (isRepeated()) yield keyText(last!);
}

interface Place {
  readonly manifest: number;
  readonly day: string;
}

/** Whether the run that wrote the later one must have found the other, if the event is none of Stripe's. */
function isCopy(a: Place, b: Place): boolean {
  const isLater = a.manifest === b.manifest ? a.day > b.day : a.manifest > b.manifest;
  return isLater ? isSeen(a, b) : isSeen(b, a);
}

export interface RepeatGuard {
  /** Tells of each line of a part whether it is the event's first; undefined where all are. */
  of(part: SelectedPart): ((line: Buffer) => boolean) | undefined;
  /** Lines that were not first ones. */
  leftOut(): number;
}

/** Of a repeated id the line that is restored first counts, so that a damaged part takes no event with it. */
export function openRepeatGuard(repeated: RepeatedIds): RepeatGuard {
  const seen = new Map<string, Place[]>();
  let leftOut = 0;
  return {
    of(part) {
      const ids = repeated.get(part.source);
      if (ids === undefined) return undefined;
      return (line) => {
        const event = JSON.parse(line.toString()) as { id: string };
        const { id } = event;
        if (!ids.has(id)) return true;
        const name = `${part.source} ${id}`;
        const places = seen.get(name) ?? [];
        if (places.some((place) => !isCloudEventLine(event) || isCopy(part, place))) {
          leftOut += 1;
          return false;
        }
        seen.set(name, [...places, part]);
        return true;
      };
    },
    leftOut: () => leftOut,
  };
}
