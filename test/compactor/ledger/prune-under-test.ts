/** Prunes books at their own time, with a remover that a test may let fail. */
import { join } from 'node:path';
import { pino } from 'pino';
import { type PruneAges, type PruneReport, pruneArchive } from '../../../compactor/ledger/prune-archive.ts';
import { readSigner } from '../../../shared/crypto/signing.ts';
import { openDirectoryRemover } from '../../../shared/store/directory/remove.ts';
import type { ObjectRemover, ObjectStore } from '../../../shared/store/store.ts';
import { openEmbeddedReader } from '../../../shared/stream/embedded/embedded.ts';
import type { Books } from '../books.ts';

/** A day on which the archive of archive-under-test.ts has days that are 33, 32 and 31 days old. */
export const pruneTime = '2026-12-21T09:00:00Z';

export interface PruneChange {
  readonly isDry?: boolean;
  readonly prefix?: string;
  store?(store: ObjectStore): ObjectStore;
  remover?(remover: ObjectRemover): ObjectRemover;
}

export async function prune(books: Books, ages: PruneAges, change: PruneChange = {}): Promise<PruneReport> {
  const { isDry = false, prefix = '', store: wrapStore, remover: wrapRemover } = change;
  const clock = { now: () => books.now() };
  const signer = readSigner(books.signingKey);
  const remover = openDirectoryRemover(join(books.directory, 'archive'));
  const stream = await openEmbeddedReader({ directory: books.directory, consumer: 'test', clock });
  try {
    return await pruneArchive({
      clock,
      store: wrapStore?.(books.store) ?? books.store,
      prefix,
      verifyingKeys: new Map([[signer.keyId, { verify: signer.verify }]]),
      ages,
      apply: isDry ? undefined : { remover: wrapRemover?.(remover) ?? remover, signer, stream },
      log: pino({ level: 'silent' }),
      progress: () => {},
    });
  } finally {
    await stream.close();
    await remover.close();
  }
}
