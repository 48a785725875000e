/** All that the parts of a golden folder hold, read by the code as it is now. Changes nothing in it. */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { readSecretsFile } from '../../compactor/verify/check-delivery.ts';
import { verifyArchive } from '../../compactor/verify/verify-archive.ts';
import { openSpool } from '../../ingest/spool/open-spool.ts';
import { parseIdentities } from '../../shared/crypto/identities.ts';
import { readVerifyingKeys } from '../../shared/crypto/signing.ts';
import { openDirectoryStore } from '../../shared/store/directory/store.ts';
import { openEmbeddedReader } from '../../shared/stream/embedded/embedded.ts';

const clock = { now: () => new Date('2026-11-25T03:00:00Z') };

export async function foundIn(golden: string) {
  const folder = await mkdtemp(join(tmpdir(), 'daybook-golden-'));
  fs.cpSync(golden, folder, { recursive: true });
  try {
    return { archive: await verified(folder), stream: await streamed(folder), spool: await spooled(folder) };
  } finally {
    await rm(folder, { recursive: true });
  }
}

const text = (folder: string, name: string) => fs.readFileSync(join(folder, name), 'utf8');

/** To the last line and signature. */
async function verified(folder: string) {
  const temporaryDirectory = fs.mkdtempSync(join(folder, 'verify-'));
  const report = await verifyArchive({
    store: openDirectoryStore(join(folder, 'archive')),
    prefix: '',
    verifyingKeys: readVerifyingKeys(text(folder, 'verifying-key.pem')),
    identities: parseIdentities(text(folder, 'identity.txt')),
    secrets: readSecretsFile(join(folder, 'sources.json'), {}),
    temporaryDirectory,
    progress: () => {},
  });
  const { manifests, objects, breaks, deliveries } = report;
  const days = report.days.map(({ source, day, verdict, events }) => ({ source, day, verdict, events }));
  return { manifests, objects, breaks, deliveries, days };
}

async function streamed(folder: string) {
  const reader = await openEmbeddedReader({ directory: folder, consumer: 'golden', clock });
  const hash = createHash('sha256');
  let records = 0;
  const snapshot = await reader.snapshot();
  for (const partition of snapshot.partitions.keys()) {
    for await (const { entries } of reader.read(partition, undefined, snapshot)) {
      for (const { value } of entries) {
        records += 1;
        hash.update(value);
      }
    }
  }
  await reader.close();
  return { records, sha256: hash.digest('hex') };
}

async function spooled(folder: string) {
  const spool = await openSpool(
    { type: 'file' },
    { dataDirectory: folder, clock, log: pino({ level: 'silent' }), use: 'drain' },
  );
  const { records } = await spool.peek({ maxRecords: 100, maxBytes: 1e7 });
  const hash = createHash('sha256');
  for (const { value } of records) hash.update(value);
  const { dead } = await spool.size();
  await spool.close();
  return { records: records.length, dead, sha256: hash.digest('hex') };
}
