import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { addDays, type Day } from '../../../shared/clock.ts';
import { isCovered, modeOfKey, scopeOfEvent } from '../../../shared/schemes/stripe-scope.ts';
import { verify } from '../../compactor/archive-under-test.ts';
import { stripeRecord } from '../../compactor/books.ts';
import { eventsOf, openStripeNights, yesterday } from '../../compactor/stripe/stripe-nights.ts';

test('the account of an event is told by account, user_id or context, its mode by livemode', () => {
  const accountsOf = (claims: object) => scopeOfEvent(claims).accounts;
  assert.deepEqual(accountsOf({}), []);
  assert.deepEqual(accountsOf({ account: 'acct_1', user_id: null, context: null }), ['acct_1']);
  assert.deepEqual(accountsOf({ user_id: 'acct_2' }), ['acct_2']);
  assert.deepEqual(accountsOf({ context: 'acct_3' }), ['acct_3']);
  assert.deepEqual(accountsOf({ account: 'acct_3', context: 'org_1/acct_3' }), ['acct_3']);
  assert.deepEqual(accountsOf({ account: 'acct_1', context: 'acct_2' }), ['acct_1', 'acct_2']);
  assert.deepEqual(accountsOf({ context: 'org_1' }), ['org_1'], 'a context of another form is an account not known');
  assert.deepEqual(accountsOf({ account: 7, user_id: '', context: {} }), []);
  assert.deepEqual(
    [true, false, 'yes', undefined].map((livemode) => scopeOfEvent({ livemode }).mode),
    [...['live', 'test', undefined, undefined]],
  );
  const keys = ['sk_live_a', 'rk_test_b', 'sk_org_live_c', 'sk_org_d', 'whatever'];
  assert.deepEqual(keys.map(modeOfKey), ['live', 'test', 'live', undefined, undefined]);
});

test('a list covers its own account and mode alone; what is not known is not covered', () => {
  const own = { accounts: [], ownAccount: true, mode: null } as const;
  const connected = { accounts: ['acct_1'], ownAccount: false, mode: 'live' } as const;
  assert.equal(isCovered({ accounts: [] }, own), true);
  assert.equal(isCovered({ accounts: [], ownAccount: true, modes: ['live'] }, own), true);
  assert.equal(isCovered({ accounts: ['acct_1'] }, own), false);
  assert.equal(isCovered({ accounts: [], modes: ['live', 'test'] }, own), false);
  assert.equal(isCovered({ accounts: ['acct_1'], modes: ['live'] }, connected), true);
  assert.equal(isCovered({ accounts: ['acct_1'], ownAccount: true, modes: ['live'] }, connected), false);
  assert.equal(isCovered({ accounts: ['acct_1'], modes: ['test'] }, connected), false);
});

describe('a day is complete only where the list that was asked covers what was delivered', () => {
  const settled = addDays(yesterday, 3);
  type Nights = Awaited<ReturnType<typeof openStripeNights>>;
  const deliver = (nights: Nights, members: string, seed: string) => {
    const [made] = eventsOf(yesterday, 1, seed);
    const text = made!.text.replace(/^\{/, `{${members}`);
    return { ...made!, text, arrives: () => nights.books.deliver(stripeRecord(text)) };
  };
  const verdictAt = async (nights: Nights, today: Day, source = nights.source()) => {
    const report = await nights.night(today, source);
    return report.days.find(({ day }) => day === yesterday)?.verdict;
  };

  for (const members of [
    '"user_id":"acct_x",',
    '"context":"acct_x",',
    '"context":"org_1/acct_x",',
    '"context":"org_1",',
  ]) {
    test(`an event with ${members} is of an account that is not listed, tonight and later`, async (t) => {
      const nights = await openStripeNights(t);
      await deliver(nights, members, 'a').arrives();
      assert.equal(await verdictAt(nights, settled), 'unreconciled');
      const report = await nights.night(addDays(settled, 1));
      const state = (await nights.books.ledger()).sources.get('platform')!.get(yesterday)!;
      assert.equal(state.verdict, 'unreconciled');
      assert.deepEqual(report.errors, []);
    });
  }

  test("the key's own events are not listed where accounts are configured, and are where they are not any more", async (t) => {
    const nights = await openStripeNights(t, { accounts: ['acct_a'] });
    const own = deliver(nights, '', 'b');
    nights.stripe.add(own.text);
    await own.arrives();
    assert.equal(await verdictAt(nights, settled, nights.source(['acct_a'])), 'unreconciled');
    assert.equal(await verdictAt(nights, addDays(settled, 1)), 'complete');
  });

  test('a list of the other mode than the source is for is an error, and nothing of it is archived', async (t) => {
    const nights = await openStripeNights(t);
    for (const { text } of eventsOf(yesterday, 3, 'c'))
      nights.stripe.add(JSON.stringify({ ...JSON.parse(text), livemode: false }));
    const { name, listing } = nights.source();
    const report = await nights.night(settled, { name, listing: { ...listing!, mode: 'live' } });
    assert.deepEqual(
      report.errors.map(({ code }) => code),
      ['stripe_mode_contradicted'],
    );
    assert.equal((await nights.ids()).size, 0);
    assert.ok(report.days.every(({ verdict }) => verdict !== 'complete'));
    // The key says so of itself: it is not asked at all.
    const asked = nights.stripe.requests.length;
    await nights.night(addDays(settled, 1), { name, listing: { ...listing!, mode: 'live', keyMode: 'test' } });
    assert.equal(nights.stripe.requests.length, asked);
  });

  test('where both modes are delivered a key covers one', async (t) => {
    const nights = await openStripeNights(t);
    for (const livemode of [true, false]) {
      const event = deliver(nights, '', `d${livemode}`);
      const text = JSON.stringify({ ...JSON.parse(event.text), livemode });
      if (!livemode) nights.stripe.add(text);
      await nights.books.deliver(stripeRecord(text));
    }
    assert.equal(await verdictAt(nights, settled), 'unreconciled');
  });

  test('a settled day whose deliveries are not in the list is warned of by name', async (t) => {
    const nights = await openStripeNights(t);
    await deliver(nights, '', 'e').arrives();
    nights.stripe.add(eventsOf(yesterday, 1, 'f')[0]!.text);
    const report = await nights.night(settled);
    assert.deepEqual(
      report.warnings.filter(({ code }) => code === 'delivered_not_listed').map(({ source, day }) => [source, day]),
      [['platform', yesterday]],
    );
  });
});

test('one old event does not make empty days of all the years since: it adds its own day', async (t) => {
  const nights = await openStripeNights(t);
  for (const day of ['1970-01-01', '2012-01-18', '2026-11-10']) {
    await nights.books.deliver(...eventsOf(day, 1, day).map(({ text }) => stripeRecord(text)));
  }
  const report = await nights.night('2026-11-21', { name: 'platform' });
  assert.deepEqual(
    report.days.map(({ day }) => day).filter((day) => day < '2026-11-11'),
    ['1970-01-01', '2012-01-18', '2026-11-10'],
  );
  assert.equal(report.days.length, 2 + 11);
});

test('an event that claims 1970 is archived in a day of its own, which nobody can list, and stays the one event', async (t) => {
  const { books, night, entry, ids } = await openStripeNights(t);
  const [event] = eventsOf('1970-01-01', 1, 'zero');
  const text = JSON.stringify({ ...JSON.parse(event!.text), created: 0 });
  for (const today of ['2026-11-21', '2026-11-22']) {
    await books.deliver(stripeRecord(text, { receivedAt: `${today}T02:00:00.000Z` }));
    const said = (await entry(await night(today), '1970-01-01'))!;
    assert.deepEqual([said.verdict, said.counts.delivered], ['unverifiable', 1]);
  }
  assert.deepEqual([...(await ids())], [[event!.id, 1]]);
  assert.deepEqual((await verify(books)).breaks, []);
});
