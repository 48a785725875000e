/** The client as a page of a real Chromium loads it, before the real ingest, with the login cookie of another host. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import type { Page } from 'playwright-core';
import { startChromium } from '../../browser/chromium.ts';
import { envelopes, memoryWriter, startIngest, until } from '../ingest-under-test.ts';
import { cookieName, cookieOf, cookieSource, newIssuer } from '../login-cookie.ts';
import { packClient } from './pack-client.ts';

const folder = mkdtempSync(join(tmpdir(), 'daybook-client-'));
const installed = packClient(folder);
const issuer = newIssuer();
const writer = memoryWriter();
const ingest = await startIngest({ writer, spool: 'no spool', publishDeadlineMs: 50, sources: [cookieSource(issuer)] });
beforeEach(() => {
  writer.records.length = 0;
});

const browser = await startChromium({
  backends: { 'ingest.example.test': ingest.port },
  page({ pathname }) {
    const script = /^\/(dist\/\w+\.js)$/.exec(pathname)?.[1];
    if (script !== undefined) {
      return { html: readFileSync(join(installed, script), 'utf8'), headers: { 'content-type': 'text/javascript' } };
    }
    const cookie = `${cookieName}=${cookieOf(issuer)}; Domain=example.test; Path=/; Secure; HttpOnly; SameSite=None`;
    return { html: '<!doctype html><title>A page</title>', headers: { 'set-cookie': cookie } };
  },
});
after(async () => {
  await browser?.close();
  await ingest.close();
  rmSync(folder, { recursive: true, force: true });
});
const options = { skip: browser === undefined };

/** A page with a client, as `client`, that waits an hour for others unless it is told to send. */
async function pageWithClient(): Promise<Page> {
  const context = await browser!.newContext();
  const page = await context.newPage();
  await page.goto('https://app.example.test/news');
  await page.evaluate(`import('/dist/client.js').then(({ openClient, cookie }) => {
    window.refused = [];
    window.failed = [];
    window.client = openClient({
      url: 'https://ingest.example.test/events',
      auth: cookie(),
      throttleMs: 3_600_000,
      onRefused: (one) => refused.push(one),
      onFailure: (one) => failed.push(one),
    });
    window.event = (more) => ({ app: 'page', stage: 'TEST', type: 'click', value: 1, ...more });
  })`);
  return page;
}

const stored = () => envelopes(writer).map(({ data }) => JSON.parse(data).tags?.n);

test('a page sends with its cookie; what is refused is named to it, and the rest is stored', options, async () => {
  const page = await pageWithClient();
  await page.evaluate(`(async () => {
    for (let n = 0; n < 3; n++) client.send(event({ tags: { n } }));
    client.send(event({ value: 'wrong' }));
    await client.flush();
  })()`);
  assert.deepEqual(stored(), [0, 1, 2]);
  assert.deepEqual(
    envelopes(writer).map(({ header }) => header.scheme),
    ['cookie', 'cookie', 'cookie'],
  );
  assert.deepEqual(await page.evaluate('refused.map(({ event, status, code }) => [event.value, status, code])'), [
    ['wrong', 400, 'event_invalid'],
  ]);
  assert.deepEqual(await page.evaluate('client.held()'), { events: 0, bytes: 0 });
  await page.context().close();
});

test('a page reads the Retry-After of another origin, and keeps what it has', options, async () => {
  const page = await pageWithClient();
  writer.intercept = () => Promise.reject(new Error('away'));
  await page.evaluate('client.send(event({ tags: { n: 7 } })), void client.flush()');
  await page.waitForFunction('failed.length > 0');
  writer.intercept = undefined;
  const [failure] = await page.evaluate<{ status: number; waitMs: number }[]>('failed');
  assert.equal(failure!.status, 503);
  assert.ok(failure!.waitMs >= 5000);
  assert.deepEqual(await page.evaluate('client.held().events'), 1);
  // Nobody waits for that: the page is left, and what it holds goes at once.
  await page.goto('about:blank');
  await until(() => stored().length > 0);
  assert.deepEqual(stored(), [7]);
  await page.context().close();
});

test('what a page holds as it is left arrives, what is on its way included', options, async () => {
  const page = await pageWithClient();
  // A browser asks for no preflight on behalf of a page that is gone.
  await page.evaluate(`client.send(event({ tags: { n: -1 } })), client.flush()`);
  const held = await page.evaluate<number>(`(() => {
    for (let n = 0; n < 100; n++) client.send(event({ tags: { n, note: 'x'.repeat(220) } }));
    return client.held().bytes;
  })()`);
  assert.ok(held > 32_768 && held < 65_000, 'more than one request, and no more than browsers let go');
  await page.goto('about:blank');
  // Chromium may send again what was on its way.
  await until(() => new Set(stored()).size === 101);
  await page.context().close();
});
