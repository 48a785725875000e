/** What restore and export run in: the archive's ledger, a folder for sorting, and a file that is whole or not there. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Configuration } from '../../shared/config.ts';
import type { VerifyingKeys } from '../../shared/crypto/signing.ts';
import { createNewFile, type NewFile } from '../../shared/files/new-file.ts';
import { type Logger, openLog } from '../../shared/program/log.ts';
import { openProgress } from '../../shared/program/progress.ts';
import { openStore } from '../../shared/store/open.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import { type Ledger, loadLedger } from '../ledger/ledger.ts';
import type { storeSettings } from '../settings.ts';
import { openSortBudget, type SortBudget } from '../staging/external-sort.ts';

export interface ReadingScene {
  readonly store: ObjectStore;
  readonly prefix: string;
  readonly ledger: Ledger;
  readonly log: Logger;
  readonly budget: SortBudget;
  /** The file to be written, where one was asked for. */
  readonly file: NewFile | undefined;
  progress(step: string, count: number, total?: number): void;
  /** Ends the line of the progress. */
  done(): void;
}

/** For ids in memory; what is beyond goes to a temporary folder. */
const sortBytes = 32 * 1024 * 1024;

/** Whatever ends the work, a signal too, nothing half-made stays: no file that is not whole, no temporary folder. */
export async function readingArchive(
  settings: Configuration<(typeof storeSettings)[number]>,
  verifyingKeys: VerifyingKeys,
  output: string | undefined,
  work: (scene: ReadingScene) => Promise<void>,
): Promise<void> {
  const log = openLog('compactor', settings.LOG_LEVEL);
  const { store, prefix } = await openStore(settings.DAYBOOK_STORE, settings.DAYBOOK_DATA_DIR);
  const { progress, done } = openProgress(log);
  // Ids alone are sorted here; not under the data directory, which these commands leave as it is.
  const temporaryDirectory = mkdtempSync(join(tmpdir(), 'daybook-restore-'));
  let file: NewFile | undefined;
  const clear = () => {
    file?.abandon();
    rmSync(temporaryDirectory, { recursive: true, force: true });
  };
  const stop = () => {
    clear();
    process.exit(2);
  };
  process.once('SIGTERM', stop).once('SIGINT', stop);
  try {
    if (output !== undefined) file = await createNewFile(output);
    const ledger = await loadLedger(store, prefix, verifyingKeys);
    const budget = openSortBudget({ directory: temporaryDirectory, maxBytes: sortBytes });
    await work({ store, prefix, ledger, log, budget, file, progress, done });
  } finally {
    done();
    clear();
    process.off('SIGTERM', stop).off('SIGINT', stop);
    await store.close();
  }
}
