import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { noObserver } from '../../ingest/publish/observer.ts';
import { memorySpool, memoryWriter, post, startIngest, stripeEvent, stripeHeaders } from './ingest-under-test.ts';

const quick = { headersMs: 200, requestMs: 400, checkMs: 20, keepAliveMs: 1000 };
const writer = memoryWriter();
const ingest = await startIngest({ writer, timeouts: quick });
after(() => ingest.close());

/** Its append tells that it has begun, and ends when it is released. */
function slowWriter() {
  const slow = memoryWriter();
  const { promise: started, resolve: start } = Promise.withResolvers<void>();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  slow.intercept = () => {
    start();
    return released;
  };
  return { slow, started, release };
}

interface Client {
  readonly socket: Socket;
  /** All that was received once the other side has closed. */
  readonly closed: Promise<string>;
  received(): string;
}

function open(port = ingest.port): Client {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  // A reset is also an end: the text so far is what counts.
  socket.on('error', () => {});
  const closed = new Promise<string>((resolve) => socket.on('close', () => resolve(text)));
  return { socket, closed, received: () => text };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

async function asksHealth(client: Client): Promise<void> {
  client.socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n');
  await until(() => client.received().endsWith('{"status":"ok"}'));
}

/** The one answer on a connection is a problem document that says that code, and closes it. */
function assertProblem(text: string, status: number, code: string): void {
  const [head, json = ''] = text.split('\r\n\r\n');
  assert.match(head!, new RegExp(`^HTTP/1\\.1 ${status} \\w`), text);
  assert.match(head!, /\r\nconnection: close/i);
  assert.match(head!, /\r\ncontent-type: application\/problem\+json\r\n/);
  const { type, title, status: said, code: named, hint } = JSON.parse(json);
  assert.deepEqual([type, said, named], [`urn:daybook:error:${code}`, status, code]);
  assert.ok(title !== '' && hint !== '');
}

function requestText(body: string, extra: readonly string[] = []): string {
  const headers = Object.entries(stripeHeaders(body)).map(([name, value]) => `${name}: ${value}`);
  const head = ['POST /webhooks/platform HTTP/1.1', 'host: x', `content-length: ${body.length}`, ...headers, ...extra];
  return `${head.join('\r\n')}\r\n\r\n${body}`;
}

const body = JSON.stringify(stripeEvent());

test('headers that do not come in time are 408 although the request has more, and the connection is closed', {
  timeout: 5000,
}, async () => {
  const patient = await startIngest({ timeouts: { ...quick, requestMs: 60_000 } });
  const client = open(patient.port);
  client.socket.write('POST /events HTTP/1.1\r\nhost: x\r\n');
  assertProblem(await client.closed, 408, 'request_timeout');
  await patient.close();
});

test('a connection that never says anything is closed', async () => {
  await open().closed;
});

test('a body that does not come in time is 408, and nothing is stored', async () => {
  writer.records.length = 0;
  const client = open();
  client.socket.write(requestText(body).slice(0, -5));
  assertProblem(await client.closed, 408, 'request_timeout');
  assert.equal(writer.records.length, 0);
});

test('headers over 16 KiB are 431', async () => {
  const client = open();
  client.socket.write(`GET /healthz HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`);
  assertProblem(await client.closed, 431, 'headers_too_large');
});

for (const [what, text] of [
  ['no HTTP', 'hello\r\n\r\n'],
  ['no host', 'GET /healthz HTTP/1.1\r\n\r\n'],
  ['two lengths', 'POST /events HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab'],
  [
    'a length and chunks',
    'POST /events HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\na',
  ],
  ['a negative length', 'POST /events HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n'],
] as const) {
  test(`${what} is 400`, async () => {
    const client = open();
    client.socket.end(text);
    assertProblem(await client.closed, 400, 'request_malformed');
    const { route, status, code } = ingest.log.at(-1)!;
    assert.deepEqual([route, status, code], ['unknown', 400, 'request_malformed']);
  });
}

test('Expect: 100-continue is told to go on; any other expectation is 417', async () => {
  const client = open();
  const [head, rest] = requestText(body, ['expect: 100-continue', 'connection: close']).split('\r\n\r\n');
  client.socket.write(`${head}\r\n\r\n`);
  await until(() => client.received() === 'HTTP/1.1 100 Continue\r\n\r\n');
  client.socket.write(rest!);
  assert.match(await client.closed, /HTTP\/1\.1 200 OK/);

  writer.records.length = 0;
  const other = open();
  other.socket.write(requestText(body, ['expect: 200-maybe']));
  assertProblem(await other.closed, 417, 'expectation_unknown');
  assert.equal(writer.records.length, 0);
});

test('CONNECT is 405', async () => {
  const client = open();
  client.socket.write('CONNECT example.org:443 HTTP/1.1\r\nhost: example.org\r\n\r\n');
  assertProblem(await client.closed, 405, 'method_not_allowed');
});

test('what is malformed behind a whole request does not take the place of its answer', async () => {
  const { slow, started, release } = slowWriter();
  const other = await startIngest({ writer: slow });
  const client = open(other.port);
  client.socket.write(`${requestText(body)}hello\r\n\r\n`);
  await started;
  await asksHealth(open(other.port)); // by now the server has read the rest
  release();
  const text = await client.closed;
  assert.deepEqual(text.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200']);
  await other.close();
});

test('half-sent bodies beyond what memory is for are cut with 503, and an honest sender gets through', {
  timeout: 20_000,
}, async () => {
  const flooded = await startIngest({ timeouts: { requestMs: 60_000 } });
  const half = Buffer.concat([Buffer.from(requestText('x'.repeat(1_000_000)).slice(0, -500_000))]);
  const clients = Array.from({ length: 100 }, () => {
    const client = open(flooded.port);
    client.socket.write(half);
    return client;
  });
  await until(() => clients.some(({ received }) => received() !== ''));
  for (let sent = 0; sent < 20; sent++) {
    assert.equal((await post(`${flooded.url}/webhooks/platform`, stripeHeaders(body), body)).status, 200);
  }
  const cut = clients.find(({ received }) => received() !== '')!;
  const text = await cut.closed;
  assertProblem(text, 503, 'overloaded');
  assert.match(text, /\r\nretry-after: \d+\r\n/);
  for (const { socket } of clients) socket.destroy();
  await flooded.close();
});

test('a malformed chunk ends its connection and stores nothing', async () => {
  writer.records.length = 0;
  const client = open();
  client.socket.write('POST /events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n');
  client.socket.write('transfer-encoding: chunked\r\n\r\nzz\r\n');
  await client.closed;
  assert.equal(writer.records.length, 0);
});

test('a client that closes its half, or goes away in mid-body, costs a log line and no more', async () => {
  const lines = ingest.log.length;
  const half = open();
  half.socket.end(requestText(body));
  await half.closed;
  await until(() => ingest.log.length === lines + 1);
  writer.records.length = 0;

  const client = open();
  client.socket.write(requestText(body).slice(0, -5));
  await once(client.socket, 'connect');
  client.socket.destroy();
  await until(() => ingest.log.length === lines + 2);
  assert.equal(ingest.log.at(-1)!.code, 'request_aborted');
  assert.equal(writer.records.length, 0);
});

test('requests sent one after the other on one connection without waiting are all answered, in order', async () => {
  const client = open();
  client.socket.write(requestText(body) + requestText('{}') + requestText(body, ['connection: close']));
  const text = await client.closed;
  assert.deepEqual(text.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 400', 'HTTP/1.1 200']);
});

test('the absolute form of a request target is the same route, and the same path in the envelope', async () => {
  writer.records.length = 0;
  const client = open();
  client.socket.write(requestText(body, ['connection: close']).replace(' /webhooks', ' http://other.example/webhooks'));
  assert.match(await client.closed, /^HTTP\/1\.1 200 /);
  assert.match(Buffer.from(writer.records[0]!.value).toString(), /"path":"\/webhooks\/platform"/);
});

test('after 413 an endless body is cut off', { timeout: 5000 }, async () => {
  const small = await startIngest({ maxBodyBytes: 1024, timeouts: { requestMs: 20_000 } });
  const client = open(small.port);
  client.socket.write('POST /webhooks/platform HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n');
  client.socket.write('content-length: 1000000000\r\n\r\n');
  const chunk = Buffer.alloc(256 * 1024);
  // Only after a write that went well: one to an ended socket calls back at once, and would go on for ever.
  const pour = (failed?: Error | null): void => {
    if (!failed && !client.socket.destroyed) client.socket.write(chunk, pour);
  };
  pour();
  const text = await client.closed;
  assert.match(text, /^HTTP\/1\.1 413 [\s\S]*body_too_large/);
  assert.ok(client.socket.bytesWritten < 40_000_000, `${client.socket.bytesWritten} bytes were taken`);
  await small.close();
});

test('a hundred connections that send nothing keep no other waiting', async () => {
  const idle = Array.from({ length: 100 }, () => open());
  await Promise.all(idle.map(({ socket }) => once(socket, 'connect')));
  assert.equal((await post(`${ingest.url}/webhooks/platform`, stripeHeaders(body), body)).status, 200);
  for (const { socket } of idle) socket.destroy();
});

test('a stop answers the request in flight, with Connection: close, and only then closes the writer', async () => {
  const { slow, started, release } = slowWriter();
  const stopping = await startIngest({ writer: slow });
  const client = open(stopping.port);
  const idle = open(stopping.port);
  await asksHealth(idle);
  client.socket.write(requestText(body));
  await started;
  const stopped = stopping.close();
  await idle.closed;
  const refused = open(stopping.port);
  assert.equal(await refused.closed, '');
  assert.equal(slow.closed, false);
  release();
  const text = await client.closed;
  assert.match(text, /^HTTP\/1\.1 200 OK/);
  assert.match(text, /\r\nconnection: close\r\n/i);
  await stopped;
  assert.equal(slow.closed, true);
  assert.equal(slow.records.length, 1);
});

test('a stop waits for no half-sent request and no stream that hangs: waiting requests get 503, then connections are cut', {
  timeout: 5000,
}, async () => {
  const { slow: hanging, started } = slowWriter();
  const timeouts = { stopWaitingMs: 50, cutMs: 150, abandonMs: 300 };
  const stopping = await startIngest({ writer: hanging, timeouts, publishDeadlineMs: 1000 });
  const inFlight = open(stopping.port);
  inFlight.socket.write(requestText(body));
  await started;
  const waiting = open(stopping.port);
  const halfBody = open(stopping.port);
  const halfHeaders = open(stopping.port);
  for (const client of [waiting, halfBody, halfHeaders]) await asksHealth(client);
  waiting.socket.write(requestText(body));
  halfBody.socket.write(requestText(body).slice(0, -5));
  halfHeaders.socket.write('POST /eve');
  await asksHealth(open(stopping.port)); // by now the server has read what the three wrote
  await stopping.close();
  assert.match(await waiting.closed, /HTTP\/1\.1 503 [\s\S]*Shutting down/);
  assert.doesNotMatch(await halfBody.closed, /HTTP\/1\.1 [45]/);
  await Promise.all([inFlight.closed, halfHeaders.closed]);
});

test('the writer is closed after the append in flight, though its connection was cut', async () => {
  const { slow, started, release } = slowWriter();
  const stopping = await startIngest({ writer: slow, timeouts: { stopWaitingMs: 10, cutMs: 20 } });
  const client = open(stopping.port);
  client.socket.write(requestText(body));
  await started;
  const stopped = stopping.close();
  await client.closed;
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  assert.equal(slow.closed, false);
  release();
  await stopped;
  assert.deepEqual([slow.closed, slow.records.length], [true, 1]);
});

test('the body limit is lowered, with a warning, to what a record of the stream holds beside an envelope', async () => {
  const narrow = await startIngest({ writer: memoryWriter(65_536), maxBodyBytes: 1_048_576 });
  const line = narrow.log.find(({ level }) => level === 40);
  assert.deepEqual([line?.asked, line?.maxBodyBytes], [1_048_576, 32_768]);
  const large = JSON.stringify(stripeEvent({ padding: 'x'.repeat(32_768) }));
  assert.equal((await post(`${narrow.url}/webhooks/platform`, stripeHeaders(large), large)).status, 413);
  await narrow.close();

  const wide = await startIngest({ writer: memoryWriter(10_000_000) });
  assert.equal(
    wide.log.find(({ level }) => level === 40),
    undefined,
  );
  await wide.close();
});

test('the largest envelope of the largest body fits into what a record holds', async () => {
  const maxValueBytes = 65_536;
  const narrow = memoryWriter(maxValueBytes);
  const limited = await startIngest({ writer: narrow });
  const base = stripeEvent({
    id: '"'.repeat(255),
    type: '\u0001'.repeat(1024),
    data: { object: { id: '\u0001'.repeat(1024) } },
    padding: '',
  });
  const empty = JSON.stringify(base);
  const largest = empty.replace('"padding":""', `"padding":"${'x'.repeat(32_768 - empty.length)}"`);
  const headers = stripeHeaders(largest);
  headers['stripe-signature'] += `,x=${'y'.repeat(15_000)}`;
  const answer = await post(`${limited.url}/webhooks/platform`, headers, largest);
  assert.equal(answer.status, 200);
  assert.ok(narrow.records[0]!.value.byteLength <= maxValueBytes, `${narrow.records[0]!.value.byteLength}`);
  await limited.close();
});

test('a port that is taken is refused with its reason', async () => {
  await assert.rejects(
    startIngest().then(async (second) => {
      const { serve } = await import('../../ingest/serve.ts');
      const { pino } = await import('pino');
      const { systemClock } = await import('../../shared/clock.ts');
      try {
        await serve({
          host: '127.0.0.1',
          port: second.port,
          sources: [],
          maxBodyBytes: 1024,
          publishDeadlineMs: 1,
          writer: memoryWriter(),
          spool: await memorySpool(),
          isSpoolDurable: true,
          observer: noObserver,
          clock: systemClock,
          log: pino({ level: 'silent' }),
        });
      } finally {
        await second.close();
      }
    }),
    { code: 'listener_unavailable' },
  );
});
