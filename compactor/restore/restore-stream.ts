/** Puts restored events back on the stream. */
import { setTimeout as rest } from 'node:timers/promises';
import type { StreamKey } from '../../shared/crypto/stream-seal.ts';
import { readEnvelope } from '../../shared/envelope.ts';
import type { Logger } from '../../shared/program/log.ts';
import { AppendError } from '../../shared/stream/append-error.ts';
import type { AppendRecord, EventStreamWriter } from '../../shared/stream/stream.ts';
import { republishedRecord } from '../stream/republish.ts';
import type { RestoreOutput } from './restore-archive.ts';

const maxBatchRecords = 500;
const maxBatchBytes = 1024 * 1024;
const maxTries = 20;
const minPauseMs = 100;
const maxPauseMs = 30_000;
const maxIdsNamed = 100;

export interface StreamOutput extends RestoreOutput {
  /** Resolves when every record is acknowledged. */
  finish(): Promise<void>;
  /** Records that the stream will never take, or that are not events: the first hundred ids, and how many there are. */
  refused(): { readonly count: number; readonly ids: readonly string[] };
}

/**
 * Puts lines back on the stream as records with via `restore`, in order, batch after batch. A batch that is not
 * acknowledged is sent again, what is acknowledged of it left out, for about seven minutes. Whatever breaks off: restore
 * again. Records that are there twice do no harm, the compactor drops those whose id is archived.
 */
export function openStreamOutput(options: {
  readonly writer: EventStreamWriter;
  readonly log: Logger;
  /** RFC 3339 UTC with milliseconds. */
  readonly receivedAt: string;
  /** Seals the records. */
  readonly streamKey?: StreamKey | undefined;
  readonly sleep?: (ms: number) => Promise<unknown>;
}): StreamOutput {
  const { writer, log, receivedAt, streamKey, sleep = rest } = options;
  const refusedIds: string[] = [];
  let refusedCount = 0;
  let batch: AppendRecord[] = [];
  let batchBytes = 0;

  const refuse = (id: string, why: string) => {
    refusedCount += 1;
    if (refusedIds.length < maxIdsNamed) refusedIds.push(id);
    log.warn({ id, why }, 'an event cannot go to the stream');
  };

  async function flush(): Promise<void> {
    const records = batch;
    batch = [];
    batchBytes = 0;
    await append(records);
    // Dies here: they are in the stream; restoring again writes them once more, and the compactor drops both.
  }

  async function append(records: readonly AppendRecord[]): Promise<void> {
    let waiting = records;
    for (let tries = 1; waiting.length > 0; tries += 1) {
      try {
        await writer.append(waiting);
        return;
      } catch (error) {
        if (!(error instanceof AppendError)) throw error;
        const sent = waiting;
        for (const index of error.refused) refuse(idOf(sent[index]!), error.message);
        waiting = error.unacknowledged.filter((index) => !error.refused.includes(index)).map((index) => sent[index]!);
        if (error.refused.length > 0) continue;
        if (!error.retry && waiting.length > 1) {
          // One of them may be why: a record alone in its append is told apart.
          for (const record of waiting) await append([record]);
          return;
        }
        if (!error.retry || tries === maxTries) throw error;
        log.warn({ err: error, tries }, 'the stream does not take a batch, trying again');
        await sleep(Math.min(maxPauseMs, minPauseMs * 2 ** tries));
      }
    }
  }

  return {
    async write(lines, source) {
      for (let start = 0, end = 0; start < lines.length; start = end + 1) {
        end = lines.indexOf(0x0a, start);
        const line = lines.toString('utf8', start, end);
        const record = republishedRecord(line, { source, via: 'restore', receivedAt, streamKey });
        if (record === undefined) {
          refuse(String((JSON.parse(line) as { id?: unknown }).id), 'it is not an event as ingest takes them');
          continue;
        }
        batch.push(record);
        batchBytes += record.value.byteLength;
        if (batch.length >= maxBatchRecords || batchBytes >= maxBatchBytes) await flush();
      }
    },
    finish: flush,
    refused: () => ({ count: refusedCount, ids: refusedIds }),
  };
}

function idOf({ value }: AppendRecord): string {
  const envelope = readEnvelope(value);
  return 'header' in envelope ? envelope.header.id : '';
}
