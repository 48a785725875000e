/**
 * A local file that is made whole or not at all, and never over another. It is written to `.daybook-<random>.partial`
 * beside its place, fsynced, then linked to its name: link(2) is atomic and refuses a name that is there.
 */
import { randomUUID } from 'node:crypto';
import { rmSync, type Stats } from 'node:fs';
import fs from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DaybookError } from '../errors.ts';
import { syncFolder } from './folder.ts';
import { giveTo } from './replace-file.ts';

export interface NewFile {
  readonly path: string;
  /** @throws DaybookError `output_failed` */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Resolves when the whole file is there under its name and would survive a power cut.
   * @throws DaybookError `output_exists`, `output_failed`; there is no file under the name, or another's
   */
  finish(): Promise<void>;
  /** Removes what was written, unless it was finished. At once, so that it may be called while the program is ending. */
  abandon(): void;
}

/** The file will be 0600, what daybook writes for its user being plaintext; or of the owner and mode of `like`. */
export async function createNewFile(path: string, like?: Stats): Promise<NewFile> {
  await refuseExisting(path);
  const temporary = join(dirname(path), `.daybook-${randomUUID()}.partial`);
  const file = await fs.open(temporary, 'wx', 0o600).catch((error: unknown) => {
    throw failed(path, error);
  });
  let isFinished = false;
  return {
    path,
    async write(bytes) {
      try {
        for (let written = 0; written < bytes.byteLength; ) {
          written += (await file.write(bytes, written)).bytesWritten;
        }
      } catch (error) {
        throw failed(path, error);
      }
    },
    async finish() {
      try {
        if (like !== undefined) await giveTo(file, like);
        await file.sync();
        await file.close();
        // Dies here: the whole of it lies there under a name that nobody looks at; the repeat makes its own.
        await fs.link(temporary, path);
        isFinished = true;
        // Dies here: the file is there and whole, with a second name; a power cut may take both names again.
        await fs.rm(temporary, { force: true });
        await syncFolder(dirname(path));
      } catch (error) {
        throw failed(path, error);
      }
    },
    abandon() {
      if (isFinished) return;
      isFinished = true;
      file.close().catch(() => {});
      rmSync(temporary, { force: true });
    },
  };
}

/**
 * Rejects where something has that name, so that it is told before any work is done; `finish` finds out for certain.
 * @throws DaybookError `output_exists`, `output_failed`
 */
export async function refuseExisting(path: string): Promise<void> {
  let isThere = true;
  try {
    await fs.lstat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw failed(path, error);
    isThere = false;
  }
  if (isThere) throw exists(path);
}

function failed(path: string, error: unknown): DaybookError {
  if (error instanceof DaybookError) return error;
  const { code = 'unknown' } = error as NodeJS.ErrnoException;
  if (code === 'EEXIST') return exists(path);
  const needsLinks = code === 'EPERM' || code === 'ENOTSUP' || code === 'EOPNOTSUPP';
  return new DaybookError('output_failed', {
    detail: `${path} cannot be written: ${code}`,
    ...(needsLinks ? { hint: 'The file system may have no hard links: give a folder on another one.' } : {}),
    cause: error,
  });
}

function exists(path: string): DaybookError {
  return new DaybookError('output_exists', { detail: `${path} is there already` });
}
