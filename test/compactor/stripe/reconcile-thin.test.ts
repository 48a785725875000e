import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { addDays } from '../../../shared/clock.ts';
import { generationFailureNotice, thinEvent } from '../../stripe/thin-events.ts';
import { stripeRecord } from '../books.ts';
import { eventsOf, openStripeNights, walksOf, yesterday } from './stripe-nights.ts';

const inDay = (time: string) => `${yesterday}T${time}Z`;
const forEver = Number.POSITIVE_INFINITY;
const ofV2 = ({ path }: { path: string }) => path.startsWith('/v2/');
const forbidden = { status: 403, body: '{"error":{"type":"invalid_request_error","code":"forbidden"}}' };

describe('thin events', () => {
  test('are archived in their day, in the order of their milliseconds among the others', async (t) => {
    const { books, night, entry } = await openStripeNights(t);
    const second = Date.parse(inDay('10:00:00')) / 1000;
    const snapshot = `{"id":"evt_m","object":"event","type":"a.b","created":${second},"data":{"object":{"id":"in_1"}}}`;
    const thins = [
      thinEvent({ id: 'evt_z', created: inDay('09:59:59.999') }),
      thinEvent({ id: 'evt_a', created: inDay('10:00:00.001') }),
      thinEvent({ id: 'evt_last', created: inDay('23:59:59.999') }),
      thinEvent({ id: 'evt_next', created: '2026-11-21T00:00:00.000Z' }),
    ];
    await books.deliver(...thins.map(({ notification }) => stripeRecord(notification)), stripeRecord(snapshot));
    const report = await night('2026-11-21', { name: 'platform' });
    const part = (await entry(report))!.parts[0]!;
    const lines = await books.lines(part.key);
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).id),
      ['evt_z', 'evt_m', 'evt_a', 'evt_last'],
    );
    assert.deepEqual([part.firstCreated, part.lastCreated], [inDay('09:59:59.999'), inDay('23:59:59.999')]);
  });

  test('are compared with their own list, which alone has data: what was not delivered is recovered', async (t) => {
    const { books, stripe, night, entry } = await openStripeNights(t);
    const [delivered, missed] = ['evt_1', 'evt_2'].map((id) => thinEvent({ id, created: inDay('12:00:00.500') }));
    stripe.add(delivered!.listed);
    stripe.add(missed!.listed);
    await books.deliver(stripeRecord(delivered!.notification));
    const report = await night('2026-11-21');
    assert.deepEqual(report.errors, []);
    const { counts, verdict, parts } = (await entry(report))!;
    assert.deepEqual(counts, { delivered: 1, recovered: 1, listed: 2, notListed: 0, differing: 0, duplicates: 0 });
    assert.equal(verdict, 'provisional');
    const lines = await books.lines(parts[0]!.key);
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).data !== undefined),
      [false, true],
      'the delivered notification stays as it was delivered, the recovered event is what the list shows',
    );
  });

  test('whose type or time is another in the list are counted as differing', async (t) => {
    const { books, stripe, night, entry } = await openStripeNights(t);
    const created = inDay('12:00:00.500');
    for (const [id, type, listedAt] of [
      ['evt_type', 'a.other', created],
      ['evt_time', 'a.type', inDay('12:00:00.501')],
      ['evt_same', 'a.type', inDay('12:00:00.500000')],
    ] as const) {
      await books.deliver(stripeRecord(thinEvent({ id, created, type: 'a.type' }).notification));
      stripe.add(thinEvent({ id, created: listedAt, type }).listed);
    }
    assert.equal((await entry(await night('2026-11-21')))!.counts.differing, 2);
  });

  test('are not asked for until one was delivered, then for every day that Stripe holds, then with the days due', async (t) => {
    const { books, stripe, night, entry } = await openStripeNights(t);
    const missed = thinEvent({ id: 'evt_missed', created: '2026-11-01T12:00:00.000Z' });
    stripe.add(missed.listed);
    await night('2026-11-21');
    assert.deepEqual(walksOf(stripe.requests), ['v1 2026-10-23..2026-11-20']);

    stripe.requests.length = 0;
    await books.deliver(stripeRecord(thinEvent({ id: 'evt_seen', created: '2026-11-21T12:00:00.000Z' }).notification));
    const report = await night('2026-11-22');
    assert.deepEqual(walksOf(stripe.requests), [
      ...['v1 2026-11-19..2026-11-21', 'v1 2026-11-15..2026-11-15', 'v1 2026-10-25..2026-10-25'],
      'v2 2026-10-24..2026-11-21',
    ]);
    assert.equal((await entry(report, '2026-11-01'))?.counts.recovered, 1);
    assert.equal((await entry(report, '2026-11-01'))?.verdict, 'complete');
    assert.deepEqual((await books.ledger()).lists.platform, {
      v1: '2026-11-21T03:00:00.000Z',
      v2: '2026-11-22T03:00:00.000Z',
    });

    stripe.requests.length = 0;
    await night('2026-11-23');
    const rechecked = ['2026-11-16..2026-11-16', '2026-10-26..2026-10-26'];
    const due = ['2026-11-20..2026-11-22', ...rechecked];
    assert.deepEqual(walksOf(stripe.requests), [
      ...due.map((days) => `v1 ${days}`),
      ...due.map((days) => `v2 ${days}`),
    ]);
  });

  test('are asked for from the first night on where the source says so', async (t) => {
    const { stripe, night, source } = await openStripeNights(t);
    await night('2026-11-21', source([], true));
    assert.deepEqual(walksOf(stripe.requests), ['v1 2026-10-23..2026-11-20', 'v2 2026-10-23..2026-11-20']);
  });

  test('that the key may not list leave their days provisional, are said, and hinder no snapshot event', async (t) => {
    const { books, stripe, night, entry } = await openStripeNights(t);
    const [event] = eventsOf(yesterday, 1, 'x');
    stripe.add(event!.text);
    await books.deliver(stripeRecord(thinEvent({ id: 'evt_thin', created: inDay('12:00:00.000') }).notification));
    stripe.faults.push({ action: forbidden, times: forEver, when: ofV2 });
    for (let today = '2026-11-21'; today <= '2026-11-24'; today = addDays(today, 1)) {
      const report = await night(today);
      assert.deepEqual(
        report.errors.map(({ code, source, message }) => [code, source, message.split(':')[0]]),
        [['stripe_access_refused', 'platform', 'thin events']],
        'remembered, though no other thin event came',
      );
      const state = (await books.ledger()).sources.get('platform')!.get(yesterday)!;
      assert.deepEqual([state.verdict, state.listedAt], ['provisional', null]);
      assert.deepEqual([state.counts.delivered, state.counts.recovered], [1, 1]);
    }
    stripe.faults.length = 0;
    const granted = await night('2026-11-25');
    assert.deepEqual([granted.errors, (await entry(granted))?.verdict], [[], 'complete']);
  });

  test('whose walk breaks off leave every day of it to the next night, since their order is not relied on', async (t) => {
    const { books, stripe, night, source } = await openStripeNights(t);
    for (let n = 0; n < 150; n += 1) {
      stripe.add(thinEvent({ id: `evt_${n}`, created: `2026-11-${n < 50 ? 20 : 19}T12:00:00.000Z` }).listed);
    }
    stripe.faults.push({ action: 'server error', times: 3, when: ({ query }) => query.has('page') });
    await night('2026-11-21', source([], true));
    const states = async () => (await books.ledger()).sources.get('platform')!;
    assert.ok([...(await states()).values()].every(({ listedAt }) => listedAt === null));
    await night('2026-11-22', source([], true));
    assert.notEqual((await states()).get(yesterday)?.listedAt, null);
    assert.equal((await states()).get('2026-11-19')?.counts.recovered, 100);
  });

  test('seen before there was a key are listed once there is one', async (t) => {
    const { books, stripe, night } = await openStripeNights(t);
    await books.deliver(stripeRecord(thinEvent({ id: 'evt_thin', created: inDay('12:00:00.000') }).notification));
    await night('2026-11-21', { name: 'platform' });
    await night('2026-11-22');
    assert.deepEqual(walksOf(stripe.requests), ['v1 2026-10-24..2026-11-21', 'v2 2026-10-24..2026-11-21']);
  });

  test('of an account that is not listed leave the day unreconciled, by their context', async (t) => {
    const { books, night, entry, source } = await openStripeNights(t, { accounts: ['acct_one'] });
    const thin = (context: string) => thinEvent({ id: `evt_${context}`, created: inDay('12:00:00.000'), context });
    await books.deliver(stripeRecord(thin('acct_one').notification));
    assert.equal((await entry(await night('2026-11-21', source(['acct_one']))))?.verdict, 'provisional');
    await books.deliver(stripeRecord(thin('org_1/acct_two').notification));
    const report = await night('2026-11-22', source(['acct_one']));
    const said = (await entry(report))!;
    assert.deepEqual([said.verdict, said.accounts], ['unreconciled', ['acct_one', 'acct_two']]);
  });
});

describe('events that Stripe says it never generated', () => {
  const notice = generationFailureNotice({
    id: 'evt_notice',
    created: inDay('15:00:00.000'),
    eventType: 'invoice.paid',
    object: 'in_lost',
  });

  test('make the day of the notice incomplete, for ever; the list tells which they are', async (t) => {
    const { books, stripe, night, entry } = await openStripeNights(t);
    await books.deliver(stripeRecord(notice.notification));
    stripe.faults.push({ action: 'server error', times: 3, when: ofV2 });
    const first = (await entry(await night('2026-11-21')))!;
    assert.deepEqual(first.generationFailures, [{ notice: 'evt_notice', eventType: null, object: null }]);
    assert.deepEqual([first.verdict, first.parts[0]?.events], ['incomplete', 1]);

    stripe.add(notice.listed);
    const told = [{ notice: 'evt_notice', eventType: 'invoice.paid', object: 'in_lost' }];
    for (let today = '2026-11-22'; today <= '2026-12-22'; today = addDays(today, 1)) {
      await night(today);
      const state = (await books.ledger()).sources.get('platform')!.get(yesterday)!;
      assert.deepEqual([state.verdict, state.generationFailures], ['incomplete', told], today);
    }
    await books.deliver(stripeRecord(notice.notification, { receivedAt: '2026-11-23T00:00:00.000Z' }));
    const late = (await entry(await night('2026-12-23')))!;
    assert.deepEqual([late.verdict, late.generationFailures, late.lateDeliveries.length], ['incomplete', told, 1]);
  });

  test('are known from a delivered notice alone, where there is no list to ask', async (t) => {
    const { books, night, entry } = await openStripeNights(t);
    await books.deliver(stripeRecord(notice.notification));
    const said = (await entry(await night('2026-11-21', { name: 'platform' })))!;
    assert.deepEqual([said.verdict, said.generationFailures.length], ['incomplete', 1]);
  });

  test('are known from the list alone, where no notice was delivered', async (t) => {
    const { stripe, night, entry, source } = await openStripeNights(t);
    stripe.add(notice.listed);
    const said = (await entry(await night('2026-11-25', source([], true))))!;
    assert.deepEqual(
      [said.verdict, said.generationFailures],
      ['incomplete', [{ notice: 'evt_notice', eventType: 'invoice.paid', object: 'in_lost' }]],
    );
  });
});

describe('events that are known and could not be had', () => {
  const unusable = (text: string) => text.replace('"data": {', `"data": {"deep":${'['.repeat(300)}${']'.repeat(300)},`);

  test('stay missing through later nights, without a listing too, and leave once they are delivered', async (t) => {
    const { books, stripe, night, entry } = await openStripeNights(t);
    const [event] = eventsOf(yesterday, 1, 'y');
    stripe.add(unusable(event!.text));
    assert.deepEqual((await entry(await night('2026-11-21')))?.missing, [event!.id]);
    stripe.faults.push({ action: 'server error', times: forEver });
    await night('2026-11-22');
    const state = async () => (await books.ledger()).sources.get('platform')!.get(yesterday)!;
    assert.deepEqual([(await state()).verdict, (await state()).missing], ['incomplete', [event!.id]]);
    await books.deliver(stripeRecord(event!.text));
    const delivered = (await entry(await night('2026-11-22')))!;
    assert.deepEqual([delivered.missing, delivered.verdict, delivered.counts.delivered], [[], 'provisional', 1]);
  });

  test('are not missing where the archive has them, though the list still shows them unusable', async (t) => {
    const { books, stripe, night, entry } = await openStripeNights(t);
    const [event] = eventsOf(yesterday, 1, 'z');
    await books.deliver(stripeRecord(event!.text));
    stripe.add(unusable(event!.text));
    for (const today of ['2026-11-21', '2026-11-22', '2026-11-23']) {
      const said = (await entry(await night(today)))!;
      assert.deepEqual(said.missing, []);
      assert.equal(said.verdict, today === '2026-11-23' ? 'complete' : 'provisional');
    }
  });
});
