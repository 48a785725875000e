import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type ClientOptions,
  type DaybookEvent,
  type FailedAttempt,
  openClient,
  type RefusedEvent,
} from '../../../ingest/client/client.ts';
import { failingServer, type Kind, retryAfterMs } from './failing-server.ts';
import { manualClock, settled } from './manual-clock.ts';

function event(changes: Record<string, unknown> = {}): DaybookEvent {
  return { app: 'billing', stage: 'TEST', type: 'invoice.sent', value: 1, ...changes };
}

const is = (kind: Kind, id: string) => event({ id, tags: { is: kind } });

function scene(options: Partial<ClientOptions> = {}) {
  const clock = manualClock();
  const server = failingServer(clock);
  const refused: RefusedEvent[] = [];
  const failed: FailedAttempt[] = [];
  const client = openClient({
    url: 'https://ingest.test/events',
    auth: { sign: () => ({}) },
    onRefused: (one) => refused.push(one),
    onFailure: (one) => failed.push(one),
    fetch: (url, init) => server.fetch(url, init),
    clock,
    random: () => 0.5,
    ...options,
  });
  const sizes = () => server.requests.map(({ ids }) => ids.length);
  return { clock, server, refused, failed, client, sizes };
}

/** A page that a test hides. */
function hiddenPage() {
  const listeners = new Set<() => void>();
  const page = {
    location: { href: 'https://site.test/news/1' },
    onHide(run: () => void) {
      listeners.add(run);
      return () => listeners.delete(run);
    },
  };
  return { page, listeners, hide: () => listeners.forEach((run) => void run()) };
}

test('events wait for others for a second, and the next ones wait again', async () => {
  const { clock, client, sizes } = scene();
  assert.equal(client.send(event()), 'taken');
  await clock.advance(600);
  client.send(event());
  await clock.advance(399);
  assert.deepEqual(sizes(), []);
  await clock.advance(1);
  assert.deepEqual(sizes(), [2]);
  await clock.advance(5000);
  client.send(event());
  await clock.advance(999);
  assert.deepEqual(sizes(), [2]);
  await clock.advance(1);
  assert.deepEqual(sizes(), [2, 1]);
  assert.equal(clock.pending(), 0, 'a client with nothing to do holds no process open');
});

test('what fills a request goes at once: 500 events, or the bytes of one', async () => {
  const { client, sizes } = scene();
  for (let index = 0; index < 1001; index++) client.send(event());
  await settled();
  assert.deepEqual(sizes(), [500, 500, 1]);

  const narrow = scene({ chunkBytes: 1000 });
  const bytes = Buffer.byteLength(JSON.stringify({ ...event({ id: '1' }), eventTime: '2026-11-20T12:00:00.000Z' }));
  const padded = (total: number) => event({ id: '1', type: 'invoice.sent'.padEnd(12 + total - bytes, '.') });
  // Two brackets and a comma: 1000 bytes, to the byte.
  narrow.client.send(padded(498));
  narrow.client.send(padded(499));
  narrow.client.send(padded(500));
  narrow.client.send(padded(498));
  await narrow.client.flush();
  assert.deepEqual(
    narrow.server.requests.map((request) => request.bytes),
    [1000, 502, 500],
  );
  assert.equal(narrow.client.send(padded(998)), 'taken');
  assert.equal(narrow.client.send(padded(999)), 'too_large');
});

test('an event gets its id and its time as it is taken, and keeps those that it has', async () => {
  const { client, server, clock } = scene();
  server.failure = 'lose-answer';
  const own = event({ id: 'mine', eventTime: '2026-11-19T00:00:00Z' });
  client.send(event());
  client.send(event());
  client.send(own);
  client.send({ specversion: '1.0', source: '/billing', type: 'invoice.sent' });
  (own as { value: number }).value = 2;
  void client.flush();
  await clock.advance(10_000);
  server.failure = undefined;
  await clock.advance(10_000);
  assert.ok([...server.stored.values()].every((texts) => texts.length > 2 && new Set(texts).size === 1));
  const stored = [...server.stored].map(([id, texts]) => ({ id, ...JSON.parse(texts[0]!) }));
  assert.equal(new Set(stored.map(({ id }) => id)).size, 4, 'equal events are different ones');
  assert.deepEqual(
    stored.map(({ eventTime, time }) => eventTime ?? time),
    ['2026-11-20T12:00:00.000Z', '2026-11-20T12:00:00.000Z', '2026-11-19T00:00:00Z', '2026-11-20T12:00:00.000Z'],
  );
  assert.match(stored[0]!.id, /^[0-9a-f]{32}$/);
  assert.equal(stored[2]!.id, 'mine');
  assert.equal(stored[2]!.value, 1, 'as it was when it was taken');
});

test('an event that went along with a repetition leaves no wait behind for the next ones', async () => {
  const { clock, client, server, sizes } = scene();
  server.failure = 'refuse';
  client.send(event());
  await clock.advance(1000);
  server.failure = undefined;
  client.send(event());
  await clock.advance(5000);
  assert.deepEqual(sizes(), [1, 2]);
  client.send(event());
  await clock.advance(999);
  assert.deepEqual(sizes(), [1, 2]);
  await clock.advance(1);
  assert.deepEqual(sizes(), [1, 2, 1]);
});

test('an answer that breaks off behind its 201 was an answer', async () => {
  const { client, server } = scene();
  server.failure = 'cut-answer';
  client.send(event());
  await client.flush();
  assert.equal(server.requests.length, 1);
});

test('a full buffer says so, counts what is on its way, and takes events again when there is room', async () => {
  const { client, server, clock } = scene({ maxEvents: 3 });
  server.failure = 'slow';
  assert.deepEqual(
    [1, 2, 3, 4].map(() => client.send(event())),
    ['taken', 'taken', 'taken', 'full'],
  );
  void client.flush();
  await clock.advance(10_000);
  assert.equal(client.send(event()), 'full');
  await clock.advance(10_000);
  assert.deepEqual(client.held(), { events: 0, bytes: 0 });
  assert.equal(client.send(event()), 'taken');
});

test('what cannot be written as JSON is thrown to its sender, and nothing of it is kept', () => {
  const { client } = scene();
  assert.throws(() => client.send(event({ amount: 1n })), TypeError);
  assert.deepEqual(client.held(), { events: 0, bytes: 0 });
});

test('waits double from half a second to a minute, each a random part, and start again after a success', async () => {
  const { client, server, failed, clock } = scene();
  server.failure = 'error';
  client.send(event());
  await clock.advance(400_000);
  assert.deepEqual(
    failed.map(({ waitMs }) => waitMs).slice(0, 10),
    [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000],
  );
  assert.deepEqual(failed[1], {
    failures: 2,
    waitMs: 500,
    status: 500,
    code: 'internal_error',
    detail: 'It is internal_error.',
  });
  server.failure = undefined;
  await clock.advance(30_000);
  assert.equal(client.held().events, 0);
  server.failure = 'error';
  client.send(event());
  await clock.advance(1000);
  assert.equal(failed.at(-1)!.waitMs, 250);
});

for (const [what, value, waitMs] of [
  ['seconds', '40', retryAfterMs],
  ['a date', 'Fri, 20 Nov 2026 12:01:01 GMT', 60_000],
  ['a date that is past', 'Fri, 20 Nov 2026 11:00:00 GMT', 0],
  ['a year', '31536000', 3_600_000],
  ['nonsense', 'soon', 0],
] as const) {
  test(`Retry-After of ${what} is waited for, and a random wait after it`, async () => {
    const fetch = async () => new Response('', { status: 503, headers: { 'retry-after': value } });
    const { client, failed, clock } = scene({ fetch });
    client.send(event());
    await clock.advance(1000);
    assert.equal(failed[0]!.waitMs, waitMs + 250);
  });
}

test('a server that does not answer is asked again after 30 s', async () => {
  const { client, server, failed, clock } = scene();
  server.failure = 'hang';
  client.send(event());
  await clock.advance(31_000);
  assert.deepEqual(failed, [
    { failures: 1, waitMs: 250, status: 0, code: undefined, detail: 'Error: No answer within 30000 ms.' },
  ]);
  server.failure = undefined;
  await clock.advance(250);
  assert.equal(client.held().events, 0);
});

test('credentials that cannot be made or hang are failed attempts', async () => {
  let attempts = 0;
  const { client, server, failed, clock } = scene({
    auth: {
      sign() {
        attempts += 1;
        if (attempts === 1) throw new Error('no key');
        return attempts === 2 ? new Promise(() => {}) : {};
      },
    },
  });
  client.send(event());
  await clock.advance(60_000);
  assert.deepEqual(
    failed.map(({ detail }) => detail),
    ['Error: no key', 'Error: No answer within 30000 ms.'],
  );
  assert.equal(server.stored.size, 1);
});

test('refused events are named to the caller with the reason; the others of their request go on without a wait', async () => {
  const { client, server, refused, failed, sizes } = scene();
  const kinds: Kind[] = ['good', 'bad', 'good', 'bad', 'bad', 'bad', 'good'];
  for (const [index, kind] of kinds.entries()) client.send(is(kind, `${index}`));
  await client.flush();
  assert.deepEqual(
    refused.map((one) => [one.event.id, one.status, one.code, one.detail]),
    ['1', '3', '4', '5'].map((id) => [id, 400, 'event_invalid', 'value must be a number.']),
  );
  assert.deepEqual([...server.stored.keys()], ['0', '2', '6']);
  assert.deepEqual(sizes(), [7, 4, 3]);
  assert.deepEqual(failed, []);
});

test('where the server does not say which event is wrong, it is found, and what is good is stored', async () => {
  const { client, server, refused, sizes } = scene({ chunkEvents: 8 });
  for (let index = 0; index < 16; index++) client.send(is(index === 5 ? 'deep' : 'good', `${index}`));
  await client.flush();
  assert.deepEqual(
    refused.map((one) => [one.event.id, one.code, one.detail]),
    [['5', 'body_malformed', 'It is body_malformed.']],
  );
  assert.equal(server.stored.size, 15);
  // Down to the one that is wrong, and up again.
  assert.deepEqual(sizes(), [8, 4, 8, 4, 2, 1, 2, 1, 1, 2, 4, 3]);
});

test('a server that takes less than was said is sent less', async () => {
  const { client, server, refused } = scene();
  server.failure = 'small';
  for (let index = 0; index < 40; index++) client.send(event({ id: `${index}` }));
  client.send(event({ id: 'large', note: 'x'.repeat(3000) }));
  await client.flush();
  assert.equal(server.stored.size, 40);
  assert.deepEqual(
    refused.map((one) => [one.event.id, one.status, one.code]),
    [['large', 413, 'body_too_large']],
  );
});

test('an answer that names events that were not sent refuses none of them', async () => {
  const problem = { code: 'event_invalid', errors: [{ pointer: '#/7/value', detail: 'wrong' }, { pointer: 7 }, null] };
  const fetch = async (_url: URL, { body }: RequestInit) =>
    JSON.parse(body as string).length > 1 ? Response.json(problem, { status: 400 }) : new Response('', { status: 201 });
  const { client, refused } = scene({ fetch });
  client.send(event());
  client.send(event());
  await client.flush();
  assert.deepEqual(refused, []);
});

test('what the caller’s own functions throw stops nothing', async (t) => {
  const thrown: unknown[] = [];
  t.mock.method(process, 'emit', (name: string, error: unknown) => {
    if (name === 'unhandledRejection') thrown.push(error);
    return true;
  });
  const { client, server } = scene({
    onRefused: () => {
      throw new Error('the caller’s');
    },
  });
  client.send(is('bad', '1'));
  client.send(is('good', '2'));
  await client.flush();
  await settled();
  assert.deepEqual([...server.stored.keys()], ['2']);
  assert.deepEqual(
    thrown.map((error) => (error as Error).message),
    ['the caller’s'],
  );
});

test('a request follows no redirect, and is a POST of JSON with the credentials of its auth', async () => {
  const { client, server } = scene({ auth: { credentials: 'include', sign: () => ({ 'x-own': '1' }) } });
  client.send(event());
  await client.flush();
  const { signal: _, body: __, ...init } = server.requests[0]!.init;
  assert.deepEqual(init, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-own': '1' },
    keepalive: false,
    credentials: 'include',
    redirect: 'error',
  });
});

test('an auth that sends events alone has four requests at once, each with an event that keeps its id', async () => {
  const signed: string[] = [];
  const { client, server, clock } = scene({
    auth: {
      alone: true,
      sign({ id, body }) {
        assert.equal(JSON.parse(body).app, 'billing');
        signed.push(id);
        return {};
      },
    },
  });
  server.failure = 'lose-answer';
  for (let index = 0; index < 6; index++) client.send(event());
  await clock.advance(1000);
  assert.equal(server.requests.length, 4);
  const first = signed.slice();
  server.failure = 'slow';
  await clock.advance(10_000);
  assert.equal(server.open.count, 4);
  assert.deepEqual(new Set(signed.slice(4)), new Set(first), 'the same ids again');
  server.failure = undefined;
  await clock.advance(20_000);
  assert.deepEqual(client.held(), { events: 0, bytes: 0 });
});

test('requests that fail at the same time are one failure', async () => {
  const { client, server, failed, clock } = scene({ auth: { alone: true, sign: () => ({}) } });
  server.failure = 'refuse';
  for (let index = 0; index < 4; index++) client.send(event());
  await clock.advance(1000);
  assert.deepEqual(
    failed.map(({ failures }) => failures),
    [1, 1, 1, 1],
  );
});

test('close delivers what is left, and takes no more', async () => {
  const { client, server } = scene();
  client.send(event());
  assert.deepEqual(await client.close(), []);
  assert.equal(server.stored.size, 1);
  assert.equal(client.send(event()), 'closed');
});

test('close hands back what nobody answered for, whole, and ends its requests', async () => {
  const { client, server, clock } = scene();
  server.failure = 'hang';
  client.send(event({ note: 'first' }));
  const closed = client.close({ withinMs: 3000 });
  assert.equal(client.close(), closed);
  await clock.advance(3000);
  const [left] = await closed;
  assert.equal(left!.note, 'first');
  assert.match(left!.id as string, /^[0-9a-f]{32}$/);
  await settled();
  assert.equal(server.open.count, 0);
  assert.equal(clock.pending(), 0);
});

test('a page that hides sends at once what is left, whatever the wait is, in requests that outlive it', async () => {
  const { page, hide, listeners } = hiddenPage();
  const { client, server, clock, failed } = scene({ page, url: '/events' });
  server.failure = 'refuse';
  client.send(event({ id: '1' }));
  await clock.advance(1000);
  assert.equal(failed.length, 1);
  server.failure = undefined;
  client.send(event({ id: '2' }));
  hide();
  await settled();
  assert.deepEqual(server.requests.at(-1)!.ids, ['1', '2']);
  assert.equal(server.requests.at(-1)!.init.keepalive, true);
  hide();
  await settled();
  assert.equal(server.requests.length, 2);
  await client.close();
  assert.equal(listeners.size, 0);
});

test('requests that outlive their page have 64 KiB together, as browsers allow, one before the page hides included', async () => {
  const { page, hide } = hiddenPage();
  const { client, server, clock } = scene({ page });
  server.failure = 'slow';
  const note = 'x'.repeat(1000);
  for (let index = 0; index < 100; index++) client.send(event({ id: `${index}`, note }));
  await settled();
  const [first] = server.requests;
  assert.ok(first!.bytes > 30_000 && first!.bytes <= 32_768 && first!.init.keepalive === true);
  hide();
  await settled();
  assert.ok(server.open.keepaliveBytes > 63_000 && server.open.keepaliveBytes <= 65_536);
  assert.equal(server.open.count, 2);
  await clock.advance(120_000);
  assert.equal(server.stored.size, 100, 'a page that stays sends the rest');

  // Larger than what outlives a page: it goes, but not when the page does.
  assert.equal(client.send(event({ note: 'x'.repeat(70_000) })), 'taken');
  hide();
  await settled();
  const last = server.requests.at(-1)!;
  assert.ok(last.bytes > 70_000 && last.init.keepalive === false);
});
