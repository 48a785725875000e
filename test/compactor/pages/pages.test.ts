/** The pages as people use them: a real `serve` over a real archive, in a real Chromium. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { scryptSync } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { identityToRecipient } from 'age-encryption';
import type { Page } from 'playwright-core';
import type { Report } from '../../../compactor/console/report-shapes.ts';
import { addDays, dayOf } from '../../../shared/clock.ts';
import { startChromium } from '../../browser/chromium.ts';
import { startFakeStripe } from '../../stripe/fake-stripe.ts';
import { eventsOf } from '../archive-under-test.ts';
import { eventRecord, openBooks, stripeRecord } from '../books.ts';

const password = 'who knows this may act';
const day = addDays(dayOf(Date.now()), -2);
const hostile = '"><img src=x onerror="document.title=1">\u202egnp';

const books = await openBooks();
const stripe = await startFakeStripe();
const events = eventsOf(day, 20, 'pages');
for (const { text } of events) stripe.add(text);
await books.deliver(
  ...events.slice(0, 15).map(({ text }) => stripeRecord(text)),
  eventRecord('{"value":1}', { id: hostile, time: `${day}T12:00:00Z`, receivedAt: `${day}T12:00:01.000Z` }),
);

function hashOf(text: string): string {
  const salt = Buffer.from('salt of a test');
  const hash = scryptSync(text, salt, 32, { N: 2 ** 12, r: 8, p: 1 });
  return `$scrypt$ln=12,r=8,p=1$${[salt, hash].map((bytes) => bytes.toString('base64').replaceAll('=', '')).join('$')}`;
}

const child = spawn(
  process.execPath,
  [fileURLToPath(new URL('../../../compactor/main.ts', import.meta.url)), 'serve'],
  {
    cwd: books.directory,
    env: {
      PATH: process.env.PATH,
      DAYBOOK_DATA_DIR: books.directory,
      DAYBOOK_STORE: JSON.stringify({ type: 'directory', params: { path: books.archive } }),
      DAYBOOK_SOURCES: JSON.stringify([
        { name: 'platform', scheme: 'stripe', secrets: ['whsec_unused'], apiKey: stripe.apiKey },
        { name: 'billing', scheme: 'panda', secrets: ['unused secret of billing'] },
      ]),
      STRIPE_API_BASE: stripe.base.origin,
      COMPACTOR_RECIPIENTS: await identityToRecipient(books.identity),
      COMPACTOR_SIGNING_KEY: books.signingKey,
      COMPACTOR_ENABLED: 'false',
      COMPACTOR_PORT: '0',
      COMPACTOR_ADMIN_PORT: '0',
      COMPACTOR_INGESTS: '',
      COMPACTOR_CONSOLE_PASSWORD: hashOf(password),
      COMPACTOR_CONSOLE_HOSTS: 'books.example.test',
    },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  },
);
createInterface({ input: child.stderr! }).on('line', () => {});
const [{ port }] = (await once(child, 'message')) as [{ port: number }];

const origin = 'https://books.example.test';
const browser = await startChromium({
  backends: { 'books.example.test': port },
  page: () => ({
    html: `<!doctype html><title>evil</title><form method="post" action="${origin}/now/run"><button>Win</button></form>`,
  }),
});
after(async () => {
  await browser?.close();
  child.kill('SIGTERM');
  await once(child, 'exit');
  await stripe.close();
  await books.close();
});
const options = { skip: browser === undefined };
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const complaints: string[] = [];
let page: Page;

async function logIn(given: string): Promise<void> {
  await page.getByLabel('Password').fill(given);
  await page.keyboard.press('Enter');
  await page.waitForLoadState();
}

async function checkByAxe(where: string): Promise<void> {
  await page.evaluate(axe);
  const found = (await page.evaluate(
    'axe.run().then(({ violations, passes }) => ({ passes: passes.length, violations: violations.map(({ id, nodes }) => id + " " + nodes[0].html) }))',
  )) as { passes: number; violations: string[] };
  assert.deepEqual(found.violations, [], where);
  assert.ok(found.passes > 15, `${where}: ${found.passes} rules`);
}

const here = () => new URL(page.url()).pathname;

test('a wrong password is said, the right one leads to the page that was asked for', options, async () => {
  page = await (await browser!.newContext()).newPage();
  page.on('pageerror', ({ message }) => complaints.push(message));
  page.on('console', (message) => {
    if (message.type() === 'error' && !/status of 4\d\d/.test(message.text())) complaints.push(message.text());
  });
  await page.goto(`${origin}/now`);
  assert.equal(here(), '/login');
  await logIn('who knows');
  await page.getByRole('alert').getByText('The password is wrong').waitFor();
  await checkByAxe('the login');
  await logIn(password);
  await page.getByRole('heading', { name: 'Now', exact: true }).waitFor();
  assert.equal(here(), '/now');
});

test('a night is started by the keyboard and watched to its end, without loading the page again', options, async () => {
  await page.getByRole('button', { name: 'Run now' }).focus();
  await page.keyboard.press('Enter');
  await page.locator('#jobs[data-running=yes]').waitFor();
  await page.evaluate('window.stillHere = true');
  await page.getByRole('status').getByText('Manifest 1. ').waitFor({ timeout: 30_000 });
  assert.equal(await page.evaluate('window.stillHere'), true);
  assert.match(
    await page.getByRole('status').innerText(),
    /Night, asked for.*: done\n+Manifest 1\. \d+ days, 0 errors/s,
  );
});

test(
  'by Tab and Enter alone one comes from the calendar to a day, whose counts add up; Escape hides what focus shows',
  options,
  async () => {
    await page.goto(`${origin}/?month=${day.slice(0, 7)}`);
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate('document.activeElement.textContent'), 'Skip to the content');
    await page.keyboard.press('Enter');
    const label = 'document.activeElement.getAttribute("href")';
    for (let tabs = 0; tabs < 200; tabs += 1) {
      await page.keyboard.press('Tab');
      if ((await page.evaluate(label)) === `/days/platform/${day}`) break;
    }
    assert.equal(await page.evaluate(label), `/days/platform/${day}`);
    const tip = page.locator(':focus .tip');
    assert.match(await tip.innerText(), /15 delivered \+ 5 recovered = 20 events\. 20 listed/);
    const shown = 'getComputedStyle(document.activeElement.querySelector(".tip")).pointerEvents';
    assert.equal(await page.evaluate(shown), 'auto');
    await page.keyboard.press('Escape');
    assert.equal(await page.evaluate(shown), 'none');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1 }).waitFor();
    assert.equal(here(), `/days/platform/${day}`);
    assert.match(
      (await page.locator('.equation').first().innerText()).replaceAll(/\s+/g, ' '),
      /15 delivered \+ 5 recovered = 20 events/,
    );
  },
);

test(
  'days complete are of those that are over, and where no list was asked nobody says that 0 are missing',
  options,
  async () => {
    const month = day.slice(0, 7);
    const complete = page.locator('.tiles div', { hasText: 'Days complete' });
    const { totals } = (await page.evaluate(
      `fetch('/api/report?month=${month}').then((answer) => answer.json())`,
    )) as Report;
    const over = totals.days - totals.byStanding.open;
    for (const path of [`/?month=${month}`, `/report?month=${month}`]) {
      await page.goto(origin + path);
      assert.match(await complete.innerText(), /of \d+ that (is|are) over/, path);
    }
    assert.match(await complete.innerText(), new RegExp(`of ${over} that`));
    assert.equal(await page.locator('.notice.bad').count(), 0, 'no day is incomplete or late');
    await page.getByText('It should print nothing.').waitFor();
    const cellsOf = (source: string) =>
      page.locator(`section:has(#source-${source}) tr`, { hasText: day }).locator('td').allInnerTexts();
    const rows = [await cellsOf('billing'), await cellsOf('platform')];
    assert.deepEqual(
      rows.map((cells) => cells[6]),
      ['–', '0'],
    );
  },
);

test('an id that is HTML and turns text around is shown as what it is, and found', options, async () => {
  await page.goto(`${origin}/find`);
  await page.getByLabel('Id of the event').fill(hostile);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: /^Found: "><img src=x onerror=.*\\u202egnp$/ }).waitFor();
  assert.match(await page.title(), /^Find "><img/);
  assert.equal(await page.locator('main img').count(), 0);
});

test(
  'every page, light and wide, dark and narrow: axe finds nothing, nothing sticks out, the browser complains of nothing',
  options,
  async () => {
    const paths = [
      '/',
      `/days/platform/${day}`,
      `/find?id=${events[0]!.id}`,
      '/now',
      `/report?month=${day.slice(0, 7)}`,
    ];
    const looks = [
      { name: 'light', colorScheme: 'light', width: 1280 },
      { name: 'dark', colorScheme: 'dark', width: 360 },
    ] as const;
    for (const { name, colorScheme, width } of looks) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 800 });
      for (const path of [...paths, '/manifests', '/nowhere']) {
        await page.goto(origin + path);
        await checkByAxe(`${name} ${path}`);
        assert.equal(
          await page.evaluate('document.documentElement.scrollWidth <= innerWidth'),
          true,
          `${name} ${path}`,
        );
        if (process.env.SCREENSHOTS !== undefined) {
          // Pictures are kept: not with the folder of this run.
          await page.evaluate(
            `for (const place of document.querySelectorAll('dd')) if (place.textContent.startsWith(${JSON.stringify(books.archive)})) place.textContent = '/var/lib/daybook/archive'`,
          );
          const file = `${process.env.SCREENSHOTS}/${name}${path.replaceAll(/\W+/g, '_')}.png`;
          await page.screenshot({ path: file, fullPage: true });
        }
      }
    }
    assert.deepEqual(complaints, []);
  },
);

test('a form of another page starts nothing, though the browser sends the cookie', options, async () => {
  await page.goto('https://evil.example.test/');
  await page.getByRole('button', { name: 'Win' }).click();
  await page.getByText('form_refused').waitFor();
  await page.goto(`${origin}/now`);
  assert.equal(await page.locator('#jobs .ended').count(), 1, 'the one night');
});

test('whose session is gone logs in again and comes to where they were; who logs out is out', options, async () => {
  await page.context().clearCookies();
  await page.getByRole('link', { name: 'Report' }).click();
  assert.equal(here(), '/login');
  await logIn(password);
  await page.getByRole('heading', { name: /^Report of/ }).waitFor();
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.getByLabel('Password').waitFor();
  await page.goto(`${origin}/now`);
  assert.equal(here(), '/login');
});
