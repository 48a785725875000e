/**
 * `node test/golden/make-golden.ts test/golden/<version>`: what this version writes, for every later one to open. To be run
 * once for each release that changes a format, and never again over what is there.
 */
import { createPublicKey } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { openSpool } from '../../ingest/spool/open-spool.ts';
import { eventsOf, openArchive, pandaRecord, secretsFile, signedRecord } from '../compactor/archive-under-test.ts';
import { foundIn } from './found-in.ts';

const folder = process.argv[2]!;
fs.mkdirSync(folder);
const books = await openArchive();
// What waits for the next night.
await books.deliver(
  ...eventsOf('2026-11-23', 3, 'waiting').map((event) => signedRecord(event)),
  pandaRecord(6, '2026-11-23'),
);
const spool = await openSpool(
  { type: 'file' },
  { dataDirectory: folder, clock: { now: () => books.now() }, log: pino({ level: 'silent' }), use: 'drain' },
);
const [first, ...others] = eventsOf('2026-11-24', 4, 'spooled').map((event) => signedRecord(event));
await spool.append([first!]);
const batch = await spool.peek({ maxRecords: 1, maxBytes: 1e6 });
await spool.deadLetter(batch.records[0]!, 'refused by the stream');
await spool.append(others);
await spool.close();
// Made again where they are missing.
for (const name of ['reserve', 'drain.lock']) fs.rmSync(join(folder, 'spool', name), { force: true });

fs.cpSync(books.archive, join(folder, 'archive'), { recursive: true });
fs.writeFileSync(join(folder, 'identity.txt'), `${books.identity}\n`);
fs.writeFileSync(
  join(folder, 'verifying-key.pem'),
  createPublicKey(books.signingKey).export({ type: 'spki', format: 'pem' }),
);
fs.writeFileSync(join(folder, 'sources.json'), `${JSON.stringify(secretsFile, null, 2)}\n`);
await books.writer.close();
fs.copyFileSync(join(books.directory, 'stream.sqlite'), join(folder, 'stream.sqlite'));
fs.writeFileSync(join(folder, 'expected.json'), `${JSON.stringify(await foundIn(folder), null, 2)}\n`);
await books.close();
