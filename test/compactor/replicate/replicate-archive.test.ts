/** An archive and its replica: copied in order, proven, refused where they differ; every step fails before and after it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { manifestKey } from '../../../compactor/ledger/manifest.ts';
import {
  type ReplicaReport,
  type Replication,
  replicateArchive,
} from '../../../compactor/replicate/replicate-archive.ts';
import { readSigner } from '../../../shared/crypto/signing.ts';
import { openDirectoryRemover } from '../../../shared/store/directory/remove.ts';
import { openDirectoryStore } from '../../../shared/store/directory/store.ts';
import { bodyOf, type ObjectRemover, type ObjectStore, readWhole } from '../../../shared/store/store.ts';
import { type Fault, faultyRemover, faultyStore } from '../../faults/faulty.ts';
import { openArchive, pathOf, verify } from '../archive-under-test.ts';
import type { Books } from '../books.ts';
import { prune, pruneTime } from '../ledger/prune-under-test.ts';

let books: Books;
let place: string;
let replica: ObjectStore;
beforeEach(async () => {
  books = await openArchive();
  begin('replica');
});
afterEach(async () => {
  await replica.close();
  await books.close();
});

/** A replica that is empty. */
function begin(name: string): void {
  place = join(books.directory, name);
  replica = openDirectoryStore(place);
}

function replicate(change: Partial<Replication> = {}): Promise<ReplicaReport> {
  const signer = readSigner(books.signingKey);
  return replicateArchive({
    archive: books.store,
    replica,
    prefix: '',
    verifyingKeys: new Map([[signer.keyId, { verify: signer.verify }]]),
    check: false,
    progress: () => {},
    ...change,
  });
}

const keysOf = (store: ObjectStore) => Array.fromAsync(store.list(''));

/** The replica is an archive of its own, and what it has is the archive's, byte for byte. */
async function assertArchive(manifests: number): Promise<void> {
  const report = await verify(books, { store: replica, allowEmpty: true, identities: undefined });
  assert.deepEqual([report.breaks, report.manifests], [[], manifests]);
  for (const key of await keysOf(replica))
    assert.deepEqual(await readWhole(replica, key), await readWhole(books.store, key));
}

async function assertWhole(): Promise<void> {
  assert.deepEqual(await keysOf(replica), await books.keys());
  await assertArchive(3);
  const { behind, failures, proven } = await replicate({ check: true });
  assert.deepEqual([behind, failures, proven], [0, [], (await books.keys()).length - 3]);
}

const codesOf = ({ failures }: ReplicaReport) => failures.map(({ code, key }) => [code, key]);
const partOf = async (number: number) => (await books.manifest(number)).sources.platform!['2026-11-18']!.parts[0]!;

test('anchors follow when their manifests are all there', async () => {
  const key = 'anchors/00000003.tsr';
  await books.store.create(key, bodyOf(Buffer.from('the word of a witness')));
  const { archive } = books;
  fs.renameSync(join(archive, 'quarantine'), join(archive, 'gone'));
  assert.notEqual((await replicate()).behind, 0);
  assert.equal(await replica.head(key), undefined);
  fs.renameSync(join(archive, 'gone'), join(archive, 'quarantine'));
  await replicate();
  assert.deepEqual(await readWhole(replica, key), await readWhole(books.store, key));
});

test('the copy is the archive, byte for byte, and verifies; again there is nothing to do; what comes later follows', async () => {
  const first = await replicate();
  const { head } = await books.ledger();
  assert.deepEqual([first.copied.manifests, first.behind, first.failures], [3, 0, []]);
  assert.deepEqual([first.archive, first.replica], [head, head]);
  await assertWhole();

  let reads = 0;
  const counting = faultyStore(replica, () => {
    reads += 1;
    return undefined;
  });
  const again = await replicate({ replica: counting });
  assert.deepEqual([again.copied, again.proven], [{ manifests: 0, objects: 0, bytes: 0 }, 0]);
  assert.equal(reads, 2, 'a list and the newest manifest');

  books.at('2026-11-24T03:00:00Z');
  await books.night([{ name: 'billing' }, { name: 'platform' }]);
  assert.equal((await replicate({ check: true })).behind, 1);
  assert.deepEqual((await replicate()).copied.manifests, 1);
});

interface Step {
  readonly side: 'archive' | 'replica';
  readonly operation: string;
  readonly subject: string;
  readonly call: number;
}

function faulty(decide: (step: Step) => Fault): Partial<Replication> {
  const side = (name: Step['side'], store: ObjectStore) =>
    faultyStore(store, (operation, subject, call) => decide({ side: name, operation, subject, call }));
  return { archive: side('archive', books.store), replica: side('replica', replica) };
}

test('every step fails before its effect and after it: what is there is an archive, and the next run ends it', async () => {
  const steps: Step[] = [];
  await replicate(
    faulty((step) => {
      steps.push(step);
      return undefined;
    }),
  );
  const creates = steps.filter(({ operation }) => operation === 'create').map(({ subject }) => subject);
  assert.equal(creates.length, (await books.keys()).length);
  for (const number of [1, 2, 3]) {
    const named = JSON.stringify(await books.manifest(number));
    const before = creates.slice(0, creates.indexOf(manifestKey('', number)));
    const own = creates.filter((key) => named.includes(`"${key}"`));
    assert.ok(own.length > 0 || number === 3);
    assert.deepEqual(
      own.filter((key) => !before.includes(key)),
      [],
      'objects come before the manifest that names them',
    );
  }
  // Every manifest, and of all else the first and a later one.
  const tried = steps.filter(({ side, operation, subject, call }) => {
    const isCreate = side === 'replica' && operation === 'create';
    return isCreate ? call === 1 || subject.startsWith('manifests/') : call === 1 || call === 6;
  });
  assert.ok(tried.length >= 12, JSON.stringify(tried));
  for (const { side, operation, call } of tried) {
    for (const way of ['before', 'after'] as const) {
      begin(`${side} ${operation} ${call} ${way}`);
      const run = replicate(
        faulty((step) => (step.side === side && step.operation === operation && step.call === call ? way : undefined)),
      );
      const outcome = await run.catch((error) => error.code);
      const manifests = (await keysOf(replica)).filter((key) => key.startsWith('manifests/')).length;
      await assertArchive(manifests);
      const isOver = typeof outcome === 'object' && outcome.behind === 0;
      assert.ok(
        isOver || outcome === 'store_unavailable',
        `${side} ${operation} ${call} ${way}: ${JSON.stringify(outcome)}`,
      );
      // A manifest that is there though its create failed was won.
      if (isOver) assert.deepEqual([operation, way, manifests], ['create', 'after', 3]);
      const { behind, failures } = await replicate();
      assert.deepEqual([behind, failures], [0, []]);
    }
  }
  await assertWhole();
});

for (const [what, code, damage] of [
  ['missing', 'object_missing', (path: string) => fs.rmSync(path)],
  ['damaged', 'object_damaged', (path: string) => fs.appendFileSync(path, 'x')],
] as const) {
  test(`an object that is ${what} in the archive keeps its manifest back, and no object of later ones`, async () => {
    const { key } = await partOf(2);
    const kept = fs.readFileSync(pathOf(books, key));
    damage(pathOf(books, key));
    const report = await replicate();
    assert.deepEqual([codesOf(report), report.behind, report.replica?.number], [[[code, key]], 2, 1]);
    const there = await keysOf(replica);
    assert.ok(!there.includes(key) && !there.includes(manifestKey('', 2)));
    assert.deepEqual(
      (await books.keys()).filter((each) => !there.includes(each) && !each.startsWith('manifests/') && each !== key),
      [],
    );
    assert.equal((await verify(books, { store: replica })).ok, true);
    assert.deepEqual(codesOf(await replicate()), [[code, key]], 'it is said at each run');
    fs.writeFileSync(pathOf(books, key), kept);
    await replicate();
    await assertWhole();
  });
}

test('what lies at the replica under the name of an object, and is not that, is told and left; its manifest does not come', async () => {
  const { key } = await partOf(1);
  const path = join(place, key);
  fs.mkdirSync(join(path, '..'), { recursive: true });
  fs.writeFileSync(path, 'something else');
  const report = await replicate();
  assert.deepEqual([codesOf(report), report.behind, report.replica], [[['replica_differs', key]], 3, null]);
  assert.equal(fs.readFileSync(path, 'utf8'), 'something else');
});

test('a store that keeps other bytes than it was given is found at once: the manifest does not come', async () => {
  const { key } = await partOf(1);
  const lossy: ObjectStore = {
    ...replica,
    create: (name, body) => replica.create(name, name === key ? bodyOf(Buffer.alloc(body.bytes)) : body),
  };
  const report = await replicate({ replica: lossy });
  assert.deepEqual([codesOf(report), report.behind], [[['replica_differs', key]], 3]);
});

test('--check finds what was changed, taken away and put in its place at the replica, and changes nothing', async () => {
  await replicate();
  const [part, late] = [await partOf(1), (await books.manifest(2)).sources.platform!['2026-11-18']!.lateDeliveries[0]!];
  fs.appendFileSync(join(place, part.key), 'x');
  fs.rmSync(join(place, late.key));
  fs.writeFileSync(join(place, manifestKey('', 2)), fs.readFileSync(join(place, manifestKey('', 1))));
  const before = await keysOf(replica);
  const found = codesOf(await replicate({ check: true }));
  assert.deepEqual(
    found.sort(),
    [part.key, late.key, manifestKey('', 2)].map((key) => ['replica_differs', key]).sort(),
  );
  assert.deepEqual(await keysOf(replica), before);
});

test('a replica of another archive, and one that knows more than the archive, are left as they are', async () => {
  await replicate();
  const last = pathOf(books, manifestKey('', 3));
  fs.renameSync(last, `${last}.kept`);
  assert.deepEqual(codesOf(await replicate()), [['replica_ahead', manifestKey('', 3)]]);
  assert.deepEqual(codesOf(await replicate({ check: true })), [['replica_ahead', manifestKey('', 3)]]);
  fs.renameSync(`${last}.kept`, last);
  const other = await openArchive();
  try {
    const before = await keysOf(replica);
    const signer = readSigner(other.signingKey);
    const verifyingKeys = new Map([[signer.keyId, { verify: signer.verify }]]);
    const report = await replicate({ archive: other.store, verifyingKeys });
    assert.deepEqual([codesOf(report), report.replica], [[['replica_differs', manifestKey('', 3)]], null]);
    assert.deepEqual(await keysOf(replica), before);
  } finally {
    await other.close();
  }
});

test('an archive whose chain does not hold is not copied at all', async () => {
  fs.appendFileSync(pathOf(books, manifestKey('', 2)), 'x');
  await assert.rejects(replicate(), { code: 'ledger_broken' });
  assert.deepEqual(await keysOf(replica), []);
});

test('what is pruned is known to be pruned: not copied, not missed, and deleted at the replica where that is asked for', async () => {
  await replicate();
  books.at(pruneTime);
  const ages = { evidenceDays: 31, eventDays: 31 };
  const { objects } = await prune(books, ages);
  const report = await replicate();
  assert.deepEqual([report.failures, report.behind, report.left], [[], 0, objects.length]);
  const checked = await replicate({ check: true });
  assert.deepEqual([checked.failures, checked.pruned, checked.left], [[], objects.length, objects.length]);

  // A replica that is begun only now never sees them.
  const late = openDirectoryStore(join(books.directory, 'late'));
  const begun = await replicate({ replica: late });
  assert.deepEqual([begun.failures, begun.behind, begun.pruned, begun.left], [[], 0, objects.length, 0]);
  assert.deepEqual(await keysOf(late), await books.keys());
  await late.close();

  const remover = openDirectoryRemover(place);
  const ended = await replicate({ remover });
  assert.deepEqual([ended.removed, ended.left], [objects.length, 0]);
  assert.deepEqual(await keysOf(replica), await books.keys());
  assert.deepEqual((await verify(books, { store: replica })).breaks, []);
  await remover.close();
});

test('what is pruned and still there is not copied', async () => {
  books.at(pruneTime);
  const refusing = (remover: ObjectRemover) => faultyRemover(remover, () => 'before');
  const { left } = await prune(books, { evidenceDays: 31, eventDays: 31 }, { remover: refusing });
  const report = await replicate();
  assert.deepEqual([report.failures, report.behind, report.pruned], [[], 0, left]);
  assert.equal((await keysOf(replica)).length, (await books.keys()).length - left);
});

test('a prune in the middle of a copy: what it deletes is not a fault', async () => {
  books.at(pruneTime);
  let isPruned = false;
  const pruning: ObjectStore = {
    ...books.store,
    async head(key) {
      if (!isPruned) {
        isPruned = true;
        await prune(books, { evidenceDays: 31, eventDays: 31 });
      }
      return books.store.head(key);
    },
  };
  const first = await replicate({ archive: pruning });
  assert.deepEqual([first.failures, first.behind], [[], 0]);
  assert.ok(first.pruned > 0);
  // The manifest of the prune follows with the next run; until then the replica misses what it names.
  const next = await replicate();
  assert.deepEqual([next.failures, next.copied.manifests], [[], 1]);
  assert.deepEqual((await verify(books, { store: replica })).breaks, []);
});
