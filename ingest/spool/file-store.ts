/**
 * The spool in a file of this machine (spool-file.ts), by SQLite. One process drains it; a command may look at it
 * meanwhile (file-inspector.ts).
 */
import { DaybookError } from '../../shared/errors.ts';
import type { BackingStore, BackingStoreOptions } from './backing-store.ts';
import { openHolder } from './file-holder.ts';
import { openFileInspector, requeueAll, sizeOf } from './file-inspector.ts';
import { spoolFolder } from './open-spool-file.ts';
import type { SpoolFile } from './spool-file.ts';

/** Where fewer bytes than this are left, and more free pages, the file is made as small as what it holds. */
const shrinkBelowBytes = 1024 * 1024;
const shrinkFreePages = 1024;

/**
 * `drain` rejects with `spool_in_use` where another process holds this spool. A damaged file stops nobody: what can be
 * read of it goes into a new one. Nor does a full disk: the store opens, and is full until there is room.
 */
export async function openFileStore(options: BackingStoreOptions): Promise<BackingStore> {
  return options.use === 'drain' ? openDrain(options) : openFileInspector(options);
}

async function openDrain({ params, dataDirectory, clock, log }: BackingStoreOptions): Promise<BackingStore> {
  const maxBytes = params?.maxBytes as number;
  const nowMs = () => clock.now().getTime();
  const { inTurn, inTurnAdding, close } = await openHolder({ folder: spoolFolder(dataDirectory), clock, log });
  return {
    append: (records) =>
      inTurnAdding(({ file, table }) => {
        if (records.length === 0) return;
        refuseReplaced(file);
        table.append(records, nowMs(), maxBytes);
      }),
    async peek(limit) {
      const { records, damaged } = await inTurn(({ table }) => table.peek(limit, nowMs()));
      if (damaged > 0) {
        log.error({ code: 'spool_damaged', damaged }, 'damaged records of the spool were put among the dead letters');
      }
      return {
        records,
        damaged,
        commit: (acknowledged = records) =>
          inTurn(({ file, table }) => {
            table.remove(acknowledged);
            if (table.state().bytes < shrinkBelowBytes) shrink(file);
          }),
      };
    },
    size: () => inTurn(({ table }) => sizeOf(table, nowMs())),
    async *waiting() {
      for (let row = 0; ; ) {
        const found = await inTurn(({ table }) => table.waitingFrom(row));
        if (found === undefined) return;
        yield* found.records;
        row = found.end;
      }
    },
    deadLetter: (record, reason) => inTurn(({ table }) => table.deadLetter(record, reason, nowMs())),
    async *deadLetters() {
      for (let row = 0; ; ) {
        const found = await inTurn(({ table }) => table.deadFrom(row));
        if (found === undefined) return;
        yield found.letter;
        row = found.end;
      }
    },
    requeue: (sequences) => requeueAll((work) => inTurn(({ table }) => work(table)), nowMs(), sequences),
    close,
  };
}

function refuseReplaced(file: SpoolFile): void {
  if (file.isInPlace()) return;
  throw new DaybookError('spool_unavailable', {
    detail: 'The spool file was removed or replaced while it was in use.',
    hint: 'What is in it is drained still. Restart ingest: it then uses the file that is there, or makes a new one.',
  });
}

/** Gives free pages back to the disk. What it costs is what is left, so little. */
function shrink({ database }: SpoolFile): void {
  const free = database.prepare('PRAGMA freelist_count').get()?.freelist_count;
  if (typeof free !== 'number' || free < shrinkFreePages) return;
  try {
    database.exec('VACUUM; PRAGMA wal_checkpoint(TRUNCATE)');
  } catch {
    // No room for it, or the other process reads: a later commit tries again, and the pages are used until then.
  }
}
