/**
 * The embedded stream's machine is put back to a snapshot that is older than the ledger: new records get positions that the
 * ledger has as archived. No event that was answered 2xx after it is passed over, none is archived twice, and errors say so.
 */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { encodeManifest, manifestKey } from '../../compactor/ledger/manifest.ts';
import type { NightReport } from '../../compactor/night.ts';
import { readSigner } from '../../shared/crypto/signing.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';
import { type Books, openBooks } from '../compactor/books.ts';
import { assertBooks, assertUnchanged, copiesOf, eventsOfDay, objectsOf } from './night-books.ts';
import { onStreamFile, snapshotStream } from './stream-snapshot.ts';

const day = '2026-11-18';
const today = '2026-11-21';
const sources = [{ name: 'platform' }];
const nothing = { manifest: null, days: [], errors: [], warnings: [] };
const partition = '1';

let books: Books;
beforeEach(async () => {
  books = await openBooks();
  books.at(`${today}T23:59:00Z`);
});
afterEach(() => books.close());

const night = () => books.night(sources);
const codesOf = ({ errors }: NightReport) => errors.map(({ code, message }) => `${code} ${message}`);
const isSaid = [`stream_recreated partition ${partition}`];
/** Each once, all in one partition. */
const once = (d: string, count: number, seed: string): AppendRecord[] =>
  eventsOfDay(d, count, seed).flatMap((event) => copiesOf(event, 1).map(({ value }) => ({ key: 'one', value })));
const idsOf = (d: string, count: number, seed: string) => eventsOfDay(d, count, seed).map(({ id }) => id);
const positionOf = async () => (await books.ledger()).stream!.partitions[partition]!;

/** As `commit` drops them once they are old. */
const dropBelow = (position: number) =>
  onStreamFile(books.directory, (file) => file.exec(`DELETE FROM records_${partition} WHERE position < ${position}`));

for (const [what, before] of [
  ['none archived', 0],
  ['five archived', 5],
] as const) {
  describe(`with ${what} before today's first record`, () => {
    let putBack: () => void;
    /** Archived, or about to be. */
    let ids: string[];
    beforeEach(async () => {
      await books.deliver(...once(day, before, 'first'), ...once(today, 1, 'waits'));
      putBack = snapshotStream(books.directory);
      await books.deliver(...once(day, 4, 'late'));
      ids = [...idsOf(day, before, 'first'), ...idsOf(day, 4, 'late')];
      assert.deepEqual((await night()).errors, []);
      const { next, done } = await positionOf();
      assert.deepEqual([next, done], [`${before}`, [[`${before + 1}`, `${before + 5}`]]]);
    });

    for (const count of [0, 1, 3, 4, 9]) {
      test(`a snapshot put back, after which ${count} events came`, async () => {
        const objects = await objectsOf(books);
        putBack();
        await books.deliver(...once(day, count, 'new'));
        assert.deepEqual(codesOf(await night()), isSaid);
        // Without anything to say there is no manifest, and the next night says so once more.
        if (count + before > 0) assert.deepEqual(await night(), nothing);
        await assertUnchanged(books, objects);
        await assertBooks(books, { platform: { ids: [...ids, ...idsOf(day, count, 'new')] } });
        books.at('2026-11-22T03:00:00Z');
        assert.deepEqual(codesOf(await night()), count + before > 0 ? [] : isSaid);
        const all = [...ids, ...idsOf(day, count, 'new'), ...idsOf(today, 1, 'waits')];
        await assertBooks(books, { platform: { ids: all } });
        assert.deepEqual(await night(), nothing);
      });
    }

    test('a snapshot put back that cuts the records of a range that is done', async () => {
      putBack();
      await books.deliver(...once(day, 4, 'late').slice(0, 2), ...once(day, 3, 'new'));
      assert.deepEqual(codesOf(await night()), isSaid);
      await assertBooks(books, { platform: { ids: [...ids, ...idsOf(day, 3, 'new')] } });
    });

    test('an older manifest, which proves no range: it is read again without an error, and once', async () => {
      const manifest = await books.manifest(1);
      const { tip: _, ...older } = manifest.stream.partitions[partition]!;
      const partitions = { ...manifest.stream.partitions, [partition]: older };
      const bytes = await encodeManifest(
        { ...manifest, stream: { ...manifest.stream, partitions } },
        readSigner(books.signingKey),
      );
      await writeFile(join(books.archive, manifestKey('', 1)), bytes);
      await books.deliver(...once(day, 1, 'more'));
      assert.deepEqual((await night()).errors, []);
      const deliveries = before + 4 + 4 + 1;
      await assertBooks(books, { platform: { ids: [...ids, ...idsOf(day, 1, 'more')], deliveries } });
      await books.deliver(...once(day, 1, 'again'));
      assert.deepEqual((await night()).errors, []);
      const then = [...ids, ...idsOf(day, 1, 'more'), ...idsOf(day, 1, 'again')];
      await assertBooks(books, { platform: { ids: then, deliveries: deliveries + 1 } });
    });
  });
}

test('a snapshot put back to before what was archived, though more came after it than were there', async () => {
  await books.deliver(...once(day, 2, 'first'));
  const putBack = snapshotStream(books.directory);
  await books.deliver(...once(day, 4, 'second'));
  await night();
  putBack();
  await books.deliver(...once(day, 8, 'new'));
  assert.deepEqual(codesOf(await night()), isSaid);
  const ids = [...idsOf(day, 2, 'first'), ...idsOf(day, 4, 'second'), ...idsOf(day, 8, 'new')];
  await assertBooks(books, { platform: { ids } });
  assert.deepEqual(await night(), nothing);
});

test('a spool that was put back too sends an equal record to the position that it had, behind another one', async () => {
  await books.deliver(...once(day, 2, 'first'));
  const putBack = snapshotStream(books.directory);
  await books.deliver(...once(day, 1, 'direct'), ...once(day, 1, 'spooled'));
  await night();
  putBack();
  await books.deliver(...once(day, 1, 'other'), ...once(day, 1, 'spooled'));
  assert.deepEqual(codesOf(await night()), isSaid);
  const ids = [...idsOf(day, 2, 'first'), ...['direct', 'spooled', 'other'].flatMap((seed) => idsOf(day, 1, seed))];
  await assertBooks(books, { platform: { ids } });
});

test('a snapshot put back without which records are gone that a night had read and that waited: errors say so', async () => {
  await books.deliver(...once(day, 3, 'first'));
  const putBack = snapshotStream(books.directory);
  await books.deliver(...once(today, 2, 'waits'));
  assert.deepEqual((await night()).errors, []);
  putBack();
  assert.deepEqual(codesOf(await night()), isSaid);
  await assertBooks(books, { platform: { ids: idsOf(day, 3, 'first'), deliveries: 3 + 3 } });
  assert.deepEqual(await night(), nothing);
});

test('a snapshot put back, and all of it aged out before a night came: the ledger is not behind', async () => {
  await books.deliver(...once(day, 4, 'first'));
  const putBack = snapshotStream(books.directory);
  await books.deliver(...once(day, 4, 'second'));
  await night();
  putBack();
  dropBelow(4);
  assert.deepEqual(codesOf(await night()), isSaid);
  books.at('2026-11-22T03:00:00Z');
  await night();
  assert.deepEqual(await night(), nothing);
  await books.deliver(...once(day, 1, 'new'));
  assert.deepEqual((await night()).errors, []);
  const ids = [...idsOf(day, 4, 'first'), ...idsOf(day, 4, 'second'), ...idsOf(day, 1, 'new')];
  await assertBooks(books, { platform: { ids } });
});

test('a partition that is quiet until all of it has aged out is not a fault on any night', async () => {
  await books.deliver(...once(day, 3, 'first'));
  await night();
  dropBelow(3);
  for (const time of ['2026-11-22T03:00:00Z', '2026-11-23T03:00:00Z', '2026-11-24T03:00:00Z']) {
    books.at(time);
    assert.deepEqual((await night()).errors, []);
  }
  await books.deliver(...once(day, 1, 'new'));
  assert.deepEqual((await night()).errors, []);
  await assertBooks(books, { platform: { ids: [...idsOf(day, 3, 'first'), ...idsOf(day, 1, 'new')], deliveries: 4 } });
});
