/** Verifications of a part of the archive, and those that go on where another was interrupted. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { ArchiveReport, ArchiveToVerify } from '../../../compactor/verify/verify-archive.ts';
import { depthOf, openResume } from '../../../compactor/verify/verify-resume.ts';
import type { ObjectStore } from '../../../shared/store/store.ts';
import { faultyStore } from '../../faults/faulty.ts';
import {
  eventsOf,
  forgeManifests,
  openArchive,
  pathOf,
  secretsGiven,
  signedRecord,
  verify,
} from '../archive-under-test.ts';
import type { Books } from '../books.ts';

let books: Books;
let file: string;
const sources = [{ name: 'billing' }, { name: 'platform' }];

beforeEach(async () => {
  books = await openArchive();
  file = join(books.directory, 'state.json');
});
afterEach(() => books.close());

/** The store, and the keys of the objects that were read from it, manifests left out. */
function watched(store: ObjectStore): { store: ObjectStore; read: string[] } {
  const read: string[] = [];
  const watching: ObjectStore = {
    ...store,
    read(key, range) {
      if (!key.startsWith('manifests/')) read.push(key);
      return store.read(key, range);
    },
  };
  return { store: watching, read };
}

const information = ({ information }: ArchiveReport, code: string) =>
  information.find((each) => each.code === code)?.message;

describe('some days alone', () => {
  test('of them and of no others the objects are read; the chain is whole all the same, and what was left out is said', async () => {
    for (const [only, days, objects] of [
      [
        { sources: ['platform'], days: ['2026-11-18', '2026-11-19'] },
        ['platform 2026-11-18', 'platform 2026-11-19'],
        10,
      ],
      [{ sources: ['billing'], days: [] }, ['billing 2026-11-19', 'billing 2026-11-20', 'billing 2026-11-21'], 3],
      [{ sources: [], days: ['2026-11-19'] }, ['billing 2026-11-19', 'platform 2026-11-19'], 6],
    ] as const) {
      const { store, read } = watched(books.store);
      const report = await verify(books, { store, only });
      assert.deepEqual([report.ok, report.manifests, report.objects], [true, 3, objects]);
      assert.deepEqual(report.days.map(({ source, day }) => `${source} ${day}`).slice(0, days.length), days);
      assert.equal(new Set(read).size, objects);
      assert.match(information(report, 'limited') ?? '', /of the days asked for alone/);
    }
  });

  test('what is broken elsewhere is not seen, but a chain that is broken is', async () => {
    const [part] = (await books.manifest(1)).sources.platform!['2026-11-18']!.parts;
    fs.truncateSync(pathOf(books, part!.key), 10);
    assert.equal((await verify(books, { only: { sources: ['billing'], days: [] } })).ok, true);
    assert.equal((await verify(books, { only: { sources: [], days: ['2026-11-18'] } })).ok, false);
    fs.truncateSync(pathOf(books, 'manifests/00000001.jsonl'), 10);
    const report = await verify(books, { only: { sources: ['billing'], days: ['2026-11-19'] } });
    assert.deepEqual(
      report.breaks.map(({ code }) => code),
      ['ledger_broken'],
    );
  });

  test('what the archive has no entry of is refused, rather than found to be without fault', async () => {
    for (const only of [
      { sources: ['plattform'], days: [] },
      { sources: [], days: ['2025-11-18'] },
      { sources: ['platform'], days: ['2026-11-19', '2025-11-18'] },
      { sources: [], days: ['yesterday'] },
    ]) {
      await assert.rejects(
        verify(books, { only }),
        { code: 'usage', message: /has no (?:entry of|source)/ },
        JSON.stringify(only),
      );
    }
  });
});

test('several days and objects are read at once, eight at most, and breaks come in the order of the days all the same', async () => {
  let running = 0;
  let most = 0;
  const store: ObjectStore = {
    ...books.store,
    async *read(key, range) {
      running += 1;
      most = Math.max(most, running);
      // Those that were asked for first answer last.
      const turns = key.startsWith('billing') ? 40 : 1;
      for (let n = 0; n < turns; n += 1) await new Promise(setImmediate);
      try {
        yield* books.store.read(key, range);
      } finally {
        running -= 1;
      }
    },
  };
  const { sources: named } = await books.manifest(1);
  const parts = [named.billing!['2026-11-19']!, named.platform!['2026-11-18']!, named.platform!['2026-11-19']!].map(
    ({ parts }) => parts[0]!.key,
  );
  for (const key of parts) fs.truncateSync(pathOf(books, key), 10);
  for (let round = 0; round < 3; round += 1) {
    const report = await verify(books, { store });
    assert.deepEqual(
      report.breaks.map(({ key }) => key),
      parts,
    );
  }
  assert.ok(most > 2 && most <= 9, `${most} at once`);
  most = 0;
  await verify(books, { store, only: { sources: ['platform'], days: ['2026-11-18'] } });
  assert.ok(most >= 2 && most <= 3, `${most} of one day at once`);
});

describe('resumed', () => {
  const resume = (depth = 'content') => openResume(file, 'here', depth);

  /** Verifies until the object cannot be read; what was proven by then is in the file. */
  async function interruptedAt(key: string, change: Partial<ArchiveToVerify> = {}): Promise<void> {
    const state = change.resume ?? resume();
    const store = faultyStore(books.store, (operation, asked) =>
      operation === 'read' && asked === key ? 'before' : undefined,
    );
    await assert.rejects(verify(books, { ...change, store, resume: state }), { code: 'store_unavailable' });
    state.save();
  }
  const lastPart = async () => (await books.manifest(1)).sources.platform!['2026-11-19']!.parts[0]!.key;

  test('what was proven is not read again but for its ids, and the report is that of a whole verification', async () => {
    const whole = await verify(books, { secrets: secretsGiven });
    await interruptedAt(await lastPart(), { secrets: secretsGiven });
    const { store, read } = watched(books.store);
    const report = await verify(books, { store, secrets: secretsGiven, resume: resume() });
    const again = read.filter((key) => /billing|2026-11-18/.test(key));
    assert.ok(again.length > 0 && again.every((key) => key.endsWith('.ids.gz')), again.join());
    assert.match(information(report, 'resumed') ?? '', /^\d+ days were proven before the interruption/);
    assert.deepEqual({ ...report, information: report.information.filter(({ code }) => code !== 'resumed') }, whole);
  });

  test('what was broken is looked into again', async () => {
    const [part] = (await books.manifest(1)).sources.platform!['2026-11-18']!.parts;
    const bytes = fs.readFileSync(pathOf(books, part!.key));
    fs.truncateSync(pathOf(books, part!.key), 10);
    await interruptedAt(await lastPart());
    fs.writeFileSync(pathOf(books, part!.key), bytes);
    const { store, read } = watched(books.store);
    assert.equal((await verify(books, { store, resume: resume() })).ok, true);
    assert.ok(read.includes(part!.key));
  });

  test('where the ledger has grown, days of which it has said more are looked into again', async () => {
    await interruptedAt(await lastPart());
    await books.deliver(signedRecord(eventsOf('2026-11-18', 14, 'first')[2]!, 9_000));
    await books.night(sources);
    const { store, read } = watched(books.store);
    const report = await verify(books, { store, resume: resume() });
    assert.deepEqual([report.ok, report.manifests], [true, 4]);
    const [part] = (await books.manifest(1)).sources.platform!['2026-11-18']!.parts;
    assert.ok(read.includes(part!.key));
    assert.ok(!read.some((key) => key.startsWith('billing') && key.endsWith('.age')), 'of billing nothing is new');
  });

  test('another ledger, another place and another depth begin again, and say so', async () => {
    await interruptedAt(await lastPart());
    const kept = fs.readFileSync(file);
    for (const [state, why] of [
      [() => openResume(file, 'elsewhere', 'content'), /is of here/],
      [() => resume('bytes'), /other --identity or --secrets/],
    ] as const) {
      fs.writeFileSync(file, kept);
      const { store, read } = watched(books.store);
      const report = await verify(books, { store, resume: state() });
      assert.equal(report.ok, true);
      assert.equal(new Set(read).size, 14);
      assert.match(information(report, 'resumed') ?? '', why);
    }
    fs.writeFileSync(file, kept);
    await forgeManifests(books, (manifest) => {
      manifest.createdAt = '2026-11-21T03:00:01.000Z';
    });
    const { store, read } = watched(books.store);
    const report = await verify(books, { store, resume: resume() });
    assert.equal(new Set(read).size, 14);
    assert.match(information(report, 'resumed') ?? '', /begun again.*another ledger: manifest 3 is another here/);
  });

  test('the depth tells bytes, content and the secrets apart', () => {
    const depths = [
      depthOf(false, undefined),
      depthOf(true, undefined),
      depthOf(true, secretsGiven),
      depthOf(true, new Map([...secretsGiven].slice(0, 1))),
    ];
    assert.equal(new Set(depths).size, 4);
    assert.equal(depthOf(true, new Map([...secretsGiven].reverse())), depths[2]);
  });

  test('a file that verify has not written is refused, and left as it is', () => {
    for (const text of ['', '{}', 'important', '{"format":"daybook-verify/2"}', '[]']) {
      fs.writeFileSync(file, text);
      assert.throws(() => resume(), { code: 'usage', message: /not one that verify has written/ });
      assert.equal(fs.readFileSync(file, 'utf8'), text);
    }
    fs.rmSync(file);
    fs.mkdirSync(file);
    assert.throws(() => resume(), { code: 'usage', message: /EISDIR/ });
  });

  test('the file is replaced as a whole, whatever a dead run left beside it, and its owner alone can read it', () => {
    const state = resume();
    state.begin({ number: 1, sha256: 'a', createdAt: '' }, ['a']);
    fs.writeFileSync(`${file}.new`, 'torn');
    state.proven('platform', '2026-11-18', 3, {
      deliveries: { checked: 0, failed: 0, unknownSecret: 0 },
      hasCloudEvents: true,
    });
    assert.equal(fs.existsSync(`${file}.new`), false);
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
    const next = resume();
    assert.deepEqual(next.begin({ number: 2, sha256: 'b', createdAt: '' }, ['a', 'b']), { days: 1 });
    assert.equal(next.proofOf('platform', '2026-11-18', 3)?.hasCloudEvents, true);
    assert.equal(next.proofOf('platform', '2026-11-18', 4), undefined);
    assert.equal(next.proofOf('platform', '2026-11-19', 3), undefined);
    next.remove();
    assert.equal(fs.existsSync(file), false);
  });

  test('where the file cannot be written the verification says so', () => {
    const state = openResume(join(books.directory, 'none', 'state.json'), 'here', 'content');
    state.begin(undefined, []);
    assert.throws(() => state.save(), { code: 'output_failed', message: /ENOENT/ });
  });
});
