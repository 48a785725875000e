/**
 * A process that works on a sql spool without end: `sql-appender.ts SETTINGS append|drain`. What `append` does and prints
 * is told in test/contract/backing-store.ts. `drain` takes batches of up to 20 instead, and prints `drained <number>` for
 * each of their records once it was "delivered", before the commit.
 */
import { setTimeout as rest } from 'node:timers/promises';
import { pino } from 'pino';
import { openSpool } from '../../../ingest/spool/open-spool.ts';

const [settings, work] = process.argv.slice(2);
const store = await openSpool(JSON.parse(settings!), {
  dataDirectory: 'unused',
  clock: { now: () => new Date() },
  log: pino({ level: 'silent' }),
  use: 'drain',
});
const padding = ' '.repeat(500);

async function print(line: string): Promise<void> {
  if (!process.stdout.write(`${line}\n`)) await new Promise((resolve) => process.stdout.once('drain', resolve));
}

for (let number = 0; ; ) {
  if (work === 'drain') {
    const batch = await store.peek({ maxRecords: 20, maxBytes: 1_000_000 });
    for (const { value } of batch.records) await print(`drained ${Buffer.from(value).toString().trim()}`);
    await batch.commit();
    if (batch.records.length === 0) await rest(10);
  } else {
    await store.append(
      Array.from({ length: 8 }, (_, n) => ({ key: `k${n}`, value: Buffer.from(`${number + n} ${padding}`) })),
    );
    number += 8;
    await print(`${number - 1}`);
  }
}
