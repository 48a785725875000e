/** Who gets in, and who may act: by real requests to the routes of `serve`. What the archive tells is not asked for here. */
import assert from 'node:assert/strict';
import { scryptSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, test } from 'node:test';
import { pino } from 'pino';
import request from 'supertest';
import type { ConsoleData } from '../../../compactor/console/console-data.ts';
import { type GateOptions, openGate } from '../../../compactor/gate/gate.ts';
import { createApp } from '../../../compactor/serve/app.ts';
import type { JobRequest } from '../../../compactor/serve/jobs.ts';
import { addressList } from '../../../shared/address-list.ts';
import { type PasswordHash, parsePasswordHash } from '../../../shared/crypto/password-hash.ts';

const acting = 'who knows this may act';
const reading = 'who knows this may read';
const jobSecret = 'the secret of the jobs';
const hashes = new Map<string, PasswordHash>();
const servers: Server[] = [];
for (const password of [acting, reading]) {
  // As cheap as a hash may be: each login takes its time.
  const hash = scryptSync(password, 'salt of a test', 32, { N: 2 ** 12, r: 8, p: 1 });
  const text = (bytes: Buffer) => bytes.toString('base64').replaceAll('=', '');
  hashes.set(
    password,
    parsePasswordHash(`$scrypt$ln=12,r=8,p=1$${text(Buffer.from('salt of a test'))}$${text(hash)}`)!,
  );
}
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

interface Served {
  readonly api: ReturnType<typeof request>;
  readonly started: JobRequest[];
  readonly log: string[];
  pass(seconds: number): void;
}

async function start(change: Partial<GateOptions> = {}): Promise<Served> {
  let nowMs = Date.parse('2026-11-21T10:00:00Z');
  const clock = { now: () => new Date(nowMs) };
  const started: JobRequest[] = [];
  const log: string[] = [];
  const options: GateOptions = {
    password: undefined,
    readerPassword: undefined,
    userHeader: undefined,
    actors: [],
    isTrustedProxy: () => false,
    hosts: [],
    isOnLoopback: () => true,
    clock,
    ...change,
  };
  const app = createApp({
    jobs: {
      start: (job) => started.push(job) > 0,
      running: () => undefined,
      last: () => [],
      stop: async () => {},
    },
    jobSecret,
    data: {} as ConsoleData,
    gate: openGate(options),
    isTrustedProxy: options.isTrustedProxy,
    sources: [],
    clock,
    lagSeconds: 3600,
    closing: () => false,
    log: pino({ level: 'info' }, { write: (line: string) => void log.push(line) }),
  });
  const server = createServer(app).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    api: request(`http://127.0.0.1:${port}`),
    started,
    log,
    pass: (seconds) => {
      nowMs += seconds * 1000;
    },
  };
}

const withPasswords = () => ({ password: hashes.get(acting), readerPassword: hashes.get(reading) });
const form = 'application/x-www-form-urlencoded';
const tokenIn = ({ text }: request.Response) => /name="token" value="([\w-]+)"/.exec(text)?.[1] ?? '';
const cookieIn = ({ headers }: request.Response) => String(headers['set-cookie']?.[0]).split(';')[0]!;
const codeIn = ({ text }: request.Response) => /<code>(\w+)<\/code>/.exec(text)?.[1];

async function logIn(
  { api }: Served,
  password: string,
  headers: Record<string, string> = {},
): Promise<request.Response> {
  const page = await api.get('/login').set(headers);
  return api
    .post('/login?next=/now')
    .set({ ...headers, cookie: cookieIn(page) })
    .type(form)
    .send({ token: tokenIn(page), password });
}

/** A page that needs nothing of the archive. */
const page = '/now/jobs';

test('without a password the console is open on its own machine alone, to whoever asks it straight', async () => {
  const served = await start();
  for (const host of ['localhost', '127.0.0.1:8081', '[::1]:8081', 'LOCALHOST:8081']) {
    assert.equal((await served.api.get(page).set({ host })).status, 200, host);
  }
  const strangers: Record<string, string>[] = [
    { host: 'books.example.com' },
    { host: '192.0.2.7:8081' },
    { host: 'localhost.evil.example' },
    { host: '127.0.0.1.evil.example' },
    { host: 'localhost', 'x-forwarded-for': '192.0.2.7' },
    { host: 'localhost', forwarded: 'for=192.0.2.7' },
  ];
  for (const headers of strangers) {
    const refused = await served.api.get(page).set(headers);
    assert.deepEqual([refused.status, codeIn(refused)], [403, 'console_closed'], JSON.stringify(headers));
    const api = await served.api.get('/api/days').set(headers);
    assert.deepEqual([api.status, api.body.code], [403, 'console_closed']);
    assert.equal((await served.api.get('/healthz').set(headers)).status, 200);
  }
  const outside = await start({ isOnLoopback: () => false });
  const closed = await outside.api.get(page);
  assert.deepEqual(codeIn(closed), 'console_closed');
  assert.match(closed.text, /only where COMPACTOR_HOST is a loopback address/);
});

test('a password opens a session; a wrong one does not, and neither is ever said', async () => {
  const served = await start(withPasswords());
  const away = await served.api.get('/find?id=evt_1');
  assert.deepEqual([away.status, away.headers.location], [303, '/login?next=%2Ffind%3Fid%3Devt_1']);
  assert.deepEqual((await served.api.get('/api/days')).body.code, 'login_needed');
  const wrong = await logIn(served, `${acting} `);
  assert.equal(wrong.status, 403);
  assert.match(wrong.text, /role="alert"[^>]*>The password is wrong/);
  const right = await logIn(served, acting);
  assert.deepEqual([right.status, right.headers.location], [303, '/now']);
  assert.match(String(right.headers['set-cookie']), /^daybook=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/);
  assert.equal((await served.api.get(page).set({ cookie: cookieIn(right) })).status, 200);
  // The cookie of the form is no session, nor is one that somebody made.
  for (const cookie of [cookieIn(wrong), `daybook=${'A'.repeat(43)}`, 'daybook=', '']) {
    assert.equal((await served.api.get(page).set({ cookie })).status, 303, cookie);
  }
  const said = served.log.join('\n');
  assert.ok(!said.includes(acting) && !said.includes(cookieIn(right).slice(8)), said);
});

test('a session ends by the form of its page, after an hour of rest, and after twelve hours', async () => {
  const served = await start(withPasswords());
  const isOpen = async (cookie: string) => (await served.api.get(page).set({ cookie })).status === 200;
  const first = cookieIn(await logIn(served, reading));
  const token = tokenIn(await served.api.get('/nowhere').set({ cookie: first, accept: 'text/html' }));
  const out = await served.api.post('/logout').set({ cookie: first }).type(form).send({ token });
  assert.match(String(out.headers['set-cookie']), /^daybook=; .*Max-Age=0$/);
  assert.equal(await isOpen(first), false);

  const idle = cookieIn(await logIn(served, reading));
  served.pass(3599);
  assert.equal(await isOpen(idle), true);
  served.pass(3600);
  assert.equal(await isOpen(idle), false);

  const long = cookieIn(await logIn(served, reading));
  for (let half = 1; half < 24; half += 1) {
    served.pass(1800);
    assert.equal(await isOpen(long), true);
  }
  served.pass(1800);
  assert.equal(await isOpen(long), false);
});

test('who reads does not act, and no form acts that is not of a page of the same session', async () => {
  const served = await start(withPasswords());
  const session = async (password: string) => {
    const cookie = cookieIn(await logIn(served, password));
    return { cookie, token: tokenIn(await served.api.get('/nowhere').set({ cookie, accept: 'text/html' })) };
  };
  const [actor, reader] = [await session(acting), await session(reading)];
  const ask = (cookie: string, token: string, headers: Record<string, string> = {}) =>
    served.api
      .post('/now/run')
      .set({ cookie, ...headers })
      .type(form)
      .send({ token, day: '2026-11-19', force: 'yes' });
  assert.deepEqual(codeIn(await ask(reader.cookie, reader.token)), 'role_refused');
  const { port } = servers[0]!.address() as AddressInfo;
  for (const [token, headers] of [
    ['', {}],
    [reader.token, {}],
    [actor.token, { origin: 'https://evil.example' }],
    [actor.token, { origin: 'null' }],
    [actor.token, { origin: `http://127.0.0.1:${port}`, 'sec-fetch-site': 'cross-site' }],
    [actor.token, { 'sec-fetch-site': 'same-site' }],
  ] as [string, Record<string, string>][]) {
    const refused = await ask(actor.cookie, token, headers);
    assert.deepEqual([refused.status, codeIn(refused)], [403, 'form_refused'], JSON.stringify(headers));
  }
  assert.equal((await ask('', actor.token)).status, 303);
  assert.deepEqual(served.started, []);
  const done = await ask(actor.cookie, actor.token, { origin: `http://127.0.0.1:${port}` });
  assert.deepEqual([done.status, done.headers.location], [303, '/now']);
  assert.deepEqual(served.started, [{ job: 'run', by: 'request', arguments: ['--day', '2026-11-19', '--force'] }]);
});

test('a form of the login that another page had made is refused, though the password is right', async () => {
  const served = await start(withPasswords());
  const mine = await served.api.get('/login');
  const theirs = await served.api.get('/login');
  for (const [cookie, token] of [
    ['', tokenIn(mine)],
    [cookieIn(mine), tokenIn(theirs)],
  ] as const) {
    const answer = await served.api.post('/login').set({ cookie }).type(form).send({ token, password: acting });
    assert.deepEqual([answer.status, answer.headers.location], [403, undefined]);
  }
});

test('who guesses waits, with the right password too, and nobody else does', async () => {
  const isTrustedProxy = addressList(['127.0.0.1']);
  const served = await start({ ...withPasswords(), isTrustedProxy });
  const from = (address: string) => ({ 'x-forwarded-for': `203.0.113.9, ${address}` });
  for (const _ of [1, 2, 3]) assert.equal((await logIn(served, 'wrong', from('192.0.2.1'))).status, 403);
  const slowed = await logIn(served, acting, from('192.0.2.1'));
  assert.deepEqual([slowed.status, slowed.headers['set-cookie']?.length], [429, 1]);
  assert.match(slowed.text, /Try again in 1 s/);
  assert.equal(slowed.headers['retry-after'], '1');
  const addresses = served.log
    .map((line) => JSON.parse(line))
    .filter(({ code }) => ['login_refused', 'login_too_often'].includes(code))
    .map(({ address }) => address);
  assert.deepEqual(addresses, Array(4).fill('192.0.2.1'));
  assert.equal((await logIn(served, acting, from('192.0.2.2'))).status, 303);
  served.pass(1);
  assert.equal((await logIn(served, acting, from('192.0.2.1'))).status, 303);
});

test('a proxy names who asks, from its own address alone; who is named among the actors acts', async () => {
  const proxied = { userHeader: 'x-forwarded-user', actors: ['eve@example.com'], hosts: ['books.example.com'] };
  const served = await start({ ...proxied, isTrustedProxy: addressList(['127.0.0.1']) });
  const as = (user: string) => ({ 'x-forwarded-user': user, host: 'books.example.com', 'x-forwarded-proto': 'https' });
  const run = async (user: string) => {
    const shown = await served.api.get('/nowhere').set({ ...as(user), accept: 'text/html' });
    return served.api
      .post('/now/verify')
      .set(as(user))
      .type(form)
      .send({ token: tokenIn(shown) || 'none' });
  };
  assert.equal((await served.api.get(page).set(as('ann@example.com'))).status, 200);
  for (const user of ['', ' ', 'ann@example.com, eve@example.com', 'x'.repeat(201)]) {
    assert.deepEqual(codeIn(await served.api.get(page).set(as(user))), 'console_closed', user);
  }
  await run('ann@example.com');
  assert.deepEqual(served.started, []);
  const other = await start({ ...proxied, isTrustedProxy: addressList(['192.0.2.9']) });
  assert.deepEqual(codeIn(await other.api.get(page).set(as('eve@example.com'))), 'console_closed');
});

test('the cookie is bound to TLS and the host where a believed proxy says that it came over TLS', async () => {
  const overTls = { 'x-forwarded-proto': 'https', host: 'books.example.com' };
  const hosts = ['books.example.com'];
  const served = await start({ ...withPasswords(), hosts, isTrustedProxy: addressList(['127.0.0.1']) });
  const given = String((await logIn(served, acting, overTls)).headers['set-cookie']);
  assert.match(given, /^__Host-daybook=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Secure$/);
  const unbelieved = await start({ ...withPasswords(), hosts });
  assert.doesNotMatch(String((await logIn(unbelieved, acting, overTls)).headers['set-cookie']), /Secure|__Host/);
});

test('a host name that is not the console’s is refused; addresses and those of the setting are not', async () => {
  const served = await start({ ...withPasswords(), hosts: ['books.example.com'] });
  for (const host of ['books.example.com', 'books.example.com:8443', 'BOOKS.example.com', '192.0.2.1', 'localhost']) {
    assert.equal((await served.api.get('/login').set({ host })).status, 200, host);
  }
  for (const host of ['evil.example', 'books.example.com.evil.example', 'evil.example:8081', 'a@localhost', '']) {
    for (const path of ['/login', page, '/api/days']) {
      assert.equal((await served.api.get(path).set({ host })).status, 421, `${host} ${path}`);
    }
  }
});

test('a script with the secret of the jobs reads the API without a login, one with a wrong secret does not', async () => {
  const served = await start(withPasswords());
  assert.notEqual((await served.api.get('/api/days').set({ 'x-job-secret': jobSecret })).body.code, 'login_needed');
  assert.deepEqual((await served.api.get('/api/days').set({ 'x-job-secret': 'no' })).body.code, 'job_secret_refused');
  assert.equal((await served.api.get(page).set({ 'x-job-secret': jobSecret })).status, 303);
});

test('nothing is kept, framed or loaded from elsewhere, and what is not there is a page for browsers', async () => {
  const served = await start();
  for (const path of [page, '/nowhere', '/api/days', '/login']) {
    const { headers } = await served.api.get(path).set({ accept: 'text/html' });
    assert.deepEqual([headers['cache-control'], headers['x-content-type-options']], ['no-store', 'nosniff'], path);
    if (path === '/api/days') continue;
    assert.match(headers['content-security-policy']!, /^default-src 'none'; .*frame-ancestors 'none'/);
  }
  const browser = await served.api.get('/nowhere').set({ accept: 'text/html' });
  assert.deepEqual([browser.status, codeIn(browser)], [404, 'unknown_route']);
  const [, style] = /href="(\/assets\/[\w-]+-pages\.css)"/.exec(browser.text) ?? [];
  const asset = await served.api.get(style!);
  assert.deepEqual([asset.status, asset.headers['content-type']], [200, 'text/css; charset=utf-8']);
  assert.match(asset.headers['cache-control']!, /immutable/);
  const { body } = await served.api.get('/api/nowhere');
  assert.deepEqual([body.code, /The console/.test(body.hint)], ['unknown_route', true]);
});
