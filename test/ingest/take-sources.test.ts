/** Other sources while ingest runs: what each request is judged by, and secrets that end at their time. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { keyidOf } from '../../shared/schemes/secrets.ts';
import { sourcesSchema } from '../../shared/schemes/sources.ts';
import {
  memoryWriter,
  pandaHeaders,
  post,
  serverEvent,
  startIngest,
  stripeEvent,
  stripeHeaders,
  stripeSecret,
} from './ingest-under-test.ts';

const body = JSON.stringify(stripeEvent());
const event = JSON.stringify(serverEvent());

function resolved(...given: { name: string; scheme: string; secret: string; notAfterMs?: number }[]) {
  return given.map(({ name, scheme, secret, notAfterMs }) => ({
    source: sourcesSchema.parse([{ name, scheme, secrets: [secret] }])[0]!,
    secrets: [{ text: secret, keyid: keyidOf(secret), notAfterMs }],
  }));
}

const platform = { name: 'platform', scheme: 'stripe', secret: stripeSecret };
const billing = { name: 'billing', scheme: 'panda', secret: 'one' };
const named = ({ name, scheme, secret }: typeof platform) => ({ name, scheme, secrets: [secret] });

/** The headers of a request whose body is still to come; resolves once the server has met them. */
async function begin(port: number, path: string, headers: Record<string, string>, length: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  const lines = Object.entries({ host: 'x', expect: '100-continue', 'content-length': `${length}`, ...headers });
  socket.write(`POST ${path} HTTP/1.1\r\n${lines.map((line) => line.join(': ')).join('\r\n')}\r\n\r\n`);
  assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 100 /);
  return socket;
}

async function finish(socket: Socket, sent: string): Promise<string> {
  socket.write(sent);
  const text = String((await once(socket, 'data'))[0]);
  socket.destroy();
  return text.slice(0, 12);
}

test('a request in hand ends by the sources that it met, the next one is judged by those that were taken', async () => {
  const writer = memoryWriter();
  const ingest = await startIngest({ writer, sources: [platform, billing].map(named) });
  const webhook = await begin(ingest.port, '/webhooks/platform', stripeHeaders(body), body.length);
  const events = await begin(ingest.port, '/events', pandaHeaders('/events', 'one'), event.length);
  ingest.take(resolved({ ...billing, secret: 'two' }, { ...platform, name: 'shop' }));

  assert.equal((await post(`${ingest.url}/webhooks/platform`, stripeHeaders(body), body)).status, 404);
  assert.equal((await post(`${ingest.url}/webhooks/shop`, stripeHeaders(body), body)).status, 200);
  assert.equal((await post(`${ingest.url}/events`, pandaHeaders('/events', 'one'), event)).status, 403);
  assert.equal((await post(`${ingest.url}/events`, pandaHeaders('/events', 'two'), event)).status, 201);
  assert.equal(await finish(webhook, body), 'HTTP/1.1 200');
  assert.equal(await finish(events, event), 'HTTP/1.1 201');
  assert.equal(writer.records.length, 4);
  await ingest.close();
});

test('a request that waits for the stream is answered, though its source was taken away', async () => {
  const writer = memoryWriter();
  const gate = Promise.withResolvers<void>();
  const waits = Promise.withResolvers<void>();
  writer.intercept = () => {
    waits.resolve();
    return gate.promise;
  };
  const ingest = await startIngest({ writer, sources: [named(platform)] });
  const answer = post(`${ingest.url}/webhooks/platform`, stripeHeaders(body), body);
  await waits.promise;
  ingest.take(resolved(billing));
  gate.resolve();
  assert.equal((await answer).status, 200);
  assert.equal(writer.records.length, 1);
  await ingest.close();
});

test('a secret ends at its time, to the millisecond, without anything being read again', async () => {
  const endsAtMs = Date.now();
  let nowMs = endsAtMs;
  const ingest = await startIngest({ clock: { now: () => new Date(nowMs) }, sources: [billing, platform].map(named) });
  ingest.take(resolved({ ...billing, notAfterMs: endsAtMs }, { ...platform, notAfterMs: endsAtMs }));
  const ask = async () => [
    (await post(`${ingest.url}/events`, pandaHeaders('/events', 'one'), event)).json.code,
    (await post(`${ingest.url}/webhooks/platform`, stripeHeaders(body), body)).json.code,
  ];
  assert.deepEqual(await ask(), [undefined, undefined]);
  nowMs = endsAtMs + 1;
  assert.deepEqual(await ask(), ['token_secret_expired', 'signature_secret_expired']);
  await ingest.close();
});
