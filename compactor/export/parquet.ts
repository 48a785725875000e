/**
 * Rows as a Parquet file: row groups of about 32 MiB, zstd, `created` as TIMESTAMP in UTC, `data` as JSON whose text is the
 * archive's own, so that numbers stay as they were written.
 */
import { zstdCompressSync } from 'node:zlib';
import { ByteWriter, ParquetWriter, type SchemaElement } from 'hyparquet-writer';
import type { EventRow } from './event-row.ts';
import type { RowWriter, TakeBytes } from './row-writer.ts';

/** Of rows in memory. They and their columns, encoded, come to some four times as much. */
const groupBytes = 32 * 1024 * 1024;
/** What a row takes beside its data. */
const rowBytes = 512;

type Column = Pick<SchemaElement, 'type' | 'converted_type' | 'logical_type'>;
const text: Column = { type: 'BYTE_ARRAY', converted_type: 'UTF8' };

const columns = {
  source: text,
  id: text,
  type: text,
  created: { type: 'INT64', logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MILLIS' } },
  livemode: { type: 'BOOLEAN' },
  account: text,
  api_version: text,
  object_id: text,
  amount: { type: 'INT64' },
  currency: text,
  via: text,
  data: { type: 'BYTE_ARRAY', logical_type: { type: 'JSON' } },
} as const satisfies Record<keyof EventRow, Column>;

const names = Object.keys(columns) as (keyof EventRow)[];
const required: ReadonlySet<string> = new Set<keyof EventRow>(['source', 'id', 'data']);

export function openParquet(take: TakeBytes): RowWriter {
  const bytes = new ByteWriter();
  const schema: SchemaElement[] = [
    { name: 'root', num_children: names.length },
    ...names.map((name): SchemaElement => {
      return { name, ...columns[name], repetition_type: required.has(name) ? 'REQUIRED' : 'OPTIONAL' };
    }),
  ];
  const parquet = new ParquetWriter({
    writer: bytes,
    schema,
    codec: 'ZSTD',
    compressors: { ZSTD: (page) => zstdCompressSync(page) },
    createdBy: 'daybook',
  });
  let rows: EventRow[] = [];
  let held = 0;

  async function handOver(): Promise<void> {
    await take(bytes.getBytes());
    bytes.index = 0;
  }

  async function writeGroup(): Promise<void> {
    const group = rows;
    rows = [];
    held = 0;
    await parquet.write({
      columnData: names.map((name) => ({ name, data: group.map((row) => cellOf(row, name)), ...howTo(name) })),
      rowGroupSize: group.length,
    });
    await handOver();
  }

  return {
    write(row) {
      rows.push(row);
      held += row.data.length + rowBytes;
      return held < groupBytes ? undefined : writeGroup();
    },
    async finish() {
      if (rows.length > 0) await writeGroup();
      // Readers know JSON by this; had it been there before, the library would have written each value as a JSON string.
      schema.at(-1)!.converted_type = 'JSON';
      await parquet.finish();
      await handOver();
    },
  };
}

function cellOf(row: EventRow, name: keyof EventRow): unknown {
  const value = row[name];
  return typeof value === 'number' ? BigInt(value) : value;
}

/** No two values of `data` are equal, and nobody asks for the least of them. */
function howTo(name: keyof EventRow) {
  return name === 'data' ? { encoding: 'PLAIN' as const, statistics: false } : {};
}
