/** A stream in memory for tests of the night, and where the records of the books' own stream stand. */
import type { Ledger } from '../../compactor/ledger/ledger.ts';
import { type Day, dayOf } from '../../shared/clock.ts';
import { readEnvelope } from '../../shared/envelope.ts';
import { openEmbeddedReader } from '../../shared/stream/embedded/embedded.ts';
import type { Cursor, EventStreamReader } from '../../shared/stream/stream.ts';
import type { Books } from '../compactor/books.ts';

/** A stream in memory, which a test changes as it likes. */
export interface MemoryStream extends EventStreamReader {
  /** By number: the values, and how many of the oldest have aged out. */
  readonly partitions: { values: Uint8Array[]; start: number }[];
}

export function memoryStream(count: number, batchEntries = 1_000, id = 'memory'): MemoryStream {
  const partitions: MemoryStream['partitions'] = Array.from({ length: count }, () => ({ values: [], start: 0 }));
  let committed: ReadonlyMap<string, Cursor> = new Map();
  return {
    partitions,
    async committed() {
      return committed;
    },
    async snapshot() {
      const bounds = partitions.map(({ values, start }, number) => {
        return [`${number}`, { start: BigInt(start), end: BigInt(values.length) }] as const;
      });
      return { id, partitions: new Map(bounds) };
    },
    async *read(partition, from, snapshot) {
      const { values, start } = partitions[Number(partition)]!;
      const end = Number(snapshot.partitions.get(partition)!.end);
      let at = Math.max(Number(from ?? 0n), start);
      const lost = from !== undefined && from < BigInt(at);
      let hole = lost ? { hole: { from, to: BigInt(Math.min(at, end)) } } : {};
      while (at < end || 'hole' in hole) {
        const entries = values.slice(at, Math.min(at + batchEntries, end)).map((value, index) => {
          const position = BigInt(at + index);
          return { before: position, after: position + 1n, position, value, appendedMs: 0 };
        });
        yield { entries, ...hole };
        hole = {};
        at += entries.length;
      }
    },
    async recordBefore(partition, cursor) {
      const { values, start } = partitions[Number(partition)]!;
      const value = Number(cursor) > start ? values[Number(cursor) - 1] : undefined;
      return value && { value, appendedMs: 0 };
    },
    async commit(positions) {
      committed = new Map([...committed, ...positions]);
    },
    async close() {},
  };
}

export interface StandingRecord {
  readonly id: string;
  readonly source: string;
  readonly day: Day;
  readonly partition: string;
  readonly before: Cursor;
  readonly value: Uint8Array;
  /** Whether the ledger is done with it: it lies below `next` or in a `done` range. */
  readonly isDone: boolean;
}

/** Every record of the books' stream, and how the ledger stands to it. */
export async function standingRecords(books: Books, ledger: Ledger): Promise<StandingRecord[]> {
  const reader = await openEmbeddedReader({ directory: books.directory, consumer: 'look', clock: books });
  try {
    const snapshot = await reader.snapshot();
    const records: StandingRecord[] = [];
    for (const partition of snapshot.partitions.keys()) {
      const position = ledger.stream?.partitions[partition];
      for await (const { entries } of reader.read(partition, undefined, snapshot)) {
        for (const { before, value } of entries) {
          const envelope = readEnvelope(value);
          const [id, source, time] =
            'reason' in envelope
              ? ['', '', '']
              : [envelope.header.id, envelope.header.source, envelope.header.time ?? envelope.header.receivedat];
          const isDone =
            before < BigInt(position?.next ?? 0) ||
            (position?.done ?? []).some(([from, to]) => BigInt(from) <= before && before < BigInt(to));
          records.push({
            id,
            source,
            day: time === '' ? '' : dayOf(Date.parse(time)),
            partition,
            before,
            value,
            isDone,
          });
        }
      }
    }
    return records;
  } finally {
    await reader.close();
  }
}
