/** A process whose data directory, its argument, is a disk of 48 MB: it fills it up, with the spool and with another file. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { openSpool } from '../../ingest/spool/open-spool.ts';
import { systemClock } from '../../shared/clock.ts';
import { capturedLog } from '../captured-log.ts';
import { rejectsWith } from '../contract/backing-store.ts';
import { fillDisk } from './small-disk.ts';

const dataDirectory = process.argv[2]!;
const ballast = join(dataDirectory, 'ballast');
const plenty = { maxRecords: 10_000, maxBytes: 64 * 1024 * 1024 };
const { log, lines } = capturedLog();

const open = () => openSpool({ type: 'file' }, { dataDirectory, clock: systemClock, log, use: 'drain' });

const batchOf = (batch: number) =>
  Array.from({ length: 20 }, (_, n) => ({
    key: `k${n}`,
    value: Buffer.from(`${batch * 20 + n} ${'x'.repeat(40_000)}`),
  }));
const numbersOf = (values: readonly { value: Uint8Array }[]) =>
  values.map(({ value }) => Number(Buffer.from(value).toString().split(' ')[0]));

// The spool alone fills the disk.
let store = await open();
let batch = 0;
let refused = 0;
while (refused < 5) {
  try {
    await store.append(batchOf(batch));
    batch++;
  } catch (error) {
    await rejectsWith(Promise.reject(error), 'spool_full');
    refused++;
  }
}
assert.ok(batch > 15, `${batch} batches fit`);
const all = Array.from({ length: batch * 20 }, (_, n) => n);
assert.deepEqual(numbersOf((await store.peek(plenty)).records), all, 'no more and no less than was told');
await store.close();
store = await open();
assert.deepEqual(numbersOf((await store.peek(plenty)).records), all);

// What was delivered can be removed, though the disk is full. The file shrinks when little is left.
await (await store.peek({ ...plenty, maxRecords: 200 })).commit();
assert.deepEqual(numbersOf((await store.peek(plenty)).records), all.slice(200));
for (;;) {
  const rest = await store.peek({ ...plenty, maxRecords: 50 });
  if (rest.records.length === 0) break;
  await rest.commit();
}
for (let call = 0; call < 10; call++) await store.append(batchOf(call));
assert.equal((await store.size()).records, 200);
await (await store.peek(plenty)).commit();

// Another file fills it.
fillDisk(ballast);
for (let call = 0; ; call++) {
  const outcome = await store.append(batchOf(call)).catch((error) => error);
  if (outcome === undefined) continue;
  await rejectsWith(Promise.reject(outcome), 'spool_full');
  break;
}
const kept = numbersOf((await store.peek(plenty)).records);
assert.deepEqual(kept, [...kept.keys()]);
fs.rmSync(ballast);
await store.append(batchOf(50));
assert.equal((await store.size()).records, kept.length + 20);
await store.close();

// It is full before the first start.
fs.rmSync(join(dataDirectory, 'spool'), { recursive: true });
fs.mkdirSync(join(dataDirectory, 'spool'), { mode: 0o700 });
fs.writeFileSync(join(dataDirectory, 'spool', 'drain.lock'), '', { mode: 0o600 });
fillDisk(ballast);
assert.equal(lines.length, 0);
store = await open();
assert.equal(lines.at(-1)?.code, 'spool_full');
await rejectsWith(store.append(batchOf(0)), 'spool_full');
fs.rmSync(ballast);
for (;;) {
  const outcome = await store.append(batchOf(0)).catch((error) => error);
  if (outcome === undefined) break;
  await rejectsWith(Promise.reject(outcome), 'spool_full');
  await new Promise(setImmediate);
}
assert.equal((await store.size()).records, 20);
await store.close();
