/** What a day's exceptions say (FORMAT.md, Exceptions), against the manifests and the day's ids. Pure. */
import { isThinEvent } from '../../shared/schemes/stripe-thin-events.ts';
import { type ComparedMember, stripeDifference } from '../day/differences.ts';
import type { DayState } from '../ledger/ledger.ts';
import type { DayEntry } from '../ledger/manifest.ts';
import { keyText, type Sorter, sortKey } from '../staging/external-sort.ts';
import type { Findings } from './breaks.ts';
import { isCanonical, type LineChecker, readObject } from './verify-lines.ts';

export type StatedExceptions = DayState['exceptions'][number];

/** What is wrong with the numbers that an entry gives of its exceptions. `before`: the day without it. */
export function* wrongExceptions(before: DayState | undefined, entry: DayEntry): Generator<string, void, void> {
  const { exceptions, listedAt, counts, missing } = entry;
  // A manifest from before there were such objects.
  if (exceptions === undefined) return;
  const isNewlyListed = listedAt !== null && listedAt !== before?.listedAt;
  const listing = exceptions?.listedAt ?? null;
  if (listing !== null && listing !== listedAt) yield `exceptions of a listing at ${listing}, not at ${listedAt}`;
  if (exceptions !== null && listing === null && isNewlyListed) yield 'exceptions that are not of its listing';
  const isListed = isNewlyListed || listing !== null;
  const { notListed, differing, missing: lacking } = exceptions?.counts ?? { notListed: 0, differing: 0, missing: 0 };
  const counted = before?.counts ?? { notListed: null, differing: 0 };
  const whole = isListed ? notListed : counted.notListed === null ? null : counted.notListed + notListed;
  // Two runs may list a day at one instant, and the second find nothing: then it has no object to say so.
  const isCleared = exceptions === null && listedAt !== null && counts.notListed === 0;
  if (counts.notListed !== whole && !isCleared) {
    yield `notListed ${counts.notListed}, and ${notListed} in its exceptions where there were ${counted.notListed}`;
  }
  if (counts.differing !== counted.differing + differing) {
    yield `differing ${counts.differing}, and ${differing} in its exceptions where there were ${counted.differing}`;
  }
  const lost = exceptions?.counts.lostAfter2xx ?? 0;
  const lostInAll = (before?.counts.lostAfter2xx ?? 0) + lost;
  if ((counts.lostAfter2xx ?? 0) !== lostInAll) {
    yield `lostAfter2xx ${counts.lostAfter2xx ?? 0}, and ${lost} in its exceptions where there were ${lostInAll - lost}`;
  }
  const named = isListed ? missing : missing.filter((id) => before?.missing.includes(id) !== true);
  if (named.length !== lacking) yield `${named.length} missing to be named, and ${lacking} in its exceptions`;
}

/** How many lines an object has, of whatever kinds. */
export function linesOfExceptions({ counts }: StatedExceptions): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

/** What an id's kind says of it. Further kinds are let pass: a later version may write them. */
const kinds = ['differing', 'missing', 'not_listed', 'listed_body', 'lost_after_2xx'] as const;

/** The lines of one object: canonical, sorted by (kind, id), as many of each kind as its manifest says. */
export function exceptionsChecker(
  object: StatedExceptions,
  onId: (id: string, kind: number) => void,
): { readonly each: LineChecker; end(findings: Findings): void } {
  const found = new Map<string, number>();
  let before: string | undefined;
  return {
    each(line, number, findings) {
      const exception = readObject(line);
      const { kind, id } = exception ?? {};
      if (exception === undefined || !isCanonical(line) || typeof kind !== 'string' || typeof id !== 'string') {
        findings.add('content_wrong', 'is not an exception', number);
        return;
      }
      const place = sortKey(`${kind}\0${id}`);
      if (before !== undefined && before >= place) findings.add('content_wrong', 'is out of order', number);
      before = place;
      found.set(kind, (found.get(kind) ?? 0) + 1);
      if (kind === 'differing' && !isContradiction(id, exception)) {
        findings.add('content_wrong', 'has not two copies of the event that differ as it says', number);
      }
      if (kind === 'listed_body' && !isListedBody(id, exception)) {
        findings.add('content_wrong', 'has not the body of its thin event', number);
      }
      if (kind === 'missing' && !object.lacking.includes(id)) {
        findings.add('content_wrong', 'is missing, but not by its manifest', number);
      }
      const known = (kinds as readonly string[]).indexOf(kind);
      if (known >= 0) onId(id, known);
    },
    end(findings) {
      for (const [name, count] of Object.entries(object.counts)) {
        // not_listed is counted as notListed.
        const kind = name.replace(/[A-Z]|\d+/g, (part) => `_${part.toLowerCase()}`);
        if ((found.get(kind) ?? 0) === count) continue;
        findings.add('content_wrong', `has ${found.get(kind) ?? 0} lines of ${kind} instead of ${count}`);
      }
    },
  };
}

/**
 * The night's own comparison, made again, where both bodies are there. What other sources' copies are compared by is more
 * than their bodies.
 */
function isContradiction(id: string, { copies, differ }: Record<string, unknown>): boolean {
  if (!Array.isArray(copies) || copies.length !== 2 || !Array.isArray(differ)) return false;
  const sides = copies as ({ readonly body?: unknown; readonly sha256?: unknown } | null)[];
  if (sides.some((side) => typeof (side?.body ?? side?.sha256) !== 'string')) return false;
  const bodies = sides.map((side) => side?.body);
  const isLine = differ.length === 1 && (differ[0] as ComparedMember) === 'line';
  if (isLine || bodies.includes(undefined)) return true;
  const [one, other] = bodies as [string, string];
  try {
    if (bodies.some((body) => JSON.parse(body as string).id !== id)) return false;
    const recomputed = stripeDifference(one, other);
    return recomputed.length > 0 && JSON.stringify(recomputed) === JSON.stringify(differ);
  } catch {
    return false;
  }
}

function isListedBody(id: string, { body, sha256 }: Record<string, unknown>): boolean {
  if (typeof body !== 'string') return typeof sha256 === 'string';
  const event = readObject(body);
  return event?.id === id && isThinEvent(event) && (event.data != null || event.changes != null);
}

/** Ids of exceptions, to be held against those of the day. */
export interface NotedIds {
  /** Notes ids of one object, which a manifest of that number names. */
  of(object: StatedExceptions): (id: string, kind: number) => void;
  /**
   * Per object what is wrong. `known` has the day's ids, each with the number of its manifest: what differs or is not
   * listed is archived by then, what is missing is not. `delivered` has ids of deliveries, in the same order, each with the
   * number of the manifest that names them: what is lost has none by then.
   */
  compare(
    known: Sorter,
    delivered: Iterable<NumberedId>,
  ): { readonly object: StatedExceptions; readonly message: string }[];
}

export interface NumberedId {
  /** Its sort key. */
  readonly key: string;
  readonly manifest: number;
}

export function openNotedIds(noted: Sorter): NotedIds {
  const objects: StatedExceptions[] = [];
  return {
    of(object) {
      const index = objects.push(object) - 1;
      const payload = Buffer.alloc(5);
      payload.writeUInt32BE(index);
      return (id, kind) => {
        payload[4] = kind;
        noted.add(sortKey(id), [payload]);
      };
    },
    compare(known, delivered) {
      const wrong = new Map<
        string,
        { object: StatedExceptions; kind: string; first: string; more: number; why: string }
      >();
      const events = known.sorted();
      let event = events.next();
      const deliveries = delivered[Symbol.iterator]();
      let delivery = deliveries.next();
      let earliest: NumberedId | undefined;
      const deliveredIn = (key: string): number => {
        for (; delivery.done !== true && delivery.value.key <= key; delivery = deliveries.next()) {
          const isEarlier = earliest?.key !== delivery.value.key || delivery.value.manifest < earliest.manifest;
          if (isEarlier) earliest = delivery.value;
        }
        return earliest?.key === key ? earliest.manifest : Number.POSITIVE_INFINITY;
      };
      for (const { key, payload } of noted.sorted()) {
        while (event.done !== true && event.value.key < key) event = events.next();
        const [index, kind] = [payload.readUInt32BE(), kinds[payload[4]!]!];
        const object = objects[index]!;
        const isArchived =
          event.done !== true && event.value.key === key && event.value.payload.readUInt32BE() <= object.manifest;
        const isHere = kind === 'lost_after_2xx' && deliveredIn(key) <= object.manifest;
        if (isArchived === (kind !== 'missing') && !isHere) continue;
        const why = isHere ? 'has a delivery' : kind === 'missing' ? 'is archived' : 'is not an event of the day';
        const before = wrong.get(`${index} ${kind} ${why}`);
        if (before === undefined)
          wrong.set(`${index} ${kind} ${why}`, { object, kind, first: keyText(key), more: 0, why });
        else before.more += 1;
      }
      events.return();
      deliveries.return?.();
      return [...wrong.values()].map(({ object, kind, first, more, why }) => {
        const others = more === 0 ? '' : ` (and ${more} more)`;
        return { object, message: `says ${kind} of ${first}${others}, which ${why}` };
      });
    },
  };
}
