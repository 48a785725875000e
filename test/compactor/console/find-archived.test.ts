/** Where an event is, in an archive of many days: ids alone, few objects read, and what was not looked at is said. */
import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { findArchived } from '../../../compactor/console/find-archived.ts';
import { type KnownArchive, openLedgerView } from '../../../compactor/console/ledger-view.ts';
import { type DayEntry, encodeManifest, type Manifest, manifestKey } from '../../../compactor/ledger/manifest.ts';
import { addDays, type Day, systemClock } from '../../../shared/clock.ts';
import { readSigner } from '../../../shared/crypto/signing.ts';
import { openDirectoryStore } from '../../../shared/store/directory/store.ts';
import { bodyOf, type ObjectStore } from '../../../shared/store/store.ts';

const directory = mkdtempSync(join(tmpdir(), 'daybook-find-'));
const inFolder = openDirectoryStore(directory);
const signer = readSigner(
  generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
);
const firstDay = '2026-01-01';
const days = 200;
const read: string[] = [];
const store: ObjectStore = {
  ...inFolder,
  read(key, range) {
    read.push(key);
    return inFolder.read(key, range);
  },
};
let known: KnownArchive;

const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');
/** Of the day `at`: ids of Stripe's kind that grow with time, others that grow within an object's life, and random ones. */
const idsOf = (at: number) => [
  ...[0, 1, 2].map((number) => `evt_1${String(at).padStart(4, '0')}x${number}`),
  `evt_3${sha256(`object ${at}`).slice(0, 8)}`,
  `x-${sha256(`${at}`).slice(0, 8)}`,
];

before(async () => {
  let previous: Manifest['previous'] = null;
  for (let at = 0; at < days; at += 1) {
    const day = addDays(firstDay, at);
    const sources: Record<string, Record<Day, DayEntry>> = {
      platform: { [day]: await entryOf('platform', day, idsOf(at)) },
    };
    // A second endpoint brought the same events of one day.
    if (at === 70) sources.second = { [day]: await entryOf('second', day, idsOf(at).slice(0, 1)) };
    const manifest: Manifest = {
      ...{ format: 'daybook-manifest/1', number: at + 1, previous, createdAt: `${addDays(day, 1)}T03:00:00.000Z` },
      ...{ stream: { id: 'x', partitions: {} }, holes: [], quarantine: [], firstDays: {}, lists: {}, sources },
    };
    const bytes = await encodeManifest(manifest, signer);
    await inFolder.create(manifestKey('', at + 1), bodyOf(bytes));
    previous = { number: at + 1, sha256: sha256(bytes) };
  }
  const verifyingKeys = new Map([[signer.keyId, { verify: signer.verify }]]);
  known = await openLedgerView({
    openStore: async () => ({ store: inFolder, prefix: '' }),
    verifyingKeys,
    clock: systemClock,
  }).look();
  assert.equal(known.state.trouble, null);
});
after(async () => {
  await inFolder.close();
  rmSync(directory, { recursive: true });
});

async function entryOf(source: string, day: Day, ids: readonly string[]): Promise<DayEntry> {
  const packed = gzipSync(
    [...ids]
      .sort()
      .map((id) => `${id}\n`)
      .join(''),
  );
  const key = `${source}/${day}.ids.gz`;
  await inFolder.create(key, bodyOf(packed));
  const part = {
    ...{
      key: `${source}/${day}.jsonl.gz.age`,
      events: ids.length,
      firstCreated: '',
      lastCreated: '',
      deliveries: null,
    },
    ...{
      bytes: { plaintext: 0, ciphertext: 0 },
      sha256: { plaintext: '', ciphertext: '' },
      ids: { key, sha256: sha256(packed) },
    },
  };
  return {
    ...{ parts: [part], lateDeliveries: [], verdict: 'complete', listedAt: null, accounts: [], generationFailures: [] },
    counts: { delivered: 0, recovered: ids.length, listed: null, notListed: null, differing: 0, duplicates: 0 },
    missing: day === addDays(firstDay, 5) ? ['evt_gone'] : [],
  };
}

async function find(id: string, more: { before?: Day; source?: string } = {}, isOver = () => false) {
  read.length = 0;
  return findArchived(store, known, { id, ...more }, isOver);
}

test('ids that grow with time are found in few looks, wherever they are, in every source that has them', async () => {
  for (const at of [0, 1, 70, 99, 150, 198, 199]) {
    const { events } = await find(`evt_1${String(at).padStart(4, '0')}x1`);
    assert.deepEqual(
      events.map(({ source, day, origin }) => [source, day, origin]),
      [['platform', addDays(firstDay, at), 'recovered']],
    );
    assert.ok(read.length <= 16, `${read.length} objects read for day ${at}`);
  }
  const { events } = await find('evt_10070x0');
  assert.deepEqual(events.map(({ source }) => source).sort(), ['platform', 'second']);
});

test('other ids are found too, and what is nowhere is looked for in every object once', async () => {
  for (const at of [0, 42, 199]) {
    for (const id of idsOf(at).slice(3)) {
      const { events } = await find(id);
      assert.deepEqual(
        events.map(({ day }) => day),
        [addDays(firstDay, at)],
        id,
      );
    }
  }
  for (const id of ['evt_10070x9', 'evt_1', 'evt_10070x0\\n', '0070x0', 'evt_10070']) {
    const { events, looked, total, next } = await find(id);
    assert.deepEqual([events, looked, total, next], [[], 201, 201, null], id);
    assert.deepEqual([read.length, new Set(read).size], [201, 201]);
  }
  const { events, missing } = await find('evt_gone');
  assert.deepEqual([events, missing], [[], [{ source: 'platform', day: '2026-01-06' }]]);
});

test('where there is no more time it says from where to go on, and the next search finds it there', async () => {
  const [id] = idsOf(20).slice(4);
  let looks = 0;
  const isOver = () => {
    looks += 1;
    return looks > 50;
  };
  const first = await find(id!, { source: 'platform' }, isOver);
  assert.deepEqual(first.events, []);
  assert.ok(first.next !== null && first.next > addDays(firstDay, 20) && first.looked < first.total);
  const second = await find(id!, { source: 'platform', before: first.next! });
  assert.deepEqual(
    second.events.map(({ day }) => day),
    [addDays(firstDay, 20)],
  );

  looks = 0;
  const nowhere = await find('z-nowhere', { source: 'platform', before: '2027-01-01' }, isOver);
  const rest = await find('z-nowhere', { source: 'platform', before: nowhere.next! });
  assert.deepEqual([nowhere.looked + rest.looked, rest.next], [days, null]);
});

test('a day whose ids are not those of its manifest is named, and nothing is found in it', async () => {
  const day = addDays(firstDay, 30);
  writeFileSync(join(directory, `platform/${day}.ids.gz`), gzipSync('evt_forged\n'));
  const { events, damaged } = await find('evt_forged');
  assert.deepEqual([events, damaged.map((one) => [one.source, one.day])], [[], [['platform', day]]]);
});
