import type { AppendRecord } from '../shared/stream/stream.ts';
import type { GroupCommit } from './group-commit.ts';

/** Where a request's records go. `deadlineMs` is how long it waits for the stream. */
export interface Publishing {
  readonly groupCommit: GroupCommit;
  readonly deadlineMs: number;
}

/**
 * Resolves when every record is durable, and not before: only then may a sender get its 2xx. Rejects with
 * `stream_unavailable` or `overloaded` (503, Retry-After) where that cannot be said in time; the records may be in the
 * stream all the same, since an acknowledgement can come late or be lost. Senders repeat and the compactor dedupes.
 */
export async function publishOrSpool(records: readonly AppendRecord[], publishing: Publishing): Promise<void> {
  // Dies here: nothing is stored and nothing was answered. The sender repeats.
  await publishing.groupCommit.append(records, publishing.deadlineMs);
  // Dies here: all is stored and nothing was answered. The sender repeats; its copy is one more delivery of the same id.
}
