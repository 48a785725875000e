import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { addDays, startOfDayMs } from '../../shared/clock.ts';
import { listedCopy, stripeEvents } from '../stripe/events.ts';
import { type FakeStripe, startFakeStripe } from '../stripe/fake-stripe.ts';
import { type Books, eventRecord, listingOf, openBooks, stripeRecord } from './books.ts';

const day = '2026-11-18';
const startSeconds = (d: string) => startOfDayMs(d) / 1000;
const eventsOf = (d: string, count: number, seed: string) =>
  stripeEvents({ count, seed, fromSeconds: startSeconds(d), toSeconds: startSeconds(addDays(d, 1)) });

let books: Books;
beforeEach(async () => {
  books = await openBooks();
});
afterEach(() => books.close());

describe('a source without an API key', () => {
  const sources = [{ name: 'platform' }];

  test('a closed day becomes one part with its ids and deliveries, however often and in whatever order it was told', async () => {
    const events = eventsOf(day, 50, 'a');
    await books.deliver(...events.toReversed().map(({ text }) => stripeRecord(text)));
    await books.deliver(
      ...events.slice(0, 20).map(({ text }) => stripeRecord(text, { receivedAt: '2026-11-18T23:59:59.999Z' })),
    );
    const report = await books.night(sources);
    assert.deepEqual(report.errors, []);
    assert.equal(report.manifest, 1);
    assert.deepEqual(
      report.days.map(({ day, verdict }) => [day, verdict]),
      [
        ['2026-11-18', 'unreconciled'],
        ['2026-11-19', 'unreconciled'],
        ['2026-11-20', 'unreconciled'],
      ],
    );
    assert.deepEqual(report.days[0]?.counts, {
      delivered: 50,
      recovered: 0,
      listed: null,
      notListed: null,
      differing: 0,
      duplicates: 20,
    });
    const manifest = await books.manifest(1);
    const part = manifest.sources['platform']![day]!.parts[0]!;
    const lines = (await books.lines(part.key)).map((line) => JSON.parse(line));
    assert.deepEqual(
      lines.map(({ id }) => id),
      events.toSorted((a, b) => a.createdSeconds - b.createdSeconds || (a.id < b.id ? -1 : 1)).map(({ id }) => id),
    );
    assert.deepEqual(await books.lines(part.ids.key), events.map(({ id }) => id).sort());
    assert.equal((await books.lines(part.deliveries!.key)).length, 70);
  });

  test('a second run with nothing new writes nothing', async () => {
    await books.deliver(...eventsOf(day, 5, 'b').map(({ text }) => stripeRecord(text)));
    await books.night(sources);
    const before = await books.keys();
    assert.deepEqual(await books.night(sources), { manifest: null, days: [], errors: [], warnings: [] });
    assert.deepEqual(await books.keys(), before);
  });
});
