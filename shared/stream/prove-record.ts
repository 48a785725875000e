/**
 * Whether a log is still the one in which a record was read. A topic that is deleted and made again keeps its name, a machine
 * that is put back to a snapshot keeps its file's id, and a broker that takes over without the newest records keeps both:
 * new records then get positions that were read before. A log has one history: where a record is the one that was read, all
 * before it is as it was.
 */
import { createHash } from 'node:crypto';
import type { Cursor, EventStreamReader, StoredRecord, StreamSnapshot } from './stream.ts';

/**
 * First 16 hex digits of the SHA-256 of when the stream took a record (ms, in decimal; nothing for Kinesis), a line feed, and
 * its value.
 */
export function markOf({ value, appendedMs }: StoredRecord): string {
  return createHash('sha256')
    .update(`${appendedMs ?? ''}\n`)
    .update(value)
    .digest('hex')
    .slice(0, 16);
}

/**
 * What a partition has of the record that ended at `cursor`: the same record; none, since it has aged out; or it is another
 * log: it has another record there, or ends before it, or keeps older ones and not this. Without `isSame` the record is not
 * looked at. Rejects as the stream's calls do.
 */
export async function proveRecord(
  stream: Pick<EventStreamReader, 'snapshot' | 'recordBefore'>,
  snapshot: StreamSnapshot,
  partition: string,
  cursor: Cursor,
  isSame: ((record: StoredRecord) => boolean) | undefined,
): Promise<'same' | 'aged out' | 'another'> {
  const { start, end } = snapshot.partitions.get(partition)!;
  if (end !== undefined && end < cursor) return 'another';
  const record = isSame && (await stream.recordBefore(partition, cursor));
  if (record !== undefined) return isSame!(record) ? 'same' : 'another';
  if (start === undefined || start >= cursor) return 'aged out';
  // It may have been dropped since the snapshot was made.
  const { start: startNow } = (await stream.snapshot()).partitions.get(partition) ?? {};
  return startNow !== undefined && startNow >= cursor ? 'aged out' : 'another';
}
