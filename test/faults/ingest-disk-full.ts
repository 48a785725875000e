/** A process whose data directory, its argument, is a disk of 48 MB: ingest, its stream and its spool on it, fills it up. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { checkEmbedded } from '../../shared/stream/embedded/check.ts';
import { until } from '../compactor/until.ts';
import { readRecords, startIngestProcess } from '../ingest/ingest-process.ts';
import { stripeEvents } from '../stripe/events.ts';
import { sendWebhook } from '../stripe/webhook-sender.ts';
import { fillDisk } from './small-disk.ts';

const directory = process.argv[2]!;
const ballast = join(directory, 'ballast');
const secret = 'whsec_of_the_small_disk';
const nowSeconds = Math.floor(Date.now() / 1000);
const events = stripeEvents({ count: 400, seed: 'small disk', fromSeconds: nowSeconds - 60, toSeconds: nowSeconds });
const padding = 'x'.repeat(300_000);
const accepted: string[] = [];

const ingest = await startIngestProcess({
  cwd: directory,
  environment: {
    DAYBOOK_DATA_DIR: directory,
    DAYBOOK_SOURCES: JSON.stringify([{ name: 'platform', scheme: 'stripe', secrets: [secret] }]),
    INGEST_PORT: '0',
    INGEST_PUBLISH_DEADLINE_MS: '300',
  },
});
process.on('exit', () => ingest.process.kill('SIGKILL'));
const url = `${ingest.url}/webhooks/platform`;

/** Sends the same event again until it is taken, as Stripe does. */
async function send(): Promise<number> {
  const { id, text } = events[accepted.length]!;
  const { status, headers } = await sendWebhook({
    url,
    body: `{"padding":"${padding}",${text.slice(1)}`,
    secrets: [secret],
  });
  if (status === 200) accepted.push(id);
  else assert.deepEqual([status, headers.get('retry-after') !== null], [503, true]);
  return status;
}

const readiness = async () => (await fetch(`${ingest.url}/readyz`)).status;
const metrics = async () => (await fetch(`http://127.0.0.1:${ingest.adminPort}/metrics`)).text();
const isAway = async () => (await metrics()).includes('daybook_ingest_circuit_state{state="closed"} 0');

// Another file fills the disk but for a little, and events the rest.
fillDisk(ballast, 12 * 1024 * 1024);
assert.deepEqual([await send(), await readiness()], [200, 200]);
while ((await send()) === 200);
assert.ok(accepted.length > 3, `${accepted.length} fit`);

// As long as it is full nobody is told otherwise, whether events come or not.
let isSending = true;
const sending = (async () => {
  while (isSending) await send();
})();
await until(async () => ((await readiness()) === 503 && (await isAway()) ? true : undefined));
for (let look = 0; look < 100; look++) {
  assert.equal(await readiness(), 503);
  assert.ok(await isAway());
}

const stream = async () => (await checkEmbedded(directory)).found[0];
assert.deepEqual([(await stream())?.status, (await stream())?.code], ['problem', 'stream_unavailable']);

isSending = false;
await sending;
fs.rmSync(ballast);
await until(async () => ((await readiness()) === 200 && !(await isAway()) ? true : undefined));
assert.equal(await send(), 200);
assert.equal((await stream())?.status, 'ok');

await until(async () => ((await metrics()).includes('\ndaybook_ingest_spool_records 0\n') ? true : undefined));
ingest.process.kill('SIGTERM');
assert.deepEqual(await ingest.exited, [0, null]);
const stored = new Set((await readRecords(directory)).map(({ id }) => id));
assert.deepEqual(
  accepted.filter((id) => !stored.has(id)),
  [],
);
assert.deepEqual(
  fs.readdirSync(directory).filter((name) => name === '.stream-room'),
  [],
);
