/** What a spool lies on when its process dies: nothing of the process is left, all that it wrote before is. */
import { cpSync, linkSync, mkdtempSync, readdirSync } from 'node:fs';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { BackingStore } from '../../ingest/spool/backing-store.ts';
import { openFileStore } from '../../ingest/spool/file-store.ts';
import { systemClock } from '../../shared/clock.ts';
import { memorySpool } from '../ingest/ingest-under-test.ts';

export interface SimulatedDisk {
  /** The store of the next process. */
  open(): Promise<BackingStore>;
  /** At once: what the process does from now on is done to a disk that nobody sees. */
  kill(): void;
  /** The process ends in good order. */
  close(): Promise<void>;
  remove(): Promise<void>;
}

/** The memory store, taken to be durable. */
export async function memoryDisk(maxBytes: number): Promise<SimulatedDisk> {
  const store = await memorySpool(maxBytes);
  return { open: async () => store, kill() {}, async close() {}, remove: () => store.close() };
}

/** The file store: a kill copies its files as they are, and the next process goes on with the copies. */
export function fileDisk(maxBytes: number): SimulatedDisk {
  const home = mkdtempSync(join(tmpdir(), 'daybook-model-'));
  const log = pino({ level: 'silent' });
  const killed: BackingStore[] = [];
  let lives = 0;
  let store: BackingStore | undefined;
  const spool = () => join(home, `${lives}`, 'spool');

  return {
    async open() {
      const dataDirectory = join(home, `${lives}`);
      store = await openFileStore({ params: { maxBytes }, dataDirectory, clock: systemClock, log, use: 'drain' });
      return store;
    },
    kill() {
      if (store === undefined) return;
      killed.push(store);
      store = undefined;
      const from = spool();
      lives++;
      // The reserve is large, and its content is nobody's concern; the lock is the dead process's.
      const whole = new Set(['reserve', 'drain.lock']);
      cpSync(from, spool(), { recursive: true, filter: (path) => !whole.has(path.slice(from.length + 1)) });
      if (readdirSync(from).includes('reserve')) linkSync(join(from, 'reserve'), join(spool(), 'reserve'));
    },
    async close() {
      await store?.close();
      store = undefined;
    },
    async remove() {
      for (const each of [...killed, store]) await each?.close();
      await fs.rm(home, { recursive: true });
    },
  };
}
