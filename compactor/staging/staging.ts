/**
 * The staging folder: `<data dir>/staging/<random>/`, fresh for each run, 0700, removed at its end. It holds plaintext,
 * so what dead runs left is removed when the next one starts. A run is alive while it holds the lock in its folder,
 * which the operating system lets go when the process dies; SQLite's file locks are that lock.
 *
 * Only what is ours is removed: a folder with a name that is given here, and a lock in it. Whatever else lies there stays.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readdirSync, realpathSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import { takeLock } from '../../shared/files/lock.ts';

/** The lock lives as long as this object is referred to. */
export interface Staging {
  readonly directory: string;
  remove(): void;
}

export function openStaging(dataDirectory: string): Staging {
  const named = join(dataDirectory, 'staging');
  mkdirSync(named, { recursive: true, mode: 0o700 });
  // Where it is a link, the folder that it leads to: nothing is removed through a link.
  const root = realpathSync(named);
  // One run at a time sweeps and opens, so none can sweep a folder whose lock is not taken yet.
  const turn = takeLock(join(root, 'turn.lock'), 10_000);
  if (turn === undefined) throw new DaybookError('staging_failed', { detail: 'another run holds staging/turn.lock' });
  try {
    for (const entry of readdirSync(root, { withFileTypes: true })) {
      if (entry.isDirectory() && folderName.test(entry.name)) sweep(join(root, entry.name));
    }
    const directory = join(root, randomBytes(8).toString('hex')); // folderName
    mkdirSync(directory, { mode: 0o700 });
    const lock = takeLock(join(directory, lockName), 0);
    return {
      directory,
      remove() {
        removeFolder(directory);
        lock?.close();
      },
    };
  } finally {
    turn.close();
  }
}

/** Of a run all else that reads and writes files says by itself what failed: a bare error of the system is staging's. */
export function stagingErrorOf(error: unknown): unknown {
  if (error instanceof DaybookError || typeof (error as NodeJS.ErrnoException).syscall !== 'string') return error;
  return new DaybookError('staging_failed', { detail: `A staging file failed: ${messageOf(error)}`, cause: error });
}

const folderName = /^[0-9a-f]{16}$/;
const lockName = 'run.lock';

/** Removes what a dead run left. A living one may be removing its own at the same time: then there is nothing to do. */
function sweep(directory: string): void {
  try {
    // Without a lock it is not a run's, or of one that died before it had any: then it is empty.
    if (lstatSync(join(directory, lockName), { throwIfNoEntry: false })?.isFile() !== true) {
      rmdirIfEmpty(directory);
      return;
    }
    const lock = takeLock(join(directory, lockName), 0);
    if (lock === undefined) return;
    removeFolder(directory);
    lock.close();
  } catch (error) {
    if (existsSync(directory)) throw error;
  }
}

function rmdirIfEmpty(directory: string): void {
  if (readdirSync(directory).length === 0) rmdirSync(directory);
}

/** Tries again where another run puts its lock into a folder that is on its way out. */
function removeFolder(directory: string): void {
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
}
