import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { oldestUnarchivedDay } from '../../../compactor/commands/list.ts';
import { openEmbeddedReader } from '../../../shared/stream/embedded/embedded.ts';
import { eventsOf, pandaRecord, signedRecord } from '../archive-under-test.ts';
import { type Books, openBooks, stripeRecord } from '../books.ts';

let books: Books;
beforeEach(async () => {
  books = await openBooks();
  books.at('2026-11-21T03:00:00Z');
});
afterEach(() => books.close());

const sources = [{ name: 'platform' }, { name: 'billing' }];

async function oldest(): Promise<string | null> {
  const clock = { now: () => books.now() };
  const reader = await openEmbeddedReader({ directory: books.directory, consumer: 'test', clock });
  try {
    return await oldestUnarchivedDay(reader, await books.ledger(), clock);
  } finally {
    await reader.close();
  }
}

test('the oldest day that is only in the stream is that of the oldest event, of whatever source', async () => {
  assert.equal(await oldest(), null);
  await books.deliver(
    ...eventsOf('2026-11-19', 3, 'a').map((event) => signedRecord(event)),
    pandaRecord(1, '2026-11-18'),
  );
  assert.equal(await oldest(), '2026-11-18');
});

test('what is archived counts no more, and what arrives later or waits for its day to close does', async () => {
  await books.deliver(...eventsOf('2026-11-19', 3, 'a').map((event) => signedRecord(event)));
  await books.deliver(...eventsOf('2026-11-21', 2, 'b').map((event) => signedRecord(event)));
  // Lies above one that waits: `next` stands still, `done` tells.
  await books.deliver(...eventsOf('2026-11-18', 3, 'c').map((event) => signedRecord(event)));
  assert.equal(await oldest(), '2026-11-18');
  await books.night(sources);
  assert.equal(await oldest(), '2026-11-21');
  await books.deliver(pandaRecord(1, '2026-11-20'));
  assert.equal(await oldest(), '2026-11-20');
});

test('records that the next run quarantines, and those that nobody delivered, do not count', async () => {
  const [event] = eventsOf('2026-11-17', 1, 'd');
  await books.deliver(
    { key: 'x', value: Buffer.from('no envelope') },
    stripeRecord(event!.text, { header: { via: 'list', scheme: 'none' } }),
  );
  assert.equal(await oldest(), null);
  await books.deliver(pandaRecord(1, '2026-11-20'));
  assert.equal(await oldest(), '2026-11-20');
});
