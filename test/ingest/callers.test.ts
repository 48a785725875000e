/** Sources that name who may call: by which address, through which proxies, and what those read who may not. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { openIngestMetrics } from '../../ingest/metrics.ts';
import { noObserver, type Observer } from '../../ingest/publish/observer.ts';
import { sourcesSchema } from '../../shared/schemes/sources.ts';
import {
  memoryWriter,
  pandaHeaders,
  serverEvent,
  startIngest,
  stripeEvent,
  stripeHeaders,
  stripeSecret,
  type UnderTestOptions,
} from './ingest-under-test.ts';

const body = JSON.stringify(stripeEvent());
const event = JSON.stringify(serverEvent());

interface Call {
  /** Of this machine: any of 127.0.0.0/8, ::1. */
  readonly from?: string;
  readonly to?: string;
  readonly path?: string;
  readonly headers?: Record<string, string | string[]>;
  readonly body?: string;
}

/** The status of the answer, and the code where it is a problem. */
async function call(port: number, call: Call = {}): Promise<[number, string?]> {
  const { from = '127.0.0.1', to = '127.0.0.1', path = '/webhooks/platform', headers = {}, body: sent = body } = call;
  const own = path === '/events' ? pandaHeaders() : stripeHeaders(sent);
  const asked = request({
    ...{ host: to, port, path, method: 'POST', localAddress: from, agent: false },
    headers: { ...own, 'content-length': Buffer.byteLength(sent), ...headers },
  });
  asked.end(sent);
  const [response] = await once(asked, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const { code } = JSON.parse(Buffer.concat(chunks).toString());
  return code === undefined ? [response.statusCode] : [response.statusCode, code];
}

async function withIngest(
  options: UnderTestOptions,
  work: (ingest: Awaited<ReturnType<typeof startIngest>>) => Promise<void>,
): Promise<void> {
  const ingest = await startIngest(options);
  try {
    await work(ingest);
  } finally {
    await ingest.close();
  }
}

const refused: [number, string] = [403, 'caller_refused'];
const stripe = (allow?: readonly string[], name = 'platform') => ({
  ...{ name, scheme: 'stripe', secrets: [stripeSecret] },
  ...(allow === undefined ? {} : { allow }),
});

test('only who is on the list of a source is heard there; a source without one hears anybody', async () => {
  const sources = [stripe(['127.0.0.2', '127.0.1.0/24']), stripe(undefined, 'open')];
  await withIngest({ sources }, async ({ port, log }) => {
    assert.deepEqual(await call(port, { from: '127.0.0.2' }), [200]);
    assert.deepEqual(await call(port, { from: '127.0.1.9' }), [200]);
    assert.deepEqual(await call(port, { from: '127.0.0.1' }), refused);
    assert.deepEqual(await call(port, { from: '127.0.0.1', path: '/webhooks/open' }), [200]);
    const lines = log.filter(({ msg }) => msg === 'request').map(({ caller, source }) => [source, caller]);
    assert.deepEqual(lines, [
      ['platform', undefined],
      ['platform', undefined],
      ['platform', '127.0.0.1'],
      ['open', undefined],
    ]);
  });
});

test('the same over IPv6, and for IPv4 on a listener of both', async () => {
  await withIngest({ host: '::', sources: [stripe(['127.0.0.2', '::1'])] }, async ({ port }) => {
    assert.deepEqual(await call(port, { from: '::1', to: '::1' }), [200]);
    assert.deepEqual(await call(port, { from: '127.0.0.2' }), [200]);
    assert.deepEqual(await call(port, { from: '127.0.0.1' }), refused);
  });
});

test('a stranger is answered before any of the body came, and nothing is stored', { timeout: 5000 }, async () => {
  const writer = memoryWriter();
  await withIngest({ writer, sources: [stripe(['192.0.2.7'])] }, async ({ port }) => {
    const socket = connect(port, '127.0.0.1');
    socket.write(
      'POST /webhooks/platform HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n',
    );
    const [text] = await once(socket, 'data');
    assert.match(String(text), /^HTTP\/1\.1 403 [\s\S]*caller_refused/);
    socket.destroy();
    assert.deepEqual(writer.appends, []);
  });
});

test('a path and a method that are not there are said first, whoever calls', async () => {
  await withIngest({ sources: [stripe(['192.0.2.7'])] }, async ({ port, url }) => {
    assert.deepEqual(await call(port, { path: '/webhooks/nobody' }), [404, 'unknown_source']);
    assert.equal((await fetch(`${url}/webhooks/platform`)).status, 405);
    assert.equal((await fetch(`${url}/healthz`)).status, 200);
  });
});

test('X-Forwarded-For counts where a trusted proxy sends it, and of it the last address that is no such proxy', async () => {
  const forwarded = (...values: string[]) => ({ headers: { 'x-forwarded-for': values } });
  const sources = [stripe(['192.0.2.7', '2001:db8::/32'])];
  await withIngest({ sources }, async ({ port }) => {
    assert.deepEqual(await call(port, forwarded('192.0.2.7')), refused, 'nobody is trusted');
  });
  await withIngest({ sources, trustedProxies: ['127.0.0.2', '10.0.0.0/8'] }, async ({ port, log }) => {
    const proxy = '127.0.0.2';
    assert.deepEqual(await call(port, forwarded('192.0.2.7')), refused, 'not by this one');
    assert.equal(log.at(-1)!.caller, '127.0.0.1');
    assert.deepEqual(await call(port, { from: proxy }), refused, 'the proxy itself');
    for (const values of [
      ['192.0.2.7'],
      ['2001:db8::9'],
      ['::ffff:192.0.2.7'],
      ['192.0.2.7, 10.1.2.3'],
      ['192.0.2.7', '10.1.2.3'],
      ['198.51.100.1, 192.0.2.7'],
    ]) {
      assert.deepEqual(await call(port, { from: proxy, ...forwarded(...values) }), [200], values.join('|'));
    }
    for (const values of [
      ['192.0.2.7, 198.51.100.1'],
      ['192.0.2.7', '198.51.100.1'],
      ['192.0.2.7, 198.51.100.1, 10.1.2.3'],
      ['unknown'],
      ['192.0.2.7, unknown'],
      ['192.0.2.7:4711'],
      [''],
      ['10.1.2.3'],
      ['x'.repeat(8000)],
    ]) {
      assert.deepEqual(await call(port, { from: proxy, ...forwarded(...values) }), refused, values.join('|'));
    }
    assert.deepEqual(await call(port, { from: proxy, headers: { forwarded: 'for=192.0.2.7' } }), refused);
  });
});

test('on a route of several sources: whom none of them hears is refused at once, else the proven source decides', async () => {
  const panda = (name: string, secret: string, allow?: readonly string[]) => ({
    ...{ name, scheme: 'panda', secrets: [secret] },
    ...(allow === undefined ? {} : { allow }),
  });
  const as = (secret: string) => pandaHeaders('/events', secret);
  const writer = memoryWriter();
  const sources = [stripe(), panda('billing', 'one', ['127.0.0.2']), panda('editor', 'two', ['127.0.0.3'])];
  await withIngest({ writer, sources }, async ({ port }) => {
    const sent = { path: '/events', body: event };
    assert.deepEqual(await call(port, { ...sent, headers: as('one'), from: '127.0.0.2' }), [201]);
    assert.deepEqual(await call(port, { ...sent, headers: as('two'), from: '127.0.0.3' }), [201]);
    assert.deepEqual(await call(port, { ...sent, headers: as('two'), from: '127.0.0.2' }), refused);
    assert.deepEqual(await call(port, { ...sent, headers: as('three'), from: '127.0.0.2' }), [403, 'token_mismatch']);
    assert.deepEqual(await call(port, { ...sent, headers: as('three'), from: '127.0.0.4' }), refused);
    assert.equal(writer.records.length, 2);
  });
  await withIngest({ sources: [panda('billing', 'one', ['127.0.0.2']), panda('editor', 'two')] }, async ({ port }) => {
    const sent = { path: '/events', body: event };
    assert.deepEqual(await call(port, { ...sent, headers: as('two') }), [201]);
    assert.deepEqual(await call(port, { ...sent, headers: as('one') }), refused);
    assert.deepEqual(await call(port, { ...sent, headers: as('three') }), [403, 'token_mismatch']);
  });
});

test('a refused caller is counted, as of the source and by the code', async () => {
  const metrics = openIngestMetrics({
    sources: [{ name: 'platform', keyids: [] }],
    spoolSize: async () => ({ records: 0, bytes: 0, oldestSeconds: 0, dead: 0 }),
    log: { warn() {} } as never,
  });
  const observer: Observer = { ...noObserver, answered: (request) => metrics.observer.answered(request) };
  await withIngest({ observer, sources: [stripe(['192.0.2.7'])] }, async ({ port }) => {
    assert.deepEqual(await call(port), refused);
    const scraped = await metrics.scrape();
    assert.match(scraped, /^daybook_ingest_refusals_total\{code="caller_refused"\} 1$/m);
    assert.match(scraped, /^daybook_ingest_requests_total\{source="platform",outcome="unauthenticated"\} 1$/m);
  });
  metrics.close();
});

test('a list is checked with all else of a source, whatever its scheme', () => {
  const problems = (allow: unknown, scheme = 'panda') =>
    sourcesSchema
      .safeParse([{ name: 'billing', scheme, secrets: ['x'], allow }])
      .error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`) ?? [];
  assert.deepEqual(problems(['192.0.2.7', '::1/64']), []);
  assert.deepEqual(problems(['192.0.2.7', '::1/64'], 'stripe'), []);
  assert.deepEqual(problems([]), ['0.allow: names nobody: without `allow` anybody may call']);
  assert.match(problems('192.0.2.7').join(), /^0\.allow: /);
  assert.match(problems(['example.com', '192.0.2.7/33']).join('\n'), /^0\.allow\.0: .*\n0\.allow\.1: /);
  assert.match(problems(['x'], 'fax').join('\n'), /0\.scheme: [\s\S]*0\.allow\.0: /);
});
