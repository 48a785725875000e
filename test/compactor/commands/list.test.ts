import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { describeList, listArchive } from '../../../compactor/commands/list.ts';
import { describeWaiting, oldestUnarchivedDay, readWaiting } from '../../../compactor/commands/waiting.ts';
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

test('what waits is told by source and day, with what the next run does; archived events are gone from it', async () => {
  const clock = { now: () => books.now() };
  const [again, ...others] = eventsOf('2026-11-20', 3, 'a');
  await books.deliver(
    signedRecord(again!),
    signedRecord(again!, 60),
    ...others.map((event) => signedRecord(event)),
    ...eventsOf('2026-11-21', 2, 'b').map((event) => signedRecord(event)),
    pandaRecord(1, '2026-11-20'),
    { key: 'x', value: Buffer.from('no envelope') },
  );
  const waiting = async () => {
    const reader = await openEmbeddedReader({ directory: books.directory, consumer: 'test', clock });
    try {
      return await readWaiting(reader, await books.ledger(), clock, 3600);
    } finally {
      await reader.close();
    }
  };
  const closed = { closesAt: '2026-11-21T01:00:00.000Z', isClosed: true };
  const today = {
    ...{ source: 'platform', day: '2026-11-21', deliveries: 2, events: 2 },
    ...{ closesAt: '2026-11-22T01:00:00.000Z', isClosed: false },
  };
  const report = await waiting();
  assert.deepEqual(report, {
    days: [
      { source: 'billing', day: '2026-11-20', deliveries: 1, events: 1, ...closed },
      { source: 'platform', day: '2026-11-20', deliveries: 4, events: 3, ...closed },
      today,
    ],
    quarantine: 1,
  });
  const text = describeWaiting(report);
  assert.match(text, /^2026-11-20 +platform +3 +4 +the next run archives them$/m);
  assert.match(text, /^2026-11-21 +platform +2 +2 +archived by a run after 2026-11-22 01:00 UTC$/m);
  assert.match(text, /1 record into the quarantine/);
  assert.doesNotMatch(describeWaiting({ ...report, days: [] }), /every delivery is archived/, 'it goes elsewhere');
  assert.match(describeWaiting({ ...report, days: [], quarantine: 0 }), /every delivery is archived/);
  assert.deepEqual(await books.keys(), []);
  await books.night(sources);
  assert.deepEqual(await waiting(), { days: [today], quarantine: 0 });
});

test('the list fits 100 columns, the longest names and many events too, and empty days share a line', async () => {
  await books.deliver(...eventsOf('2026-11-19', 3, 'a').map((event) => signedRecord(event)));
  await books.night(sources);
  const [day] = listArchive(await books.ledger(), '2026-11-21').days.filter(({ events }) => events > 0);
  const many = 99_999_999;
  const large = {
    ...{ ...day!, source: 'a'.repeat(40), events: many, verdict: 'unreconciled' as const },
    counts: { ...day!.counts, recovered: many, listed: many, duplicates: many, notListed: 999, differing: 99 },
    bytes: { plaintext: 1, ciphertext: 999_900_000_000 },
    manifest: { ...day!.manifest, number: many },
    exceptions: [
      {
        ...{ key: 'the key of an object', sha256: { plaintext: '', ciphertext: '' }, listedAt: null, pruned: null },
        ...{ counts: { notListed: 999, missing: 999, differing: 99 }, manifest: 1, lacking: [] },
      },
    ],
    pruned: { parts: 1, deliveries: 1 },
  };
  const empty = { ...large, events: 0, verdict: 'complete' as const, bytes: { plaintext: 0, ciphertext: 0 } };
  const { source } = large;
  const text = describeList(
    {
      ...{ head: null, oldestUnarchivedDay: '2026-11-20', streamUnread: null, newestArchivedDay: '2026-11-19' },
      retentionNear: [{ source, day: '2026-10-25', verdict: 'provisional', listedUntil: '2026-11-23' }],
      days: [
        ...[
          { ...empty, day: '2026-11-16' },
          { ...empty, day: '2026-11-17' },
          { ...empty, day: '2026-11-18' },
        ],
        large,
      ],
    },
    false,
  );
  const lines = text.split('\n');
  assert.match(lines[0]!, /^month +days +complete +provisional +incomplete +unverifiable +unreconciled +events$/);
  assert.match(lines[1]!, /^2026-11 +4 +3 +0 +0 +0 +1 +99999999$/);
  assert.ok(
    lines.some((line) => line.startsWith('2026-11-16…18  complete ')),
    text,
  );
  assert.ok(text.includes('999 not listed, 0 missing, 99 differing, in\n  the key of an object\n'), text);
  assert.ok(text.includes('2026-10-25 is provisional: Stripe lists it until 2026-11-23\n'), text);
  for (const line of lines) assert.ok(line.length <= 100, `${line.length}: ${line}`);
});
