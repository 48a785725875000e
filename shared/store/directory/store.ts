/**
 * An object store in a directory: the key is the path below the root. An object is written to `.creating/<random>`,
 * fsynced and then linked to its name: link(2) is atomic and refuses a name that is there, so an object is whole as
 * soon as it is seen, and exactly one of any number of creates wins. Names in `.creating` are not keys and never listed;
 * what dead runs left there is removed when it is a day old. Needs a file system with hard links, all on one volume.
 * Files are 0600 and folders 0700: their owner alone can write.
 */
import { randomUUID } from 'node:crypto';
import files, { type Dirent } from 'node:fs';
import fs from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { dayMs } from '../../clock.ts';
import { DaybookError, messageOf } from '../../errors.ts';
import { makeFolder, syncFolder } from '../../files/folder.ts';
import type { ObjectBody, ObjectStore } from '../store.ts';

export const creating = '.creating';
const leftoverAgeMs = dayMs;
const readBytes = 256 * 1024;

/** Touches nothing until it is used; reading alone never writes. */
export function openDirectoryStore(root: string): ObjectStore {
  const location = resolve(root);
  let preparation: Promise<void> | undefined;
  /** Once a store, by the first create; again after a failure. */
  const prepare = () => {
    preparation ??= prepareToCreate(location).catch((error: unknown) => {
      preparation = undefined;
      throw storeErrorOf(error, location);
    });
    return preparation;
  };

  return {
    location,
    async create(key, body) {
      refuseMalformed(key);
      await prepare();
      return createObject(location, key, body);
    },
    async head(key) {
      refuseMalformed(key);
      try {
        const found = await fs.stat(join(location, key));
        return found.isFile() ? { bytes: found.size } : undefined;
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw storeErrorOf(error, location);
      }
    },
    read: (key, range) => readObject(location, key, range),
    list: (prefix) => listKeys(location, prefix),
    async close() {},
  };
}

async function createObject(root: string, key: string, body: ObjectBody): Promise<'created' | 'exists'> {
  const temporary = join(root, creating, randomUUID());
  try {
    await writeDurably(root, temporary, body);
    // Dies here: nothing is seen; the leftover goes when it is a day old.
    const outcome = await linkOnce(root, temporary, join(root, key));
    // Dies here: the whole object may be there or not, nobody was told. A repeat answers `exists` or creates it.
    // An object that was there already may be of a run that died here: its name is made durable all the same.
    await syncUp(dirname(join(root, key)), root);
    return outcome;
  } finally {
    // A failure here leaves what prepareToCreate removes later; the object is no less there.
    await fs.rm(temporary, { force: true }).catch(() => undefined);
  }
}

/** Rejects with the body's own error as it is, if it is the body that fails. */
async function writeDurably(root: string, path: string, body: ObjectBody): Promise<void> {
  let written = 0;
  let bodyError: unknown;
  const chunks = async function* () {
    try {
      for await (const chunk of body.open()) {
        written += chunk.byteLength;
        yield chunk;
      }
    } catch (error) {
      bodyError = error;
      throw error;
    }
  };
  try {
    const file = await fs.open(path, 'wx', 0o600);
    try {
      await file.writeFile(chunks());
      if (written !== body.bytes) {
        throw new DaybookError('store_unavailable', { detail: `the body gave ${written} bytes, not ${body.bytes}` });
      }
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    throw error === bodyError ? error : storeErrorOf(error, root);
  }
}

async function linkOnce(root: string, temporary: string, final: string): Promise<'created' | 'exists'> {
  let errorOf = storeErrorOf;
  try {
    await makeFolder(dirname(final));
    errorOf = linkErrorOf;
    await fs.link(temporary, final);
    return 'created';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw errorOf(error, root);
    return await refuseFolder(root, final);
  }
}

/** A name that is taken: by an object, or by a folder, which stands for keys that go on with `/`. */
async function refuseFolder(root: string, final: string): Promise<'exists'> {
  const found = await fs.stat(final).catch((error: unknown) => {
    throw storeErrorOf(error, root);
  });
  if (found.isFile()) return 'exists';
  throw new DaybookError('store_unavailable', { detail: 'a folder has the name of this object', retry: false });
}

/** Makes the names of a folder durable, and those of every folder above it up to the root. */
async function syncUp(from: string, root: string): Promise<void> {
  try {
    for (let folder = from; folder.length >= root.length; folder = dirname(folder)) await syncFolder(folder);
  } catch (error) {
    throw storeErrorOf(error, root);
  }
}

async function prepareToCreate(root: string): Promise<void> {
  const folder = join(root, creating);
  await makeFolder(folder);
  for (const name of await fs.readdir(folder)) {
    const path = join(folder, name);
    const found = await fs.stat(path).catch(() => undefined);
    // Younger ones may be of a run that is still at work.
    if (found !== undefined && Date.now() - found.mtimeMs > leftoverAgeMs) await fs.rm(path, { force: true });
  }
}

// By callbacks: what fs/promises makes around a file takes longer than to read a small one.

function openToRead(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    files.open(path, 'r', (error, file) => (error === null ? resolve(file) : reject(error)));
  });
}

/** How many bytes there were from the position on. */
function readInto(buffer: Buffer, file: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    files.read(file, buffer, 0, buffer.byteLength, position, (error, count) =>
      error === null ? resolve(count) : reject(error),
    );
  });
}

async function* readObject(
  root: string,
  key: string,
  range: { from: number; to: number } = { from: 0, to: Number.POSITIVE_INFINITY },
): AsyncGenerator<Uint8Array> {
  refuseMalformed(key);
  let file: number | undefined;
  try {
    file = await openToRead(join(root, key));
    // Neither this nor the close waits for a disk, once the file is open: a tenth of the time that asking a thread takes.
    const found = files.fstatSync(file);
    if (!found.isFile()) throw new DaybookError('object_missing', { detail: key });
    const end = Math.min(range.to, found.size);
    for (let position = range.from; position < end; ) {
      const buffer = Buffer.allocUnsafe(Math.min(readBytes, end - position));
      const bytesRead = await readInto(buffer, file, position);
      if (bytesRead === 0) return;
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } catch (error) {
    if (isMissing(error)) throw new DaybookError('object_missing', { detail: key, cause: error });
    throw storeErrorOf(error, root);
  } finally {
    if (file !== undefined) files.closeSync(file);
  }
}

/** One folder's names are in memory at a time, and those of the folders above it. */
async function* listKeys(root: string, prefix: string): AsyncGenerator<string> {
  const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
  if (folder !== '') refuseMalformed(folder.slice(0, -1));
  yield* listFolder(root, folder, prefix.slice(folder.length));
}

/** `folder` is empty or ends with `/`. */
async function* listFolder(root: string, folder: string, nameStart: string): AsyncGenerator<string> {
  const names: { text: string; bytes: Buffer }[] = [];
  for (const entry of await readFolder(root, folder)) {
    if (!entry.name.startsWith(nameStart) || (folder === '' && entry.name === creating)) continue;
    const kind = await kindOf(entry);
    if (kind === undefined) continue;
    // With its slash, since that is how it sorts: `a-b`, then `a/b`, then `a0`.
    const text = kind === 'folder' ? `${entry.name}/` : entry.name;
    names.push({ text, bytes: Buffer.from(text) });
  }
  names.sort((a, b) => Buffer.compare(a.bytes, b.bytes));
  for (const { text } of names) {
    if (text.endsWith('/')) yield* listFolder(root, `${folder}${text}`, '');
    else yield `${folder}${text}`;
  }
}

async function readFolder(root: string, folder: string): Promise<Dirent[]> {
  try {
    return await fs.readdir(join(root, folder), { withFileTypes: true });
  } catch (error) {
    if (isMissing(error)) return [];
    throw storeErrorOf(error, root);
  }
}

/** A symbolic link counts as what it leads to, as it does for `read`. */
async function kindOf(entry: Dirent): Promise<'file' | 'folder' | undefined> {
  const found = entry.isSymbolicLink()
    ? await fs.stat(join(entry.parentPath, entry.name)).catch(() => undefined)
    : entry;
  if (found?.isFile()) return 'file';
  return found?.isDirectory() ? 'folder' : undefined;
}

/** Throws `object_key_invalid`. */
export function refuseMalformed(key: string): void {
  const parts = key.split('/');
  const isMalformed = parts.some((part) => part === '' || part === '.' || part === '..');
  if (!isMalformed && parts[0] !== creating && !key.includes('\0') && key.isWellFormed()) return;
  throw new DaybookError('object_key_invalid', { detail: `not an object key: ${JSON.stringify(key)}` });
}

function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** Failures that the same call meets again until somebody changes something. */
const lasting = new Set(
  'EACCES EPERM EROFS ENAMETOOLONG ENOTDIR EISDIR ELOOP EXDEV ENOTSUP EOPNOTSUPP ENOSYS EMLINK'.split(' '),
);

function isFull(code: string | undefined): boolean {
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** File systems without hard links say so in many ways: EPERM, EOPNOTSUPP, ENOSYS, EIO …. */
export function linkErrorOf(error: unknown, location: string): DaybookError {
  const { code } = error as NodeJS.ErrnoException;
  const failed = storeErrorOf(error, location);
  if (isFull(code)) return failed;
  const { retry, cause } = failed;
  return new DaybookError('store_unavailable', {
    detail: `${location} makes no hard link: ${code ?? messageOf(error)}`,
    hint: 'Put the archive on a file system with hard links (ext4, XFS, ZFS, APFS, NTFS, NFS), or use S3. FAT, exFAT and most FUSE and SMB mounts have none.',
    retry,
    cause,
  });
}

/** Of an archive and its replica, both may be directories: the message says which. */
export function storeErrorOf(error: unknown, location: string): DaybookError {
  if (error instanceof DaybookError) return error;
  const { code, path } = error as NodeJS.ErrnoException;
  const place = path?.startsWith(`${location}/`) ? path : location;
  const hint = hintOf(code);
  return new DaybookError('store_unavailable', {
    detail: `${place}: ${code ?? messageOf(error)}`,
    ...(hint === undefined ? {} : { hint }),
    retry: code === undefined || !lasting.has(code),
    cause: error,
  });
}

function hintOf(code: string | undefined): string | undefined {
  if (isFull(code)) return 'Make room on the disk of that folder (or raise its quota), and run again.';
  if (code !== 'EACCES' && code !== 'EPERM') return undefined;
  return 'See whose it is (ls -l). What a command made that was run as another user, such as root, is for that user alone: give it to the user of the service (chown), and run commands as that one.';
}
