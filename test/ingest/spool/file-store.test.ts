import { spawn } from 'node:child_process';
import fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pino } from 'pino';
import { openSpool } from '../../../ingest/spool/open-spool.ts';
import { backingStoreContract } from '../../contract/backing-store.ts';

const log = pino({ level: 'silent' });

backingStoreContract('file spool', async () => {
  const dataDirectory = await fs.mkdtemp(join(tmpdir(), 'daybook-spool-'));
  return {
    open: ({ maxBytes, clock }) =>
      openSpool({ type: 'file', params: { maxBytes } }, { dataDirectory, clock, log, use: 'drain' }),
    inspect: () =>
      openSpool(
        { type: 'file' },
        { dataDirectory, clock: { now: () => new Date('2026-11-21T12:00:00.000Z') }, log, use: 'inspect' },
      ),
    isDurable: true,
    async breakDown(t) {
      const real = DatabaseSync.prototype.exec;
      const failing = t.mock.method(DatabaseSync.prototype, 'exec', function (this: DatabaseSync, sql: string) {
        if (sql === 'COMMIT') throw Object.assign(new Error('disk I/O error'), { errcode: 10 });
        real.call(this, sql);
      });
      return async () => failing.mock.restore();
    },
    startAppender: () =>
      spawn(process.execPath, [join(import.meta.dirname, 'appender.ts'), dataDirectory, 'append'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      }),
    remove: () => fs.rm(dataDirectory, { recursive: true }),
  };
});
