import { AppendError } from './append-error.ts';
import type { AppendRecord } from './stream.ts';

export interface Delivery<T> {
  /** In the order of the records. */
  readonly acknowledged: readonly T[];
  /** Records that the stream will never take, each with what it said. */
  readonly refused: ReadonlyMap<T, string>;
  /** Why the others are in neither: the stream is away, or takes nothing for a reason that is none of theirs. */
  readonly failure: unknown;
}

/**
 * Appends records that others wait behind. A record that the stream will never take does not hold up its neighbours:
 * where the stream does not say which one it is, halves are tried until it is alone. Never rejects.
 */
export async function deliverBatch<T extends AppendRecord>(
  records: readonly T[],
  append: (records: readonly T[]) => Promise<void>,
): Promise<Delivery<T>> {
  const left = new Set(records);
  const refused = new Map<T, string>();

  /** Resolves with the failure that ended it, if one did. Records of a key keep their order: nothing goes on past it. */
  async function send(part: readonly T[]): Promise<unknown> {
    if (part.length === 0) return undefined;
    try {
      await append(part);
      for (const record of part) left.delete(record);
      return undefined;
    } catch (error) {
      if (!(error instanceof AppendError)) return error;
      const unacknowledged = new Set(error.unacknowledged);
      for (const [at, record] of part.entries()) if (!unacknowledged.has(at)) left.delete(record);
      for (const at of error.refused) {
        refused.set(part[at]!, error.message);
        left.delete(part[at]!);
      }
      const rest = part.filter((record) => left.has(record));
      if (rest.length === 0) return undefined;
      if (error.retry || part.length === 1) return error;
      if (error.refused.length > 0) return send(rest);
      const half = Math.ceil(rest.length / 2);
      return (await send(rest.slice(0, half))) ?? send(rest.slice(half));
    }
  }

  const failure = await send(records);
  return {
    acknowledged: records.filter((record) => !left.has(record) && !refused.has(record)),
    refused,
    failure,
  };
}
