/** The read ledger that is kept: it sees what is new, and no more than the next manifest is asked for; reading again finds what changed. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { pino } from 'pino';
import { holdArchive } from '../../../compactor/ledger/hold-archive.ts';
import { readSigner } from '../../../shared/crypto/signing.ts';
import { openArchive, pathOf } from '../archive-under-test.ts';
import type { Books } from '../books.ts';
import { prune, pruneTime } from '../ledger/prune-under-test.ts';
import { placesOf } from './places.ts';

let books: Books;
let read: string[];
let isAway: boolean;
let nowMs = 0;
beforeEach(async () => {
  books = await openArchive();
  read = [];
  isAway = false;
});
afterEach(() => books.close());

function openView() {
  const store: typeof books.store = {
    ...books.store,
    read(key, range) {
      read.push(key);
      if (isAway) throw new Error('the store is away');
      return books.store.read(key, range);
    },
  };
  return placesOf(books, { store, monotonicMs: () => nowMs }).view;
}

/** Who looks sooner than in a second gets what is known. */
function later(): void {
  nowMs += 1_001;
}

test('the next manifest alone is asked for, and what it says is there for the next who looks', async () => {
  const view = openView();
  assert.equal((await view.look()).state.head?.number, 3);
  assert.equal(read.length, 3);
  books.at('2026-11-24T03:00:00Z');
  await books.night([{ name: 'billing' }, { name: 'platform' }]);
  later();
  const { state, ledger, manifests, histories } = await view.look();
  assert.deepEqual(
    read.slice(3),
    [3, 4, 5].map((number) => `manifests/0000000${number}.jsonl`),
  );
  assert.deepEqual([state.head?.number, manifests.length, state.trouble], [4, 4, null]);
  assert.ok(ledger.sources.get('platform')!.has('2026-11-23'));
  assert.deepEqual(
    histories
      .get('platform')!
      .get('2026-11-18')!
      .map(({ manifest, events }) => [manifest, events]),
    [
      [1, 12],
      [2, 14],
    ],
  );
  assert.deepEqual(ledger, await books.ledger());
});

test('a store that is away leaves what is known, with the trouble, and no trouble when it is back', async () => {
  const view = openView();
  isAway = true;
  assert.deepEqual((await view.look()).state.head, null);
  isAway = false;
  later();
  assert.equal((await view.look()).state.head?.number, 3);
  isAway = true;
  later();
  const { state } = await view.look();
  assert.deepEqual([state.head?.number, state.trouble?.message], [3, 'the store is away']);
  await assert.rejects(view.readAgain(), /the store is away/);
  isAway = false;
  later();
  assert.equal((await view.look()).state.trouble, null);
});

test('reading again finds a manifest that was changed, and one that is gone', async () => {
  const view = openView();
  await view.look();
  const path = pathOf(books, 'manifests/00000002.jsonl');
  const sound = fs.readFileSync(path);
  fs.writeFileSync(path, sound.toString().replace('"delivered":14', '"delivered":13'));
  await assert.rejects(view.readAgain(), { code: 'ledger_broken' });
  const { state, manifests } = await view.look();
  assert.deepEqual([state.head?.number, manifests.length, state.trouble?.code], [1, 1, 'ledger_broken']);
  fs.writeFileSync(path, sound);
  assert.equal((await view.readAgain()).head?.number, 3);
  fs.rmSync(pathOf(books, 'manifests/00000003.jsonl'));
  assert.equal((await view.readAgain()).head?.number, 2);
  assert.equal((await view.look()).manifests.length, 2);
});

test('a look finds that the newest manifest was changed, or is gone, and does not forget that it was there', async () => {
  const view = openView();
  const told = async () => {
    later();
    const { state, manifests } = await view.look();
    return [state.head?.number, manifests.length, state.trouble?.code, view.newestSeen()?.number];
  };
  assert.deepEqual(await told(), [3, 3, undefined, 3]);
  const path = pathOf(books, 'manifests/00000003.jsonl');
  const sound = fs.readFileSync(path);
  fs.writeFileSync(path, sound.toString().replace('"delivered":', '"delivered":1'));
  for (const _ of [1, 2]) assert.deepEqual(await told(), [2, 2, 'ledger_broken', 3]);
  fs.rmSync(path);
  for (const _ of [1, 2]) assert.deepEqual(await told(), [2, 2, 'ledger_broken', 3]);
  await view.readAgain();
  assert.deepEqual(await told(), [2, 2, 'ledger_broken', 3]);
  fs.writeFileSync(path, sound);
  assert.deepEqual(await told(), [3, 3, undefined, 3]);
});

test('a manifest that prunes or holds is shown as that, and says nothing of what a night is configured with', async () => {
  const { configured } = await openView().look();
  assert.deepEqual([...configured!].sort(), ['billing', 'platform']);
  books.at(pruneTime);
  await prune(books, { evidenceDays: 31, eventDays: 31 });
  const signer = readSigner(books.signingKey);
  await holdArchive(
    {
      ...{ clock: { now: () => books.now() }, store: books.store, prefix: '', log: pino({ level: 'silent' }) },
      verifyingKeys: new Map([[signer.keyId, { verify: signer.verify }]]),
    },
    { signer, stream: undefined, holder: undefined, configured: [] },
    { hold: { name: 'matter-17', source: null, from: null, to: null, reason: 'case 17' } },
  );
  const known = await openView().look();
  assert.deepEqual(
    known.manifests.slice(-3).map(({ by }) => by),
    ['night', 'prune', 'hold'],
  );
  assert.deepEqual(known.configured, configured);
});
