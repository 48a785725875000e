import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { openSpool } from '../../../ingest/spool/open-spool.ts';
import { systemClock } from '../../../shared/clock.ts';
import { capturedLog } from '../../captured-log.ts';
import { backingStoreContract } from '../../contract/backing-store.ts';

backingStoreContract('memory spool', async () => ({
  open: ({ maxBytes, clock }) =>
    openSpool(
      { type: 'memory', params: { maxBytes } },
      { dataDirectory: 'unused', clock, log: pino({ level: 'silent' }), use: 'drain' },
    ),
  isDurable: false,
  async remove() {},
}));

test('memory spool: it says at its start that it does not outlive the process', async () => {
  const { log, lines } = capturedLog();
  const store = await openSpool({ type: 'memory' }, { dataDirectory: 'unused', clock: systemClock, log, use: 'drain' });
  assert.deepEqual(
    lines.map(({ level, msg }) => ({ level, msg })),
    [{ level: 40, msg: 'the spool is in memory: what waits in it is lost when this process ends' }],
  );
  await store.close();
});
