/**
 * The staging folder: `<data dir>/staging/<random>/`, fresh for each run, 0700, removed at its end. It holds plaintext,
 * so what dead runs left is removed when the next one starts. A run is alive while it holds the lock in its folder,
 * which the operating system lets go when the process dies; SQLite's file locks are that lock.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

export interface Staging {
  readonly directory: string;
  remove(): void;
}

export function openStaging(dataDirectory: string): Staging {
  const root = join(dataDirectory, 'staging');
  mkdirSync(root, { recursive: true, mode: 0o700 });
  // One run at a time sweeps and opens, so none can sweep a folder whose lock is not taken yet.
  const turn = takeLock(join(root, 'turn.lock'), 10_000);
  if (turn === undefined) throw new Error(`another run holds ${join(root, 'turn.lock')}`);
  try {
    for (const name of readdirSync(root, { withFileTypes: true })) {
      if (name.isDirectory()) sweep(join(root, name.name));
    }
    const directory = join(root, randomBytes(8).toString('hex'));
    mkdirSync(directory, { mode: 0o700 });
    const lock = takeLock(join(directory, 'run.lock'), 0);
    return {
      directory,
      remove() {
        rmSync(directory, { recursive: true, force: true });
        lock?.close();
      },
    };
  } finally {
    turn.close();
  }
}

function sweep(directory: string): void {
  const lock = takeLock(join(directory, 'run.lock'), 0);
  if (lock === undefined) return;
  rmSync(directory, { recursive: true, force: true });
  lock.close();
}

/** An exclusive lock on a file, or undefined where somebody holds it. */
function takeLock(path: string, waitMs: number): DatabaseSync | undefined {
  const database = new DatabaseSync(path, { timeout: waitMs });
  try {
    database.exec('BEGIN EXCLUSIVE');
    return database;
  } catch {
    database.close();
    return undefined;
  }
}
