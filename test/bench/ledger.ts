/**
 * `run` on the ledger of many nights with nothing to do: manifests of one source as its nights write them, each with the
 * new day and with those listed again (D+1 to D+3, D+7, D+28), signed and chained. The objects that they name are not
 * there: a night looks at none of them without events.
 */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type DayEntry, encodeManifest, type Manifest, manifestKey } from '../../compactor/ledger/manifest.ts';
import { addDays, type Day, systemClock } from '../../shared/clock.ts';
import { readSigner } from '../../shared/crypto/signing.ts';
import { openEmbeddedReader, openEmbeddedWriter } from '../../shared/stream/embedded/embedded.ts';
import type { CompactRow } from './compact.ts';
import { measureCompactor, newKeys } from './compactor-program.ts';

const firstDay = '2016-11-24';

/** `events` of the row are the manifests. */
export async function benchLedger(manifests: number): Promise<CompactRow[]> {
  const directory = await mkdtemp(join(tmpdir(), 'daybook-bench-'));
  try {
    const { signingKey, settings } = await newKeys(directory);
    await (await openEmbeddedWriter({ directory })).close();
    await writeLedger(directory, signingKey, manifests, await streamIdOf(directory));
    const lastNight = `${addDays(firstDay, manifests)}T04:00:00Z`;
    const run = (...args: string[]) => measureCompactor(directory, settings, args);
    // A first start may have to compile what later ones take from Node's cache.
    await run('run', '--now', lastNight);
    const { report, ...measured } = await run('run', '--now', lastNight);
    if (report.manifest !== null || (report.errors as unknown[]).length > 0) {
      throw new Error(`there was something to do: ${JSON.stringify(report).slice(0, 2_000)}`);
    }
    const { report: list, ...listed } = await run('list');
    if ((list.days as unknown[]).length !== manifests) throw new Error('list does not show every day');
    return [
      { name: 'run, nothing to do', events: manifests, ...measured },
      { name: 'list', events: manifests, ...listed },
    ];
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function streamIdOf(directory: string): Promise<string> {
  const reader = await openEmbeddedReader({ directory, consumer: 'bench', clock: systemClock });
  const { id } = await reader.snapshot();
  await reader.close();
  return id;
}

async function writeLedger(directory: string, signingKey: string, count: number, streamId: string): Promise<void> {
  const signer = readSigner(signingKey);
  let previous: Manifest['previous'] = null;
  await mkdir(join(directory, 'archive', dirname(manifestKey('', 1))), { recursive: true });
  for (let number = 1; number <= count; number += 1) {
    const night = addDays(firstDay, number);
    const days = [1, 2, 3, 4, 8, 29]
      .filter((age) => age <= number)
      .map((age) => [addDays(night, -age), entryOf(addDays(night, -age), age, night)] as const);
    const manifest: Manifest = {
      format: 'daybook-manifest/1',
      number,
      previous,
      createdAt: `${night}T03:00:05.000Z`,
      stream: { id: streamId, partitions: { '0': { next: '0', last: null, done: [] } } },
      holes: [],
      quarantine: [],
      firstDays: { platform: firstDay },
      lists: { platform: { v1: `${firstDay}T00:00:00.000Z` } },
      sources: { platform: Object.fromEntries(days) },
    };
    const bytes = await encodeManifest(manifest, signer);
    await writeFile(join(directory, 'archive', manifestKey('', number)), bytes);
    previous = { number, sha256: createHash('sha256').update(bytes).digest('hex') };
  }
}

/** The newest days are such as no list was asked for, so that there is nothing to do without one. */
function entryOf(day: Day, age: number, night: Day): DayEntry {
  const isSettled = age > 3;
  return {
    parts: age === 1 ? [partOf(day)] : [],
    lateDeliveries: [],
    verdict: isSettled ? 'complete' : 'unreconciled',
    listedAt: isSettled ? `${night}T03:00:00.000Z` : null,
    accounts: ['acct_1NG8Du2eZvKYlo2C'],
    counts: { delivered: 99_990, recovered: 10, listed: 100_000, notListed: 0, differing: 3, duplicates: 1_250 },
    missing: [],
    generationFailures: [],
  };
}

function partOf(day: Day): DayEntry['parts'][number] {
  const hash = (what: string) => createHash('sha256').update(`${day} ${what}`).digest('hex');
  const stem = `platform/${day.replaceAll('-', '/')}/${day}-`;
  return {
    key: `${stem}${hash('part').slice(0, 16)}.jsonl.gz.age`,
    events: 100_000,
    firstCreated: `${day}T00:00:00.000Z`,
    lastCreated: `${day}T23:59:59.000Z`,
    bytes: { plaintext: 400_000_000, ciphertext: 40_000_000 },
    sha256: { plaintext: hash('part'), ciphertext: hash('sealed part') },
    ids: { key: `${stem}${hash('ids').slice(0, 16)}.ids.gz`, sha256: hash('sealed ids') },
    deliveries: {
      key: `${stem}${hash('deliveries').slice(0, 16)}.deliveries.jsonl.gz.age`,
      sha256: { plaintext: hash('deliveries'), ciphertext: hash('sealed deliveries') },
      count: 101_240,
    },
  };
}
