/** The client before the real ingest, over real connections that fail on the way. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  type ClientOptions,
  openClient,
  panda,
  type RefusedEvent,
  standardWebhooks,
} from '../../../ingest/client/client.ts';
import { type HttpProxy, type ProxyAnswer, type ProxyHandler, startHttpProxy } from '../../faults/http-proxy.ts';
import {
  cloudEvent,
  envelopes,
  memoryWriter,
  pandaSecret,
  serverEvent,
  startIngest,
  until,
} from '../ingest-under-test.ts';
import { manualClock } from './manual-clock.ts';

async function scene(t: TestContext, options: Partial<ClientOptions> = {}) {
  const clock = manualClock();
  const writer = memoryWriter();
  const ingest = await startIngest({ writer, clock: { now: () => new Date(clock.now()) } });
  const proxy = await startHttpProxy(ingest.url);
  t.after(async () => {
    await proxy.close();
    await ingest.close();
  });
  const refused: RefusedEvent[] = [];
  const waits: number[] = [];
  const client = openClient({
    url: `${proxy.endpoint}/events?from=test`,
    auth: panda({ secret: pandaSecret, service: 'billing' }),
    onRefused: (one) => refused.push(one),
    onFailure: ({ waitMs }) => waits.push(waitMs),
    clock,
    ...options,
  });
  /** Time passes where the client waits for it: between attempts, and for an answer that does not come. */
  async function deliver(isHanging = () => false): Promise<void> {
    const flushed = client.flush();
    for (let seen = 0; client.held().events > 0; seen = waits.length) {
      await until(() => client.held().events === 0 || waits.length > seen || isHanging());
      await clock.advance(isHanging() ? 30_000 : (waits.at(-1) ?? 0));
    }
    await flushed;
  }
  return { clock, writer, ingest, proxy, refused, waits, client, deliver };
}

/** Decides one request after the other by the given handlers. A request that ingest refuses leaves its handler for the next. */
function inTurn(proxy: HttpProxy, handlers: readonly ProxyHandler[]): () => ProxyHandler | undefined {
  let next = 0;
  let current: ProxyHandler | undefined;
  proxy.decide(async (request, forward) => {
    current = handlers[next];
    if (current === undefined) return forward();
    let answer: ProxyAnswer | undefined;
    const decided = await current(request, async () => {
      answer = await forward();
      return answer;
    });
    if (answer !== undefined && answer.status !== 201) return answer;
    next += 1;
    return decided;
  });
  return () => current;
}

const hang: ProxyHandler = async () => 'hang';
const failing: readonly ProxyHandler[] = [
  async () => 'reset',
  hang,
  async () => ({ status: 500 }),
  async () => ({ status: 503, headers: { 'retry-after': '120' } }),
  async () => ({ status: 302, headers: { location: '/healthz' } }),
  async () => ({ status: 200, body: '<form>log in</form>' }),
  async () => ({ status: 429 }),
  // Stored, and the answer is lost in three ways.
  (_request, forward) => forward().then(() => 'reset'),
  (_request, forward) => forward().then(() => 'cut'),
  (_request, forward) => forward().then(() => forward()),
];

test('1,200 events through every failure: each good one is stored in one form, each bad one comes back', async (t) => {
  const { clock, writer, proxy, refused, waits, client, deliver } = await scene(t);
  const current = inTurn(proxy, failing);
  const eventTime = new Date(clock.now()).toISOString();
  const expected = new Set<string>();
  const wrong = new Map<string, string>();
  for (let index = 0; index < 1200; index++) {
    const id = `e${index}`;
    let event = index % 2 === 0 ? cloudEvent({ id, n: index }) : serverEvent({ id, n: index, eventTime });
    if (index % 100 === 50) event = { ...event, type: 7 };
    else if (index % 100 === 51) event = { ...event, eventTime: '2026-10-01T00:00:00Z' };
    if (index === 700) event = { ...event, deep: JSON.parse('['.repeat(250) + ']'.repeat(250)) };
    if (index === 700) wrong.set(id, 'body_malformed');
    else if (index % 100 === 50) wrong.set(id, 'event_invalid');
    else if (index % 100 === 51) wrong.set(id, 'time_out_of_range');
    else expected.add(id);
    assert.equal(client.send(event as never), 'taken');
  }
  await deliver(() => current() === hang);
  assert.ok(waits.some((waitMs) => waitMs >= 120_000));
  assert.equal(refused.find(({ event }) => event.id === 'e50')!.detail, 'type must be a string.');
  assert.deepEqual(new Map(refused.map(({ event, code }) => [event.id as string, code])), wrong);

  const texts = new Map<string, Set<string>>();
  for (const { data } of envelopes(writer)) {
    const { id } = JSON.parse(data);
    texts.set(id, (texts.get(id) ?? new Set()).add(data));
  }
  assert.deepEqual(new Set(texts.keys()), expected);
  assert.ok([...texts.values()].every(({ size }) => size === 1));
  assert.ok(envelopes(writer).length > expected.size, 'some came more than once');
  // The archive counts an id of the envelope once.
  assert.equal(new Set(envelopes(writer).map(({ header }) => header.id)).size, expected.size);
  assert.deepEqual(await client.close(), []);
});

test('an ingest with neither stream nor spool says 503 with Retry-After, which is waited for, and nothing is lost', async (t) => {
  const clock = manualClock();
  const writer = memoryWriter();
  writer.intercept = () => Promise.reject(new Error('away'));
  const ingest = await startIngest({
    writer,
    spool: 'no spool',
    publishDeadlineMs: 50,
    clock: { now: () => new Date(clock.now()) },
  });
  t.after(() => ingest.close());
  const waits: number[] = [];
  const client = openClient({
    url: `${ingest.url}/events`,
    auth: panda({ secret: pandaSecret }),
    onRefused: () => assert.fail(),
    onFailure: ({ status, code, waitMs }) => {
      waits.push(waitMs);
      assert.deepEqual([status, code], [503, 'spool_full']);
    },
    clock,
  });
  client.send(serverEvent({ eventTime: undefined }) as never);
  void client.flush();
  await until(() => waits.length === 1);
  assert.ok(waits[0]! >= 5000);
  writer.intercept = undefined;
  await clock.advance(waits[0]!);
  await until(() => client.held().events === 0);
  assert.equal(writer.records.length, 1);
});

test('events larger together than the server takes arrive all the same', async (t) => {
  const writer = memoryWriter();
  const ingest = await startIngest({ writer, maxBodyBytes: 10_000 });
  t.after(() => ingest.close());
  const refused: RefusedEvent[] = [];
  const client = openClient({
    url: `${ingest.url}/events`,
    auth: panda({ secret: pandaSecret }),
    onRefused: (one) => refused.push(one),
  });
  for (let index = 0; index < 300; index++) client.send(serverEvent({ index }) as never);
  client.send(serverEvent({ note: 'x'.repeat(20_000) }) as never);
  await client.flush();
  assert.equal(writer.records.length, 300);
  assert.deepEqual(
    refused.map(({ status, code }) => [status, code]),
    [[413, 'body_too_large']],
  );
});

test('events signed by Standard Webhooks arrive one by one, each once by its id, whatever is lost on the way', async (t) => {
  const secret = `whsec_${Buffer.from('a key of twenty-four bytes').toString('base64')}`;
  const writer = memoryWriter();
  const ingest = await startIngest({ writer, sources: [{ name: 'billing', scheme: 'standard', secrets: [secret] }] });
  const proxy = await startHttpProxy(ingest.url);
  t.after(async () => {
    await proxy.close();
    await ingest.close();
  });
  const refused: RefusedEvent[] = [];
  const client = openClient({
    url: `${proxy.endpoint}/events`,
    auth: standardWebhooks({ secret }),
    onRefused: (one) => refused.push(one),
    firstWaitMs: 1,
  });
  let count = 0;
  proxy.decide(async (_request, forward) => {
    const answer = await forward();
    count += 1;
    return count % 3 === 0 ? 'reset' : answer;
  });
  for (let index = 0; index < 30; index++)
    client.send(serverEvent({ index, ...(index === 7 ? { value: 'x' } : {}) }) as never);
  await client.flush();
  assert.deepEqual(
    refused.map(({ event, code, detail }) => [event.index, code, detail]),
    [[7, 'event_invalid', 'value must be a number or true or false.']],
  );
  const stored = envelopes(writer);
  assert.ok(stored.length > 29);
  assert.equal(new Set(stored.map(({ header }) => header.id)).size, 29);
  assert.equal(new Set(stored.map(({ data }) => data)).size, 29);
});
