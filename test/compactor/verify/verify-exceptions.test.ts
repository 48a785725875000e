/** What verify says of exceptions that lie, whoever holds the signing key. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import type { ExceptionsObject, Manifest } from '../../../compactor/ledger/manifest.ts';
import { type MadeEvent, stripeEvents } from '../../stripe/events.ts';
import { type FakeStripe, startFakeStripe } from '../../stripe/fake-stripe.ts';
import { forgeManifests, type Mutable, pathOf, sealLines, verify } from '../archive-under-test.ts';
import { type Books, listingOf, openBooks, stripeRecord } from '../books.ts';

const day = '2026-11-20';
let books: Books;
let stripe: FakeStripe;
let kept: string;
/** Of manifest 1: one that differs, one missing, two not listed. Manifest 2: the missing one is archived. */
let exceptions: ExceptionsObject;
let lines: string[];
let events: MadeEvent[];

before(async () => {
  books = await openBooks();
  stripe = await startFakeStripe({ clock: { now: () => books.now() } });
  const listing = listingOf(stripe);
  const fromSeconds = Date.parse(`${day}T00:00:00Z`) / 1000;
  events = stripeEvents({ count: 5, seed: 'v', fromSeconds, toSeconds: fromSeconds + 86_400 });
  const [differing, lost, ...others] = events as [MadeEvent, MadeEvent, ...MadeEvent[]];
  stripe.add(differing.text.replace('"data": {', '"data": {"changed":true,'));
  stripe.add(lost.text.replace('"data": {', `"data": {"deep":${'['.repeat(300)}${']'.repeat(300)},`));
  stripe.add(others[2]!.text);
  await books.deliver(...[differing, ...others].map(({ text }) => stripeRecord(text)));
  await books.night([{ name: 'platform', listing }]);
  stripe.remove(lost.id);
  stripe.add(lost.text);
  books.at('2026-11-22T03:00:00Z');
  await books.night([{ name: 'platform', listing }]);
  listing.api.close();
  exceptions = (await books.manifest(1)).sources.platform![day]!.exceptions!;
  lines = await books.lines(exceptions.key);
  kept = join(books.directory, 'kept');
  fs.cpSync(books.archive, kept, { recursive: true });
});
afterEach(() => {
  fs.rmSync(books.archive, { recursive: true, force: true });
  fs.cpSync(kept, books.archive, { recursive: true });
});
after(async () => {
  await stripe.close();
  await books.close();
});

type Entry = Mutable<Manifest>['sources'][string][string];

const changeEntry = (number: number, change: (entry: Entry) => void) =>
  forgeManifests(books, (manifest) => {
    const entry = manifest.sources.platform?.[day];
    if (manifest.number === number && entry !== undefined) change(entry as Entry);
  });

/** Puts an object with these lines in the place of manifest 1's. */
async function forgeLines(forged: readonly string[], counts: Partial<ExceptionsObject['counts']> = {}): Promise<void> {
  const { key, sha256 } = await sealLines(books, exceptions.key, forged);
  await changeEntry(1, (entry) => {
    entry.exceptions = { ...exceptions, key, sha256, counts: { ...exceptions.counts, ...counts } };
  });
}

async function theBreak(code: string, message: RegExp, change = {}): Promise<void> {
  const { breaks } = await verify(books, change);
  assert.deepEqual(
    breaks.map((found) => found.code),
    [code],
    JSON.stringify(breaks),
  );
  assert.match(breaks[0]!.message, message);
}

test('as it was written it verifies, the object is counted, and one that no manifest names is an orphan', async () => {
  assert.equal(lines.length, 4);
  const orphan = exceptions.key.replace('.exceptions', '-2.exceptions');
  fs.copyFileSync(pathOf(books, exceptions.key), pathOf(books, orphan));
  for (const change of [{}, { identities: undefined }]) {
    const report = await verify(books, change);
    assert.deepEqual(report.breaks, []);
    // Two parts with ids, the first with deliveries, and the exceptions of both nights.
    assert.equal(report.objects, 2 * 2 + 1 + 2);
    assert.deepEqual(
      report.information.filter(({ key }) => key !== null).map(({ code, key }) => [code, key]),
      [['orphan', orphan]],
    );
  }
});

describe('with the public keys alone', () => {
  const shut = { identities: undefined };

  test('an object that is gone, or has other bytes', async () => {
    const path = pathOf(books, exceptions.key);
    fs.truncateSync(path, 100);
    await theBreak('object_damaged', /other bytes/, shut);
    fs.rmSync(path);
    await theBreak('object_missing', /not there/, shut);
  });

  for (const [what, change, message] of [
    ['not listed', (e) => (e.exceptions!.counts.notListed = 1), /notListed 2, and 1 in its exceptions/],
    ['differing', (e) => (e.exceptions!.counts.differing = 0), /differing 1, and 0 in its exceptions/],
    ['missing', (e) => (e.exceptions!.counts.missing = 0), /1 missing to be named, and 0/],
    ['not listed, and no object', (e) => (e.counts.notListed = 0), /notListed 0, and 2 in its exceptions/],
    ['of another listing', (e) => (e.exceptions!.listedAt = '2026-11-20T03:00:00.000Z'), /of a listing at 2026-11-20/],
    ['of no listing', (e) => (e.exceptions!.listedAt = null), /not of its listing/],
  ] as [string, (entry: Entry) => void, RegExp][]) {
    test(`counts that do not agree: ${what}`, async () => {
      await changeEntry(1, change);
      const { breaks } = await verify(books, shut);
      const first = breaks[0]!;
      assert.deepEqual([first.code, first.manifest], ['claims_wrong', 1]);
      assert.ok(
        breaks.some((found) => message.test(found.message)),
        JSON.stringify(breaks),
      );
    });
  }

  test('an entry that keeps silent of its exceptions', async () => {
    await changeEntry(1, (entry) => {
      entry.exceptions = null;
    });
    const { breaks } = await verify(books, shut);
    assert.deepEqual(
      breaks.map(({ code }) => code),
      ['claims_wrong', 'claims_wrong', 'claims_wrong'],
    );
  });

  test('a manifest from before there were exceptions is none the worse for it', async () => {
    await forgeManifests(books, (manifest) => {
      for (const entry of Object.values(manifest.sources.platform ?? {})) delete (entry as Entry).exceptions;
    });
    assert.deepEqual((await verify(books)).breaks, []);
    assert.deepEqual((await books.ledger()).sources.get('platform')!.get(day)!.exceptions, []);
  });
});

describe('with the private key', () => {
  const ofKind = (kind: string) => lines.find((line) => JSON.parse(line).kind === kind)!;
  const without = (kind: string) => lines.filter((line) => line !== ofKind(kind));
  /** Comes before every other. */
  const stranger = 'evt_10000000000000000000';
  const instead = (line: string, id: string) => line.replace(JSON.parse(line).id, id);

  test('lines that are not canonical, out of order, or of another number', async () => {
    await forgeLines(lines.map((line) => line.replace('{', '{ ')));
    const { breaks } = await verify(books);
    assert.match(breaks[0]!.message, /line 1: is not an exception \(and 3 more\)/);
    await forgeLines(lines.toReversed());
    await theBreak('content_wrong', /line 2: is out of order \(and 2 more\)/);
  });

  test('lines of another number than the manifest says', async () => {
    await forgeLines(without('missing'));
    const { breaks } = await verify(books);
    assert.deepEqual(
      breaks.map(({ message }) => message),
      ['has 3 lines instead of 4', 'has 0 lines of missing instead of 1'],
    );
  });

  test('a line of a kind that is not known here is let pass where it is counted', async () => {
    const line = JSON.stringify({ id: events[2]!.id, kind: 'seen_on_2_moons' });
    const counts = { seenOn2Moons: 1 } as Partial<ExceptionsObject['counts']>;
    await forgeLines(
      [...lines, line].sort((a, b) => (JSON.parse(a).kind < JSON.parse(b).kind ? -1 : 1)),
      counts,
    );
    assert.deepEqual((await verify(books)).breaks, []);
    await forgeLines(lines, counts);
    const { breaks } = await verify(books);
    assert.match(breaks.at(-1)!.message, /0 lines of seen_on_2_moons instead of 1/);
  });

  test('a listed body that is of another event, of no thin one, or tells nothing', async () => {
    const [{ id }] = events as [MadeEvent];
    const thin = { id, object: 'v2.core.event', data: { n: 1 } };
    const forge = (body: object) => {
      const line = JSON.stringify({ body: JSON.stringify(body), id, kind: 'listed_body' });
      const place = (text: string) => JSON.parse(text).kind;
      return forgeLines(
        [...lines, line].sort((a, b) => (place(a) < place(b) ? -1 : 1)),
        { listedBody: 1 },
      );
    };
    await forge(thin);
    assert.deepEqual((await verify(books)).breaks, []);
    for (const change of [{ id: 'evt_other' }, { object: 'event' }, { data: null }]) {
      await forge({ ...thin, ...change });
      await theBreak('content_wrong', /has not the body of its thin event/);
    }
  });

  test('an event that is said to be lost, of which a delivery is there', async () => {
    const { id, createdSeconds: created, type } = events[2] as MadeEvent;
    const place = (text: string) => JSON.parse(text).kind;
    const line = JSON.stringify({ created, id, kind: 'lost_after_2xx', type });
    await forgeLines(
      [...lines, line].sort((a, b) => (place(a) < place(b) ? -1 : 1)),
      { lostAfter2xx: 1 },
    );
    const { breaks } = await verify(books);
    assert.match(breaks.map(({ message }) => message).join(), /says lost_after_2xx of evt_\w+, which has a delivery/);
  });

  test('an id that is not listed, and is not an event of the day', async () => {
    await forgeLines(lines.map((line) => (line === ofKind('not_listed') ? instead(line, stranger) : line)));
    await theBreak('content_wrong', /says not_listed of evt_10+, which is not an event of the day/);
  });

  test('an id that is missing, and archived already', async () => {
    const [archived] = events;
    await forgeLines(lines.map((line) => (line === ofKind('missing') ? instead(line, archived!.id) : line)));
    const { breaks } = await verify(books);
    assert.match(breaks.map(({ message }) => message).join(), /is missing, but not by its manifest/);
    await changeEntry(1, (entry) => {
      entry.missing = [archived!.id];
    });
    await theBreak('content_wrong', /says missing of evt_\w+, which is archived/);
  });

  test('copies that are one event in two texts, of another event, or that differ in something else', async () => {
    const difference = JSON.parse(ofKind('differing'));
    const forge = (change: (line: typeof difference) => void) => {
      const line = structuredClone(difference);
      change(line);
      return forgeLines(lines.map((one) => (one === ofKind('differing') ? JSON.stringify(line) : one)));
    };
    for (const change of [
      (line: typeof difference) => (line.copies[1].body = line.copies[0].body),
      (line: typeof difference) => (line.copies[1].body = events[2]!.text),
      (line: typeof difference) => (line.copies[1].body = 'no JSON'),
      (line: typeof difference) => (line.differ = ['type']),
      (line: typeof difference) => line.copies.pop(),
    ]) {
      await forge(change);
      await theBreak('content_wrong', /has not two copies of the event that differ as it says/);
    }
  });
});
