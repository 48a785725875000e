/** A real Chromium sends from pages of its hosts: what the browser lets through, and what it holds back. */
import assert from 'node:assert/strict';
import { after, beforeEach, test } from 'node:test';
import type { Page } from 'playwright-core';
import { startChromium } from '../browser/chromium.ts';
import { envelopes, memoryWriter, serverEvent, startIngest, until } from './ingest-under-test.ts';
import { cookieName, cookieOf, cookieSource, newIssuer, payloadOf } from './login-cookie.ts';

const issuer = newIssuer();
const writer = memoryWriter();
const source = cookieSource(issuer, { accessed: true, origins: ['app.example.test'] });
const ingest = await startIngest({ writer, sources: [source] });
beforeEach(() => {
  writer.records.length = 0;
  ingest.log.length = 0;
});

const browser = await startChromium({
  backends: { 'ingest.example.test': ingest.port },
  page: (url) => {
    const html = '<!doctype html><title>A page</title>';
    const cookie = url.searchParams.get('cookie');
    if (cookie === null) return { html };
    return {
      html,
      headers: {
        'set-cookie': `${cookieName}=${cookie}; Domain=example.test; Path=/; Secure; HttpOnly; SameSite=None`,
      },
    };
  },
});
after(async () => {
  await browser?.close();
  await ingest.close();
});
const options = { skip: browser === undefined };

/** A page of a host, opened by somebody with this cookie. */
async function pageOf(host: string, payload: string | undefined): Promise<Page> {
  const context = await browser!.newContext();
  const page = await context.newPage();
  if (payload !== undefined) {
    await page.goto(`https://login.example.test/?cookie=${encodeURIComponent(cookieOf(issuer, payload))}`);
  }
  await page.goto(`https://${host}/list?secret=1`);
  return page;
}

interface Sent {
  readonly status?: number;
  readonly code?: string;
  /** What the page's script is told where the browser let nothing through. */
  readonly error?: string;
}

/** By the script of the page. */
function send(page: Page, init: Readonly<Record<string, unknown>> = {}): Promise<Sent> {
  const given = {
    method: 'POST',
    credentials: 'include',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(serverEvent()),
    ...init,
  };
  return page.evaluate(`fetch('https://ingest.example.test/events', ${JSON.stringify(given)}).then(
    async (answer) => ({ status: answer.status, ...(answer.ok || answer.type === 'opaque' ? {} : { code: (await answer.json()).code }) }),
    ({ name }) => ({ error: name }),
  )`);
}

const requests = () =>
  ingest.log
    .filter(({ msg }) => msg === 'request')
    .map(({ method, route, status, code = '' }) => `${method} ${route} ${status} ${code}`.trim());

test('a page of another host sends with the cookie, after a preflight, and reads the answer', options, async () => {
  const page = await pageOf('app.example.test', payloadOf());
  assert.deepEqual(await send(page), { status: 201 });
  assert.deepEqual(requests(), ['OPTIONS /events 204', 'POST /events 201']);
  const [{ header }] = envelopes(writer) as [ReturnType<typeof envelopes>[0]];
  assert.deepEqual([header.source, header.scheme], ['/events/pages', 'cookie']);
  // The browser remembers what the preflight said.
  assert.deepEqual(await send(page), { status: 201 });
  assert.deepEqual(requests().slice(2), ['POST /events 201']);
  await page.context().close();
});

for (const [what, payload, init, answer] of [
  ['does not ask for its cookie to go along', payloadOf(), { credentials: 'omit' }, { status: 401, code: 'no_cookie' }],
  ['has no login', undefined, {}, { status: 401, code: 'no_cookie' }],
  ['has a login that ended an hour ago', payloadOf({ expires: Date.now() - 3_600_000 }), {}, { status: 201 }],
  [
    'has a login that ended 25 hours ago',
    payloadOf({ expires: Date.now() - 90_000_000 }),
    {},
    { status: 403, code: 'expired_cookie' },
  ],
  ['has a login of another domain', payloadOf({ email: 'a@other.test' }), {}, { status: 403, code: 'invalid_user' }],
  ['sends what is not JSON', payloadOf(), { body: '{' }, { status: 400, code: 'body_malformed' }],
] as const) {
  test(`a page that ${what} reads what is answered`, options, async () => {
    const page = await pageOf('deep.app.example.test', payload);
    assert.deepEqual(await send(page, init), answer);
    await page.context().close();
  });
}

for (const [what, host, hasCookie] of [
  ['another site', 'app.evil.test', false],
  ['another host of the domain', 'wiki.example.test', true],
  ['a host that ends alike', 'notapp.example.test', true],
  ['a host that begins alike', 'app.example.test.evil.test', false],
] as const) {
  test(`a page of ${what} gets nothing through, whatever it tries`, options, async () => {
    const page = await pageOf(host, payloadOf());
    assert.deepEqual(await send(page), { error: 'TypeError' });
    assert.deepEqual(requests(), ['OPTIONS /events 403 origin_refused']);
    // What needs no preflight reaches ingest, and is refused there.
    const simple = { mode: 'no-cors', headers: { 'content-type': 'text/plain' } };
    assert.deepEqual(await send(page, simple), { status: 0 });
    assert.deepEqual(requests().slice(1), ['POST /events 415 unsupported_media_type']);
    await page.evaluate(`new Promise((resolve) => {
      const image = new Image();
      image.onload = image.onerror = resolve;
      image.src = 'https://ingest.example.test/accessed?app=a&path=b';
    })`);
    // Of another site the browser holds the cookie back as well.
    assert.deepEqual(requests().slice(2), [`GET /accessed ${hasCookie ? '403 origin_refused' : '401 no_cookie'}`]);
    assert.equal(writer.records.length, 0);
    await page.context().close();
  });
}

for (const way of ['sendBeacon', 'fetch with keepalive']) {
  test(`what a page that has sent before sends as it is left arrives: ${way}`, options, async () => {
    const page = await pageOf('app.example.test', payloadOf());
    // A browser does not ask for a page that is gone: it has to remember a preflight.
    assert.equal((await send(page)).status, 201);
    const body = JSON.stringify(serverEvent({ type: way }));
    await page.evaluate(`addEventListener('pagehide', () => {
      const [url, type, body] = ['https://ingest.example.test/events', 'application/json', ${JSON.stringify(body)}];
      if (${way === 'sendBeacon'}) navigator.sendBeacon(url, new Blob([body], { type }));
      else fetch(url, { method: 'POST', credentials: 'include', keepalive: true, headers: { 'content-type': type }, body });
    })`);
    await page.goto('about:blank');
    await until(() => envelopes(writer).some(({ header }) => header.type === way));
    await page.context().close();
  });
}

test('an image in a page is a CloudEvent of the source, each time it is loaded', options, async () => {
  const page = await pageOf('app.example.test', payloadOf());
  for (let time = 0; time < 2; time++) {
    const image = '<img src="https://ingest.example.test/accessed?app=workflow&stage=PROD&path=/list">';
    await page.setContent(image);
    await until(() => writer.records.length > time);
  }
  const [first, second] = envelopes(writer);
  assert.deepEqual([first!.header.type, first!.header.source], ['daybook.accessed', '/events/pages']);
  assert.deepEqual(JSON.parse(first!.data).data, {
    app: 'workflow',
    stage: 'PROD',
    path: '/list',
    // Of a page of another host browsers tell the origin alone, unless the page asks for more.
    page: 'https://app.example.test/',
  });
  assert.notEqual(first!.header.id, second!.header.id);
  await page.context().close();
});
