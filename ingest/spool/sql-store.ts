/**
 * The spool in PostgreSQL (sql/001-spool.sql has the tables and their invariants), shared by any number of ingests: all
 * append, and one of them drains, whichever holds the advisory lock of the schema. Each call is one statement, so one
 * transaction: no instance that hangs holds up another, and there is no half of anything. Nothing is remembered between
 * calls but that lock and whether the tables are there: a database that went away is asked again by the next call.
 */
import { crc32 } from 'node:zlib';
import { DaybookError } from '../../shared/errors.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';
import type {
  BackingStore,
  BackingStoreOptions,
  DeadLetter,
  PeekedBatch,
  PeekLimit,
  SpooledRecord,
} from './backing-store.ts';
import { defaultSqlTimeouts, openConnections, type Query, type Row, type Rows, readParams } from './sql-connection.ts';
import { recordOverheadBytes, statementsOf } from './sql-statements.ts';
import { lockOf, prepareTables } from './sql-tables.ts';

/** How many dead letters one statement moves: appends wait for it. */
const requeueRows = 5_000;
const maxReasonLength = 1_000;
/** Of one look at what waits. */
const seenRows = 500;
const seenBytes = 4 * 1024 * 1024;
const damagedReason = 'the record is damaged: its checksum does not hold';

/**
 * A database that cannot be reached just now does not keep the store from opening. Rejects with `spool_unavailable`
 * where somebody has to mend something first: the address, the password, TLS, permissions, the tables.
 */
export async function openSqlStore(
  { params, clock, log, use }: BackingStoreOptions,
  timeouts = defaultSqlTimeouts,
): Promise<BackingStore> {
  const sqlParams = readParams(params);
  const { maxBytes, schema } = sqlParams;
  const connections = openConnections({ params: sqlParams, timeouts, log });
  const statements = statementsOf(schema);
  const drainLock = lockOf(schema, 'drain');
  const now = () => clock.now().toISOString();
  let prepared: Promise<void> | undefined;
  let isDraining = false;

  function prepare(): Promise<void> {
    prepared ??= prepareTables({ connections, params: sqlParams, use, log }).catch((error) => {
      prepared = undefined;
      throw error;
    });
    return prepared;
  }

  /** What is found wrong with the tables later makes the next call look at them again. */
  async function withTables<T>(work: () => Promise<T>): Promise<T> {
    await prepare();
    try {
      return await work();
    } catch (error) {
      if (isOfTables(error)) prepared = undefined;
      throw error;
    }
  }

  const query: Query = (text, values) => withTables(() => connections.query(text, values));

  async function append(records: readonly AppendRecord[]): Promise<void> {
    if (records.length === 0) return;
    const { content, starts, keyBytes, valueBytes, checksums, bytes } = pack(records);
    const values = [records.length, bytes, maxBytes, content, starts, keyBytes, valueBytes, checksums, now()];
    const { count } = await query(statements.append, values);
    // Dies here: all of them are in the spool, nobody was told; the senders repeat and the compactor dedupes. The same
    // where the answer to COMMIT is lost. Before COMMIT: none of them is.
    if (count === 0) await refuseFull();
  }

  async function refuseFull(): Promise<never> {
    const held = await totals();
    throw new DaybookError('spool_full', { detail: `The spool holds ${held.bytes} of ${maxBytes} bytes.` });
  }

  async function totals(): Promise<Row> {
    const { rows } = await query(statements.size);
    if (rows[0] !== undefined) return rows[0];
    throw new DaybookError('spool_unavailable', {
      detail: `"${schema}".spool_totals has lost its row`,
      hint: 'Bring it back with the true counts: ingest/spool/sql/001-spool.sql says what they are.',
      retry: false,
    });
  }

  async function peek(limit: PeekLimit): Promise<PeekedBatch> {
    const found =
      use === 'inspect'
        ? undefined
        : await withTables(() => connections.holding(drainLock, (onHolder) => readWhole(onHolder, limit)));
    noteDraining(found !== undefined);
    return batchOf(found?.whole ?? [], found?.damaged ?? 0);
  }

  function noteDraining(isHolding: boolean): void {
    if (use === 'drain' && isHolding !== isDraining) {
      log.info({ schema }, isHolding ? 'this instance drains the spool' : 'another instance drains the spool');
    }
    isDraining = isHolding;
  }

  /** Damaged records go to the dead letters on the way. */
  async function readWhole(
    onHolder: Query,
    { maxRecords, maxBytes: limit }: PeekLimit,
  ): Promise<{ readonly whole: SpooledRecord[]; readonly damaged: number }> {
    for (let put = 0; ; ) {
      const { rows } = await onHolder(statements.peek, [maxRecords, limit]);
      const damaged = rows.filter((row) => !isWhole(row)).map((row) => row.sequence);
      if (damaged.length > 0) {
        await onHolder(statements.deadLetter, [damaged, false, damagedReason, now()]);
        put += damaged.length;
        // Dies here: they are dead letters, and the rest is given to the next peek. Before COMMIT: they are found again.
        log.error(
          { code: 'spool_damaged', damaged: damaged.length },
          'damaged records of the spool were put among the dead letters',
        );
      }
      const whole = rows.filter(isWhole).map(recordOf);
      if (whole.length > 0 || rows.length === 0) return { whole, damaged: put };
    }
  }

  function batchOf(records: readonly SpooledRecord[], damaged: number): PeekedBatch {
    return {
      records,
      damaged,
      // It need not hold the lock: what is acknowledged may go, whoever drains meanwhile.
      async commit(acknowledged = records) {
        if (acknowledged.length === 0) return;
        const gone = new Set(acknowledged.map(({ sequence }) => sequence));
        // The batch began with the oldest of all: before what is left of it there is nothing.
        const left = records.find(({ sequence }) => !gone.has(sequence))?.sequence;
        await query(statements.commit, [[...gone], left ?? records.at(-1)!.sequence + 1n]);
        // Dies here: they are removed; the stream has them. Before COMMIT: they are drained once more.
      },
    };
  }

  async function* waiting(): AsyncGenerator<SpooledRecord, void, void> {
    for (let after: unknown = '-1'; ; ) {
      const { rows } = await query(statements.waitingAfter, [seenRows, seenBytes, after]);
      if (rows.length === 0) return;
      yield* rows.filter(isWhole).map(recordOf);
      after = rows.at(-1)!.sequence;
    }
  }

  async function* deadLetters(): AsyncGenerator<DeadLetter> {
    for (let after: unknown = '-1'; ; ) {
      const { rows } = await query(statements.deadAfter, [after]);
      const [row] = rows;
      if (row === undefined) return;
      yield deadLetterOf(row);
      after = row.sequence;
    }
  }

  async function requeue(sequences?: readonly bigint[]): Promise<number> {
    const { rows } = await query(statements.lastDead);
    // What dies again meanwhile stays dead.
    const last = rows[0]?.sequence;
    let moved = 0;
    for (let after: unknown = '-1'; last !== null && after !== null; ) {
      const step: Rows = await query(statements.requeue, [after, last, sequences ?? null, requeueRows, now()]);
      // Dies here: these are live again. Before COMMIT: they are dead letters as before.
      const count = Number(step.rows[0]?.moved);
      moved += count;
      after = count < requeueRows ? null : step.rows[0]?.reached;
    }
    return moved;
  }

  try {
    await prepare();
  } catch (error) {
    if (!(error instanceof DaybookError && error.retry && use === 'drain')) {
      await connections.close();
      throw error;
    }
    log.warn({ code: error.code, reason: error.message }, 'the database of the spool does not answer yet');
  }
  return {
    append: use === 'inspect' ? drains : append,
    peek,
    async size() {
      const { records, bytes, dead, oldest } = await totals();
      const oldestMs = oldest instanceof Date ? clock.now().getTime() - oldest.getTime() : 0;
      return {
        records: Number(records),
        bytes: Number(bytes),
        oldestSeconds: Math.max(oldestMs, 0) / 1000,
        dead: Number(dead),
      };
    },
    async deadLetter({ sequence }, reason) {
      if (use === 'inspect') return drains();
      await query(statements.deadLetter, [[sequence], true, textOf(reason), now()]);
      // Dies here: it is a dead letter. Before COMMIT: it is live, and refused once more.
    },
    waiting,
    deadLetters,
    requeue,
    close: () => connections.close(),
  };
}

function drains(): Promise<never> {
  return Promise.reject(
    new DaybookError('spool_in_use', { detail: 'A command that inspects the spool does not drain it.' }),
  );
}

/** All keys and values one after the other, and where each begins: the database cuts them apart again. */
function pack(records: readonly AppendRecord[]) {
  const parts: Uint8Array[] = [];
  const starts: number[] = [];
  const keyBytes: number[] = [];
  const valueBytes: number[] = [];
  const checksums: number[] = [];
  let length = 0;
  for (const { key, value } of records) {
    const name = Buffer.from(key);
    parts.push(name, value);
    starts.push(length + 1); // SQL counts from 1
    keyBytes.push(name.length);
    valueBytes.push(value.byteLength);
    checksums.push(checksumOf(name, value));
    length += name.length + value.byteLength;
  }
  const bytes = length + records.length * recordOverheadBytes;
  return { content: Buffer.concat(parts), starts, keyBytes, valueBytes, checksums, bytes };
}

function checksumOf(key: Uint8Array, value: Uint8Array): number {
  return crc32(value, crc32(key));
}

function isWhole({ key, value, checksum }: Row): boolean {
  return checksumOf(key as Buffer, value as Buffer) === Number(checksum);
}

function recordOf({ sequence, key, value }: Row): SpooledRecord {
  return { sequence: BigInt(sequence as string), key: (key as Buffer).toString(), value: value as Buffer };
}

function deadLetterOf({ sequence, reason, died_at: diedAt, key, raw }: Row): DeadLetter {
  return {
    sequence: BigInt(sequence as string),
    reason: reason as string,
    at: (diedAt as Date).toISOString(),
    key: key === null ? null : (key as Buffer).toString(),
    raw: raw as Buffer,
  };
}

/** As the database takes it: text there has no U+0000. */
function textOf(reason: string): string {
  return reason.replaceAll('\0', '').slice(0, maxReasonLength);
}

function isOfTables(error: unknown): boolean {
  const { cause } = error as { cause?: { code?: unknown } };
  return ['42P01', '3F000', '42703'].includes(String(cause?.code));
}
