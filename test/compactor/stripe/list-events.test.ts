import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Logger, pino } from 'pino';
import { openStripeApi } from '../../../compactor/stripe/list-events.ts';
import type { ListedEvent, ListWindow } from '../../../compactor/stripe/listed-event.ts';
import { DaybookError, type ErrorCode } from '../../../shared/errors.ts';
import { stripeEvents } from '../../stripe/events.ts';
import {
  type FakeStripe,
  type FakeStripeOptions,
  type FaultAction,
  startFakeStripe,
} from '../../stripe/fake-stripe.ts';

const startSeconds = Date.parse('2026-11-20T00:00:00Z') / 1000;
const window: ListWindow = { fromSeconds: startSeconds, toSeconds: startSeconds + 86_400 };
const clock = { now: () => new Date('2026-11-21T03:00:00Z') };
const day = { fromSeconds: window.fromSeconds, toSeconds: window.toSeconds };

interface Rig {
  readonly stripe: FakeStripe;
  readonly slept: number[];
  /** What went to the log, line by line. */
  readonly logged: string[];
  list(window: ListWindow): AsyncIterable<ListedEvent[]>;
}

interface RigOptions extends FakeStripeOptions {
  readonly maxTries?: number;
  readonly timeoutMs?: number;
  readonly keyOfClient?: string;
}

/** A fake Stripe and a client of it whose sleeps pass at once on a clock of their own. */
async function rig(t: { after(fn: () => unknown): void }, options: RigOptions = {}): Promise<Rig> {
  const stripe = await startFakeStripe({ clock, ...options });
  const { slept, logged, log, sleep, monotonicMs } = virtual();
  const { maxTries = 8, timeoutMs = 30_000, keyOfClient: apiKey = stripe.apiKey } = options;
  const random = () => 0;
  const api = openStripeApi({ apiKey, base: stripe.base, random, sleep, monotonicMs, log, maxTries, timeoutMs });
  t.after(async () => {
    api.close();
    await stripe.close();
  });
  return { stripe, slept, logged, list: api.list };
}

function virtual() {
  let elapsedMs = 0;
  const slept: number[] = [];
  const logged: string[] = [];
  const log: Logger = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) });
  return {
    slept,
    logged,
    log,
    monotonicMs: () => elapsedMs,
    sleep: async (ms: number) => {
      slept.push(ms);
      elapsedMs += ms;
    },
  };
}

async function all(pages: AsyncIterable<ListedEvent[]>): Promise<ListedEvent[]> {
  const events: ListedEvent[] = [];
  for await (const page of pages) events.push(...page);
  return events;
}

const idsOf = (events: readonly { id: string }[]) => events.map(({ id }) => id);

function coded(code: ErrorCode, retry: boolean) {
  return (error: unknown) => {
    assert(error instanceof DaybookError, String(error));
    assert.deepEqual({ code: error.code, retry: error.retry }, { code, retry });
    return true;
  };
}

function eventText(id: string, created: number | string, more = ''): string {
  return `{"id":"${id}","object":"event","created":${created},"type":"x.y","data":{"object":{}}${more}}`;
}

test('12,000 events are listed completely, newest first, a hundred a page', async (t) => {
  const { stripe, list } = await rig(t);
  const made = stripeEvents({ count: 12_000, seed: 1, ...day });
  for (const event of made) stripe.add(event.text);
  const texts = new Map(made.map(({ id, text }) => [id, text]));
  let previous = Number.POSITIVE_INFINITY;
  let listed = 0;
  for await (const page of list(window)) {
    assert(page.length <= 100);
    for (const event of page) {
      assert.equal(event.text, texts.get(event.id));
      assert(texts.delete(event.id));
      assert(event.createdMs <= previous);
      assert.equal(event.problem, undefined);
      previous = event.createdMs;
      listed++;
    }
  }
  assert.equal(listed, 12_000);
  assert.equal(stripe.requests.length, 120);
  assert.equal(stripe.requests[0]?.query.get('limit'), '100');
});

test('the window is half-open: its first second belongs to it, its last does not', async (t) => {
  const { stripe, list } = await rig(t);
  const at = { before: -1, first: 0, last: 86_399, after: 86_400 };
  for (const [name, second] of Object.entries(at)) stripe.add(eventText(`evt_${name}`, startSeconds + second));
  assert.deepEqual(idsOf(await all(list(window))), ['evt_last', 'evt_first']);
});

test('an empty window is one request and no batch', async (t) => {
  const { stripe, list } = await rig(t);
  assert.deepEqual(await all(list(window)), []);
  assert.equal(stripe.requests.length, 1);
});

test("each event's text comes out byte for byte: numbers, duplicate keys, escapes, white space", async (t) => {
  const { stripe, list } = await rig(t);
  const odd = `{\n  "id" : "evt_odd", "object": "event", "created": ${startSeconds}, "type": "x.y",
    "a": 1.10, "b": -0, "c": 12345678901234567890, "d": 1e400, "e": 1E5, "dup": 1, "dup": 2, "__proto__": {"x": 1.0},
    "s": "\\u00e9é\\ud800 \\/ ] } , \\" 😀", "nested": [[1.50, [-0.0]], {"k" : 100000000000000000000 }] , "error": null }`;
  stripe.add(odd);
  stripe.add(eventText('evt_next', startSeconds));
  const events = await all(list(window));
  assert.equal(events.find(({ id }) => id === 'evt_odd')?.text, odd);
  assert.equal(events.length, 2);
});

test('350 events of one second are listed once each across pages', async (t) => {
  const { stripe, list } = await rig(t);
  const ids = Array.from({ length: 350 }, (_, index) => `evt_tie${index}`);
  for (const id of ids) stripe.add(eventText(id, startSeconds + 7));
  assert.deepEqual(idsOf(await all(list(window))).sort(), ids.sort());
});

test('a cursor that ages out in the middle of 350 events of one second loses none and repeats none', async (t) => {
  const { stripe, list, logged } = await rig(t);
  const ids: string[] = [];
  const add = (count: number, second: number) => {
    for (let n = 0; n < count; n++) {
      ids.push(`evt_${second}x${n}`);
      stripe.add(eventText(ids.at(-1)!, startSeconds + second));
    }
  };
  add(130, 5);
  add(350, 7);
  add(40, 9);
  stripe.faults.push({ action: 'cursor aged out', when: ({ number }) => number === 4 });
  const listed = idsOf(await all(list(window)));
  assert.equal(new Set(listed).size, listed.length);
  assert.deepEqual(listed.sort(), ids.sort());
  const resumed = stripe.requests[4]?.query;
  assert.equal(resumed?.get('created[lte]'), String(startSeconds + 7));
  assert.equal(resumed?.get('created[gte]'), String(startSeconds));
  assert.equal(resumed?.get('starting_after'), null);
  assert.match(logged.join(''), /cursor aged out/);
});

test('a walk is resumed as often as cursors age out, as long as it gets on', async (t) => {
  const { stripe, list } = await rig(t);
  const made = stripeEvents({ count: 450, seed: 10, ...day });
  for (const event of made) stripe.add(event.text);
  const when = ({ number }: { number: number }) => number % 2 === 0;
  stripe.faults.push({ action: 'cursor aged out', times: Number.POSITIVE_INFINITY, when });
  assert.deepEqual(idsOf(await all(list(window))), idsOf(made).reverse());
  assert.equal(stripe.requests.length, 9);
});

test('a cursor that Stripe does not know any more is an aged-out one', async (t) => {
  const { stripe, list } = await rig(t);
  const made = stripeEvents({ count: 250, seed: 2, ...day });
  for (const event of made) stripe.add(event.text);
  const listed: string[] = [];
  for await (const page of list(window)) {
    if (listed.length === 0) stripe.remove(page.at(-1)!.id);
    listed.push(...idsOf(page));
  }
  assert.deepEqual(listed, idsOf(made).reverse());
});

test('events older than 30 days are not listed, and a walk that falls behind retention ends', async (t) => {
  let now = startSeconds + 30 * 86_400;
  const { stripe, list } = await rig(t, { clock: { now: () => new Date(now * 1000) } });
  const made = stripeEvents({ count: 300, seed: 3, ...day });
  for (const event of made) stripe.add(event.text);
  const listed: string[] = [];
  for await (const page of list(window)) {
    listed.push(...idsOf(page));
    now += 80_000; // the day's oldest 80,000 seconds age out, the cursor among them
  }
  assert.deepEqual(listed, idsOf(made).reverse().slice(0, 100));
});

test('cursors that are refused again and again end the walk with an error', async (t) => {
  const { stripe, list } = await rig(t);
  for (let n = 0; n < 350; n++) stripe.add(eventText(`evt_${n}`, startSeconds));
  stripe.faults.push({
    action: 'cursor aged out',
    times: Number.POSITIVE_INFINITY,
    when: ({ query }) => query.has('starting_after'),
  });
  await assert.rejects(all(list(window)), coded('stripe_request_refused', false));
  assert(stripe.requests.length < 10);
});

test('an event that becomes visible late is found by the next walk', async (t) => {
  let now = startSeconds + 86_460;
  const { stripe, list } = await rig(t, { clock: { now: () => new Date(now * 1000) } });
  stripe.add(eventText('evt_prompt', startSeconds));
  stripe.add(eventText('evt_late', startSeconds + 1), { visibleAtMs: (now + 10) * 1000 });
  assert.deepEqual(idsOf(await all(list(window))), ['evt_prompt']);
  now += 10;
  assert.deepEqual(idsOf(await all(list(window))), ['evt_late', 'evt_prompt']);
});

test("a connected account's events are asked for in its name", async (t) => {
  const { stripe, list } = await rig(t, { accounts: ['acct_2'] });
  stripe.add(eventText('evt_own', startSeconds));
  stripe.add(eventText('evt_1', startSeconds), { account: 'acct_1' });
  assert.deepEqual(idsOf(await all(list({ ...window, account: 'acct_1' }))), ['evt_1']);
  assert.deepEqual(idsOf(await all(list({ ...window, account: 'acct_2' }))), []);
  assert.deepEqual(idsOf(await all(list(window))), ['evt_own']);
  await assert.rejects(all(list({ ...window, account: 'acct_other' })), coded('stripe_access_refused', false));
});

test('known events that cannot be used are handed out with their problem, once', async (t) => {
  const { stripe, list } = await rig(t);
  const items = [
    eventText('evt_outside', startSeconds + 86_400),
    eventText('evt_fraction', `${startSeconds}.5`),
    eventText('evt_text', '"2026"'),
    '{"id":"evt_none"}',
    eventText('evt_good', startSeconds),
  ];
  const twice = [...items.slice(0, -1), ...items];
  const body = `{"object":"list","has_more":false,"data":[${twice.join(',')}]}`;
  stripe.faults.push({ action: { status: 200, body } });
  const events = await all(list(window));
  assert.deepEqual(
    events.map(({ id, createdMs, problem }) => [id, createdMs, problem !== undefined]),
    [
      ['evt_outside', (startSeconds + 86_400) * 1000, true],
      ['evt_fraction', Number.NaN, true],
      ['evt_text', Number.NaN, true],
      ['evt_none', Number.NaN, true],
      ['evt_good', startSeconds * 1000, false],
    ],
  );
  assert.deepEqual(
    events.map(({ text }) => text),
    items,
  );
});

const passing: FaultAction[] = [
  'rate limit',
  'server error',
  'reset before',
  'reset in body',
  'malformed',
  { status: 200, body: '{"data":[],"has_more":true}' },
  { status: 200, body: '{"object":"balance"}' },
  { status: 200, body: 'null' },
  { status: 200, body: '{"object":"list","has_more":false,"data":[{"created":1}]}' },
  { status: 200, body: '{"object":"list","has_more":false,"data":[null]}' },
  { status: 200, body: '{"object":"list","has_more":false,"data":[{"id":"","created":1}]}' },
  { status: 200, body: '{"object":"list","has_more":false,"data":[{"id":"evt\\n1","created":1}]}' },
  { status: 503, body: '<html>upstream</html>' },
  { status: 500, body: '' },
  { status: 502, body: '{}' },
  { status: 429, body: '{}', headers: { 'stripe-should-retry': 'false' } },
  { status: 409, body: '{}', headers: { 'stripe-should-retry': 'true' } },
];
for (const action of passing) {
  test(`a walk survives, and loses nothing by: ${nameOf(action)}`, async (t) => {
    const { stripe, list, slept } = await rig(t);
    const made = stripeEvents({ count: 250, seed: 4, ...day });
    for (const event of made) stripe.add(event.text);
    stripe.faults.push({ action, times: 3, when: ({ number }) => number >= 2 });
    assert.deepEqual(idsOf(await all(list(window))), idsOf(made).reverse());
    // Three pages and three failures; pages that failed come smaller, so two more.
    const isSmaller =
      nameOf(action) !== 'rate limit' && (typeof action === 'string' || ![429, 409].includes(action.status));
    assert.equal(stripe.requests.length, isSmaller ? 8 : 6);
    assert.deepEqual(
      slept.filter((ms) => ms >= 250),
      [250, 500, 1000],
    );
  });

  test(`a walk ends after eight tries, if it does not stop: ${nameOf(action)}`, async (t) => {
    const { stripe, list, slept } = await rig(t);
    stripe.add(eventText('evt_1', startSeconds));
    stripe.faults.push({ action, times: Number.POSITIVE_INFINITY });
    const status = typeof action === 'object' ? action.status : undefined;
    const code =
      action === 'malformed' || status === 200
        ? 'stripe_answer_malformed'
        : status === 409
          ? 'stripe_request_refused'
          : 'stripe_unreachable';
    await assert.rejects(all(list(window)), coded(code, status !== 409));
    assert.equal(stripe.requests.length, 8);
    assert.deepEqual(slept, [250, 500, 1000, 2000, 4000, 8000, 15_000]);
  });
}

for (const action of ['hang before', 'hang in body'] as const) {
  test(`a request has a time limit, and is tried again after: ${action}`, async (t) => {
    const { stripe, list, logged } = await rig(t, { timeoutMs: 100 });
    const made = stripeEvents({ count: 50, seed: 5, ...day });
    for (const event of made) stripe.add(event.text);
    stripe.faults.push({ action });
    assert.equal((await all(list(window))).length, 50);
    assert.equal(stripe.requests.length, 2);
    assert.match(logged[0] ?? '', /no whole answer within 100 ms/);
  });
}

/** A server whose answers never end, and a client of it with one try. */
async function endless(
  t: { after(fn: () => unknown): void },
  write: (response: ServerResponse) => void,
  timeoutMs: number,
) {
  const server = createServer((_, response) => write(response.writeHead(200)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { log, sleep } = virtual();
  const base = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const api = openStripeApi({ apiKey: 'sk_test_1', base, random: () => 0, sleep, log, maxTries: 1, timeoutMs });
  t.after(() => {
    api.close();
    server.closeAllConnections();
    server.close();
  });
  return api;
}

test('an answer without an end is left at 64 MiB', async (t) => {
  const chunk = Buffer.alloc(1024 * 1024, ' ');
  const pour = (response: ServerResponse): void => {
    while (response.write(chunk));
    response.once('drain', () => pour(response));
  };
  const api = await endless(t, pour, 30_000);
  await assert.rejects(all(api.list(window)), coded('stripe_answer_malformed', true));
});

test('a byte now and then does not keep a request alive', async (t) => {
  const trickle = (response: ServerResponse) => {
    const timer = setInterval(() => response.write(' '), 10);
    response.once('close', () => clearInterval(timer));
  };
  const api = await endless(t, trickle, 100);
  await assert.rejects(all(api.list(window)), coded('stripe_unreachable', true));
});

test('an answer that is not UTF-8 is not taken for text', async (t) => {
  const { stripe, list } = await rig(t, { maxTries: 1 });
  const body = Buffer.from(`{"object":"list","has_more":false,"data":[${eventText('evt_1', startSeconds)}]}`);
  body[body.indexOf('x.y')] = 0xff;
  stripe.faults.push({ action: { status: 200, body } });
  await assert.rejects(all(list(window)), coded('stripe_answer_malformed', true));
});

test('a server that does not heed the cursor is not followed in a circle', async (t) => {
  const { stripe, list } = await rig(t);
  const body = `{"object":"list","has_more":true,"data":[${eventText('evt_1', startSeconds)}]}`;
  stripe.faults.push({ action: { status: 200, body }, times: Number.POSITIVE_INFINITY });
  await assert.rejects(all(list(window)), coded('stripe_answer_malformed', true));
  assert.equal(stripe.requests.length, 9);
});

test('a wrong key is refused at once', async (t) => {
  const { stripe, list, slept } = await rig(t, { keyOfClient: 'sk_test_wrong' });
  await assert.rejects(all(list(window)), coded('stripe_key_refused', false));
  assert.equal(stripe.requests.length, 1);
  assert.deepEqual(slept, []);
});

test('a key that is revoked in the middle of a walk ends it, whatever the header says about retries', async (t) => {
  const { stripe, list } = await rig(t);
  for (const event of stripeEvents({ count: 300, seed: 6, ...day })) stripe.add(event.text);
  stripe.faults.push({ action: 'revoke key', when: ({ number }) => number === 2 });
  let pages = 0;
  const walk = async () => {
    for await (const _ of list(window)) pages++;
  };
  await assert.rejects(walk(), coded('stripe_key_refused', false));
  assert.equal(pages, 1);
  stripe.faults.push({ action: { status: 403, body: '{}', headers: { 'stripe-should-retry': 'true' } } });
  await assert.rejects(all(list(window)), coded('stripe_key_refused', false));
  assert.equal(stripe.requests.length, 3);
});

test('a key that cannot stand in a header is refused before any request, and not quoted', () => {
  const { log, sleep } = virtual();
  const base = new URL('http://127.0.0.1:9');
  for (const apiKey of ['', 'sk_test_a\nb', 'sk test', 'sk_tést']) {
    assert.throws(
      () => openStripeApi({ apiKey, base, random: () => 0, sleep, log }),
      (error) =>
        coded('stripe_key_refused', false)(error) && (apiKey === '' || !(error as Error).message.includes(apiKey)),
    );
  }
});

for (const status of [301, 400, 404, 409]) {
  test(`an answer of ${status} without a word about retries is final`, async (t) => {
    const { stripe, list } = await rig(t);
    const headers = { location: '/elsewhere' };
    const body = '{"error":{"type":"invalid_request_error","code":"parameter_unknown","param":"created[gte]"}}';
    stripe.faults.push({ action: { status, headers, body }, times: Number.POSITIVE_INFINITY });
    await assert.rejects(all(list(window)), (error) => {
      coded('stripe_request_refused', false)(error);
      const said = 'invalid_request_error parameter_unknown created[gte]';
      assert.equal((error as Error).message, `Stripe answers ${status} (${said}), request req_fake1`);
      return true;
    });
    assert.equal(stripe.requests.length, 1);
  });
}

test('a 500 that says not to retry is not retried in this run', async (t) => {
  const { stripe, list } = await rig(t);
  stripe.faults.push({ action: { status: 500, body: '{}', headers: { 'stripe-should-retry': 'false' } } });
  await assert.rejects(all(list(window)), coded('stripe_unreachable', true));
  assert.equal(stripe.requests.length, 1);
});

test('Retry-After is waited for, in seconds or as a date, for at most five minutes', async (t) => {
  const { stripe, list, slept } = await rig(t);
  const date = 'Fri, 20 Nov 2026 00:00:00 GMT';
  const later = 'Fri, 20 Nov 2026 00:00:40 GMT';
  const answers: Record<string, string>[] = [
    { 'retry-after': '7' },
    { 'retry-after': later, date },
    { 'retry-after': '86400' },
    { 'retry-after': 'soon' },
    { 'retry-after': date, date: later },
  ];
  for (const headers of answers) stripe.faults.push({ action: { status: 503, body: '', headers } });
  await all(list(window));
  assert.deepEqual(slept, [7000, 40_000, 300_000, 2000, 4000]);
});

test('backoff is jittered between half and whole', async (t) => {
  const stripe = await startFakeStripe({ clock });
  t.after(() => stripe.close());
  const { slept, log, sleep } = virtual();
  const draws = [0, 0.5, 1];
  const random = () => draws.shift() ?? 0;
  const api = openStripeApi({ apiKey: stripe.apiKey, base: stripe.base, random, sleep, log, maxTries: 4 });
  t.after(api.close);
  stripe.faults.push({ action: 'rate limit', times: 3 });
  await all(api.list(window));
  assert.deepEqual(
    slept.filter((ms) => ms >= 250),
    [250, 750, 2000],
  );
});

test('requests begin at least 55 ms apart, those of walks side by side and repeated ones too', async (t) => {
  const stripe = await startFakeStripe({ clock });
  t.after(() => stripe.close());
  for (const event of stripeEvents({ count: 1000, seed: 7, ...day })) stripe.add(event.text);
  const { slept, log } = virtual();
  // A clock that stands still but for sleeps: what each request waits is what its pace asks of it.
  const sleep = async (ms: number) => void slept.push(ms);
  const random = () => 0;
  const api = openStripeApi({ apiKey: stripe.apiKey, base: stripe.base, random, sleep, log, monotonicMs: () => 0 });
  t.after(api.close);
  await Promise.all([all(api.list(window)), all(api.list(window))]);
  assert.equal(stripe.requests.length, 20);
  assert.deepEqual(
    slept,
    Array.from({ length: 19 }, (_, index) => 55 * (index + 1)),
  );
});

test('neither log nor error shows the key, what Stripe says of it, or any body', async (t) => {
  const secret = 'rk_live_5ecretKeyOfOurs';
  const actions: FaultAction[] = [
    ...passing,
    'revoke key',
    {
      status: 400,
      body: `{"error":{"message":"no ${secret} bodyword","code":"${secret} bodyword","param":"bodyword!"}}`,
    },
    { status: 200, body: `{"bodyword":"${secret}"}` },
    { status: 200, body: `bodyword ${secret}` },
  ];
  for (const action of actions) {
    const { stripe, list, logged } = await rig(t, { apiKey: secret, maxTries: 2 });
    stripe.faults.push({ action, times: 2 });
    let shown = '';
    for (let error: unknown = await all(list(window)).catch((e) => e); error instanceof Error; error = error.cause) {
      shown += `${error.stack} ${JSON.stringify(error)} ${Object.values(error).map(String)}`;
    }
    assert(shown !== '');
    assert.doesNotMatch(shown + logged.join(''), /5ecret|Ours|bodyword/, nameOf(action));
  }
});

test('a Stripe-Notice header causes no process warning', async (t) => {
  const { stripe, list } = await rig(t);
  const warnings: Error[] = [];
  const heed = (warning: Error) => warnings.push(warning);
  process.on('warning', heed);
  t.after(() => process.off('warning', heed));
  const headers = { 'stripe-notice': 'hello' };
  stripe.faults.push({ action: { status: 200, body: '{"object":"list","has_more":false,"data":[]}', headers } });
  await all(list(window));
  await new Promise(setImmediate);
  assert.deepEqual(warnings, []);
});

test('whatever pages Stripe cuts and whenever a cursor ages out, each event is listed once', async () => {
  const shape = fc.record({
    seconds: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 420 }),
    refused: fc.array(fc.integer({ min: 2, max: 12 }), { maxLength: 3 }),
  });
  await fc.assert(
    fc.asyncProperty(shape, async ({ seconds, refused }) => {
      const stripe = await startFakeStripe({ clock });
      const { log, sleep, monotonicMs } = virtual();
      const { apiKey, base } = stripe;
      const api = openStripeApi({ apiKey, base, random: () => 0, sleep, monotonicMs, log });
      try {
        const ids = seconds.map((second, index) => {
          stripe.add(eventText(`evt_${index}`, startSeconds + second));
          return `evt_${index}`;
        });
        const when = ({ number, query }: { number: number; query: URLSearchParams }) =>
          refused.includes(number) && query.has('starting_after');
        stripe.faults.push({ action: 'cursor aged out', times: Number.POSITIVE_INFINITY, when });
        const listed = await all(api.list(window)).catch((error: unknown) => {
          // Two refusals with nothing new between them end the walk, loudly.
          assert.equal((error as DaybookError).code, 'stripe_request_refused');
          return undefined;
        });
        if (listed !== undefined) assert.deepEqual(idsOf(listed).sort(), ids.sort());
        else assert(refused.length >= 2);
      } finally {
        api.close();
        await stripe.close();
      }
    }),
    { numRuns: 40 },
  );
});

test('a walk whose client is closed ends with an error and opens no connection again', async (t) => {
  const stripe = await startFakeStripe({ clock });
  t.after(() => stripe.close());
  for (const event of stripeEvents({ count: 300, seed: 8, ...day })) stripe.add(event.text);
  const { log, sleep } = virtual();
  const api = openStripeApi({ apiKey: stripe.apiKey, base: stripe.base, random: () => 0, sleep, log });
  const walk = async () => {
    for await (const _ of api.list(window)) api.close();
  };
  await assert.rejects(walk(), coded('stripe_unreachable', true));
  assert.equal(stripe.requests.length, 1);
});

test('closing ends a request that waits for its answer', { timeout: 10_000 }, async (t) => {
  const stripe = await startFakeStripe({ clock });
  t.after(() => stripe.close());
  const { log, sleep } = virtual();
  const api = openStripeApi({ apiKey: stripe.apiKey, base: stripe.base, random: () => 0, sleep, log });
  // Closes when the request has arrived: the fault is looked for then.
  const when = () => {
    setImmediate(api.close);
    return true;
  };
  stripe.faults.push({ action: 'hang before', when });
  await assert.rejects(all(api.list(window)), coded('stripe_unreachable', true));
});

test('after close the process exits at once, though requests were repeated, cut off and left hanging', async (t) => {
  const stripe = await startFakeStripe({ clock });
  t.after(() => stripe.close());
  for (const event of stripeEvents({ count: 150, seed: 9, ...day })) stripe.add(event.text);
  stripe.faults.push({ action: 'server error' }, { action: 'reset in body' }, { action: 'hang in body' });
  const program = `
    import { pino } from 'pino';
    import { setTimeout as sleep } from 'node:timers/promises';
    import { openStripeApi } from ${JSON.stringify(new URL('../../../compactor/stripe/list-events.ts', import.meta.url).href)};
    const log = pino({ level: 'silent' });
    const options = { apiKey: '${stripe.apiKey}', base: new URL('${stripe.base}'), timeoutMs: 200, random: () => 0, sleep, log };
    const api = openStripeApi({ ...options, sleep: () => sleep(1) });
    let events = 0;
    for await (const page of api.list(${JSON.stringify(window)})) events += page.length;
    const ended = performance.now();
    process.on('exit', () => process.stdout.write(JSON.stringify({ events, lingeredMs: performance.now() - ended })));
    api.close();
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    cwd: new URL('../../..', import.meta.url),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  for await (const chunk of child.stdout) said += chunk;
  const { events, lingeredMs } = JSON.parse(said);
  assert.equal(events, 150);
  assert(lingeredMs < 1000, `lingered ${lingeredMs} ms`);
});

function nameOf(action: FaultAction): string {
  if (typeof action === 'string') return action;
  return `${action.status} ${action.body.slice(0, 60)} ${JSON.stringify(action.headers ?? {})}`;
}
