/** Legal holds: said, kept by prune, known to verify, and ended. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { pino } from 'pino';
import { type HoldReport, holdArchive } from '../../../compactor/ledger/hold-archive.ts';
import type { Hold } from '../../../compactor/ledger/holds.ts';
import type { PruneReport } from '../../../compactor/ledger/prune-archive.ts';
import { replicateArchive } from '../../../compactor/replicate/replicate-archive.ts';
import { readSigner } from '../../../shared/crypto/signing.ts';
import { openDirectoryRemover } from '../../../shared/store/directory/remove.ts';
import { openDirectoryStore } from '../../../shared/store/directory/store.ts';
import type { ObjectRemover } from '../../../shared/store/store.ts';
import { openEmbeddedReader } from '../../../shared/stream/embedded/embedded.ts';
import { keysOf } from '../../contract/object-store.ts';
import { faultyStore } from '../../faults/faulty.ts';
import { forgeManifests, openArchive, verify } from '../archive-under-test.ts';
import type { Books } from '../books.ts';
import { prune, pruneTime } from './prune-under-test.ts';

let books: Books;
beforeEach(async () => {
  books = await openArchive();
  books.at(pruneTime);
});
afterEach(() => books.close());

async function change(what: Parameters<typeof holdArchive>[2], store = books.store): Promise<HoldReport> {
  const clock = { now: () => books.now() };
  const signer = readSigner(books.signingKey);
  const stream = await openEmbeddedReader({ directory: books.directory, consumer: 'test', clock });
  try {
    const verifyingKeys = new Map([[signer.keyId, { verify: signer.verify }]]);
    const place = { clock, store, prefix: '', verifyingKeys, log: pino({ level: 'silent' }) };
    return await holdArchive(place, { signer, stream, holder: undefined, configured: ['shop'] }, what);
  } finally {
    await stream.close();
  }
}

const hold = (name: string, more: Partial<Hold> = {}): { hold: Hold } => ({
  hold: { name, source: null, from: null, to: null, reason: 'case 17', ...more },
});
const ages = { evidenceDays: 31, eventDays: 31 };
const days = ({ objects }: PruneReport) => [...new Set(objects.map(({ source, day }) => `${source} ${day}`))];

test('what is held is not pruned, whatever its age, until every hold on it is released', async () => {
  const held = await change(hold('matter-17', { source: 'platform', from: '2026-11-18', to: '2026-11-18' }));
  assert.deepEqual([held.manifest, held.days, held.pruned], [4, 1, 0]);
  await change(hold('audit', { to: '2026-11-18' }));
  const dry = await prune(books, ages, { isDry: true });
  assert.deepEqual(days(dry), ['billing 2026-11-19', 'platform 2026-11-19']);
  assert.equal(dry.held, 5);
  assert.equal((await prune(books, ages)).manifest, 6);
  const report = await verify(books);
  assert.deepEqual(report.breaks, []);
  assert.deepEqual(
    report.information.filter(({ code }) => code === 'held').map(({ message }) => message),
    [
      'held since manifest 4, matter-17: platform, 2026-11-18 to 2026-11-18 (case 17)',
      'held since manifest 5, audit: every source, the first day to 2026-11-18 (case 17)',
    ],
  );

  assert.equal((await change({ release: 'matter-17' })).manifest, 7);
  assert.deepEqual(days(await prune(books, ages, { isDry: true })), []);
  await change({ release: 'audit' });
  assert.equal((await prune(books, ages)).manifest, 9);
  assert.deepEqual((await verify(books)).breaks, []);
  // A night goes on behind them, and what the schedule goes by is a night's manifest.
  assert.equal((await books.ledger()).newestNight?.number, 3);
  assert.equal((await books.night([{ name: 'billing' }, { name: 'platform' }])).manifest, 10);
  assert.deepEqual((await verify(books)).breaks, []);
});

test('a mistyped source is refused: a hold on it would keep nothing, for ever', async () => {
  await assert.rejects(change(hold('matter-17', { source: 'platfrom' })), {
    code: 'usage',
    message: 'the archive has no source platfrom; it has: billing, platform',
  });
  // Of one that is configured events may come.
  assert.deepEqual((await change(hold('matter-18', { source: 'shop' }))).days, 0);
  assert.equal((await books.ledger()).held.size, 1);
});

test('a manifest that prunes what is held is named, though its signature holds', async () => {
  await prune(books, ages);
  await change(hold('late'));
  const forged = { name: 'matter-17', source: 'platform', from: null, to: null, reason: 'case 17' };
  await forgeManifests(books, (manifest) => {
    if (manifest.number === 3) manifest.holds = [forged];
  });
  const { breaks } = await verify(books);
  assert.deepEqual([...new Set(breaks.map(({ code, manifest }) => `${code} ${manifest}`))], ['prune_wrong 4']);
  assert.match(breaks[0]!.message, /^prunes platform\/.*, which the hold matter-17 of manifest 3 keeps$/);
});

test('what an earlier prune did not come to delete stays while it is held', async () => {
  const failing = { remove: () => Promise.reject(new Error('away')), close: async () => {} };
  const { left } = await prune(books, ages, { remover: () => failing });
  assert.ok(left > 0);
  const { pruned } = await change(hold('matter-17'));
  assert.equal(pruned, left);
  const again = await prune(books, ages);
  assert.deepEqual([again.unfinished, again.removed], [[], 0]);
  await change({ release: 'matter-17' });
  assert.equal((await prune(books, ages)).removed, left);
});

test('a hold that is said while a prune deletes keeps what is there by then, at the replica too', async () => {
  const replica = openDirectoryStore(join(books.directory, 'replica'));
  const replicate = (remover?: ObjectRemover) =>
    replicateArchive({
      ...{ archive: books.store, replica, prefix: '', check: false, remover, progress: () => {} },
      verifyingKeys: new Map([[readSigner(books.signingKey).keyId, { verify: readSigner(books.signingKey).verify }]]),
    });
  await replicate();
  let removals = 0;
  const report = await prune(books, ages, {
    remover: (remover) => ({
      ...remover,
      async remove(key) {
        removals += 1;
        if (removals === 1) await change(hold('matter-17'));
        return remover.remove(key);
      },
    }),
  });
  assert.ok(report.removed > 0 && report.left > 0, JSON.stringify(report));
  assert.equal(report.removed + report.left, report.objects.length);
  assert.equal((await prune(books, ages)).removed, 0);
  const there = await keysOf(replica, '');
  const remover = openDirectoryRemover(join(books.directory, 'replica'));
  const copied = await replicate(remover);
  assert.deepEqual([copied.removed, copied.failures], [0, []]);
  assert.equal((await keysOf(replica, '')).length, there.length + 2, 'two more manifests, no object less');
  await change({ release: 'matter-17' });
  assert.equal((await prune(books, ages)).removed, report.left);
  assert.equal((await replicate(remover)).removed, report.objects.length);
});

test('a name is in force once, the same again changes nothing, an unknown one is not released, and a failed write is repeated or told', async () => {
  await change(hold('matter-17'));
  assert.deepEqual([(await change(hold('matter-17'))).manifest, (await books.ledger()).head?.number], [4, 4]);
  await assert.rejects(change(hold('matter-17', { reason: 'b' })), { code: 'usage', message: /in force already/ });
  await assert.rejects(change({ release: 'other' }), { code: 'usage', message: /not in force/ });
  const failing = (when: 'before' | 'after') =>
    faultyStore(books.store, (operation) => (operation === 'create' ? when : undefined));
  await assert.rejects(change(hold('second'), failing('before')));
  // Persisted, and reported as failed: it is known to be ours.
  assert.equal((await change(hold('second'), failing('after'))).manifest, 5);
});
