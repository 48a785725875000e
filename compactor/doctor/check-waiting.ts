/** Opens the stream as the compactor reads it, and looks where the ledger stands in it. Makes no stream and no topic. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../shared/clock.ts';
import { openWarningCollector } from '../../shared/doctor/collect-warnings.ts';
import { type Found, problemOf, warning } from '../../shared/doctor/finding.ts';
import { DaybookError } from '../../shared/errors.ts';
import type { StoreConfiguration } from '../../shared/store/open.ts';
import { openReader, type StreamConfiguration } from '../../shared/stream/open.ts';
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
}

export async function checkWaiting({ stream, store, dataDirectory, ledger, nowMs }: StreamToRead): Promise<Found[]> {
  if (stream.type === 'embedded' && !existsSync(join(dataDirectory, 'stream.sqlite'))) {
    if (ledger.stream === undefined) return [];
    const hint = 'DAYBOOK_DATA_DIR is to be the folder that ingest uses: mend it here or there.';
    return [warning('the stream that the ledger stands in is not here', hint)];
  }
  const consumer = await withStore(store, dataDirectory, async (opened) =>
    consumerOf(opened.store.location, opened.prefix),
  );
  const { log } = openWarningCollector();
  try {
    const reader = await openReader(withoutCreate(stream), dataDirectory, { consumer, clock: systemClock, log });
    try {
      return await checkPosition(reader, ledger, nowMs);
    } finally {
      await reader.close();
    }
  } catch (error) {
    // A topic that daybook makes as it starts is not there yet.
    const isToBeMade = stream.type === 'kafka' && stream.params.create !== undefined;
    if (isToBeMade && error instanceof DaybookError && error.code === 'stream_missing') return [];
    return [problemOf(error)];
  }
}

function withoutCreate(stream: StreamConfiguration): StreamConfiguration {
  if (stream.type !== 'kafka') return stream;
  const { create: _, ...params } = stream.params;
  return { type: 'kafka', params };
}
