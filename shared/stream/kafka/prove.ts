/** Whether what lies in the topic can be read back, and whether its settings still are those that daybook needs. */

import { DaybookError } from '../../errors.ts';
import type { Logger } from '../../program/log.ts';
import { openKafkaReader } from './reader.ts';
import type { KafkaParams } from './settings.ts';

const patienceMs = 5_000;
/** Partitions looked at in one go, by chance, where not all are. */
const somePartitions = 8;

export interface Proving {
  readonly params: KafkaParams;
  readonly log: Logger;
  /** Warnings that were said already, and those that are now. */
  readonly warned?: Set<string>;
  /** Look at every partition. */
  readonly all: boolean;
}

/**
 * Checks the topic as at the start, and reads the newest batch of its partitions as the compactor does: brokers may write
 * batches again in a codec of the topic's own.
 * @throws DaybookError `stream_unreadable`, `stream_unsuitable`, or what kept it from being tried: `stream_not_authorised`
 * where the user may write and not read
 */
export async function proveTopic({ params, log, warned, all }: Proving): Promise<void> {
  const { create: _, ...found } = params;
  const reader = await openKafkaReader({ params: found, consumer: '', log, patienceMs, ...(warned && { warned }) });
  try {
    const { partitions } = await reader.snapshot();
    const filled = [...partitions].filter(([, { start = 0n, end = 0n }]) => start < end);
    const from = all ? 0 : Math.floor(Math.random() * Math.max(filled.length - somePartitions + 1, 1));
    for (const [partition, { end = 0n }] of all ? filled : filled.slice(from, from + somePartitions)) {
      try {
        await reader.recordBefore(partition, end);
      } catch (error) {
        if (!(error instanceof DaybookError) || error.retry || error.code !== 'stream_unavailable') throw error;
        throw new DaybookError('stream_unreadable', {
          detail: `partition ${partition}: ${error.message}`,
          cause: error,
        });
      }
    }
  } finally {
    await reader.close();
  }
}
