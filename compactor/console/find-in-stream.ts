/** Records of one event in the stream: those that wait first, then the others that it still keeps, as far as there is time. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { messageOf } from '../../shared/errors.ts';
import { lookFor } from '../../shared/event-sighting.ts';
import type { Cursor, EventStreamReader, StreamEntry } from '../../shared/stream/stream.ts';
import type { StreamPosition } from '../ledger/manifest.ts';
import type { StreamSearch } from './event-shapes.ts';
import type { Trouble } from './shapes.ts';

const maxRecords = 100;

export type MutableSearch = { -readonly [K in keyof StreamSearch]: StreamSearch[K] } & {
  records: StreamSearch['records'][number][];
};

export function startStreamSearch(): MutableSearch {
  return { records: [], looked: 0, isWaitingWhole: false, isWhole: false, trouble: null };
}

/** Fills `search`, so that what was found is there though the stream hangs or fails later. `isOver`: there is no more time. */
export async function findInStream(
  stream: EventStreamReader,
  ledger: StreamPosition | undefined,
  id: string,
  isOver: () => boolean,
  search: MutableSearch,
): Promise<void> {
  const snapshot = await stream.snapshot();
  const known = ledger?.id === snapshot.id ? ledger.partitions : {};
  const sightingIn = lookFor(id);

  async function pass(isWanted: (next: Cursor | undefined, entry: StreamEntry) => boolean, isWaiting: boolean) {
    for (const [partition, { start }] of snapshot.partitions) {
      const position = known[partition];
      const next = position === undefined ? undefined : BigInt(position.next);
      if (!isWaiting && next === undefined) continue;
      for await (const { entries } of stream.read(partition, isWaiting ? next : start, snapshot)) {
        let isBehind = false;
        for (const entry of entries) {
          isBehind = !isWanted(next, entry);
          if (isBehind) break;
          search.looked += 1;
          const record = sightingIn(entry.value);
          if (record === undefined || search.records.length >= maxRecords) continue;
          const isDone = isWithin(entry, position);
          search.records.push({ ...record, partition, position: String(entry.position), isDone });
        }
        if (isBehind) break;
        if (isOver()) return false;
        // A stream in a file answers without a pause: others are to have their turn.
        await nextTurn();
      }
    }
    return true;
  }

  search.isWaitingWhole = await pass(() => true, true);
  if (!search.isWaitingWhole) return;
  search.isWhole = await pass((next, { before }) => next !== undefined && before < next, false);
}

function isWithin(entry: StreamEntry, position: StreamPosition['partitions'][string] | undefined): boolean {
  if (position === undefined) return false;
  if (entry.after <= BigInt(position.next)) return true;
  return position.done.some(([from, to]) => BigInt(from) <= entry.before && entry.after <= BigInt(to));
}

export function streamTrouble(error: unknown): Trouble {
  const { code } = Object(error) as { code?: unknown };
  return { code: typeof code === 'string' ? code : 'internal_error', message: messageOf(error) };
}
