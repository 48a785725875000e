/** Writes over objects of a store in a directory. */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { makeFolder, syncFolder } from '../../files/folder.ts';
import type { ObjectReplacer } from '../store.ts';
import { creating, refuseMalformed, storeErrorOf } from './store.ts';

export function openDirectoryReplacer(root: string): ObjectReplacer {
  const location = resolve(root);
  return {
    async replace(key, bytes) {
      refuseMalformed(key);
      const path = join(location, key);
      const temporary = join(location, creating, randomUUID());
      try {
        await makeFolder(dirname(temporary));
        await makeFolder(dirname(path));
        await fs.writeFile(temporary, bytes, { mode: 0o600, flag: 'wx', flush: true });
        // Dies here: the key is as it was; the leftover goes with those of creates.
        await fs.rename(temporary, path);
        // Dies here: the new bytes are there; a power cut may bring the old ones back, whole.
        await syncFolder(dirname(path));
      } catch (error) {
        throw storeErrorOf(error, location);
      } finally {
        await fs.rm(temporary, { force: true }).catch(() => undefined);
      }
    },
    async close() {},
  };
}
