import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { openStripeApi } from '../../../compactor/stripe/list-events.ts';
import type { ListedEvent, ListWindow } from '../../../compactor/stripe/listed-event.ts';
import { DaybookError, type ErrorCode } from '../../../shared/errors.ts';
import { type FaultAction, startFakeStripe } from '../../stripe/fake-stripe.ts';
import { generationFailureNotice, thinEvent } from '../../stripe/thin-events.ts';

const startMs = Date.parse('2026-11-20T00:00:00Z');
const window: ListWindow = { fromSeconds: startMs / 1000, toSeconds: startMs / 1000 + 86_400, thin: true };
const clock = { now: () => new Date('2026-11-21T03:00:00Z') };
const at = (ms: number) => new Date(startMs + ms).toISOString();

async function rig(t: TestContext, keyOfClient?: string) {
  const stripe = await startFakeStripe({ clock, accounts: ['acct_1'] });
  const logged: string[] = [];
  const log = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) });
  const apiKey = keyOfClient ?? stripe.apiKey;
  const slept: number[] = [];
  const sleep = async (ms: number) => void slept.push(ms);
  const api = openStripeApi({ apiKey, base: stripe.base, random: () => 0, sleep, log, monotonicMs: () => 0 });
  t.after(async () => {
    api.close();
    await stripe.close();
  });
  return { stripe, api, logged, slept };
}

async function all(pages: AsyncIterable<ListedEvent[]>): Promise<ListedEvent[]> {
  const events: ListedEvent[] = [];
  for await (const page of pages) events.push(...page);
  return events;
}

const coded = (code: ErrorCode) => (error: unknown) => {
  assert.ok(error instanceof DaybookError, String(error));
  assert.equal(error.code, code);
  return true;
};

test('250 thin events are listed once each, a hundred a page, with their text as Stripe sent it', async (t) => {
  const { stripe, api } = await rig(t);
  const texts = new Map<string, string>();
  for (let n = 0; n < 250; n += 1) {
    const { id, listed } = thinEvent({ id: `evt_thin${n}`, created: at(n * 1000 + 7) });
    texts.set(id, listed.replace('"error_count": 1', '"error_count": 1.0, "odd": [1.10, -0, 12345678901234567890]'));
    stripe.add(texts.get(id)!);
  }
  const events = await all(api.list(window));
  assert.equal(events.length, 250);
  for (const { id, text, createdMs, problem } of events) {
    assert.equal(text, texts.get(id));
    assert.equal(createdMs % 1000, 7);
    assert.equal(problem, undefined);
    texts.delete(id);
  }
  assert.deepEqual(
    stripe.requests.map(({ path }) => path),
    Array(3).fill('/v2/core/events'),
  );
});

test('the window is half-open to the millisecond', async (t) => {
  const { stripe, api } = await rig(t);
  for (const ms of [-1, 0, 86_399_999, 86_400_000])
    stripe.add(thinEvent({ id: `evt_at${ms}`, created: at(ms) }).listed);
  assert.deepEqual((await all(api.list(window))).map(({ id }) => id).sort(), ['evt_at0', 'evt_at86399999']);
});

test('an account is asked for by its context, and one that is not ours is refused without blaming the key', async (t) => {
  const { stripe, api } = await rig(t);
  stripe.add(thinEvent({ id: 'evt_own', created: at(1) }).listed);
  stripe.add(thinEvent({ id: 'evt_theirs', created: at(1) }).listed, { account: 'acct_1' });
  assert.deepEqual(
    (await all(api.list({ ...window, account: 'acct_1' }))).map(({ id }) => id),
    ['evt_theirs'],
  );
  assert.equal(stripe.requests[0]?.headers['stripe-context'], 'acct_1');
  assert.equal(stripe.requests[0]?.headers['stripe-account'], undefined);
  await assert.rejects(all(api.list({ ...window, account: 'acct_other' })), coded('stripe_access_refused'));
});

test('a key without access to thin events is told from one that is refused', async (t) => {
  const { stripe, api } = await rig(t);
  stripe.faults.push({
    action: { status: 403, body: '{"error":{"type":"invalid_request_error","code":"forbidden"}}' },
  });
  await assert.rejects(all(api.list(window)), coded('stripe_access_refused'));
  const other = await rig(t, 'sk_test_wrong');
  await assert.rejects(all(other.api.list(window)), coded('stripe_key_refused'));
});

const passing: FaultAction[] = ['rate limit', 'server error', 'reset before', 'reset in body', 'malformed'];
for (const action of passing) {
  test(`a walk survives, and loses nothing by: ${action}`, async (t) => {
    const { stripe, api, logged } = await rig(t);
    for (let n = 0; n < 150; n += 1) stripe.add(thinEvent({ id: `evt_${n}`, created: at(n) }).listed);
    stripe.faults.push({ action, times: 2, when: ({ number }) => number >= 2 });
    assert.equal(new Set((await all(api.list(window))).map(({ id }) => id)).size, 150);
    assert.equal(stripe.requests.length, 4);
    if (action === 'rate limit') assert.match(logged.join(''), /429 \(.*endpoint-rate\)/);
  });
}

for (const [what, url] of [
  ['another path', '/v1/events?page=2'],
  ['a path that leads away', '/v2/core/events/../../v1/charges?page=2'],
  ['no page', '/v2/core/events'],
  ['a number', 7],
] as const) {
  test(`a next page with ${what} is not followed`, async (t) => {
    const { stripe, api } = await rig(t);
    const body = JSON.stringify({ data: [], next_page_url: url });
    stripe.faults.push({ action: { status: 200, body }, times: Number.POSITIVE_INFINITY });
    await assert.rejects(all(api.list(window)), coded('stripe_answer_malformed'));
    assert.ok(stripe.requests.every(({ path, query }) => path === '/v2/core/events' && !query.has('page')));
  });
}

test('a next page on another host is asked for at ours', async (t) => {
  const { stripe, api } = await rig(t);
  const body = JSON.stringify({ data: [], next_page_url: 'https://elsewhere.example/v2/core/events?page=MQ' });
  stripe.faults.push({ action: { status: 200, body } });
  await all(api.list(window));
  assert.equal(stripe.requests[1]?.query.get('page'), 'MQ');
});

test('pages that lead back to one another are not followed in a circle', async (t) => {
  const { stripe, api } = await rig(t);
  const page = (next: string) => ({ status: 200, body: JSON.stringify({ data: [], next_page_url: next }) });
  stripe.faults.push({ action: page('/v2/core/events?page=b'), times: 1 });
  stripe.faults.push({
    action: page('/v2/core/events?page=a'),
    times: Number.POSITIVE_INFINITY,
    when: ({ query }) => query.get('page') === 'b',
  });
  stripe.faults.push({ action: page('/v2/core/events?page=b'), times: Number.POSITIVE_INFINITY });
  await assert.rejects(all(api.list(window)), coded('stripe_answer_malformed'));
  assert.equal(stripe.requests.length, 3);
});

test('known events that cannot be used are handed out with their problem', async (t) => {
  const { stripe, api } = await rig(t);
  const items = [
    thinEvent({ id: 'evt_outside', created: at(86_400_000) }).listed,
    thinEvent({ id: 'evt_yesterday', created: 'yesterday' }).listed,
    '{"id":"evt_seconds","object":"v2.core.event","created":1}',
    thinEvent({ id: 'evt_good', created: at(0) }).listed,
  ];
  stripe.faults.push({ action: { status: 200, body: `{"data":[${items.join(',')}],"next_page_url":null}` } });
  assert.deepEqual(
    (await all(api.list(window))).map(({ id, problem }) => [id, problem !== undefined]),
    [
      ['evt_outside', true],
      ['evt_yesterday', true],
      ['evt_seconds', true],
      ['evt_good', false],
    ],
  );
});

test('a notice of an event that was never generated says which one, in both shapes that Stripe has had', async (t) => {
  const { stripe, api } = await rig(t);
  const notice = generationFailureNotice({ id: 'evt_n1', created: at(1), eventType: 'invoice.paid', object: 'in_1' });
  const impact = {
    event_type: 'invoice.paid',
    related_object_id: 'in_2',
    livemode: true,
    missing_delivery_attempts: 1,
  };
  const type = 'v2.core.health.event_generation_failure.resolved';
  stripe.add(notice.listed);
  stripe.add(thinEvent({ id: 'evt_n2', created: at(0), type, data: { impact } }).listed);
  assert.deepEqual(
    (await all(api.list(window))).map(({ generationFailure }) => generationFailure),
    [
      { notice: 'evt_n1', eventType: 'invoice.paid', object: 'in_1' },
      { notice: 'evt_n2', eventType: 'invoice.paid', object: 'in_2' },
    ],
  );
});

test('all connected accounts are named, however many pages they are', async (t) => {
  const accounts = Array.from({ length: 230 }, (_, n) => `acct_${n}`);
  const stripe = await startFakeStripe({ clock, accounts });
  const { apiKey, base } = stripe;
  const log = pino({ level: 'silent' });
  const api = openStripeApi({ apiKey, base, random: () => 0, sleep: async () => {}, log, maxTries: 2 });
  t.after(async () => {
    api.close();
    await stripe.close();
  });
  stripe.faults.push({ action: 'reset in body', when: ({ number }) => number === 2 });
  assert.deepEqual(await api.accounts(), accounts);
  assert.equal(stripe.requests.length, 4);
  stripe.faults.push({ action: { status: 403, body: '{}' } });
  await assert.rejects(api.accounts(), coded('stripe_key_refused'));
  const circle = '{"object":"list","has_more":true,"data":[{"id":"acct_0"}]}';
  stripe.faults.push({ action: { status: 200, body: circle }, times: Number.POSITIVE_INFINITY });
  await assert.rejects(api.accounts(), coded('stripe_answer_malformed'));
});
