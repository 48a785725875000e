/** The console asks a real ingest, whose stream is away: its figures, and an event that waits in its spool. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openIngests } from '../../../compactor/console/ask-ingests.ts';
import { dayMs, dayOf } from '../../../shared/clock.ts';
import { keyidOf } from '../../../shared/schemes/secrets.ts';
import { signatureHeader } from '../../stripe/webhook-sender.ts';
import { eventsOf } from '../archive-under-test.ts';

const secret = 'whsec_of_the_console';
const directory = mkdtempSync(join(tmpdir(), 'daybook-console-'));
let ingest: ChildProcess;
let url: string;
let admin: string;

before(async () => {
  const program = fileURLToPath(new URL('../../../ingest/main.ts', import.meta.url));
  ingest = spawn(process.execPath, [program, 'serve'], {
    cwd: directory,
    env: {
      DAYBOOK_DATA_DIR: directory,
      DAYBOOK_SOURCES: JSON.stringify([{ name: 'platform', scheme: 'stripe', secrets: [secret] }]),
      // Nothing listens there.
      DAYBOOK_STREAM: JSON.stringify({ type: 'kafka', params: { brokers: ['127.0.0.1:9'], topic: 'daybook' } }),
      INGEST_PORT: '0',
      INGEST_ADMIN_PORT: '0',
      INGEST_PUBLISH_DEADLINE_MS: '200',
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  for await (const text of createInterface({ input: ingest.stderr! })) {
    const { msg, port } = JSON.parse(text);
    if (msg === 'metrics listening') admin = `http://127.0.0.1:${port}`;
    else if (msg === 'listening') {
      url = `http://127.0.0.1:${port}`;
      break;
    }
  }
});
after(async () => {
  const ended = new Promise((resolve) => ingest.once('exit', resolve));
  ingest.kill('SIGTERM');
  await ended;
  rmSync(directory, { recursive: true });
});

async function deliver(body: string, given: string): Promise<number> {
  const signature = signatureHeader({ body, secrets: [given], timestampSeconds: Math.floor(Date.now() / 1000) });
  const headers = { 'content-type': 'application/json', 'stripe-signature': signature };
  return (await fetch(`${url}/webhooks/platform`, { method: 'POST', headers, body })).status;
}

test('figures of an ingest, and an event that waits in its spool, with key and time; none that is not there', async () => {
  // Of yesterday: an event of later today is refused.
  const day = dayOf(Date.now() - dayMs);
  const [event, other] = eventsOf(day, 2, 'spooled');
  const started = Date.now();
  assert.deepEqual([await deliver(event!.text, secret), await deliver(event!.text, secret)], [200, 200]);
  assert.deepEqual([await deliver(other!.text, secret), await deliver(other!.text, 'whsec_wrong')], [200, 400]);
  const ingests = openIngests([admin, 'http://127.0.0.1:1']);

  const [figures, nobody] = await ingests.figures();
  const [unknown, platform] = [...figures!.sources].sort((a, b) => (a.source < b.source ? -1 : 1));
  assert.deepEqual(
    [unknown!.source, unknown!.events.total, platform!.source, platform!.events.total],
    ['_unknown', 0, 'platform', 3],
  );
  assert.deepEqual(platform!.requests.accepted, { total: 3, perMinute: null });
  assert.deepEqual(figures!.refusals, [{ code: 'signature_mismatch', total: 1, perMinute: null }]);
  assert.deepEqual([figures!.spool.isUp, figures!.spool.records, figures!.spool.deadLetters], [true, 3, 0]);
  assert.ok(figures!.spool.bytes! > 0 && figures!.circuit !== null && Date.parse(figures!.startedAt!) <= started);
  assert.deepEqual([nobody!.trouble?.code, nobody!.sources, nobody!.circuit], ['ingest_unreachable', [], null]);

  const [found, unreachable] = await ingests.searchSpools(event!.id);
  assert.deepEqual([found!.records!.length, found!.looked, found!.isWhole, found!.trouble], [2, 3, true, null]);
  const [record] = found!.records!;
  assert.deepEqual(
    [record!.source, record!.via, record!.scheme, record!.keyid, record!.bytes, record!.isDeadLetter, record!.day],
    ['platform', 'webhook', 'stripe', keyidOf(secret), Buffer.byteLength(event!.text), false, day],
  );
  assert.ok(Date.parse(record!.receivedAt) >= started);
  assert.deepEqual([unreachable!.records, unreachable!.trouble?.code], [null, 'ingest_unreachable']);
  assert.deepEqual((await ingests.searchSpools('evt_nowhere'))[0]!.records, []);
  assert.equal((await fetch(`${admin}/spool?id=${'x'.repeat(256)}`)).status, 503);
});

test('whatever answers at a configured address is believed no further than its form', async (t) => {
  const listening = async (answer: string) => {
    const server: Server = createServer((_, response) => response.end(answer));
    t.after(() => server.close());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  const id = 'evt_1';
  const hostile = [
    'daybook_ingest_accepted_events_total{source="<script>"} 1\ndaybook_ingest_refusals_total{code="<b>"} 2',
    'x'.repeat(5_000_000),
    JSON.stringify({ records: [{ id }, { id: 'evt_2' }, null, 7], looked: 1, isWhole: true }),
  ];
  const ingests = openIngests(await Promise.all(hostile.map(listening)));
  const [named, large, other] = await ingests.figures();
  assert.deepEqual([named!.sources, named!.refusals], [[], [{ code: 'unknown', total: 2, perMinute: null }]]);
  assert.deepEqual([large!.trouble?.code, other!.trouble?.code], ['ingest_unreachable', 'ingest_unreachable']);
  const [words, , records] = await ingests.searchSpools(id);
  assert.equal(words!.records, null);
  assert.deepEqual(
    records!.records?.map(({ source, receivedAt }) => [source, receivedAt]),
    [['', '']],
  );
});
