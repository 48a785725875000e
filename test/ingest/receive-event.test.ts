import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { pino } from 'pino';
import { createApp } from '../../ingest/app.ts';
import { openGroupCommit } from '../../ingest/publish/group-commit.ts';
import { openBodyBudget } from '../../ingest/receive/read-body.ts';
import { doorsOf } from '../../ingest/schemes/doors.ts';
import { systemClock } from '../../shared/clock.ts';
import { keyidOf } from '../../shared/schemes/secrets.ts';
import { memoryWriter, pandaHeaders, pandaSecret, post, serverEvent, targetOf } from './ingest-under-test.ts';

test('whether a body is taken or refused, and why, its bytes go back to the budget of all', async () => {
  const writer = memoryWriter();
  const groupCommit = openGroupCommit(targetOf(writer));
  const bodyBudget = openBodyBudget({ maxBytes: 2048, maxUnfinishedBytes: 1e6 });
  const secret = { text: pandaSecret, keyid: keyidOf(pandaSecret), notAfterMs: undefined };
  const doors = doorsOf([{ source: { name: 'billing', scheme: 'panda', secrets: [pandaSecret] }, secrets: [secret] }]);
  const app = createApp(
    () => doors,
    { clock: systemClock, maxBodyBytes: 1500, bodyBudget, publishing: { groupCommit, deadlineMs: 5000 } },
    { closing: () => false, probe: async () => {} },
    pino({ level: 'silent' }),
  );
  const server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`;

  const padded = JSON.stringify(serverEvent({ padding: 'x'.repeat(1000) }));
  const statuses = [];
  for (let round = 0; round < 3; round++) {
    statuses.push((await post(url, pandaHeaders(), padded)).status);
    statuses.push((await post(url, pandaHeaders('/wrong'), padded)).status);
    statuses.push((await post(url, pandaHeaders(), padded.slice(1))).status);
    writer.intercept = () => {
      throw new Error('down');
    };
    statuses.push((await post(url, pandaHeaders(), padded)).status);
    writer.intercept = undefined;
  }
  assert.deepEqual(statuses, Array.from({ length: 3 }, () => [201, 403, 400, 503]).flat());
  assert.ok(bodyBudget.take(2048), 'all was given back');
  bodyBudget.giveBack(2048);

  assert.ok(bodyBudget.take(1024));
  const { status, json, headers } = await post(url, pandaHeaders(), padded);
  assert.deepEqual([status, json.code, headers.has('retry-after')], [503, 'overloaded', true]);
  server.close();
  server.closeAllConnections();
  await groupCommit.close();
});
