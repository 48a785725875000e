/**
 * The start of a spool file's use by the process that drains it: the lock, the check, and what is done where the check
 * finds damage. Nothing here loses what can be read, and a start that dies is made good by the next one.
 */
import { existsSync } from 'node:fs';
import fs from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../../shared/clock.ts';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import { makeFolder, syncFolder } from '../../shared/files/folder.ts';
import { takeLock } from '../../shared/files/lock.ts';
import type { Logger } from '../../shared/program/log.ts';
import { readTail, restoreTail, salvage, type Tail } from './salvage.ts';
import {
  checkSpoolFile,
  connectReadOnly,
  connectSpoolFile,
  createSpoolFile,
  damage,
  isDamage,
  listSpoolFiles,
  removeLeftovers,
  type SpoolFile,
  type SpoolFileName,
} from './spool-file.ts';
import { openSpoolTable, type SpoolTable } from './spool-table.ts';

export interface OpenedSpool {
  readonly file: SpoolFile;
  readonly table: SpoolTable;
}

export interface SpoolContext {
  readonly folder: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What a call found wrong with a file that is else sound. */
export interface Suspect {
  readonly path: string;
  readonly error: unknown;
}

export function spoolFolder(dataDirectory: string): string {
  return join(dataDirectory, 'spool');
}

/** Makes the folder, and takes the lock of the process that drains; undefined where another process has it. */
export async function holdSpool(folder: string): Promise<DatabaseSync | undefined> {
  await makeFolder(folder);
  return takeLock(join(folder, 'drain.lock'), 0);
}

/**
 * Opens the newest spool file of the folder, makes the first one where there is none, and replaces a damaged one. To be
 * called under the lock. `floor`: a new file gives numbers from there on at least.
 */
export async function openSpoolFile(context: SpoolContext, floor: number, suspect?: Suspect): Promise<OpenedSpool> {
  const { folder } = context;
  await removeLeftovers(folder);
  const [newest, ...replaced] = await listSpoolFiles(folder);
  for (const name of replaced) await putAside(context, name);
  if (newest === undefined) return connect(await createSpoolFile(folder, 1));
  let tail: Tail | undefined;
  try {
    if (suspect?.path === newest.path) throw suspect.error;
    tail = await check(newest);
  } catch (error) {
    if (!isDamage(error)) throw error;
    return connect(await replaceDamaged(context, newest, floor, error));
  }
  const opened = connect(newest);
  if (tail !== undefined) recoverTail(context, opened, tail);
  return opened;
}

function connect(name: SpoolFileName): OpenedSpool {
  const file = connectSpoolFile(name);
  try {
    return { file, table: openSpoolTable(file) };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Changes nothing: what is behind a bad byte of the log is there as long as no connection writes, or is the last to close. */
async function check(name: SpoolFileName): Promise<Tail | undefined> {
  if (!existsSync(name.path)) throw damage('it is gone, its log is there');
  const file = connectReadOnly(name);
  try {
    return await readTail(name, checkSpoolFile(file));
  } finally {
    file.close();
  }
}

function recoverTail({ clock, log }: SpoolContext, { file, table }: OpenedSpool, tail: Tail): void {
  try {
    const found = restoreTail(table, file, tail, clock.now().getTime());
    if (tail.isDamage || found.damaged > 0) {
      const { code, hint } = new DaybookError('spool_damaged');
      log.error({ code, ...found, hint }, "the spool's log was damaged: what can be read behind the damage is kept");
    } else {
      log.warn(
        found,
        "the spool's log ends with records that SQLite does not see, maybe of an append that was cut off: kept",
      );
    }
  } catch (error) {
    file.close();
    throw error;
  }
}

async function replaceDamaged(
  context: SpoolContext,
  damaged: SpoolFileName,
  floor: number,
  cause: unknown,
): Promise<SpoolFileName> {
  const { name, report } = await salvage(context.folder, damaged, floor, context.clock.now().getTime());
  const aside = await putAside(context, damaged);
  const { code, hint } = new DaybookError('spool_damaged');
  context.log.error(
    { code, reason: messageOf(cause), ...report, keptIn: aside, hint },
    'the spool file was damaged: what can be read of it is in a new one, records that cannot are among the dead letters',
  );
  return name;
}

/** Moves a file that has a successor, and its log, into a folder of their own, where they are kept. Answers its name. */
async function putAside({ folder, clock }: SpoolContext, { path, number }: SpoolFileName): Promise<string> {
  const time = clock.now().toISOString().replaceAll(/[:.]/g, '-');
  const aside = join(folder, `damaged-${time}-${number}`);
  await makeFolder(aside);
  for (const from of [`${path}-wal`, `${path}-next`, path]) {
    if (existsSync(from)) await fs.rename(from, join(aside, basename(from)));
    // Dies here: what is left has a successor all the same, and is put aside by the next start.
  }
  await fs.rm(`${path}-shm`, { force: true });
  await syncFolder(aside);
  await syncFolder(folder);
  return basename(aside);
}
