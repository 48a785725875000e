import assert from 'node:assert/strict';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { openStripeApi } from '../../../compactor/stripe/list-events.ts';
import type { ListedEvent } from '../../../compactor/stripe/listed-event.ts';

const startSeconds = Date.parse('2026-11-20T00:00:00Z') / 1000;
const window = { fromSeconds: startSeconds, toSeconds: startSeconds + 86_400 };

/** A Stripe that answers as it is told, and the lists of a client whose pauses pass at once. */
async function stripeThat(
  t: TestContext,
  answer: (query: URLSearchParams, request: IncomingMessage) => { status?: number; body: unknown },
) {
  const limits: number[] = [];
  const server = createServer((request, response) => {
    const query = new URL(request.url!, 'http://stripe').searchParams;
    limits.push(Number(query.get('limit')));
    const { status = 200, body } = answer(query, request);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const base = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const log = pino({ level: 'silent' });
  const api = openStripeApi({ apiKey: 'sk_test_x', base, random: () => 0, sleep: async () => {}, log });
  t.after(() => {
    api.close();
    server.closeAllConnections();
    server.close();
  });
  return { api, limits };
}

async function all(pages: AsyncIterable<ListedEvent[]>): Promise<string[]> {
  const ids: string[] = [];
  for await (const page of pages) ids.push(...page.map(({ id }) => id));
  return ids;
}

const event = (id: string, created: number | string) => ({ id, object: 'event', created, type: 'x.y', data: {} });
const busy = { status: 500, body: { error: { type: 'api_error' } } };

/** Newest first, by `starting_after` or, of thin events, by a token. */
function pageOf(events: readonly { id: string }[], after: string | null, limit: number) {
  const from = after === null ? 0 : events.findIndex(({ id }) => id === after) + 1;
  return { data: events.slice(from, from + limit), more: from + limit < events.length };
}

test('a page that Stripe cannot make is asked for half as large, and the next ones grow again', async (t) => {
  const events = Array.from({ length: 300 }, (_, n) => event(`evt_${n}`, startSeconds + 1000 - n));
  // In the middle of the list lie events that Stripe gives ten at a time at most.
  const { api, limits } = await stripeThat(t, (query) => {
    const limit = Number(query.get('limit'));
    const { data, more } = pageOf(events, query.get('starting_after'), limit);
    if (limit > 10 && data.some(({ id }) => id === 'evt_120')) return busy;
    return { body: { object: 'list', has_more: more, data } };
  });
  assert.deepEqual(
    await all(api.list(window)),
    events.map(({ id }) => id),
  );
  assert.ok(limits.includes(6), String(limits));
  assert.ok(limits.at(-1)! > 50, String(limits));
});

test('the same of thin events, whose next page is named by Stripe', async (t) => {
  const events = Array.from({ length: 60 }, (_, n) => event(`evt_${n}`, '2026-11-20T10:00:00.000Z'));
  const { api, limits } = await stripeThat(t, (query) => {
    const limit = Number(query.get('limit'));
    if (limit > 30) return busy;
    const { data, more } = pageOf(events, query.get('page'), limit);
    const next = more ? `/v2/core/events?limit=${limit}&page=${data.at(-1)!.id}` : null;
    return { body: { data, next_page_url: next } };
  });
  assert.deepEqual(
    await all(api.list({ ...window, thin: true })),
    events.map(({ id }) => id),
  );
  assert.ok(limits.includes(25), String(limits));
});

test('429 says nothing about the size of a page', async (t) => {
  let asked = 0;
  const { api, limits } = await stripeThat(t, () => {
    asked += 1;
    return asked < 3 ? { status: 429, body: {} } : { body: { has_more: false, data: [] } };
  });
  await all(api.list(window));
  assert.deepEqual(limits, [100, 100, 100]);
});

for (const circle of [2, 3, 7, 50]) {
  test(`a walk in a circle of ${circle} cursors ends as an error`, async (t) => {
    const { api } = await stripeThat(t, (query) => {
      const at = Number(query.get('starting_after')?.slice(4) ?? -1) + 1;
      return { body: { has_more: true, data: [event(`evt_${at % circle}`, startSeconds)] } };
    });
    await assert.rejects(all(api.list(window)), { code: 'stripe_answer_malformed' });
  });
}

test('a list that gives new events of one second without end ends as an error', async (t) => {
  let made = 0;
  const { api } = await stripeThat(t, (query) => {
    const data = Array.from({ length: Number(query.get('limit')) }, () => event(`evt_${made++}`, startSeconds));
    return { body: { has_more: true, data } };
  });
  await assert.rejects(all(api.list(window)), { code: 'stripe_answer_malformed', message: /of one second/ });
});

test('a next page of thin events on another host, or seen before, is not followed', async (t) => {
  const hosts: (string | undefined)[] = [];
  for (const next of ['https://evil.example/v2/core/events?page=1', 'https://evil.example/other?page=1']) {
    const { api } = await stripeThat(t, (_, request) => {
      hosts.push(request.headers.host);
      return { body: { data: [], next_page_url: next } };
    });
    await assert.rejects(all(api.list({ ...window, thin: true })), { code: 'stripe_answer_malformed' });
  }
  assert.ok(hosts.every((host) => host?.startsWith('127.0.0.1:')));
});
