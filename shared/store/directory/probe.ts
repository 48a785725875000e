/** Whether a file system does what a directory store needs: hard links that refuse a name which is there. */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs/promises';
import { join } from 'node:path';
import { DaybookError } from '../../errors.ts';
import { syncFolder } from '../../files/folder.ts';
import { linkErrorOf, storeErrorOf } from './store.ts';

const content = 'daybook: this file is here for a moment, so that a second create of it is refused.\n';

/**
 * Does on a small scale what a night does: writes a file, links it to a name, sees a second link refused, reads it back.
 * Resolves if all of it is so, and leaves nothing.
 * @throws DaybookError `store_unavailable`, `store_not_create_only`
 */
export async function proveDirectory(folder: string): Promise<void> {
  const name = join(folder, `.daybook-probe-${randomUUID()}`);
  const linked = `${name}-linked`;
  try {
    await fs.writeFile(name, content, { flag: 'wx', mode: 0o600, flush: true });
    await fs.link(name, linked).catch((error: unknown) => {
      throw linkErrorOf(error, folder);
    });
    // Dies here: two small files are left, which no store takes for objects of its own.
    await syncFolder(folder);
    if (await isTaken(fs.link(name, linked))) {
      if ((await fs.readFile(linked, 'utf8')) === content) return;
      throw new DaybookError('store_unavailable', {
        detail: `${folder} gives back other bytes than it took`,
      });
    }
    throw new DaybookError('store_not_create_only', {
      detail: `${folder} links over a name that is there`,
      hint: 'Put the archive on another file system (ext4, XFS, ZFS, APFS, NTFS, NFS), or use S3. The files of this test are gone again.',
    });
  } catch (error) {
    throw storeErrorOf(error, folder);
  } finally {
    for (const path of [linked, name]) await fs.rm(path, { force: true }).catch(() => undefined);
  }
}

async function isTaken(link: Promise<void>): Promise<boolean> {
  try {
    await link;
    return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return true;
    throw error;
  }
}
