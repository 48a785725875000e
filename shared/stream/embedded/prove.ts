/**
 * Whether what lies in the stream's file can be read back. SQLite takes appends on a file whose older pages are damaged (a
 * copy put in the place of the file, its newer log still beside it), so that an append alone proves nothing.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { DaybookError } from '../../errors.ts';
import { openStreamFile, streamErrorOf, writerBusyTimeoutMs } from './file.ts';
import { cursorOf, prepareReads, readBatch } from './read.ts';

/** Of each partition, where not all is read. */
const newestRecords = 64n;

/**
 * Reads the records as the compactor will, on a connection of its own: what the writer's holds in memory proves nothing
 * either. `all`: every record that is kept; else the newest of each partition. Others have their turn in between.
 * @throws DaybookError `stream_unreadable`, or `stream_unavailable` where it could not be tried
 */
export async function proveReadable(directory: string, all: boolean): Promise<void> {
  try {
    const file = await openStreamFile(directory, writerBusyTimeoutMs);
    try {
      const { selectBounds, partitions } = prepareReads(file);
      for (const row of selectBounds.all()) {
        const first = cursorOf(row.first);
        const end = cursorOf(row.next);
        const newest = end - newestRecords;
        let cursor = all || newest < first ? first : newest;
        while (cursor < end) {
          const { entries } = readBatch(partitions.get(`${row.number}`)!.selectFrom, cursor, end);
          const after = entries.at(-1)?.after;
          // The compactor drops old records from the low end meanwhile, but never the newest.
          if (after === undefined) throw unreadable(`partition ${row.number} has no records from ${cursor} on`);
          cursor = after;
          await turn();
        }
      }
    } finally {
      file.database.close();
    }
  } catch (error) {
    const failure = streamErrorOf(error);
    throw failure.code === 'stream_damaged' ? unreadable(failure.message, failure) : failure;
  }
}

function unreadable(detail: string, cause?: unknown): DaybookError {
  return new DaybookError('stream_unreadable', { detail, cause });
}
