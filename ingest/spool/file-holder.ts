/**
 * Holds the spool file for the process that drains it: the lock, which dies with the process, and the open file, which is
 * replaced where a call finds it damaged. A call either works or says why it does not, now: the next one tries again.
 */
import { DaybookError } from '../../shared/errors.ts';
import { openDiskReserve } from './disk-reserve.ts';
import { holdSpool, type OpenedSpool, openSpoolFile, type SpoolContext, type Suspect } from './open-spool-file.ts';
import { isDamage, type SpoolFile, spoolErrorOf } from './spool-file.ts';

/** Opening reads all of a damaged file: after a failure not every call should try again. */
const reopenPauseMs = 1_000;

export interface Holder {
  /** One call at a time: each is synchronous, but for opening again, which the others wait for. */
  inTurn<T>(work: (spool: OpenedSpool) => T): Promise<T>;
  /** The same for work that needs more of the disk, and must leave what the other work needs. */
  inTurnAdding<T>(work: (spool: OpenedSpool) => T): Promise<T>;
  close(): Promise<void>;
}

/** Rejects with `spool_in_use`, or `spool_unavailable`. A disk that is full is not a reason: the calls say so. */
export async function openHolder(context: SpoolContext): Promise<Holder> {
  const lock = await holdSpool(context.folder).catch((error) => {
    throw spoolErrorOf(error);
  });
  if (lock === undefined) throw new DaybookError('spool_in_use');
  const reserve = openDiskReserve(context.folder);
  let opened: OpenedSpool | undefined;
  let isClosed = false;
  let suspect: Suspect | undefined;
  let failed: { readonly error: DaybookError; readonly atMs: number } | undefined;
  /** No number below it is given again, whatever of the file can be read. */
  let floor = 0;
  let turn: Promise<unknown> = Promise.resolve();

  async function open(): Promise<OpenedSpool> {
    if (isClosed) throw new DaybookError('spool_unavailable', { detail: 'The spool is closed.' });
    if (opened !== undefined) return opened;
    if (failed !== undefined && performance.now() - failed.atMs < reopenPauseMs) throw failed.error;
    try {
      opened = await openSpoolFile(context, floor, suspect);
    } catch (error) {
      const known = spoolErrorOf(error);
      if (known.code === 'spool_full' && reserve.giveUp()) return open();
      failed = { error: known, atMs: performance.now() };
      throw known;
    }
    failed = undefined;
    suspect = undefined;
    return opened;
  }

  async function attempt<T>(work: (spool: OpenedSpool) => T, isRepeat = false): Promise<T> {
    const spool = await open();
    try {
      return work(spool);
    } catch (error) {
      if (!isDamage(error)) throw spoolErrorOf(error);
      floor = Math.max(floor, spool.table.tried());
      suspect = { path: spool.file.path, error };
      opened = undefined;
      closeQuietly(spool.file);
      if (isRepeat) throw new DaybookError('spool_unavailable', { cause: error });
      return attempt(work, true);
    }
  }

  function takeTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = turn.then(work);
    turn = result.catch(() => undefined);
    return result;
  }

  async function attemptToRemove<T>(work: (spool: OpenedSpool) => T): Promise<T> {
    try {
      return await attempt(work);
    } catch (error) {
      if ((error as DaybookError).code !== 'spool_full' || !reserve.giveUp()) throw error;
      return attempt(work);
    }
  }

  try {
    await open();
    reserve.ensure();
  } catch (caught) {
    const error = spoolErrorOf(caught);
    const { code, hint } = error;
    if (code !== 'spool_full') {
      if (opened !== undefined) closeQuietly(opened.file);
      lock.close();
      throw error;
    }
    context.log.error({ code, hint }, 'the disk of the spool is full: it takes nothing until there is room');
  }

  return {
    inTurn: (work) => takeTurn(() => attemptToRemove(work)),
    inTurnAdding: (work) =>
      takeTurn(() =>
        attempt((spool) => {
          reserve.ensure();
          return work(spool);
        }),
      ),
    async close() {
      await turn;
      isClosed = true;
      if (opened !== undefined) closeQuietly(opened.file);
      opened = undefined;
      if (lock.isOpen) lock.close();
    },
  };
}

/** Closing brings the log into the file, which may fail; everything committed is in one of them all the same. */
function closeQuietly(file: SpoolFile): void {
  try {
    file.close();
  } catch {
    // As said.
  }
}
