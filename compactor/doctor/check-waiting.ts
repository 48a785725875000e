/** Opens the stream as the compactor reads it, and looks where the ledger stands in it. Makes no stream and no topic. */
import { systemClock } from '../../shared/clock.ts';
import type { StreamKeys } from '../../shared/crypto/stream-seal.ts';
import { openWarningCollector } from '../../shared/doctor/collect-warnings.ts';
import { type Found, problemOf, warning } from '../../shared/doctor/finding.ts';
import { DaybookError } from '../../shared/errors.ts';
import type { StoreConfiguration } from '../../shared/store/open.ts';
import { isStreamAbsent, openReader, type StreamConfiguration, withoutCreate } from '../../shared/stream/open.ts';
import { consumerOf } from '../configuration.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { checkPosition } from './check-position.ts';
import { withStore } from './with-store.ts';

export interface StreamToRead {
  readonly stream: StreamConfiguration;
  readonly store: StoreConfiguration;
  readonly dataDirectory: string;
  readonly ledger: Ledger;
  readonly nowMs: number;
  readonly streamKeys: StreamKeys | undefined;
}

export async function checkWaiting({
  stream,
  store,
  dataDirectory,
  ledger,
  nowMs,
  streamKeys,
}: StreamToRead): Promise<Found[]> {
  if (isStreamAbsent(stream, dataDirectory)) {
    if (ledger.stream === undefined) return [];
    const hint = 'DAYBOOK_DATA_DIR is to be the folder that ingest uses: mend it here or there.';
    return [warning('the stream that the ledger stands in is not here', hint)];
  }
  const consumer = await withStore(store, dataDirectory, async (opened) =>
    consumerOf(opened.store.location, opened.prefix),
  );
  const { log } = openWarningCollector();
  const looking = withoutCreate(stream);
  try {
    const reader = await openReader(looking, dataDirectory, { consumer, clock: systemClock, log });
    try {
      return await checkPosition(reader, ledger, nowMs, streamKeys);
    } finally {
      await reader.close();
    }
  } catch (error) {
    // A topic that daybook makes as it starts is not there yet.
    if (looking !== stream && error instanceof DaybookError && error.code === 'stream_missing') return [];
    return [problemOf(error)];
  }
}
