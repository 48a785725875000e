/** Stream records that are no envelope: kept as they came, encrypted, with the reason. Not lost, never blocking. */
import { join } from 'node:path';
import type { QuarantineObject } from './manifest.ts';
import type { Night } from './night.ts';
import { openSealed, type Sealing } from './seal-object.ts';
import { storeObject } from './store-object.ts';

export interface Quarantine {
  add(line: string): Promise<void>;
  seal(): Promise<QuarantineObject[]>;
}

export function openQuarantine(night: Pick<Night, 'stagingDirectory' | 'recipients' | 'store' | 'prefix'>): Quarantine {
  let sealing: Sealing | undefined;
  return {
    async add(line) {
      sealing ??= openSealed({ path: join(night.stagingDirectory, 'quarantine'), recipients: night.recipients });
      await sealing.write(line);
    },
    async seal() {
      if (sealing === undefined) return [];
      const sealed = await sealing.finish();
      const key = await storeObject(night.store, `${night.prefix}quarantine/`, '.jsonl.gz.age', sealed);
      return [{ key, records: sealed.lines, sha256: sealed.sha256 }];
    },
  };
}
