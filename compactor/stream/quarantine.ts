/** Stream records that are not envelopes (FORMAT.md, Quarantine): kept as they came, with the reason. Not lost, never blocking. */
import { join } from 'node:path';
import type { Cursor } from '../../shared/stream/stream.ts';
import type { CursorRange } from '../ledger/cursor-ranges.ts';
import type { QuarantineObject } from '../ledger/manifest.ts';
import type { Night } from '../night.ts';
import { openSealed, type Sealing } from '../objects/seal-object.ts';
import { storeObject } from '../objects/store-object.ts';

export interface Quarantine {
  add(line: string, partition: string, range: CursorRange): Promise<void>;
  seal(): Promise<SealedQuarantine>;
}

export interface SealedQuarantine {
  readonly objects: readonly QuarantineObject[];
  /** Where the object could not be written: why, and the records, which are read again. No day waits for them. */
  readonly failure?: unknown;
  readonly pending: ReadonlyMap<string, readonly CursorRange[]>;
}

export function openQuarantine(night: Pick<Night, 'stagingDirectory' | 'recipients' | 'store' | 'prefix'>): Quarantine {
  let sealing: Sealing | undefined;
  const ranges = new Map<string, [Cursor, Cursor][]>();
  return {
    async add(line, partition, [before, after]) {
      sealing ??= openSealed({ path: join(night.stagingDirectory, 'quarantine'), recipients: night.recipients });
      await sealing.write(line);
      const into = ranges.get(partition) ?? [];
      ranges.set(partition, into);
      into.push([before, after]);
    },
    async seal() {
      if (sealing === undefined) return { objects: [], pending: new Map() };
      try {
        const sealed = await sealing.finish();
        const key = await storeObject(night.store, `${night.prefix}quarantine/`, '.jsonl.gz.age', sealed, () => false);
        return { objects: [{ key, records: sealed.lines, sha256: sealed.sha256 }], pending: new Map() };
      } catch (failure) {
        return { objects: [], failure, pending: ranges };
      }
    },
  };
}
