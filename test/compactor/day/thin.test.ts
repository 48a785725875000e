/** Thin events beside their snapshots and what the list tells of them, night after night. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeNight } from '../../../compactor/commands/run.ts';
import { equationsOf } from '../../../compactor/console/day-detail.ts';
import { totalsOf } from '../../../compactor/console/day-words.ts';
import { thinEvent } from '../../stripe/thin-events.ts';
import { verify } from '../archive-under-test.ts';
import { stripeRecord } from '../books.ts';
import { eventsOf, openStripeNights, type StripeNights, yesterday } from '../stripe/stripe-nights.ts';

const settled = '2026-11-24';
const [snapshot, other] = eventsOf(yesterday, 2, 'twins');
const at = (seconds: number) => new Date(seconds * 1000 + 123).toISOString();
const twinOf = ({ id, createdSeconds, type }: NonNullable<typeof snapshot>, name = 'evt_thin') =>
  thinEvent({
    id: name,
    created: at(createdSeconds),
    type: `v1.${type}`,
    data: {},
    changes: { before: {}, after: { amount: 1 } },
    snapshot: id,
  });

const countsOf = async ({ entry }: StripeNights, report: Parameters<StripeNights['entry']>[0]) => {
  const { counts, exceptions } = (await entry(report))!;
  return { ...counts, listedBody: exceptions?.counts.listedBody ?? 0 };
};

test('a notification that was delivered has its listed body beside it, and its snapshot is no event that was missed', async (t) => {
  const nights = await openStripeNights(t);
  const { books, stripe, night, ids } = nights;
  const thin = twinOf(snapshot!);
  for (const text of [thin.listed, snapshot!.text, other!.text]) stripe.add(text);
  await books.deliver(stripeRecord(thin.notification));
  const report = await night('2026-11-21');
  const { delivered, recovered, twins, listedBody } = await countsOf(nights, report);
  assert.deepEqual(
    { delivered, recovered, twins, listedBody },
    { delivered: 1, recovered: 2, twins: 1, listedBody: 1 },
  );
  const table = (of: typeof report) => describeNight({ ...of, head: null });
  assert.match(table(report), /^source +day +verdict +delivered +recovered +twins +listed /);
  assert.match(table(report), /^platform +2026-11-20 +provisional +1 +1 +1 +3 /m);
  const without = report.days.filter(({ counts }) => counts.twins === undefined);
  assert.doesNotMatch(table({ ...report, days: without }), /twins/);
  assert.equal((await ids()).size, 3);
  const { key } = (await nights.entry(report))!.exceptions!;
  assert.deepEqual(
    (await books.lines(key)).map((line) => JSON.parse(line)),
    [{ body: thin.listed, id: thin.id, kind: 'listed_body' }],
  );

  const state = (await books.ledger()).sources.get('platform')!.get(yesterday)!;
  const totals = totalsOf([{ standing: 'provisional', state }]);
  assert.deepEqual([totals.delivered, totals.recovered, totals.twins, totals.events], [1, 1, 1, 3]);
  assert.ok(equationsOf(state).every(({ holds }) => holds));

  for (const today of ['2026-11-22', settled]) {
    const again = await countsOf(nights, await night(today));
    assert.deepEqual([again.twins, again.recovered, again.listedBody], [1, 2, 0], 'each body is kept once');
  }
  const { breaks } = await verify(books);
  assert.deepEqual(breaks, []);
});

test('a snapshot that was delivered makes its thin event no recovered one; both delivered or neither make no twin', async (t) => {
  const nights = await openStripeNights(t);
  const { books, stripe, night, source } = nights;
  const events = eventsOf(yesterday, 3, 'other way') as [typeof snapshot, ...(typeof snapshot)[]];
  const twins = events.map((event, index) => twinOf(event!, `evt_thin${index}`));
  for (const [index, event] of events.entries()) {
    stripe.add(event!.text);
    stripe.add(twins[index]!.listed);
  }
  await books.deliver(stripeRecord(events[0]!.text), stripeRecord(events[1]!.text));
  await books.deliver(stripeRecord(twins[1]!.notification));
  const { delivered, recovered, twins: count } = await countsOf(nights, await night(settled, source([], true)));
  assert.deepEqual([delivered, recovered, count], [3, 3, 1]);
  assert.deepEqual((await verify(books)).breaks, []);
});

test('a body that the list gives a night later is kept then, and once', async (t) => {
  const nights = await openStripeNights(t);
  const { books, stripe, night } = nights;
  const thin = twinOf(snapshot!);
  stripe.add(thin.listed);
  await books.deliver(stripeRecord(thin.notification));
  const broken = {
    action: 'server error',
    times: 3,
    when: ({ path }: { path: string }) => path.startsWith('/v2'),
  } as const;
  stripe.faults.push({ ...broken });
  assert.equal((await countsOf(nights, await night('2026-11-21'))).listedBody, 0);
  assert.equal((await countsOf(nights, await night('2026-11-22'))).listedBody, 1);
  assert.equal((await countsOf(nights, await night('2026-11-23'))).listedBody, 0);
  assert.deepEqual((await verify(books)).breaks, []);
});
