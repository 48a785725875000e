/** `daybook-compactor serve` as it runs in production: real nights, signals, a death by SIGKILL. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { identityToRecipient } from 'age-encryption';
import type { EndedJob, RunningJob } from '../../../compactor/serve/jobs.ts';
import { addDays, dayOf } from '../../../shared/clock.ts';
import type { FakeStripe } from '../../stripe/fake-stripe.ts';
import { startFakeStripe } from '../../stripe/fake-stripe.ts';
import { type UnreadPipe, unreadPipe } from '../../unread-pipe.ts';
import { eventsOf, verify } from '../archive-under-test.ts';
import { type Books, listingOf, openBooks, stripeRecord } from '../books.ts';
import { until } from '../until.ts';

const program = fileURLToPath(new URL('../../../compactor/main.ts', import.meta.url));
const secret = 'the secret of the jobs';
const day = addDays(dayOf(Date.now()), -2);

let books: Books;
let stripe: FakeStripe;
const children = new Set<ChildProcess>();
beforeEach(async () => {
  books = await openBooks();
  books.at(new Date().toISOString());
  stripe = await startFakeStripe();
  const events = eventsOf(day, 20, 'serve');
  for (const { text } of events) stripe.add(text);
  await books.deliver(...events.slice(0, 15).map(({ text }) => stripeRecord(text)));
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  await stripe.close();
  await books.close();
});

interface Served {
  readonly child: ChildProcess;
  readonly lines: string[];
  readonly exit: Promise<unknown[]>;
  /** The first log line with that message. */
  said(message: string): Promise<Record<string, unknown>>;
  get(path: string): Promise<Response>;
  post(path: string): Promise<Response>;
}

async function start(change: Readonly<Record<string, string>> = {}, log?: UnreadPipe): Promise<Served> {
  const environment = {
    PATH: process.env.PATH,
    DAYBOOK_DATA_DIR: books.directory,
    DAYBOOK_STORE: JSON.stringify({ type: 'directory', params: { path: books.archive } }),
    DAYBOOK_SOURCES: JSON.stringify([
      { name: 'platform', scheme: 'stripe', secrets: ['whsec_unused'], apiKey: stripe.apiKey },
    ]),
    STRIPE_API_BASE: stripe.base.origin,
    COMPACTOR_RECIPIENTS: await identityToRecipient(books.identity),
    COMPACTOR_SIGNING_KEY: books.signingKey,
    COMPACTOR_JOB_SECRET: secret,
    COMPACTOR_RUN_HOUR_UTC: '0',
    COMPACTOR_PORT: '0',
    COMPACTOR_ADMIN_PORT: '0',
    ...change,
  };
  const child = spawn(process.execPath, [program, 'serve'], {
    cwd: books.directory,
    env: environment,
    stdio: ['ignore', 'ignore', log?.fd ?? 'pipe'],
  });
  children.add(child);
  const lines: string[] = [];
  if (child.stderr !== null) createInterface({ input: child.stderr }).on('line', (line) => void lines.push(line));
  const exit = once(child, 'exit').then((result) => {
    children.delete(child);
    return result;
  });
  const said = async (message: string) =>
    JSON.parse(
      await until(() => {
        if (log !== undefined) lines.splice(0, lines.length, ...log.read().split('\n'));
        const found = lines.find((line) => line.includes(`"msg":"${message}"`));
        if (found === undefined && child.exitCode !== null) throw new Error(lines.join('\n'));
        return found;
      }),
    );
  let listening: Promise<Record<string, unknown>> | undefined;
  const port = async () => {
    // Once: a log that is not to be read is read by this.
    listening ??= said('listening');
    return (await listening).port;
  };
  const headers = { 'x-job-secret': secret };
  return {
    child,
    lines,
    exit,
    said,
    get: async (path) => fetch(`http://127.0.0.1:${await port()}${path}`, { headers }),
    post: async (path) => fetch(`http://127.0.0.1:${await port()}${path}`, { method: 'POST', headers }),
  };
}

async function stop({ child, exit, lines }: Served): Promise<void> {
  const startedMs = performance.now();
  child.kill('SIGTERM');
  assert.deepEqual(await exit, [0, null], lines.join('\n'));
  assert.ok(performance.now() - startedMs < 10_000);
}

/** Ends the night by an archive that is whole: every event once, and nothing wrong in it. */
async function assertMended(): Promise<void> {
  stripe.faults.length = 0;
  const listing = listingOf(stripe);
  const { errors } = await books.night([{ name: 'platform', listing }]);
  listing.api.close();
  assert.deepEqual(errors, []);
  const { parts, counts } = (await books.ledger()).sources.get('platform')!.get(day)!;
  assert.deepEqual([parts.map(({ events }) => events), counts.delivered, counts.recovered], [[20], 15, 5]);
  const { ok, breaks } = await verify(books);
  assert.deepEqual([ok, breaks], [true, []]);
}

const hungRequests = () => stripe.requests.length > 0 || undefined;

test('it closes the day that was missed, stops with exit 0, and after a new start the same day runs no second night', async () => {
  const first = await start();
  const { outcome, report, exitCode } = await first.said('job ended');
  assert.deepEqual([outcome, exitCode], ['done', 0], JSON.stringify(report));
  const { last } = (await (await first.get('/jobs')).json()) as { last: EndedJob[] };
  assert.equal(last[0]?.report?.manifest, 1);
  await stop(first);
  for (const line of [...first.lines, '']) assert.ok(!line.includes(secret) && !line.includes(stripe.apiKey));

  const second = await start();
  assert.equal((await second.get('/healthz')).status, 200);
  // A night that is asked for runs all the same, and finds nothing to say.
  await until(async () => (await second.post('/jobs/run')).status === 202 || undefined);
  const ended = await second.said('job ended');
  assert.deepEqual([ended.by, ended.outcome], ['request', 'done']);
  assert.ok(!second.lines.some((line) => line.includes('"by":"schedule"')), second.lines.join('\n'));
  await stop(second);
  await assertMended();
});

test('a log that nobody reads stops neither serve nor its jobs, and what they had to say comes once it is read', async () => {
  const pipe = unreadPipe(join(books.directory, 'log'));
  const served = await start({ COMPACTOR_ENABLED: 'false', LOG_LEVEL: 'trace' }, pipe);
  assert.equal((await served.get('/healthz')).status, 200);
  const { adminPort } = await served.said('listening');
  pipe.fill();
  assert.equal((await served.post('/jobs/run')).status, 202);
  await until(async () => {
    const { last } = (await (await served.get('/jobs')).json()) as { last: EndedJob[] };
    return last[0]?.outcome === 'done' || undefined;
  });
  assert.equal((await served.get('/healthz')).status, 200);
  const metrics = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text();
  assert.match(metrics, /^daybook_log_dropped_lines_total 0$/m, 'it waits, there is room for it');
  await served.said('job ended');
  assert.match(pipe.read(), /"level":"info".*"program":"compactor".*"job started"/);
  pipe.fill();
  await stop(served);
  closeSync(pipe.fd);
});

test('COMPACTOR_ENABLED=false switches the schedule off, not the jobs that are asked for', async () => {
  const served = await start({ COMPACTOR_ENABLED: 'false' });
  assert.equal((await served.said('listening')).runHour, null);
  assert.equal((await served.post('/jobs/verify')).status, 202);
  const ended = await served.said('job ended');
  // There is no archive yet.
  assert.deepEqual([ended.job, ended.outcome], ['verify', 'fault']);
  await stop(served);
});

test('SIGTERM in the middle of a night: exit 0 in time, and the next run takes up what it left', async () => {
  stripe.faults.push({ action: 'hang before', times: Number.POSITIVE_INFINITY });
  const served = await start();
  await until(hungRequests);
  const { running } = (await (await served.get('/jobs')).json()) as { running: RunningJob };
  assert.deepEqual([running.job, running.by], ['run', 'schedule']);
  assert.equal((await served.post('/jobs/verify')).status, 409);
  await stop(served);
  assert.equal((await served.said('job ended')).outcome, 'stopped');
  await assertMended();
});

test('kill -9 of serve in the middle of a night ends the night too, and the next run takes up what it left', async () => {
  stripe.faults.push({ action: 'hang before', times: Number.POSITIVE_INFINITY });
  const served = await start();
  const { pid } = await served.said('job started');
  await until(hungRequests);
  served.child.kill('SIGKILL');
  assert.deepEqual(await served.exit, [null, 'SIGKILL']);
  await until(() => isGone(pid as number) || undefined);
  await assertMended();
});

test('a job that is killed is told as failed, and serve goes on', async () => {
  stripe.faults.push({ action: 'hang before', times: Number.POSITIVE_INFINITY });
  const served = await start();
  const { pid } = await served.said('job started');
  await until(hungRequests);
  process.kill(pid as number, 'SIGKILL');
  const { outcome, exitCode } = await served.said('job ended');
  assert.deepEqual([outcome, exitCode], ['failed', null]);
  assert.ok('retryAt' in (await served.said('the night failed and is tried again')));
  assert.equal((await served.get('/healthz')).status, 200);
  await stop(served);
  await assertMended();
});

test('what is wrong is named at the start: settings of the night and of the listener with exit 1, a taken port with exit 2', async () => {
  const wrong = await start({ COMPACTOR_RUN_HOUR_UTC: '24', COMPACTOR_SIGNING_KEY: 'none' });
  assert.deepEqual(await wrong.exit, [1, null]);
  await until(() => wrong.lines.length >= 3 || undefined);
  assert.match(
    wrong.lines.join('\n'),
    /COMPACTOR_RUN_HOUR_UTC.*COMPACTOR_SIGNING_KEY|COMPACTOR_SIGNING_KEY.*COMPACTOR_RUN_HOUR_UTC/s,
  );
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const { port } = holder.address() as { port: number };
  for (const name of ['COMPACTOR_PORT', 'COMPACTOR_ADMIN_PORT']) {
    const taken = await start({ [name]: String(port) });
    assert.deepEqual(await taken.exit, [2, null]);
    await until(() => taken.lines.some((line) => line.includes(`127.0.0.1:${port}`)) || undefined);
  }
  holder.close();
});

/** A zombie, which only its parent can remove, is gone as well. */
function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return true;
  }
  try {
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
