/**
 * Recovered events on their way to the stream, for consumers that live from it (COMPACTOR_PUBLISH_RECOVERED).
 *
 * They are noted while they are archived and go out once the manifest that names them is there: what is on the stream
 * marked `list` is archived, and a later night that reads it drops it by its id. Each goes out at most once per run that
 * archived it. Where the run dies or the stream fails in between, they stay archived and are not published by a later
 * run, which cannot read what it sealed: `restore` brings them, with a private key.
 *
 * The note: a file in the staging folder, per record four lengths (big-endian, 4 bytes each: source, day, key, value),
 * then the four.
 */
import { closeSync, openSync, readSync, unlinkSync, writevSync } from 'node:fs';
import { join } from 'node:path';
import type { Day } from '../../shared/clock.ts';
import type { StreamKey } from '../../shared/crypto/stream-seal.ts';
import { DaybookError } from '../../shared/errors.ts';
import { deliverBatch } from '../../shared/stream/deliver-batch.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';
import type { RecoveredStream } from '../night.ts';
import { republishedRecord } from '../stream/republish.ts';
import type { DecidedEvent } from './copies.ts';

export interface RecoveredEvents {
  /** Notes the event if it is new and stands in the list alone. */
  add(source: string, event: DecidedEvent): void;
  /**
   * Appends the noted events of archived days to the stream, in the order of their ids. Rejects with
   * `recovered_unpublished` if not all were taken. May be called once.
   */
  publish(stream: RecoveredStream, isArchived: (source: string, day: Day) => boolean): Promise<void>;
  /** Removes the note. */
  discard(): void;
}

const batchRecords = 500;
const batchBytes = 1024 * 1024;
const lengthsBytes = 16;

/** `receivedAt`: RFC 3339 UTC with milliseconds, the time of the run. */
export function openRecoveredEvents(directory: string, receivedAt: string, streamKey?: StreamKey): RecoveredEvents {
  const path = join(directory, 'recovered');
  let file: number | undefined;

  return {
    add(source, event) {
      if (event.line === undefined || event.line.delivered) return;
      const [first, ...others] = event.copies();
      // One of the stream's own has been with the consumers before.
      if (first === undefined || [first, ...others].some(({ origin }) => origin !== 'listed')) return;
      const record = republishedRecord(first.body.toString(), { source, via: 'list', receivedAt, streamKey });
      if (record === undefined) return;
      const pieces = [source, event.target, record.key, record.value].map((piece) => Buffer.from(piece));
      const lengths = Buffer.alloc(lengthsBytes);
      for (const [at, piece] of pieces.entries()) lengths.writeUInt32BE(piece.length, at * 4);
      file ??= openSync(path, 'wx+', 0o600);
      writeAll(file, Buffer.concat([lengths, ...pieces]));
    },

    async publish(stream, isArchived) {
      if (file === undefined) return;
      let left = 0;
      let total = 0;
      let failure: unknown;
      let batch: AppendRecord[] = [];
      let bytes = 0;
      const append = async () => {
        if (batch.length === 0) return;
        if (failure === undefined) {
          const delivery = await deliverBatch(batch, (records) => stream.append(records));
          // Dies here: these are archived and on the stream; the rest is archived alone.
          left += batch.length - delivery.acknowledged.length;
          failure = delivery.failure;
        } else left += batch.length;
        batch = [];
        bytes = 0;
      };
      for (const { source, day, record } of recordsOf(file)) {
        if (!isArchived(source, day)) continue;
        total += 1;
        if (record.value.length > (stream.maxValueBytes ?? Number.POSITIVE_INFINITY)) {
          left += 1;
          continue;
        }
        batch.push(record);
        bytes += record.value.length;
        if (batch.length >= batchRecords || bytes >= batchBytes) await append();
      }
      await append();
      if (left === 0) return;
      const why = failure === undefined ? 'cannot be records of this stream' : 'were not acknowledged';
      throw new DaybookError('recovered_unpublished', { detail: `${left} of ${total} ${why}`, cause: failure });
    },

    discard() {
      if (file === undefined) return;
      closeSync(file);
      unlinkSync(path);
      file = undefined;
    },
  };
}

function writeAll(file: number, bytes: Buffer): void {
  for (let rest = bytes; rest.length > 0; ) rest = rest.subarray(writevSync(file, [rest]));
}

function* recordsOf(file: number): Generator<{ source: string; day: Day; record: AppendRecord }, void, void> {
  let at = 0;
  const read = (length: number): Buffer => {
    const bytes = Buffer.alloc(length);
    let filled = 0;
    while (filled < length) {
      const count = readSync(file, bytes, filled, length - filled, at + filled);
      if (count === 0) return bytes.subarray(0, filled);
      filled += count;
    }
    at += length;
    return bytes;
  };
  for (;;) {
    const lengths = read(lengthsBytes);
    if (lengths.length === 0) return;
    const [source, day, key, value] = [0, 4, 8, 12].map((offset) => read(lengths.readUInt32BE(offset)));
    yield { source: String(source), day: String(day), record: { key: String(key), value: value! } };
  }
}
