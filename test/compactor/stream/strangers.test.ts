/** Records of whoever may write to the stream, and is neither ingest nor the compactor. */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { parseStreamKeys } from '../../../shared/crypto/stream-seal.ts';
import { readEnvelope, sealAgain } from '../../../shared/envelope.ts';
import type { AppendRecord } from '../../../shared/stream/stream.ts';
import { type Books, eventRecord, openBooks, stripeRecord } from '../books.ts';
import { eventsOf, openStripeNights } from '../stripe/stripe-nights.ts';

const day = '2026-11-18';
const sources = [
  { name: 'platform', kind: 'stripe' },
  { name: 'billing', kind: 'events' },
] as const;
const keys = parseStreamKeys(`${'n'.repeat(32)} ${'p'.repeat(32)}`)!;
const foreign = parseStreamKeys('f'.repeat(32))!;

let books: Books;
beforeEach(async () => {
  books = await openBooks();
  books.at('2026-11-21T03:00:00Z');
});
const close = () => books.close();

function sealed(record: AppendRecord, key = keys[0]): AppendRecord {
  const envelope = readEnvelope(record.value);
  assert.ok('header' in envelope);
  return { ...record, value: sealAgain(envelope, key) };
}
const stripe = (seed: string, header: Parameters<typeof stripeRecord>[1] = {}) =>
  stripeRecord(eventsOf(day, 1, seed)[0]!.text, header);

/** Ids of all lines, and the reasons and places in the quarantine. */
async function found() {
  const ids: string[] = [];
  const reasons: string[] = [];
  const places: string[] = [];
  for (const key of await books.keys()) {
    if (key.endsWith('.ids.gz')) ids.push(...(await books.lines(key)));
    if (!key.startsWith('quarantine/')) continue;
    for (const line of await books.lines(key)) {
      const { reason, partition, position } = JSON.parse(line);
      reasons.push(reason);
      places.push(`${partition} ${position}`);
    }
  }
  return { ids, reasons, places };
}

describe('where a key is set', () => {
  test('records sealed by any of the keys are archived; others go to the quarantine with the reason', async (t) => {
    t.after(close);
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((seed) => stripe(seed)) as [AppendRecord, ...AppendRecord[]];
    const bent = Buffer.from(sealed(d!).value);
    bent[bent.length - 3] = bent[bent.length - 3]! ^ 1;
    await books.deliver(sealed(a), sealed(b!, keys[1]), c!, sealed(stripe('e'), foreign[0]), { key: 'k', value: bent });
    const report = await books.night(sources, { streamKeys: keys });
    const { ids, reasons } = await found();
    assert.equal(ids.length, 2);
    assert.deepEqual(
      reasons.map((reason) => reason.split(':')[0]),
      Array(3).fill('record_unsealed'),
    );
    assert.equal(report.warnings[0]?.code, 'records_quarantined');
  });

  test('while keys are introduced, records without a seal are taken that were received before', async (t) => {
    t.after(close);
    const at = (seed: string, receivedAt: string) => stripe(seed, { receivedAt });
    const late = at('b', '2026-11-20T12:00:00.000Z');
    await books.deliver(
      at('a', '2026-11-20T11:59:59.999Z'),
      late,
      sealed(at('c', '2026-11-20T10:00:00.000Z'), foreign[0]),
    );
    await books.night(sources, { streamKeys: keys, acceptUnsealedBefore: new Date('2026-11-20T12:00:00Z') });
    const { ids, reasons } = await found();
    assert.deepEqual([ids.length, reasons.length], [1, 2]);
  });

  test('one delivery that is there with and without its seal is one', async (t) => {
    t.after(close);
    const record = stripe('a');
    await books.deliver(record, sealed(record), sealed(record, keys[1]));
    const report = await books.night(sources, {
      streamKeys: keys,
      acceptUnsealedBefore: new Date('2026-12-01T00:00:00Z'),
    });
    const counts = report.days.find((one) => one.day === day)?.counts;
    assert.deepEqual([counts?.delivered, counts?.duplicates], [1, 0]);
  });
});

describe('with or without a key', () => {
  for (const via of ['list', 'restore'] as const) {
    test(`a record that says ${via} makes no line: of an event that nobody knows it goes to the quarantine`, async (t) => {
      t.after(close);
      await books.deliver(stripe('forged', { header: { via } }));
      await books.deliver(
        eventRecord('{"app":"a","value":1}', {
          id: 'ce-1',
          receivedAt: `${day}T10:00:00.000Z`,
          header: { via, scheme: 'none' },
        }),
      );
      await books.night(sources);
      const { ids, reasons, places } = await found();
      assert.deepEqual(ids, []);
      // Where they stand in the stream: the first two of one partition, told by their ids' order.
      assert.deepEqual(places, ['3 1', '3 0']);
      assert.deepEqual(
        reasons.map((reason) => reason.split(':')[0]),
        ['record_unproven', 'record_unproven'],
      );
      // They are done with: the next night does not read them again.
      assert.equal((await books.night(sources)).manifest, null);
    });

    test(`a record that says ${via} beats no delivered copy, and no listed one`, async (t) => {
      t.after(close);
      const nights = await openStripeNights(t);
      const [delivered, listed] = eventsOf(day, 2, 'real').map(({ text }) => text) as [string, string];
      const forged = (text: string) => text.replace('"type":"', '"type":"a');
      nights.stripe.add(delivered);
      nights.stripe.add(listed);
      await nights.books.deliver(stripeRecord(delivered));
      for (const text of [delivered, listed])
        await nights.books.deliver(stripeRecord(forged(text), { header: { via } }));
      const report = await nights.night('2026-11-21');
      const part = (await nights.entry(report, day))!.parts[0]!;
      const types = (await nights.books.lines(part.key)).map((line) => JSON.parse(line).type);
      assert.deepEqual(types.sort(), [delivered, listed].map((text) => JSON.parse(text).type).sort());
      assert.equal((await nights.entry(report, day))!.counts.differing, 0);
    });
  }

  test('a repeated record of an archived event is dropped, and leaves nothing', async (t) => {
    t.after(close);
    await books.deliver(stripe('a'));
    await books.night(sources);
    await books.deliver(stripe('a', { header: { via: 'restore' } }));
    const report = await books.night(sources);
    assert.deepEqual([report.manifest, (await found()).reasons], [null, []]);
  });

  test('the day that a repeated record claims does not split one event into two', async (t) => {
    t.after(close);
    const at = (time: string, via: 'events' | 'restore') =>
      eventRecord('{"app":"a","value":1}', {
        id: 'one',
        time,
        receivedAt: time,
        header: { via, ...(via === 'restore' && { scheme: 'none' }) },
      });
    await books.deliver(
      at('2026-10-05T10:00:00.000Z', 'restore'),
      at('2026-10-25T10:00:00.000Z', 'events'),
      at('2026-11-10T10:00:00.000Z', 'events'),
    );
    await books.night(sources);
    assert.deepEqual((await found()).ids, ['one']);
  });

  test('an archive is written again from restored records only where that is asked for', async (t) => {
    t.after(close);
    await books.deliver(stripe('a', { header: { via: 'restore' } }));
    await books.night(sources, { acceptRestored: true });
    assert.equal((await found()).ids.length, 1);
  });

  test("a record of another kind than its source's, or with a scheme of another kind, goes to the quarantine", async (t) => {
    t.after(close);
    await books.deliver(
      eventRecord('{"app":"a","value":1}', {
        id: 'x',
        receivedAt: `${day}T10:00:00.000Z`,
        header: { source: '/events/platform' },
      }),
      stripe('y', { header: { source: '/stripe/billing' } }),
      stripe('z', { header: { scheme: 'panda' } }),
      eventRecord('{"app":"a","value":1}', {
        id: 'w',
        receivedAt: `${day}T10:00:00.000Z`,
        header: { scheme: 'stripe' },
      }),
      eventRecord('{"app":"a","value":1}', { id: 'v', receivedAt: `${day}T10:00:00.000Z`, header: { scheme: 'none' } }),
    );
    await books.night(sources);
    const { ids, reasons } = await found();
    assert.deepEqual([ids, reasons.length], [[], 5]);
  });
});
