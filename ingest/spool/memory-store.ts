/**
 * The spool in memory: bounded, in order, and gone when the process ends, which it says as it opens. For those who
 * would rather lose what waits than write to this machine's disk.
 */

import { DaybookError } from '../../shared/errors.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';
import type { BackingStore, BackingStoreOptions, DeadLetter, SpooledRecord } from './backing-store.ts';

/** What a record costs beside its bytes, roughly: objects, and its places in the maps. */
const recordOverheadBytes = 200;

interface Waiting extends SpooledRecord {
  readonly bytes: number;
  readonly appendedMs: number;
}

interface Dead {
  readonly record: Waiting;
  readonly reason: string;
  readonly at: string;
}

export async function openMemoryStore({ params, clock, log, use }: BackingStoreOptions): Promise<BackingStore> {
  const maxBytes = params?.maxBytes as number;
  if (use === 'drain') {
    log.warn({ maxBytes }, 'the spool is in memory: what waits in it is lost when this process ends');
  }
  // Both in the order of their sequences, since a map keeps the order of insertion and sequences only count up.
  const live = new Map<bigint, Waiting>();
  const dead = new Map<bigint, Dead>();
  let bytes = 0;
  let next = 1n;
  let isClosed = false;

  function append(records: readonly AppendRecord[]): void {
    if (isClosed) throw new DaybookError('spool_unavailable', { detail: 'The spool is closed.' });
    const added = records.reduce((sum, record) => sum + costOf(record), 0);
    if (bytes + added > maxBytes) {
      throw new DaybookError('spool_full', { detail: `The spool in memory holds ${bytes} of ${maxBytes} bytes.` });
    }
    const appendedMs = clock.now().getTime();
    for (const record of records) {
      const sequence = next++;
      // A copy: the value may be a view of a much larger buffer, or be used again by its owner.
      live.set(sequence, {
        ...record,
        value: new Uint8Array(record.value),
        sequence,
        bytes: costOf(record),
        appendedMs,
      });
    }
    bytes += added;
  }

  function remove(record: SpooledRecord): void {
    const waiting = live.get(record.sequence);
    if (waiting === undefined) return;
    live.delete(record.sequence);
    bytes -= waiting.bytes;
  }

  return {
    async append(records) {
      append(records);
    },
    async peek({ maxRecords, maxBytes: limit }) {
      const records: SpooledRecord[] = [];
      let given = 0;
      for (const { sequence, key, value } of live.values()) {
        given += Buffer.byteLength(key) + value.byteLength;
        if (records.length > 0 && (records.length >= maxRecords || given > limit)) break;
        records.push({ sequence, key, value });
      }
      return {
        records,
        damaged: 0,
        async commit(acknowledged = records) {
          for (const record of acknowledged) remove(record);
        },
      };
    },
    async size() {
      const [oldest] = live.values();
      const oldestMs = oldest === undefined ? 0 : clock.now().getTime() - oldest.appendedMs;
      return { records: live.size, bytes, oldestSeconds: Math.max(oldestMs, 0) / 1000, dead: dead.size };
    },
    async *waiting() {
      for (const { sequence, key, value } of live.values()) yield { sequence, key, value };
    },
    async deadLetter({ sequence }, reason) {
      const record = live.get(sequence);
      if (record === undefined) return;
      live.delete(sequence);
      dead.set(sequence, { record, reason, at: clock.now().toISOString() });
    },
    async *deadLetters(): AsyncGenerator<DeadLetter> {
      for (const { record, reason, at } of dead.values()) {
        yield { sequence: record.sequence, reason, at, key: record.key, raw: record.value };
      }
    },
    async requeue(sequences) {
      const asked = sequences === undefined ? undefined : new Set(sequences);
      const moving = [...dead.keys()].filter((sequence) => asked?.has(sequence) ?? true);
      const appendedMs = clock.now().getTime();
      for (const old of moving) {
        const { record } = dead.get(old)!;
        const sequence = next++;
        dead.delete(old);
        live.set(sequence, { ...record, sequence, appendedMs });
      }
      return moving.length;
    },
    async close() {
      isClosed = true;
      live.clear();
      dead.clear();
      bytes = 0;
    },
  };
}

function costOf({ key, value }: AppendRecord): number {
  return Buffer.byteLength(key) + value.byteLength + recordOverheadBytes;
}
