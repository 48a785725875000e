import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { describeList, listArchive } from '../../../compactor/commands/list.ts';
import { openLedgerView } from '../../../compactor/console/ledger-view.ts';
import { reportOf } from '../../../compactor/console/report.ts';
import { checkDays } from '../../../compactor/doctor/check-ledger.ts';
import { readSigner } from '../../../shared/crypto/signing.ts';
import type { MadeEvent } from '../../stripe/events.ts';
import type { FakeRequest } from '../../stripe/fake-stripe.ts';
import { type Books, stripeRecord } from '../books.ts';
import { eventsOf, openStripeNights, walksOf, yesterday } from '../stripe/stripe-nights.ts';

const forEver = Number.POSITIVE_INFINITY;
const withAccount = (text: string, account: string) => text.replace(/^\{/, `{"account":"${account}",`);
const of = (account: string) => (request: FakeRequest) => request.account === account;
const states = async (nights: Awaited<ReturnType<typeof openStripeNights>>) =>
  (await nights.books.ledger()).sources.get('platform')!;

async function monthOf(books: Books) {
  const signer = readSigner(books.signingKey);
  const view = openLedgerView({
    openStore: async () => ({ store: books.store, prefix: '' }),
    verifyingKeys: new Map([[signer.keyId, signer]]),
    clock: { now: books.now },
  });
  return reportOf(await view.look(), '2026-11', undefined);
}

describe('several accounts', () => {
  test("one account's failure stops no other: what they have is archived, the day stays provisional, the account is named", async (t) => {
    const nights = await openStripeNights(t, { accounts: ['acct_a', 'acct_b', 'acct_c'] });
    const { stripe, night, source, entry } = nights;
    for (const account of ['acct_a', 'acct_b', 'acct_c']) {
      for (const { text } of eventsOf(yesterday, 3, account)) stripe.add(text, { account });
    }
    stripe.faults.push({ action: 'server error', times: forEver, when: of('acct_b') });
    const accounts = ['acct_a', 'acct_b', 'acct_c', 'acct_gone'];
    const report = await night('2026-11-21', source(accounts));
    assert.deepEqual(
      report.errors.map(({ code, source: name, message }) => [code, name, message.split(':')[0]]),
      [
        ['stripe_unreachable', 'platform', 'acct_b'],
        ['stripe_access_refused', 'platform', 'acct_gone'],
      ],
    );
    const said = (await entry(report))!;
    assert.deepEqual([said.verdict, said.listedAt, said.counts.recovered], ['provisional', null, 6]);

    stripe.faults.length = 0;
    const next = await night('2026-11-24', source(accounts.slice(0, 3)));
    assert.deepEqual([next.errors, (await entry(next))?.verdict], [[], 'complete']);
    assert.equal((await nights.ids()).size, 9);
  });

  test('a key that is revoked while accounts are walked ends the listing of its source, and is said once', async (t) => {
    const { stripe, night, source } = await openStripeNights(t, { accounts: ['acct_a', 'acct_b', 'acct_c'] });
    stripe.faults.push({ action: 'revoke key', when: of('acct_b') });
    const report = await night('2026-11-21', source(['acct_a', 'acct_b', 'acct_c']));
    assert.deepEqual(
      report.errors.map(({ code }) => code),
      ['stripe_key_refused'],
    );
    assert.ok(!stripe.requests.some(of('acct_c')));
    assert.ok(report.days.every(({ verdict }) => verdict === 'provisional'));
  });

  test('a Stripe that answers nobody is not asked for every account to the end', async (t) => {
    const accounts = Array.from({ length: 20 }, (_, n) => `acct_${n}`);
    const { stripe, night, source } = await openStripeNights(t, { accounts });
    stripe.faults.push({ action: 'reset before', times: forEver });
    const report = await night('2026-11-21', source(accounts));
    assert.equal(report.errors.length, 3);
    assert.equal(new Set(stripe.requests.map(({ account }) => account)).size, 3);
  });

  test("one source's revoked key stops no other source", async (t) => {
    const nights = await openStripeNights(t);
    const { books, stripe, source } = nights;
    const other = await openStripeNights(t);
    const [event] = eventsOf(yesterday, 1, 'other');
    other.stripe.add(event!.text);
    stripe.faults.push({ action: 'revoke key' });
    books.at('2026-11-21T03:00:00Z');
    const report = await books.night([source(), { ...other.source(), name: 'zweite' }]);
    assert.deepEqual(
      report.errors.map(({ source: name }) => name),
      ['platform'],
    );
    assert.equal(report.days.find((day) => day.source === 'zweite' && day.day === yesterday)?.counts.recovered, 1);
  });

  test('an account that is added later is listed for all days that Stripe holds, the others for what is due', async (t) => {
    const nights = await openStripeNights(t, { accounts: ['acct_a', 'acct_b'] });
    const { stripe, night, source } = nights;
    const [old] = eventsOf('2026-11-01', 1, 'old');
    stripe.add(old!.text, { account: 'acct_b' });
    await night('2026-11-21', source(['acct_a']));
    stripe.requests.length = 0;
    stripe.faults.push({ action: 'server error', times: 3, when: of('acct_b') });
    const failed = await night('2026-11-22', source(['acct_a', 'acct_b']));
    assert.deepEqual(
      failed.errors.map(({ message }) => message.split(':')[0]),
      ['acct_b'],
    );
    stripe.requests.length = 0;
    const report = await night('2026-11-23', source(['acct_a', 'acct_b']));
    assert.deepEqual(report.errors, []);
    const walks = walksOf(stripe.requests);
    assert.ok(walks.includes('v1 acct_b 2026-10-25..2026-11-22'), String(walks));
    assert.ok(!walks.includes('v1 acct_a 2026-10-25..2026-11-22'), String(walks));
    assert.equal((await states(nights)).get('2026-11-01')?.counts.recovered, 1);
    stripe.requests.length = 0;
    await night('2026-11-24', source(['acct_a', 'acct_b']));
    const due = (account: string) => walksOf(stripe.requests).filter((walk) => walk.includes(account)).length;
    assert.equal(due('acct_b'), due('acct_a'));
  });

  test('a listing from before an account was listed does not prove its events', async (t) => {
    const { books, stripe, night, source, entry } = await openStripeNights(t, { accounts: ['acct_a', 'acct_b'] });
    const [event] = eventsOf(yesterday, 1, 'unlisted');
    await books.deliver(stripeRecord(withAccount(event!.text, 'acct_b')));
    const before = (await entry(await night('2026-11-24', source(['acct_a']))))!;
    assert.deepEqual([before.verdict, before.listedAt], ['unreconciled', '2026-11-24T03:00:00.000Z']);
    stripe.faults.push({ action: 'server error', times: forEver, when: of('acct_b') });
    const added = (await entry(await night('2026-11-25', source(['acct_a', 'acct_b']))))!;
    assert.deepEqual([added.verdict, added.listedAt], ['provisional', null]);
    stripe.faults.length = 0;
    const listed = (await entry(await night('2026-11-26', source(['acct_a', 'acct_b']))))!;
    assert.deepEqual([listed.verdict, listed.counts.notListed], ['complete', 1]);
  });

  test('what was delivered and is not listed is named by the night, once a source; also by list, report and doctor', async (t) => {
    const { books, night, source } = await openStripeNights(t, { accounts: ['acct_a'] });
    const accounts = ['acct_a', 'acct_b', 'acct_c', 'acct_d', 'acct_e'];
    for (const day of ['2026-11-19', yesterday]) {
      const [own, ...events] = eventsOf(day, accounts.length + 1, `named ${day}`);
      await books.deliver(stripeRecord(own!.text));
      for (const [index, { text }] of events.entries()) {
        await books.deliver(stripeRecord(withAccount(text, accounts[index]!)));
      }
    }
    const { warnings } = await night('2026-11-21', source(['acct_a']));
    assert.deepEqual(warnings, [
      {
        code: 'account_unlisted',
        source: 'platform',
        day: null,
        message: 'acct_b, acct_c, acct_d and 2 more: delivered on 2026-11-19, 2026-11-20, and not listed',
      },
    ]);
    const ledger = await books.ledger();
    const all = ['acct_b', 'acct_c', 'acct_d', 'acct_e', 'events that name no account'];
    const { days } = listArchive(ledger, '2026-11-21');
    assert.deepEqual(
      days.filter(({ uncovered }) => uncovered.length > 0).map(({ day, uncovered }) => [day, uncovered]),
      ['2026-11-19', yesterday].map((day) => [day, all]),
    );
    const list = {
      head: null,
      oldestUnarchivedDay: null,
      streamUnread: null,
      newestArchivedDay: null,
      retentionNear: [],
    };
    assert.match(
      describeList({ ...list, days }, false),
      /^platform: 2 days, 2026-11-19 the first, lack the lists of\n {2}acct_b, acct_c, acct_d and 2 more$/m,
    );
    const odd = days.slice(-1).map((day) => ({ ...day, uncovered: ['acct_\x1b[2J'] }));
    assert.match(describeList({ ...list, days: odd }, false), /lacks the lists of\n {2}acct_\\u001b\[2J\n/);
    const { sources, words } = await monthOf(books);
    assert.deepEqual(sources[0]!.days.find(({ day }) => day === yesterday)?.uncovered, all);
    assert.ok(
      words.includes(
        'Of platform 2 days have events that no list was asked for: of acct_b, acct_c, acct_d and 2 more.',
      ),
    );
    const view = {
      nowMs: books.now().getTime(),
      lagSeconds: 3600,
      sources: new Map([['platform', { isListed: true }]]),
    };
    assert.ok(
      checkDays(ledger, view).some(({ message }) =>
        message.includes('2026-11-19, 2026-11-20 have events that are not listed: of acct_b, acct_c'),
      ),
    );
  });

  test('days that were settled before an account was added are told to be so without it, for as long as Stripe refuses it', async (t) => {
    const nights = await openStripeNights(t, { accounts: ['acct_a'] });
    const { books, stripe, night, source } = nights;
    const text = withAccount(eventsOf(yesterday, 1, 'settled')[0]!.text, 'acct_a');
    stripe.add(text, { account: 'acct_a' });
    await books.deliver(stripeRecord(text));
    assert.deepEqual((await night('2026-11-24', source(['acct_a']))).warnings, []);
    const said = async (today: string) => {
      const { errors, warnings } = await night(today, source(['acct_a', 'acct_new']));
      return [errors.map(({ code }) => code), warnings.filter(({ code }) => code === 'list_pending')];
    };
    const pending = (count: number) => ({
      ...{ code: 'list_pending', source: 'platform', day: null },
      message: `acct_new was not asked for all days yet: ${count} complete days are so without it`,
    });
    assert.deepEqual(await said('2026-11-25'), [['stripe_access_refused'], [pending(27)]]);
    assert.equal((await states(nights)).get(yesterday)?.verdict, 'complete');
    const { words, sources } = await monthOf(books);
    assert.deepEqual(sources[0]!.pending, ['acct_new']);
    assert.ok(
      words.includes('Of platform acct_new was not asked for all days yet: complete days may be so without it.'),
    );
    stripe.add(eventsOf('2026-11-10', 1, 'new')[0]!.text, { account: 'acct_new' });
    assert.deepEqual(await said('2026-11-26'), [[], []]);
    assert.equal((await states(nights)).get('2026-11-10')?.counts.recovered, 1);
    assert.deepEqual((await monthOf(books)).sources[0]!.pending, []);
  });

  test('a key that is taken away makes no day complete whose accounts were not all listed', async (t) => {
    const { books, night, source, entry } = await openStripeNights(t, { accounts: ['acct_a', 'acct_b'] });
    const [first, second] = eventsOf(yesterday, 2, 'keyless') as [MadeEvent, MadeEvent];
    const settled = '2026-11-19';
    const [third, fourth] = eventsOf(settled, 2, 'keyless before') as [MadeEvent, MadeEvent];
    await books.deliver(
      stripeRecord(withAccount(first.text, 'acct_b')),
      stripeRecord(withAccount(third.text, 'acct_a')),
    );
    const listed = await night('2026-11-24', source(['acct_a']));
    const verdicts = async (report: typeof listed) => [
      (await entry(report))?.verdict,
      (await entry(report, settled))?.verdict,
    ];
    assert.deepEqual(await verdicts(listed), ['unreconciled', 'complete']);
    const keyless = { name: 'platform' };
    await books.deliver(stripeRecord(withAccount(second.text, 'acct_a')));
    assert.deepEqual(await verdicts(await night('2026-11-25', keyless)), ['unreconciled', undefined]);
    await books.deliver(stripeRecord(withAccount(third.text, 'acct_a'), { receivedAt: '2026-11-25T10:00:00.000Z' }));
    assert.deepEqual(await verdicts(await night('2026-11-26', keyless)), [undefined, 'complete']);
    await books.deliver(stripeRecord(withAccount(fourth.text, 'acct_b')));
    assert.deepEqual(await verdicts(await night('2026-11-27', keyless)), [undefined, 'unreconciled']);
  });
});

describe('all connected accounts', () => {
  test('are those that Stripe names that night, by Stripe-Account', async (t) => {
    const accounts = Array.from({ length: 120 }, (_, n) => `acct_${n}`);
    const nights = await openStripeNights(t, { accounts });
    const { stripe, night, source } = nights;
    for (const account of ['acct_7', 'acct_119']) {
      for (const { text } of eventsOf(yesterday, 2, account)) stripe.add(text, { account });
    }
    stripe.add(eventsOf(yesterday, 1, 'own')[0]!.text);
    const report = await night('2026-11-21', source('all'));
    assert.deepEqual(report.errors, []);
    assert.equal((await nights.ids()).size, 4, "the platform's own events are another endpoint's");
    const asked = stripe.requests.filter(({ path }) => path === '/v1/events');
    assert.deepEqual(
      asked.map(({ headers }) => headers['stripe-account']),
      accounts,
    );

    const [late] = eventsOf('2026-11-21', 1, 'late');
    stripe.add(late!.text, { account: 'acct_new' });
    await night('2026-11-22', source('all'));
    assert.equal((await nights.ids()).size, 5, 'an account that joined since');
    assert.deepEqual((await nights.books.ledger()).lists.platform, { v1: '2026-11-21T03:00:00.000Z' });
  });

  test('a delivered event of an account that left is unreconciled; where Stripe does not name them nothing is decided', async (t) => {
    const nights = await openStripeNights(t, { accounts: ['acct_a'] });
    const { books, stripe, night, source, entry } = nights;
    const [mine, gone, next] = eventsOf(yesterday, 3, 'left');
    await books.deliver(stripeRecord(withAccount(mine!.text, 'acct_a')));
    stripe.faults.push({ action: 'server error', times: 3 });
    const blind = await night('2026-11-21', source('all'));
    assert.deepEqual(
      blind.errors.map(({ code, message }) => [code, message.split(':')[0]]),
      [['stripe_unreachable', 'connected accounts']],
    );
    assert.equal((await entry(blind))?.verdict, 'provisional');
    await books.deliver(stripeRecord(withAccount(gone!.text, 'acct_gone')));
    assert.equal((await entry(await night('2026-11-22', source('all'))))?.verdict, 'unreconciled');
    stripe.faults.push({ action: 'server error', times: 3 });
    await books.deliver(stripeRecord(withAccount(next!.text, 'acct_a')));
    assert.equal((await entry(await night('2026-11-23', source('all'))))?.verdict, 'unreconciled');
    stripe.add(eventsOf('2026-11-10', 1, 'back')[0]!.text, { account: 'acct_gone' });
    assert.equal((await entry(await night('2026-11-24', source('all'))))?.verdict, 'complete');
  });
});
