import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { pino } from 'pino';
import { openSpool } from '../../../ingest/spool/open-spool.ts';
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
  const lines: string[] = [];
  const log = pino(
    new Writable({
      write(chunk, _, done) {
        lines.push(String(chunk));
        done();
      },
    }),
  );
  const clock = { now: () => new Date() };
  const store = await openSpool({ type: 'memory' }, { dataDirectory: 'unused', clock, log, use: 'drain' });
  assert.match(lines.join(''), /"level":40.*lost when this process ends/);
  await store.close();
});
