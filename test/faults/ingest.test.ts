/** The one durable step of ingest, the append, fails both ways; and the process dies at any moment. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openEmbeddedWriter } from '../../shared/stream/embedded/embedded.ts';
import { readRecords, startIngestProcess } from '../ingest/ingest-process.ts';
import { post, startIngest, stripeEvent, stripeHeaders, stripeSecret } from '../ingest/ingest-under-test.ts';
import { type Fault, faultyWriter } from './faulty.ts';
import { runOnSmallDisk } from './small-disk.ts';

const directory = await mkdtemp(join(tmpdir(), 'daybook-ingest-faults-'));
after(() => rm(directory, { recursive: true }));

async function deliver(url: string, id: string): Promise<number> {
  const body = JSON.stringify(stripeEvent({ id, data: { object: { id: `in_${id}` } } }));
  return (await post(`${url}/webhooks/platform`, stripeHeaders(body), body)).status;
}

for (const [what, fault, copies] of [
  ['did not happen', 'before', 1],
  ['happened but was reported as failed', 'after', 2],
] as const) {
  test(`an append that ${what} is repeated within the deadline: the sender gets 200, the event is there`, async () => {
    const data = join(directory, `once-${fault}`);
    const writer = faultyWriter(await openEmbeddedWriter({ directory: data }), (_operation, _records, call) =>
      call === 1 ? fault : undefined,
    );
    const ingest = await startIngest({ writer });
    assert.equal(await deliver(ingest.url, 'evt_once'), 200);
    await ingest.close();
    assert.equal((await readRecords(data)).length, copies);
  });

  test(`an append that ${what} for longer than the deadline is 503 where the spool is full; a repeat then gets 200, and the event is there`, async () => {
    const data = join(directory, `long-${fault}`);
    let now: Fault = fault;
    const writer = faultyWriter(await openEmbeddedWriter({ directory: data }), () => now);
    const ingest = await startIngest({ writer, spool: 'no spool', publishDeadlineMs: 60 });
    assert.equal(await deliver(ingest.url, 'evt_long'), 503);
    now = undefined;
    // A slow disk may take longer than this deadline too: a sender goes on repeating.
    while ((await deliver(ingest.url, 'evt_long')) !== 200);
    await ingest.close();
    const ids = (await readRecords(data)).map(({ id }) => id);
    assert.ok(ids.length > (fault === 'before' ? 0 : 1));
    assert.deepEqual([...new Set(ids)], ['evt_long']);
  });
}

test('whatever appends fail, and how, every id that was answered 200 is in the stream', async () => {
  const data = join(directory, 'random');
  let call = 0;
  const faults: Fault[] = ['before', undefined, 'after', 'after', 'before', undefined];
  const writer = faultyWriter(await openEmbeddedWriter({ directory: data }), (operation) =>
    operation === 'append' ? faults[call++ % faults.length] : undefined,
  );
  // A stop tries on until a spool that would not outlive it is empty.
  const ingest = await startIngest({ writer, isSpoolDurable: false, publishDeadlineMs: 45 });
  const statuses = new Map<string, number>();
  for (let round = 0; round < 10; round++) {
    const ids = Array.from({ length: 20 }, (_, n) => `evt_${round}_${n}`);
    await Promise.all(ids.map(async (id) => statuses.set(id, await deliver(ingest.url, id))));
  }
  await ingest.close();
  const stored = new Set((await readRecords(data)).map(({ id }) => id));
  for (const [id, status] of statuses) {
    assert.ok(status === 200 || status === 503, `${status}`);
    if (status === 200) assert.ok(stored.has(id), `${id} was acknowledged and is not there`);
  }
});

test('kill -9 under load: every id that was answered 2xx is in the stream file', async () => {
  const data = join(directory, 'killed');
  const acknowledged: string[] = [];
  for (let life = 0; life < 3; life++) {
    const ingest = await startIngestProcess({
      cwd: directory,
      environment: {
        DAYBOOK_SOURCES: JSON.stringify([{ name: 'platform', scheme: 'stripe', secrets: [stripeSecret] }]),
        DAYBOOK_DATA_DIR: data,
        INGEST_PORT: '0',
        LOG_LEVEL: 'info',
      },
    });
    let alive = true;
    let answered = 0;
    const killAfter = 100 + 170 * life;
    const senders = Array.from({ length: 32 }, async (_, sender) => {
      for (let n = 0; alive; n++) {
        const id = `evt_${life}_${sender}_${n}`;
        try {
          if ((await deliver(ingest.url, id)) !== 200) continue;
        } catch {
          break; // The connection died with the process.
        }
        acknowledged.push(id);
        if (++answered === killAfter) ingest.process.kill('SIGKILL');
      }
    });
    assert.deepEqual(await ingest.exited, [null, 'SIGKILL']);
    alive = false;
    await Promise.all(senders);
  }
  const stored = new Set((await readRecords(data)).map(({ id }) => id));
  assert.ok(acknowledged.length >= 810);
  assert.deepEqual(
    acknowledged.filter((id) => !stored.has(id)),
    [],
  );
});

test('stream and spool on a disk that is full: not ready, 503 at once, and 2xx as soon as there is room', async (t) => {
  const disk = join(directory, 'small-disk');
  await mkdir(disk);
  await runOnSmallDisk(t, 'ingest-disk-full.ts', disk);
});
