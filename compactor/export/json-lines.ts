/** Rows as JSON Lines: the columns of the Parquet file, `created` as RFC 3339, and `data` as it stands in the archive. */
import type { RowWriter, TakeBytes } from './row-writer.ts';

const endOfRow = Buffer.from('}\n');

export function openJsonLines(take: TakeBytes): RowWriter {
  let pieces: Buffer[] = [];
  let bytes = 0;

  async function handOver(): Promise<void> {
    const chunk = Buffer.concat(pieces);
    pieces = [];
    bytes = 0;
    await take(chunk);
  }

  return {
    write({ data, created, ...columns }) {
      const { source, id, type, ...others } = columns;
      const time = created === null ? null : new Date(created).toISOString();
      const head = JSON.stringify({ source, id, type, created: time, ...others });
      pieces.push(Buffer.from(`${head.slice(0, -1)},"data":`), data, endOfRow);
      bytes += head.length + data.length;
      return bytes < chunkBytes ? undefined : handOver();
    },
    finish: handOver,
  };
}

const chunkBytes = 256 * 1024;
