import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { Stripe } from 'stripe';
import { eachStripeEvent, listedCopy, stripeEvents } from './events.ts';
import { startFakeStripe } from './fake-stripe.ts';
import { sendWebhook, signatureHeader, stripeSignatureHeader } from './webhook-sender.ts';

const fromSeconds = Date.parse('2026-11-20T00:00:00Z') / 1000;
const toSeconds = fromSeconds + 86_400;
const clock = { now: () => new Date('2026-11-21T03:00:00Z') };

async function fakeWith(t: { after(fn: () => unknown): void }, count: number) {
  const fake = await startFakeStripe({ clock });
  t.after(() => fake.close());
  const made = stripeEvents({ count, seed: 1, fromSeconds, toSeconds });
  for (const event of made) fake.add(event.text);
  const { hostname: host, port } = fake.base;
  const stripe = new Stripe(fake.apiKey, { host, port, protocol: 'http', maxNetworkRetries: 0, telemetry: false });
  return { fake, made, stripe };
}

test("the stripe package's own pager walks the fake's list", async (t) => {
  const { made, stripe } = await fakeWith(t, 230);
  const ids: string[] = [];
  const created = { gte: fromSeconds, lt: toSeconds };
  for await (const event of stripe.events.list({ limit: 100, created })) ids.push(event.id);
  assert.deepEqual(ids, made.map(({ id }) => id).reverse());
});

test('the fake pages backwards, filters by type and by bounds, and hands out one event', async (t) => {
  const { made, stripe } = await fakeWith(t, 50);
  const [oldest, ...rest] = made;
  const after = await stripe.events.list({ limit: 3, ending_before: oldest!.id });
  assert.deepEqual(
    after.data.map(({ id }) => id),
    rest
      .slice(0, 3)
      .map(({ id }) => id)
      .reverse(),
  );
  assert.equal(after.has_more, true);
  const { type } = made[10]!;
  const ofType = await stripe.events.list({ limit: 100, type });
  assert.equal(ofType.data.length, made.filter((event) => event.type === type).length);
  const invoices = await stripe.events.list({ limit: 100, types: ['invoice.*', type] });
  assert(invoices.data.every((event) => event.type === type || event.type.startsWith('invoice.')));
  const { createdSeconds } = made[20]!;
  const outside = await stripe.events.list({ limit: 100, created: { gt: createdSeconds, lte: toSeconds } });
  assert.equal(outside.data.length, made.filter((event) => event.createdSeconds > createdSeconds).length);
  assert.equal((await stripe.events.retrieve(oldest!.id)).id, oldest!.id);
});

test("the fake refuses in Stripe's shapes", async (t) => {
  const { fake, stripe } = await fakeWith(t, 1);
  const refused = (call: Promise<unknown>, statusCode: number, code: string | undefined) =>
    assert.rejects(call, (error) => {
      assert(error instanceof Stripe.errors.StripeError);
      assert.deepEqual([error.statusCode, error.code], [statusCode, code]);
      return true;
    });
  await refused(stripe.events.retrieve('evt_none'), 404, 'resource_missing');
  await refused(stripe.events.list({ starting_after: 'evt_none' }), 400, 'resource_missing');
  await refused(stripe.events.list({ limit: 101 }), 400, 'parameter_invalid_integer');
  await refused(stripe.events.list({ stripeAccount: 'acct_none' } as never), 400, 'parameter_unknown');
  await refused(stripe.events.list({}, { stripeAccount: 'acct_none' }), 403, 'account_invalid');
  await refused(stripe.events.list({}, { apiKey: 'sk_test_other' }), 401, undefined);
  const basic = { authorization: `Basic ${Buffer.from(`${fake.apiKey}:`).toString('base64')}` };
  assert.equal((await fetch(new URL('/v1/events', fake.base), { headers: basic })).status, 200);
  assert.equal((await fetch(new URL('/v1/events', fake.base))).status, 401);
});

test('the same seed makes the same events, each with its own id, time and object', () => {
  const options = { count: 500, seed: 'a', fromSeconds, toSeconds };
  const made = stripeEvents(options);
  assert.deepEqual(made, [...eachStripeEvent(options)]);
  const others = stripeEvents({ ...options, seed: 'b' });
  assert.equal(new Set([...made, ...others].map(({ id }) => id)).size, 1000);
  let previous = fromSeconds;
  for (const { id, type, createdSeconds, livemode, objectId, text } of made) {
    const event = JSON.parse(text);
    assert.deepEqual(
      [event.id, event.type, event.created, event.livemode, event.data.object.id],
      [id, type, createdSeconds, livemode, objectId],
    );
    assert.equal(JSON.stringify(event, null, 2), text);
    assert(createdSeconds >= previous && createdSeconds < toSeconds);
    previous = createdSeconds;
  }
  assert(stripeEvents({ ...options, livemode: true }).every(({ text }) => JSON.parse(text).livemode));
  const { pending_webhooks, ...rest } = JSON.parse(listedCopy(made[0]!.text));
  assert.deepEqual({ ...JSON.parse(made[0]!.text), pending_webhooks }, { ...rest, pending_webhooks: 0 });
});

test("the sender signs as Stripe's package does, with every secret, and its verifier agrees", async (t) => {
  const body = stripeEvents({ count: 1, seed: 1, fromSeconds, toSeconds })[0]!.text;
  const timestampSeconds = Math.floor(Date.now() / 1000);
  const secrets = ['whsec_old', 'whsec_new'];
  const header = signatureHeader({ body, secrets, timestampSeconds });
  assert.equal(
    signatureHeader({ body, secrets: ['whsec_old'], timestampSeconds }),
    stripeSignatureHeader(body, 'whsec_old', timestampSeconds),
  );
  for (const secret of secrets) Stripe.webhooks.constructEvent(body, header, secret);

  const seen: { signature: unknown; body: string }[] = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    seen.push({ signature: request.headers['stripe-signature'], body: text });
    response.writeHead(202).end('taken');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/webhooks/platform`;
  const answer = await sendWebhook({ url, body, secrets, timestampSeconds });
  assert.deepEqual([answer.status, answer.body], [202, 'taken']);
  await sendWebhook({ url, body: Buffer.from(body), secrets, signature: null });
  assert.deepEqual(seen, [
    { signature: header, body },
    { signature: undefined, body },
  ]);
});
