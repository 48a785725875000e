import assert from 'node:assert/strict';
import { test } from 'node:test';
import { proveTime, timeAfter } from '../../../compactor/ledger/prove-time.ts';
import { restoreQuarantine } from '../../../compactor/restore/restore-quarantine.ts';
import { parseIdentities } from '../../../shared/crypto/identities.ts';
import { parseStreamKeys } from '../../../shared/crypto/stream-seal.ts';
import { type Books, openBooks, stripeRecord } from '../books.ts';
import { eventsOf } from '../stripe/stripe-nights.ts';

const now = new Date('2026-11-21T03:00:00Z');
const head = (createdAt: string) => ({ number: 7, sha256: '', createdAt });
const answered =
  (date: string | undefined, receivedAt = '2026-11-21T03:00:00Z') =>
  async () => [{ whose: 'the store', answer: { date, receivedAtMs: Date.parse(receivedAt) } }];
const untrusted = { code: 'clock_untrusted' };

test('a clock is believed that is not before the ledger, and agrees with whoever dates an answer', async () => {
  await proveTime(now, undefined, undefined);
  await proveTime(now, head('2026-11-21T03:04:59.000Z'), undefined);
  await proveTime(now, head('2026-11-20T03:00:00.000Z'), answered('Sat, 21 Nov 2026 03:04:59 GMT'));
  await proveTime(now, undefined, answered(undefined));
  await proveTime(now, undefined, answered('no date'));
  await assert.rejects(proveTime(now, head('2026-11-21T03:05:01.000Z'), undefined), untrusted);
  for (const date of [
    'Sat, 21 Nov 2026 03:05:01 GMT',
    'Sat, 21 Nov 2026 02:54:59 GMT',
    'Thu, 01 Jan 1970 00:00:00 GMT',
  ]) {
    await assert.rejects(proveTime(now, undefined, answered(date)), untrusted);
  }
});

test('a manifest is never made before the one that it follows', () => {
  assert.equal(timeAfter(undefined, now), '2026-11-21T03:00:00.000Z');
  assert.equal(timeAfter(head('2026-11-20T03:00:00.000Z'), now), '2026-11-21T03:00:00.000Z');
  assert.equal(timeAfter(head('2026-11-21T03:02:00.000Z'), now), '2026-11-21T03:02:00.000Z');
});

const deliver = (books: Books, day: string, seed: string, receivedAt?: string) =>
  books.deliver(
    ...eventsOf(day, 3, seed).map(({ text }) => stripeRecord(text, receivedAt === undefined ? {} : { receivedAt })),
  );

test('a night whose clock is behind writes nothing, and the next one archives everything', async (t) => {
  const books = await openBooks();
  t.after(() => books.close());
  await deliver(books, '2026-11-20', 'a');
  for (const time of ['2026-11-10T03:00:00Z', '1970-01-02T03:00:00Z']) {
    books.at(time);
    await assert.rejects(books.night([{ name: 'platform' }]), untrusted);
  }
  assert.deepEqual(await books.keys(), []);
  books.at('2026-11-21T03:00:00Z');
  const report = await books.night([{ name: 'platform' }]);
  assert.deepEqual([report.warnings, report.days.at(-1)?.counts.delivered], [[], 3]);
  // And now the ledger knows.
  books.at('2026-11-20T23:00:00Z');
  await assert.rejects(books.night([{ name: 'platform' }]), untrusted);
  await books.night([{ name: 'platform' }], { trustClock: true });
});

test('a record that lies about its receipt stops no night', async (t) => {
  const books = await openBooks();
  t.after(() => books.close());
  await deliver(books, '2026-11-20', 'a');
  await books.deliver(
    stripeRecord(eventsOf('2026-11-20', 1, 'b')[0]!.text, { receivedAt: '2099-01-01T00:00:00.000Z' }),
  );
  books.at('2026-11-21T03:00:00Z');
  assert.equal((await books.night([{ name: 'platform' }])).days.at(-1)?.counts.delivered, 4);
});

test('others that say another time stop a night before anything is written', async (t) => {
  const books = await openBooks();
  t.after(() => books.close());
  await deliver(books, '2026-11-20', 'a');
  books.at('2026-11-21T03:00:00Z');
  const askTime = answered('Sat, 21 Nov 2026 09:00:00 GMT');
  await assert.rejects(books.night([{ name: 'platform' }], { askTime }), untrusted);
  assert.deepEqual(await books.keys(), []);
});

test('what lies in the quarantine comes back as it was, and the next night archives it', async (t) => {
  const books = await openBooks();
  t.after(() => books.close());
  const [key] = parseStreamKeys('k'.repeat(32))!;
  // Of the future for that night, received before it: the sender's clock was ahead, or ours is behind by days.
  await deliver(books, '2026-11-20', 'a', '2026-11-10T02:00:00.000Z');
  await books.deliver(
    { key: 'x', value: Buffer.from('no envelope') },
    stripeRecord(eventsOf('2026-11-09', 1, 'f')[0]!.text, { header: { via: 'restore' } }),
  );
  books.at('2026-11-10T03:00:00Z');
  await books.night([{ name: 'platform' }]);
  const objects = await books.keys('quarantine/');
  assert.ok(objects.length > 0);
  const bringBack = async (change: Partial<Parameters<typeof restoreQuarantine>[0]> = {}) =>
    restoreQuarantine({
      store: books.store,
      ledger: await books.ledger(),
      prefix: '',
      objects,
      reasons: [],
      identities: parseIdentities(books.identity),
      streamKey: key,
      writer: books.writer,
      ...change,
    });
  const dry = await bringBack({ writer: undefined });
  assert.deepEqual([dry.dryRun, dry.restored], [true, { 'time is in the future': 3 }]);
  assert.equal(
    Object.values(dry.left).reduce((all, count) => all + count),
    2,
  );
  await assert.rejects(bringBack({ objects: ['quarantine/none.jsonl.gz.age'] }), { code: 'object_missing' });
  await bringBack();
  books.at('2026-11-21T03:00:00Z');
  const report = await books.night([{ name: 'platform' }], { streamKeys: [key!] });
  assert.equal(report.days.find(({ day }) => day === '2026-11-20')?.counts.delivered, 3);
  // By its name only.
  const named = await bringBack({ reasons: ['record_unproven'], writer: undefined });
  assert.equal(Object.keys(named.restored)[0]?.startsWith('record_unproven'), true);
});
