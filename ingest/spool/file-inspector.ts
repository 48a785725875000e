/**
 * The file spool as a command beside ingest sees it: each call opens the file for its own length. It looks by a connection
 * that cannot write, so that it disturbs neither ingest nor what a crash left for ingest to find.
 */
import { existsSync } from 'node:fs';
import { DaybookError } from '../../shared/errors.ts';
import type { BackingStore, BackingStoreOptions, SpoolSize } from './backing-store.ts';
import { holdSpool, openSpoolFile, spoolFolder } from './open-spool-file.ts';
import { connectReadOnly, connectSpoolFile, listSpoolFiles, type SpoolFile, spoolErrorOf } from './spool-file.ts';
import { openSpoolTable, type SpoolTable } from './spool-table.ts';

export async function openFileInspector({ dataDirectory, clock, log }: BackingStoreOptions): Promise<BackingStore> {
  const folder = spoolFolder(dataDirectory);
  const nowMs = () => clock.now().getTime();
  const newest = async () => (existsSync(folder) ? (await listSpoolFiles(folder))[0] : undefined);
  const drains = () =>
    Promise.reject(
      new DaybookError('spool_in_use', { detail: 'A command that inspects the spool does not drain it.' }),
    );

  /** What is found from row 0 on, step by step. Between two no transaction is open, so that ingest's log can be brought into the file. */
  async function* steps<T extends { readonly end: number }>(
    find: (table: SpoolTable, row: number) => T | undefined,
  ): AsyncGenerator<T, void, void> {
    const name = await newest();
    if (name === undefined) return;
    const file = guarded(() => connectReadOnly(name));
    try {
      const table = guarded(() => openSpoolTable(file));
      for (let found = guarded(() => find(table, 0)); found !== undefined; ) {
        yield found;
        const { end } = found;
        found = guarded(() => find(table, end));
      }
    } finally {
      file.close();
    }
  }

  return {
    append: drains,
    deadLetter: drains,
    peek: async () => ({ records: [], damaged: 0, commit: drains }),
    async size() {
      const name = await newest();
      if (name === undefined) return { records: 0, bytes: 0, oldestSeconds: 0, dead: 0 };
      return using(
        () => connectReadOnly(name),
        async (table) => sizeOf(table, nowMs()),
      );
    },
    async *waiting() {
      for await (const { records } of steps((table, row) => table.waitingFrom(row))) yield* records;
    },
    async *deadLetters() {
      for await (const { letter } of steps((table, row) => table.deadFrom(row))) yield letter;
    },
    async requeue(sequences) {
      const name = await newest();
      if (name === undefined) return 0;
      const lock = await holdSpool(folder);
      if (lock === undefined) {
        return using(
          () => connectSpoolFile(name),
          (table) => requeueAll(async (work) => work(table), nowMs(), sequences),
        );
      }
      // No ingest runs: what a crash left has to be looked after first, as ingest would.
      try {
        const { file, table } = await openSpoolFile({ folder, clock, log }, 0);
        try {
          return await requeueAll(async (work) => work(table), nowMs(), sequences);
        } finally {
          file.close();
        }
      } catch (error) {
        throw spoolErrorOf(error);
      } finally {
        lock.close();
      }
    },
    async close() {},
  };
}

export function sizeOf(table: SpoolTable, nowMs: number): SpoolSize {
  const { records, bytes, dead } = table.state();
  return { records, bytes, oldestSeconds: Math.max(0, nowMs - (table.oldestMs() ?? nowMs)) / 1000, dead };
}

/** Moves the dead letters in several transactions, each in its own turn; those that die again meanwhile stay dead. */
export async function requeueAll(
  inTurn: <T>(work: (table: SpoolTable) => T) => Promise<T>,
  nowMs: number,
  sequences?: readonly bigint[],
): Promise<number> {
  const { next } = await inTurn((table) => table.state());
  const named = sequences?.map(Number).sort((a, b) => a - b) ?? [];
  const ranges = sequences === undefined ? [{ from: 0, to: next }] : named.map((from) => ({ from, to: from + 1 }));
  let moved = 0;
  for (const { from, to } of ranges) {
    for (let reached = from; reached < to; ) {
      const step = await inTurn((table) => table.requeue(reached, to, nowMs));
      moved += step.moved;
      reached = step.reached;
    }
  }
  return moved;
}

async function using<T>(connect: () => SpoolFile, work: (table: SpoolTable) => Promise<T>): Promise<T> {
  let file: SpoolFile | undefined;
  try {
    file = connect();
    return await work(openSpoolTable(file));
  } catch (error) {
    throw spoolErrorOf(error);
  } finally {
    file?.close();
  }
}

function guarded<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw spoolErrorOf(error);
  }
}
