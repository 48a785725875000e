/** The statements that read the stream's file, and batches of what they find. */
import type { Cursor, StreamBatch, StreamEntry } from '../stream.ts';
import { type StreamFile, streamErrorOf } from './file.ts';

export const batchRows = 1_000;
/** A batch ends with the record that reaches this. */
const batchBytes = 512 * 1024;

type Statement = ReturnType<StreamFile['database']['prepare']>;

export function prepareReads({ database, partitions }: StreamFile) {
  const numbers = Array.from({ length: partitions }, (_, number) => number);
  const boundsOf = (number: number) =>
    `SELECT number, next, coalesce((SELECT min(position) FROM records_${number}), next) AS first
      FROM partitions WHERE number = ${number}`;
  const statementsOf = (number: number) => ({
    number,
    selectFrom: selectFrom(number),
    selectAt: database.prepare(`SELECT appended, value FROM records_${number} WHERE position = ?`),
  });
  function selectFrom(number: number): Statement {
    const statement = database.prepare(`SELECT position, appended, value FROM records_${number}
      WHERE position >= ? AND position < ? ORDER BY position LIMIT ${batchRows}`);
    // An object for each row costs a fifth of the reading.
    statement.setReturnArrays(true);
    return statement;
  }
  return {
    selectCommitted: database.prepare('SELECT partition, position FROM committed WHERE consumer = ?'),
    // One statement, so one moment for all partitions.
    selectBounds: database.prepare(numbers.map(boundsOf).join(' UNION ALL ')),
    partitions: new Map(numbers.map((number) => [`${number}`, statementsOf(number)])),
  };
}

/** The records from a cursor (undefined: the oldest kept), and what is missing before them. Both empty at the end. */
export function readBatch(selectFrom: Statement, from: Cursor | undefined, end: Cursor): StreamBatch {
  const entries: StreamEntry[] = [];
  let bytes = 0;
  try {
    for (const row of selectFrom.iterate(Number(from ?? 0n), Number(end))) {
      const [number, appendedMs, value] = row as unknown as [number, number, Uint8Array];
      const position = cursorOf(number);
      entries.push({ before: position, after: position + 1n, position, value, appendedMs });
      bytes += value.byteLength;
      if (bytes >= batchBytes) break; // ends the read transaction, too
    }
  } catch (error) {
    throw streamErrorOf(error);
  }
  // Rows go from the low end only: whatever is missing is missing before the first.
  const first = entries[0]?.before ?? end;
  return from !== undefined && from < first ? { entries, hole: { from, to: first } } : { entries };
}

export function cursorOf(value: unknown): Cursor {
  return BigInt(value as number);
}
