/**
 * Whether each delivered line is what a proven delivery brought: equal to the canonical form of a body whose signature holds.
 * Whoever may write to the stream can put a copy of an event there that nobody signed; the line must not be that one.
 */
import { createHash } from 'node:crypto';
import { canonicalJson } from '../../shared/json/canonical-json.ts';
import { memberText } from '../../shared/json/json-text.ts';
import { keyText, type SortBudget, type SortedEntry, type Sorter, sortKey } from '../staging/external-sort.ts';

export interface LineProof {
  /** A line of a part. */
  addLine(id: string, kind: 'stripe' | 'events', line: string): void;
  /** A delivery that was there when its event was archived, and whether its signature holds. */
  addDelivery(id: string, body: string, holds: boolean): void;
  /** Ids of lines that have proven deliveries, and equal none of them. */
  contradicted(): Generator<string, void, void>;
  close(): void;
}

export function openLineProof(budget: SortBudget): LineProof {
  const lines = budget.sorter();
  const deliveries = budget.sorter();
  return {
    addLine(id, kind, line) {
      // Of other sources the line is a CloudEvent around what was delivered.
      lines.add(sortKey(id), [hashOf(kind === 'stripe' ? line : (memberText(line, 'data') ?? ''))]);
    },
    addDelivery(id, body, holds) {
      if (holds) deliveries.add(sortKey(id), [hashOf(canonicalOf(body))]);
    },
    *contradicted() {
      const proven = groups(deliveries);
      let group = proven.next();
      for (const { key, payload } of lines.sorted()) {
        while (group.done !== true && group.value.key < key) group = proven.next();
        if (group.done === true) return;
        if (group.value.key !== key) continue;
        if (!group.value.hashes.some((hash) => hash.equals(payload))) yield keyText(key);
      }
    },
    close() {
      lines.close();
      deliveries.close();
    },
  };
}

function* groups(sorter: Sorter): Generator<{ key: string; hashes: Buffer[] }, void, void> {
  let group: { key: string; hashes: Buffer[] } | undefined;
  for (const { key, payload } of sorter.sorted() as Iterable<SortedEntry>) {
    if (group?.key !== key) {
      if (group !== undefined) yield group;
      group = { key, hashes: [] };
    }
    // Copies of one body are one.
    if (!group.hashes.some((hash) => hash.equals(payload))) group.hashes.push(Buffer.from(payload));
  }
  if (group !== undefined) yield group;
}

function canonicalOf(body: string): string {
  try {
    return canonicalJson(body);
  } catch {
    return '';
  }
}

function hashOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
