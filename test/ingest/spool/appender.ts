/**
 * A process that works on the file spool of a directory without end: `appender.ts DIRECTORY append|drain|requeue`. What
 * `append` does and prints is told in test/contract/backing-store.ts. `drain` also takes batches of 5 and commits them, and
 * prints each of their numbers, after `drained `, once it was "delivered", before the commit. `requeue` makes every batch
 * dead letters and requeues them.
 */
import { pino } from 'pino';
import { openSpool } from '../../../ingest/spool/open-spool.ts';

const [directory, work] = process.argv.slice(2);
const store = await openSpool(
  { type: 'file' },
  { dataDirectory: directory!, clock: { now: () => new Date() }, log: pino({ level: 'silent' }), use: 'drain' },
);
const padding = ' '.repeat(3_000);

async function print(line: string): Promise<void> {
  if (!process.stdout.write(`${line}\n`)) await new Promise((resolve) => process.stdout.once('drain', resolve));
}

const start = Number(process.argv[4] ?? 0);
for (let number = start; ; number += 8) {
  await store.append(
    Array.from({ length: 8 }, (_, n) => ({ key: `k${n}`, value: Buffer.from(`${number + n} ${padding}`) })),
  );
  await print(`${number + 7}`);
  if (work === 'drain') {
    const batch = await store.peek({ maxRecords: 5, maxBytes: 1_000_000 });
    for (const { value } of batch.records) await print(`drained ${Buffer.from(value).toString().split(' ')[0]}`);
    await batch.commit();
  } else if (work === 'requeue') {
    const batch = await store.peek({ maxRecords: 5, maxBytes: 1_000_000 });
    for (const one of batch.records) await store.deadLetter(one, 'refused');
    await store.requeue();
  }
  await new Promise(setImmediate);
}
