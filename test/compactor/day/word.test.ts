/** Stripe's own word on what was recovered: what it never delivered, what nobody asked it for, and what is lost by us. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { describeExceptions, listArchive } from '../../../compactor/commands/list.ts';
import { exitCodeOfNight } from '../../../compactor/commands/run.ts';
import { totalsOf, wordsOf } from '../../../compactor/console/day-words.ts';
import { addDays } from '../../../shared/clock.ts';
import type { MadeEvent } from '../../stripe/events.ts';
import { eventDestination, webhookEndpoint } from '../../stripe/fake-stripe.ts';
import { verify } from '../archive-under-test.ts';
import { stripeRecord } from '../books.ts';
import { eventsOf, openStripeNights, type StripeNights, yesterday } from '../stripe/stripe-nights.ts';
import { nightOf } from '../workers/scene.ts';

/** Every seven minutes one. */
const events = eventsOf(yesterday, 200, 'word');
const unwanted = 'plan.updated';
const types = [...new Set(events.map(({ type }) => type))];
const wanted = events.filter(({ type }) => type !== unwanted);
const [lost, never, late] = [wanted[60]!, wanted[80]!, wanted[100]!];
const firstNight = addDays(yesterday, 1);
const wordNight = addDays(yesterday, 7);

interface Given {
  readonly missed?: readonly MadeEvent[];
  readonly endpoints?: readonly object[];
}

/** A day of which Stripe delivered all but what is missed, and its first nights. */
async function dayWith(t: TestContext, { missed = [lost, never, late], endpoints }: Given = {}): Promise<StripeNights> {
  const nights = await openStripeNights(t);
  const { books, stripe, night } = nights;
  const subscribed = types.filter((type) => type !== unwanted);
  stripe.endpoints.push(...(endpoints ?? [webhookEndpoint({ enabled_events: subscribed })]));
  for (const event of events) stripe.add(event.text, { delivered: event !== never });
  await books.deliver(...wanted.filter((one) => !missed.includes(one)).map(({ text }) => stripeRecord(text)));
  await night(firstNight);
  return nights;
}

const asked = ({ stripe }: StripeNights) => stripe.requests.flatMap(({ query }) => query.get('delivery_success') ?? []);
const stateOf = async ({ books }: StripeNights) => (await books.ledger()).sources.get('platform')!.get(yesterday)!;
const wordOf = async (nights: StripeNights) => {
  const { neverDelivered, unsubscribed, lostAfter2xx } = (await stateOf(nights)).counts;
  return [neverDelivered, unsubscribed, lostAfter2xx];
};

test('what Stripe delivered and is not here is an error by name and id, once Stripe retries no more', async (t) => {
  const nights = await dayWith(t);
  const { books, night, entry } = nights;
  await books.deliver(stripeRecord(late.text, { receivedAt: `${firstNight}T08:00:00.000Z` }));
  for (const today of [addDays(yesterday, 2), addDays(yesterday, 3)]) assert.deepEqual((await night(today)).errors, []);
  const unsubscribed = events.length - wanted.length;
  assert.ok(unsubscribed > 0);
  assert.equal((await stateOf(nights)).undelivered?.length, unsubscribed + 2, 'what came late is not asked for');
  assert.deepEqual(asked(nights), []);

  const report = await night(wordNight);
  const { exceptions, counts, verdict, undelivered } = (await entry(report))!;
  assert.deepEqual(report.errors, [
    {
      code: 'lost_after_2xx',
      source: 'platform',
      day: yesterday,
      message: `Stripe says that ${lost.id} was answered 2xx, and no delivery is here: by id in ${exceptions!.key}`,
    },
  ]);
  assert.equal(exitCodeOfNight(report, 0), 3, 'a finding: in ten minutes it is no other');
  const failed = { ...report.errors[0]!, code: 'stripe_unreachable' } as const;
  assert.equal(exitCodeOfNight({ errors: [...report.errors, failed] }, 0), 2);
  assert.equal(exitCodeOfNight({ errors: [{ ...failed, code: 'anchor_contradicted' }] }, 0), 3);
  assert.deepEqual([await wordOf(nights), undelivered, verdict], [[1, unsubscribed, 1], undefined, 'complete']);
  assert.equal(counts.recovered, unsubscribed + 3);
  const { id, createdSeconds: created, type } = lost;
  assert.deepEqual(
    (await books.lines(exceptions!.key)).map((line) => JSON.parse(line)),
    [{ created, id, kind: 'lost_after_2xx', type }],
  );
  assert.deepEqual(asked(nights), ['false', 'true'], 'one walk more, and one of that type to be sure');
  const told = describeExceptions(listArchive(await books.ledger(), wordNight).days).join('');
  assert.equal(told, `platform ${yesterday}: 1 lost after a 2xx, in\n  ${exceptions!.key}\n`);

  const state = await stateOf(nights);
  const words = wordsOf(yesterday, verdict, state, { isListed: true, uncovered: [], today: wordNight }).join(' ');
  assert.match(
    words,
    /By Stripe's own word 1 of these was not delivered, and \d+ are of types .*; of 1 nothing is said\./,
  );
  assert.match(words, /Of 1 event Stripe says that we answered 2xx, and no delivery is here: the exceptions name it\./);
  assert.equal(totalsOf([{ standing: verdict, state }]).lostAfter2xx, 1);

  const last = await night(addDays(yesterday, 28));
  assert.deepEqual([last.errors, await wordOf(nights), asked(nights).length], [[], [1, unsubscribed, 1], 2]);
  for (const change of [{}, { identities: undefined }]) assert.deepEqual((await verify(books, change)).breaks, []);
});

const all = webhookEndpoint();
for (const [what, given] of [
  [
    'another endpoint gets events too',
    { endpoints: [all, webhookEndpoint({ id: 'we_2', url: 'https://a.example/b' })] },
  ],
  [
    'another endpoint is there, though disabled',
    { endpoints: [all, webhookEndpoint({ status: 'disabled', url: 'https://a.example/b' })] },
  ],
  ['its endpoint is younger than the day', { endpoints: [webhookEndpoint({ created: lost.createdSeconds })] }],
  ['its endpoint is disabled now', { endpoints: [webhookEndpoint({ status: 'disabled' })] }],
  ['there is no endpoint', { endpoints: [] }],
] as const) {
  test(`nothing is said where ${what}, and the list is asked no more than else`, async (t) => {
    const nights = await dayWith(t, given);
    assert.deepEqual((await nights.night(wordNight)).errors, []);
    assert.deepEqual([await wordOf(nights), asked(nights)], [[undefined, undefined, undefined], []]);
  });
}

test('nothing is said where the events go elsewhere too, or the key may not read where', async (t) => {
  const nights = await dayWith(t, { endpoints: [all] });
  const { stripe, night } = nights;
  stripe.destinations.push(
    eventDestination({ event_payload: 'snapshot', type: 'amazon_eventbridge', webhook_endpoint: null }),
  );
  await night(wordNight);
  stripe.destinations.length = 0;
  const denied = { status: 403, body: '{"error":{"type":"invalid_request_error"}}' };
  stripe.faults.push({ action: denied, when: ({ path }) => path === '/v2/core/event_destinations' });
  assert.deepEqual((await night(addDays(yesterday, 8), undefined, { force: true })).errors, []);
  assert.deepEqual([await wordOf(nights), asked(nights)], [[undefined, undefined, undefined], []]);
  assert.deepEqual((await night(addDays(yesterday, 28))).errors.length, 1, 'the ids were kept for a later night');
});

test('an event among others that were not delivered is not said to be lost: the endpoint may have been disabled', async (t) => {
  const hours = wanted.filter(({ createdSeconds }) => Math.abs(createdSeconds - lost.createdSeconds) < 2 * 3600);
  const nights = await dayWith(t, { missed: hours, endpoints: [all] });
  assert.deepEqual((await nights.night(wordNight)).errors, []);
  const [neverDelivered, , lostAfter2xx] = await wordOf(nights);
  assert.deepEqual([neverDelivered, lostAfter2xx, asked(nights)], [0, 0, ['false']]);
});

test('a walk that fails is told, and the day is asked again', async (t) => {
  const nights = await dayWith(t);
  const { stripe, night } = nights;
  stripe.faults.push({ action: 'server error', times: 3, when: ({ query }) => query.has('delivery_success') });
  const failed = await night(wordNight);
  assert.deepEqual(
    failed.errors.map(({ code, day, message }) => [code, day, message.split(':')[0]]),
    [['stripe_unreachable', null, `Stripe's word on ${yesterday}`]],
  );
  assert.equal((await night(addDays(yesterday, 28))).errors[0]?.code, 'lost_after_2xx');
});

test('of more than a thousand that were recovered nothing is kept, and nothing said', async (t) => {
  const nights = await openStripeNights(t);
  nights.stripe.endpoints.push(all);
  for (const { text } of eventsOf(yesterday, 1001, 'many')) nights.stripe.add(text);
  await nights.night(firstNight);
  assert.equal((await stateOf(nights)).undelivered, null);
  await nights.night(wordNight);
  assert.deepEqual([await wordOf(nights), asked(nights)], [[undefined, undefined, undefined], []]);
  assert.deepEqual((await verify(nights.books)).breaks, []);
});

test('three workers, who each know of some of the events alone, say together what one says', async (t) => {
  const nights = await dayWith(t);
  const { books, source } = nights;
  const together = (today: string) => {
    books.at(`${today}T03:00:00Z`);
    return nightOf(books, [source()], 3);
  };
  await books.deliver(stripeRecord(late.text, { receivedAt: `${firstNight}T08:00:00.000Z` }));
  for (const today of [addDays(yesterday, 2), addDays(yesterday, 3)])
    assert.deepEqual((await together(today)).errors, []);
  const unsubscribed = events.length - wanted.length;
  assert.equal((await stateOf(nights)).undelivered?.length, unsubscribed + 2, 'what came late is not asked for');
  const { errors } = await together(wordNight);
  assert.deepEqual(
    errors.map(({ code, message }) => [code, message.includes(lost.id)]),
    [['lost_after_2xx', true]],
  );
  assert.deepEqual([await wordOf(nights), (await stateOf(nights)).undelivered], [[1, unsubscribed, 1], undefined]);
  assert.deepEqual(asked(nights), ['false', 'true'], 'by one of them');
  for (const change of [{}, { identities: undefined }]) assert.deepEqual((await verify(books, change)).breaks, []);
});
