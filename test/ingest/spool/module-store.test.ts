import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { checkSpool, openSpool, spoolTypes } from '../../../ingest/spool/open-spool.ts';
import { systemClock } from '../../../shared/clock.ts';
import { backingStoreContract } from '../../contract/backing-store.ts';

const path = join(import.meta.dirname, 'own-spool.ts');
const context = { dataDirectory: 'unused', clock: systemClock, log: pino({ level: 'silent' }), use: 'drain' } as const;

backingStoreContract('module spool', async () => ({
  open: ({ maxBytes, clock }) => openSpool({ type: 'module', params: { path, maxBytes } }, { ...context, clock }),
  isDurable: false,
  async remove() {},
}));

test('module spool: an error without a code says that the spool is away', async () => {
  const store = await openSpool({ type: 'module', params: { path } }, context);
  await store.close();
  await assert.rejects(store.append([{ key: 'k', value: Buffer.from('v') }]), {
    name: 'DaybookError',
    code: 'spool_unavailable',
    retry: true,
  });
});

test('module spool: a path without a file is a problem of the settings', () => {
  const problems: string[] = [];
  checkSpool({ type: 'module', params: { path: '/nowhere.ts' } }, spoolTypes, problems);
  assert.deepEqual(problems, ['INGEST_SPOOL.params.path: is not a file that is there']);
});
