/** The key of an organisation: one for several accounts, each named by its context with each request. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { messageOf } from '../../../shared/errors.ts';
import { thinEvent } from '../../stripe/thin-events.ts';
import { stripeRecord } from '../books.ts';
import { eventsOf, openStripeNights, yesterday } from './stripe-nights.ts';

const apiKey = 'sk_org_test_daybookFakeKey';
/** A platform, one of its connected accounts, and an account beside it. */
const accounts = ['acct_platform', 'acct_platform/acct_connected', 'acct_shop'];
const settled = '2026-11-24';
const under = (text: string, context: string) => text.replace(/^\{/, `{"context":"${context}",`);

test('each account is listed by its context, page by page, with the pinned version, and its events make a complete day', async (t) => {
  const nights = await openStripeNights(t, { apiKey, accounts });
  const { books, stripe, night, source, entry, ids } = nights;
  for (const [index, account] of accounts.entries()) {
    const [delivered, ...missed] = eventsOf(yesterday, 120, account);
    for (const { text } of [delivered!, ...missed]) stripe.add(under(text, account), { account });
    await books.deliver(stripeRecord(under(delivered!.text, account)));
    const thin = thinEvent({ id: `evt_thin${index}`, created: `${yesterday}T12:00:00.000Z`, context: account });
    stripe.add(thin.listed, { account });
  }
  const report = await night(settled, source(accounts, true));
  assert.deepEqual(report.errors, []);
  const said = (await entry(report))!;
  assert.deepEqual(said.accounts, ['acct_connected', 'acct_platform', 'acct_shop']);
  assert.deepEqual([said.verdict, said.counts.delivered, said.counts.recovered], ['complete', 3, 3 * 120]);
  assert.equal((await ids()).size, 3 * 121);
  assert.deepEqual((await books.manifest(1)).asked!.platform, {
    accounts: ['acct_connected', 'acct_platform', 'acct_shop'],
    ownAccount: false,
    mode: 'test',
  });
  assert.ok(stripe.requests.some(({ path, query }) => path === '/v1/events' && query.has('starting_after')));
  for (const { headers } of stripe.requests) {
    assert.ok(accounts.includes(String(headers['stripe-context'])), String(headers['stripe-context']));
    assert.match(String(headers['stripe-version']), /^\d{4}-\d{2}-\d{2}\.\w+$/);
    assert.equal(headers['stripe-account'], undefined);
  }
});

test('an account that the organisation has not stays told by name, and hinders no other', async (t) => {
  const { stripe, night, source, entry } = await openStripeNights(t, { apiKey, accounts: ['acct_shop'] });
  for (const { text } of eventsOf(yesterday, 3, 'o')) stripe.add(text, { account: 'acct_shop' });
  const report = await night(settled, source(['acct_shop', 'acct_gone']));
  assert.deepEqual(
    report.errors.map(({ code, message }) => [code, message.split(':')[0]]),
    [['stripe_access_refused', 'acct_gone']],
  );
  assert.equal((await entry(report))?.counts.recovered, 3);
});

test("its one account's own endpoint is covered; of several an event that names none is not", async (t) => {
  const { books, night, source, entry } = await openStripeNights(t, { apiKey, accounts: ['acct_shop', 'acct_b'] });
  await books.deliver(stripeRecord(eventsOf(yesterday, 1, 'p')[0]!.text));
  assert.equal((await entry(await night('2026-11-21', source(['acct_shop']))))?.verdict, 'provisional');
  assert.equal((await entry(await night('2026-11-22', source(['acct_b', 'acct_shop']))))?.verdict, 'unreconciled');
});

for (const named of [undefined, 'all'] as const) {
  test(`without an account (accounts: ${named}) Stripe is not asked, and the night says what is lacking`, async (t) => {
    const { books, stripe, night, source, entry } = await openStripeNights(t, { apiKey });
    await books.deliver(stripeRecord(eventsOf(yesterday, 1, 'q')[0]!.text));
    const report = await night('2026-11-21', source(named));
    assert.deepEqual(
      report.errors.map(({ code }) => code),
      ['stripe_key_refused'],
    );
    assert.match(report.errors[0]!.message, /is an organisation's: each request has to name one of its accounts/);
    assert.equal(stripe.requests.length, 0);
    assert.equal((await entry(report))?.counts.delivered, 1, 'what was delivered is archived all the same');
  });
}

test("an organisation's key is in no message", () => {
  const said = messageOf(new Error('Invalid API Key provided: sk_org_live_abc123 or sk_org_abc123.'));
  assert.equal(said, 'Invalid API Key provided: sk_org_live_… or sk_org_….');
});
