/**
 * A lock that the operating system lets go when its process dies: the lock that SQLite takes on a file. Only SQLite may
 * open that file: a process that closes it by any other way loses the lock.
 */
import { closeSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

const sqliteBusy = 5;

/**
 * An exclusive lock on a file, held until it is closed or no longer referred to; undefined where somebody holds it. The
 * file is made, for its owner alone, where it is not there.
 */
export function takeLock(path: string, waitMs: number): DatabaseSync | undefined {
  try {
    closeSync(openSync(path, 'wx', 0o600)); // this process holds no lock on a file that was not there
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: waitMs });
    // In memory: a journal would need room on the disk.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return database;
  } catch (error) {
    database?.close();
    if ((error as { errcode?: unknown }).errcode === sqliteBusy) return undefined;
    throw error;
  }
}
