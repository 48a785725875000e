/** Deletes objects of a store in a directory. */
import fs from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { DaybookError } from '../../errors.ts';
import { syncFolder } from '../../files/folder.ts';
import type { ObjectRemover } from '../store.ts';
import { refuseMalformed, storeErrorOf } from './store.ts';

export function openDirectoryRemover(root: string): ObjectRemover {
  const location = resolve(root);
  return {
    async remove(key) {
      refuseMalformed(key);
      const path = join(location, key);
      try {
        await fs.unlink(path);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code !== 'ENOENT') throw removalErrorOf(error, key, location);
      }
      // Dies here: the object may be back after a power cut. A repeat finds it, or finds nothing and goes on.
      try {
        await syncFolder(dirname(path));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw storeErrorOf(error, location);
      }
      return 'removed';
    },
    async close() {},
  };
}

/** What stands in the way of this one object: a folder without write permission, an immutable file, a folder in its place. */
const refusals = new Set(['EACCES', 'EPERM', 'EISDIR', 'ENOTDIR']);

function removalErrorOf(error: unknown, key: string, location: string): DaybookError {
  const { code = '' } = error as NodeJS.ErrnoException;
  if (!refusals.has(code)) return storeErrorOf(error, location);
  return new DaybookError('removal_refused', { detail: `${key}: ${code}`, cause: error });
}
