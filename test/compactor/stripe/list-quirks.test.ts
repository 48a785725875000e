/** What is known to happen at Stripe's list, each from the list to the archive: nothing lost, nothing twice, all of it said. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Fault, type FaultAction, startFakeStripe } from '../../stripe/fake-stripe.ts';
import { listingOf, stripeRecord } from '../books.ts';
import { eventsOf, openStripeNights, yesterday } from './stripe-nights.ts';

const forEver = Number.POSITIVE_INFINITY;
const once = (ids: Map<string, number>) => [...ids.values()].every((count) => count === 1);

test('events that appear late are found by the listing of D+3, D+7 and D+28, each adds a part', async (t) => {
  const { books, stripe, night, entry } = await openStripeNights(t);
  const events = eventsOf(yesterday, 5, 'late');
  const visible = ['2026-11-20', '2026-11-22', '2026-11-24', '2026-12-01', '2026-12-19'];
  for (const [at, { text }] of events.entries()) {
    stripe.add(text, { visibleAtMs: Date.parse(`${visible[at]}T12:00:00Z`) });
  }
  const found: Record<string, string> = {};
  for (let at = Date.parse('2026-11-21'); at <= Date.parse('2026-12-20'); at += 86_400_000) {
    const today = new Date(at).toISOString().slice(0, 10);
    const said = await entry(await night(today));
    if (said !== undefined && said.parts.length > 0) found[today] = `${said.verdict} ${said.counts.recovered}`;
  }
  assert.deepEqual(found, {
    '2026-11-21': 'provisional 1',
    '2026-11-23': 'complete 2',
    '2026-11-27': 'complete 3',
    '2026-12-18': 'complete 4',
  });
  assert.equal((await books.ledger()).sources.get('platform')!.get(yesterday)!.parts.length, 4);
});

const passing: readonly [string, FaultAction, number][] = [
  ['a storm of 429', 'rate limit', 5],
  ['500s', 'server error', 4],
  ['resets in the middle of a body', 'reset in body', 4],
  ['connections that end before an answer', 'reset before', 4],
  ['half an answer', 'malformed', 4],
];
for (const [what, action, times] of passing) {
  test(`${what} over the walk: every event once, nothing to report`, async (t) => {
    const nights = await openStripeNights(t);
    const { books, stripe, source, night, entry } = nights;
    const events = eventsOf(yesterday, 450, action as string);
    for (const { text } of events) stripe.add(text);
    await books.deliver(...events.slice(100, 200).map(({ text }) => stripeRecord(text)));
    // Each in the way of a request and of its first repeat, all along the walk.
    const strike: Fault = { action, times: times * 2, when: ({ number }) => number % 3 !== 0 };
    stripe.faults.push(strike);
    const report = await night('2026-11-21', source());
    assert.deepEqual(report.errors, []);
    const said = (await entry(report))!;
    assert.deepEqual([said.counts.delivered, said.counts.recovered, said.counts.listed], [100, 350, 450]);
    const ids = await nights.ids();
    assert.deepEqual([ids.size, once(ids)], [450, true]);
    assert.equal(stripe.faults.length, 0, 'all of them struck');
  });
}

test('a 429 that does not end is said with its reason; what was delivered is archived', async (t) => {
  const { books, stripe, night, entry } = await openStripeNights(t);
  const [event] = eventsOf(yesterday, 1, 'storm');
  await books.deliver(stripeRecord(event!.text));
  stripe.faults.push({ action: 'rate limit', times: forEver });
  const report = await night('2026-11-21');
  assert.deepEqual(
    report.errors.map(({ code }) => code),
    ['stripe_unreachable'],
  );
  assert.match(report.errors[0]!.message, /429 \(invalid_request_error rate_limit endpoint-rate\)/);
  assert.equal((await entry(report))?.counts.delivered, 1);
});

test('ties of hundreds in one second across pages, with cursors that age out among them: every event once', async (t) => {
  const nights = await openStripeNights(t);
  const { books, stripe, night, entry } = nights;
  const second = Date.parse(`${yesterday}T12:00:00Z`) / 1000;
  const texts = eventsOf(yesterday, 700, 'ties').map(({ text, createdSeconds }, at) =>
    text.replace(`"created": ${createdSeconds}`, `"created": ${second + (at < 650 ? 0 : 1)}`),
  );
  for (const text of texts) stripe.add(text);
  await books.deliver(...texts.filter((_, at) => at % 7 === 0).map((text) => stripeRecord(text)));
  const when = ({ number, query }: { number: number; query: URLSearchParams }) =>
    query.has('starting_after') && [3, 9].includes(number);
  stripe.faults.push({ action: 'cursor aged out', times: 2, when });
  const report = await night('2026-11-21');
  assert.deepEqual([report.errors, stripe.faults], [[], []]);
  assert.deepEqual((await entry(report))?.counts, {
    ...{ delivered: 100, recovered: 600, listed: 700 },
    ...{ notListed: 0, differing: 0, duplicates: 0 },
  });
  const ids = await nights.ids();
  assert.deepEqual([ids.size, once(ids)], [700, true]);
});

test('days whose end ages out of the list under the walk are listed as far as they still are there', async (t) => {
  const nights = await openStripeNights(t);
  const { books, stripe, night } = nights;
  const oldest = '2026-10-23'; // the 29th day back, of which the last hours age out while the walk takes its time
  for (const { text } of eventsOf(oldest, 300, 'aging')) stripe.add(text);
  stripe.faults.push({
    action: 'cursor aged out',
    when: ({ query }) => {
      if (query.has('starting_after')) books.at('2026-11-22T12:00:00Z');
      return query.has('starting_after');
    },
  });
  const report = await night('2026-11-21');
  assert.deepEqual(report.errors, []);
  const ids = await nights.ids();
  assert.ok(once(ids) && ids.size > 100 && ids.size < 300, String(ids.size));
});

test('copies in another api_version may have other data; in the same one they may not', async (t) => {
  const { books, stripe, night, entry } = await openStripeNights(t);
  const events = eventsOf(yesterday, 3, 'versions');
  const changed = (text: string) => text.replace('"data": {', '"data": {"renamed":true,');
  const older = (text: string) => text.replace(/"api_version": [^,]*/, '"api_version": "2015-01-01"');
  stripe.add(older(changed(events[0]!.text)));
  stripe.add(changed(events[1]!.text));
  stripe.add(older(events[2]!.text).replace(`"type": "${events[2]!.type}"`, '"type": "another.type"'));
  for (const { text } of events) assert.match(text, /"api_version"/);
  await books.deliver(...events.map(({ text }) => stripeRecord(text)));
  const said = (await entry(await night('2026-11-21')))!;
  assert.deepEqual([said.counts.differing, said.counts.listed, said.counts.delivered], [2, 3, 3]);
});

test('a wrong key is refused at once, and named by nothing but the source', async (t) => {
  const { books, stripe, night, entry } = await openStripeNights(t);
  const other = await startFakeStripe({ apiKey: 'sk_live_ofSomebodyElse' });
  t.after(() => other.close());
  const listing = listingOf({ ...other, apiKey: stripe.apiKey });
  const [event] = eventsOf(yesterday, 1, 'key');
  await books.deliver(stripeRecord(event!.text));
  const report = await night('2026-11-21', { name: 'platform', listing });
  listing.api.close();
  assert.deepEqual(
    report.errors.map(({ code, source }) => [code, source]),
    [['stripe_key_refused', 'platform']],
  );
  assert.equal(other.requests.length, 1);
  assert.ok(!JSON.stringify(report).includes(stripe.apiKey));
  const said = (await entry(report))!;
  assert.deepEqual([said.verdict, said.counts.delivered, said.listedAt], ['provisional', 1, null]);
});

test('a key that is revoked in the middle of a walk: what it brought is archived, the days behind it are listed', async (t) => {
  const nights = await openStripeNights(t);
  const { books, stripe, night } = nights;
  for (const day of ['2026-11-18', '2026-11-19', yesterday]) {
    for (const { text } of eventsOf(day, 150, `revoked ${day}`)) stripe.add(text);
  }
  stripe.faults.push({ action: 'revoke key', when: ({ number }) => number === 3 });
  const report = await night('2026-11-21');
  assert.deepEqual(
    report.errors.map(({ code }) => code),
    ['stripe_key_refused'],
  );
  const state = async (day: string) => (await books.ledger()).sources.get('platform')!.get(day)!;
  assert.notEqual((await state(yesterday)).listedAt, null);
  assert.equal((await state('2026-11-18')).listedAt, null);
  assert.equal((await state('2026-11-18')).verdict, 'provisional');
  assert.equal((await nights.ids()).size, 200);

  // Stripe's owner makes a new key.
  const renewed = await startFakeStripe({ clock: { now: () => books.now() } });
  t.after(() => renewed.close());
  for (const day of ['2026-11-18', '2026-11-19', yesterday]) {
    for (const { text } of eventsOf(day, 150, `revoked ${day}`)) renewed.add(text);
  }
  const listing = listingOf(renewed);
  const next = await night('2026-11-22', { name: 'platform', listing });
  listing.api.close();
  assert.deepEqual([next.errors, (await state('2026-11-18')).verdict], [[], 'complete']);
  const ids = await nights.ids();
  assert.deepEqual([ids.size, once(ids)], [450, true]);
});
