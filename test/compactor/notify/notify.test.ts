/** Webhooks on how jobs end: on a change alone, signed, tried again within bounds; by a real server that fails. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { identityToRecipient } from 'age-encryption';
import { pino } from 'pino';
import { Webhook } from 'standardwebhooks';
import type { EndOfJob } from '../../../compactor/notify/message.ts';
import { openNotifier } from '../../../compactor/notify/notify.ts';
import { readSettings } from '../../../shared/config.ts';
import type { Listener } from '../../../shared/notify-settings.ts';
import { type Books, openBooks } from '../books.ts';

interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

let books: Books;
let log: string;
let received: Received[];
let answer: (response: ServerResponse, received: Received) => void;
const server = createServer(async (request, response) => {
  const one = { path: request.url!, headers: request.headers, body: await text(request) };
  received.push(one);
  answer(response, one);
}).listen(0, '127.0.0.1');
await once(server, 'listening');
after(() => {
  server.closeAllConnections();
  server.close();
});
const url = (path: string) => `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;

beforeEach(async () => {
  books = await openBooks();
  log = '';
  received = [];
  answer = (response) => response.end('ok');
});
afterEach(() => books.close());

const secret = `whsec_${Buffer.from('a key of thirty-two bytes, or so').toString('base64')}`;
const slack: Listener = { url: url('/slack/T000/secret-token'), format: 'slack' };
const events: Listener = { url: url('/events'), format: 'cloudevent', secret };

/** A new process each time, as it were: what was told is known by the file alone. */
function tell(end: Partial<EndOfJob>, listeners: readonly Listener[] = [slack, events], limitMs = 5_000) {
  const notifier = openNotifier({
    listeners,
    dataDirectory: books.directory,
    clock: { now: () => new Date() },
    log: pino(
      { level: 'trace' },
      {
        write(line: string) {
          log += line;
        },
      },
    ),
    limitMs,
    sleep: async () => {},
  });
  const times = { startedAt: '2026-11-30T03:00:00.000Z', endedAt: '2026-11-30T03:02:00.000Z' };
  return notifier.tell({
    job: 'run',
    outcome: 'done',
    exitCode: 0,
    ...times,
    report: { manifest: 7, errors: [] },
    ...end,
  });
}

const refused = { code: 'stripe_key_refused', source: 'platform', day: null, message: 'it <says> no & more' };
const failed = { outcome: 'failed', exitCode: 2, report: { manifest: null, errors: [refused], warnings: [] } } as const;
const texts = () => received.filter(({ path }) => path.startsWith('/slack')).map(({ body }) => JSON.parse(body).text);

test('what was well all along is no news; a failure, another failure and the end of it are, each once', async () => {
  await tell({});
  assert.equal(received.length, 0);
  for (const end of [failed, failed]) await tell(end);
  assert.equal(received.length, 2);
  const hole = { code: 'stream_hole', source: null, day: null, message: 'partition 0' };
  const worse = { ...failed, report: { errors: [refused, hole] } };
  for (const end of [worse, worse, {}, {}, { job: 'verify' }]) await tell(end);
  assert.equal(received.length, 6);
  const [first, second, third] = texts();
  assert.match(
    first,
    /^daybook: the night failed \(exit 2\)\.\n• stripe_key_refused \(platform\): it &lt;says&gt; no &amp; more\. The source's apiKey needs/,
  );
  assert.match(second, /stream_hole: partition 0\./);
  assert.equal(third, 'daybook: the night is well again (exit 0). Manifest 7.');
  await tell({ job: 'verify', outcome: 'fault', exitCode: 3, report: { ok: false } });
  assert.equal(texts().at(-1), 'daybook: verify found a fault (exit 3).');
  const damaged = { code: 'object_damaged', manifest: 3, key: 'platform/part', message: 'has other bytes' };
  const verified = { job: 'verify', outcome: 'fault', exitCode: 3, report: { ok: false, breaks: [damaged] } } as const;
  for (const end of [verified, verified]) await tell(end);
  assert.match(
    texts().at(-1),
    /^daybook: verify found a fault \(exit 3\)\.\n• object_damaged \(platform\/part\): has other bytes\./,
  );
  await tell({ outcome: 'stopped' });
  assert.equal(received.length, 10);
});

test('what went to the quarantine is told of a night that ended well, once; other warnings are not news', async () => {
  const warning = (code: string) => ({ code, source: null, day: null, message: '3 in quarantine/a' });
  const night = (code: string) => ({ report: { manifest: 7, errors: [], warnings: [warning(code)] } });
  await tell(night('stream_changed'));
  assert.equal(received.length, 0);
  for (const end of [night('records_quarantined'), night('records_quarantined'), {}]) await tell(end);
  const [first, second, ...more] = texts();
  assert.match(
    first,
    /^daybook: the night ended well, and has put records aside \(exit 0\)\. Manifest 7\.\n• records_quarantined: 3 in quarantine\/a\./,
  );
  assert.equal(second, 'daybook: the night is well again (exit 0). Manifest 7.');
  assert.deepEqual(more, []);
});

test('the CloudEvent says what was and what is, and the library of Standard Webhooks takes its signature', async () => {
  await tell(failed);
  await tell({});
  const [first, second] = received.filter(({ path }) => path === '/events');
  for (const { headers, body } of [first!, second!]) {
    assert.equal(headers['content-type'], 'application/cloudevents+json');
    const event = new Webhook(secret).verify(body, headers as Record<string, string>) as Record<string, unknown>;
    assert.deepEqual([event.specversion, event.id, event.subject], ['1.0', headers['webhook-id'], 'run']);
    assert.throws(() => new Webhook(secret).verify(`${body} `, headers as Record<string, string>));
  }
  const [failure, recovery] = [first!, second!].map(({ body }) => JSON.parse(body));
  assert.deepEqual([failure.type, failure.data.before], ['daybook.job.failed', null]);
  assert.deepEqual(failure.data.report.errors, [refused]);
  assert.deepEqual([recovery.type, recovery.data.before], ['daybook.job.done', 'failed stripe_key_refused(platform)']);
  assert.equal(received.find(({ path }) => path.startsWith('/slack'))!.headers['webhook-signature'], undefined);
});

test('an answer that is lost, and a server that fails twice: told again under the same id, three times at most', async () => {
  const before = ['lose', 'fail', 'take'];
  answer = (response) => {
    const way = before.shift();
    if (way === 'lose') response.socket!.destroy();
    else response.writeHead(way === 'fail' ? 503 : 200).end();
  };
  await tell(failed, [events]);
  assert.deepEqual(before, []);
  assert.equal(new Set(received.map(({ headers }) => headers['webhook-id'])).size, 1);
  await tell(failed, [events]);
  assert.equal(received.length, 3, 'it is told');
});

for (const [what, tries, fail] of [
  ['refuses', 1, (response: ServerResponse) => response.writeHead(404).end()],
  ['leads elsewhere', 1, (response: ServerResponse) => response.writeHead(302, { location: url('/other') }).end()],
  ['always fails', 3, (response: ServerResponse) => response.writeHead(500).end()],
  ['never answers', 3, () => {}],
] as const) {
  test(`a listener that ${what} is given up after ${tries} of 3 tries, and told at the next end; the other is told once`, async () => {
    answer = (response, { path }) => (path === '/events' ? fail(response) : response.end());
    await tell(failed, [slack, events], 300);
    assert.equal(received.filter(({ path }) => path === '/events').length, tries);
    assert.match(log, /"level":40.*could not be told/);
    assert.ok(!log.includes('secret-token') && !log.includes(secret));
    answer = (response) => response.end();
    await tell(failed);
    assert.deepEqual([received.length, texts().length], [1 + tries + 1, 1]);
  });
}

test('a state that cannot be kept, and a file that is none, keep nobody from being told', async () => {
  fs.writeFileSync(join(books.directory, 'notified.json'), 'nonsense');
  await tell(failed, [slack]);
  assert.equal(received.length, 1);
  fs.rmSync(join(books.directory, 'notified.json'));
  fs.mkdirSync(join(books.directory, 'notified.json'));
  await tell(failed, [slack]);
  assert.equal(received.length, 2);
  assert.match(log, /cannot be kept/);
});

test('`run` tells it itself where no serve started it: in a cron job', async () => {
  const env = {
    ...{ PATH: process.env.PATH, DAYBOOK_DATA_DIR: books.directory, COMPACTOR_SIGNING_KEY: books.signingKey },
    COMPACTOR_RECIPIENTS: await identityToRecipient(books.identity),
    DAYBOOK_SOURCES: JSON.stringify([{ name: 'platform', scheme: 'stripe', secrets: ['whsec_unused'] }]),
    COMPACTOR_NOTIFY: JSON.stringify([events]),
  };
  const run = (...args: string[]) =>
    new Promise<number | null>((resolve) => {
      const program = fileURLToPath(new URL('../../../compactor/main.ts', import.meta.url));
      const child = execFile(process.execPath, [program, 'run', ...args], { env, cwd: books.directory }, () =>
        resolve(child.exitCode),
      );
    });
  fs.writeFileSync(books.archive, 'in the way');
  assert.equal(await run(), 2);
  fs.rmSync(books.archive);
  assert.equal(await run('--json'), 0);
  const told = received.map(({ body }) => JSON.parse(body)).map(({ type, data }) => [type, data.exitCode]);
  assert.deepEqual(told, [
    ['daybook.job.failed', 2],
    ['daybook.job.done', 0],
  ]);
});

test('a secret that is none and a URL that anybody could read are refused', () => {
  for (const [listener, message] of [
    [{ ...events, secret: 'whsec_short' }, /COMPACTOR_NOTIFY\[0\]\.secret: must be whsec_/],
    [{ ...events, url: 'http://example.com/x' }, /COMPACTOR_NOTIFY\[0\]\.url: must be https/],
    [{ ...events, format: 'teams' }, /COMPACTOR_NOTIFY\[0\]\.format: must be slack or cloudevent/],
  ] as const) {
    const environment = { COMPACTOR_NOTIFY: JSON.stringify([listener]) };
    assert.throws(() => readSettings(environment, ['COMPACTOR_NOTIFY']), { code: 'configuration_invalid', message });
  }
});
