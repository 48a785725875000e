/**
 * A file that people and programs read while it is replaced: it has its old content or the new one, whole, at any moment and
 * after a power cut. The new one is written to `.daybook-<random>.partial` beside it, fsynced, then renamed over it.
 */
import { randomUUID } from 'node:crypto';
import fs, { type Stats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DaybookError } from '../errors.ts';
import { syncFolder } from './folder.ts';

/**
 * Mode and owner stay. A symbolic link stays too: what it leads to is replaced. Resolves when the new content would survive
 * a power cut. `before` is what the caller has read.
 * @throws DaybookError `file_changed` where somebody else has changed it since; `output_failed`, with what is there then
 */
export async function replaceFile(path: string, before: Uint8Array, content: string): Promise<void> {
  let temporary: string | undefined;
  let isReplaced = false;
  try {
    const target = await fs.promises.realpath(path);
    const beside = join(dirname(target), `.daybook-${randomUUID()}.partial`);
    const file = await fs.promises.open(beside, 'wx', 0o600);
    temporary = beside;
    try {
      await file.writeFile(content);
      await giveTo(file, await fs.promises.stat(target));
      await file.sync();
    } finally {
      await file.close();
    }
    // Dies here: the file is as it was; the new content lies beside it under a name that nobody looks at.

    // Nothing of this process comes between the two. A change of another's in these microseconds would be lost.
    if (!fs.readFileSync(target).equals(before))
      throw new DaybookError('file_changed', { detail: `${path} has changed` });
    fs.renameSync(beside, target);
    isReplaced = true;
    // Dies here: the new content is there; a power cut may bring the old one back, whole.
    await syncFolder(dirname(target));
  } catch (error) {
    if (temporary !== undefined && !isReplaced) await fs.promises.rm(temporary, { force: true }).catch(() => {});
    throw failed(path, isReplaced, error);
  }
}

/** The file belongs to whom `like` belongs to, and has its mode. */
export async function giveTo(file: FileHandle, { uid, gid, mode }: Stats): Promise<void> {
  const own = await file.stat();
  if (own.uid !== uid || own.gid !== gid) await file.chown(uid, gid);
  await file.chmod(mode & 0o7777);
}

function failed(path: string, isReplaced: boolean, error: unknown): DaybookError {
  if (error instanceof DaybookError) return error;
  const { code = 'unknown' } = error as NodeJS.ErrnoException;
  const detail = isReplaced
    ? `${path} has its new content, but whether that would survive a power cut is not known: ${code}`
    : `${path} cannot be replaced, and is as it was: ${code}`;
  const hint =
    code === 'EROFS' || code === 'EBUSY'
      ? 'It is on a mount that cannot be written, such as a Secret of Kubernetes: change it where it is made.'
      : 'Mend the cause: its folder must be writable by this user, who must be able to give the new file to the owner of the old.';
  return new DaybookError('output_failed', { detail, ...(isReplaced ? {} : { hint }), cause: error });
}
