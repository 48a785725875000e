/** Replay to an endpoint that fails in every way: what came is what is in the archive, in its order, each signed. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { pino } from 'pino';
import { Webhook } from 'standardwebhooks';
import { restoreArchive } from '../../../compactor/restore/restore-archive.ts';
import type { Selection } from '../../../compactor/restore/restore-selection.ts';
import { openUrlOutput, type Replay } from '../../../compactor/restore/restore-url.ts';
import { openSortBudget } from '../../../compactor/staging/external-sort.ts';
import { systemClock } from '../../../shared/clock.ts';
import { parseIdentities } from '../../../shared/crypto/identities.ts';
import { openArchive } from '../archive-under-test.ts';
import type { Books } from '../books.ts';

const secret = `whsec_${Buffer.alloc(24, 7).toString('base64')}`;
const everything: Selection = { sources: [], days: [], types: [], ids: [], objects: [], except: [] };

let books: Books;
let url: string;
let close: () => Promise<unknown>;
/** What was acknowledged: source and body; and how the next requests are answered. */
let received: { id: string; source: string; body: string }[];
let answers: (number | 'cut')[];

beforeEach(async () => {
  books = await openArchive();
  received = [];
  answers = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk;
    // As a receiver does: throws where the signature does not hold.
    new Webhook(secret).verify(body, request.headers as Record<string, string>);
    assert.equal(request.headers['stripe-signature'], undefined);
    const answer = answers.shift() ?? 200;
    if (answer === 'cut') return void request.socket.destroy();
    if (answer === 200) {
      received.push({
        id: String(request.headers['webhook-id']),
        source: String(request.headers['daybook-source']),
        body,
      });
    }
    response.writeHead(answer, answer === 429 ? { 'retry-after': '3' } : {}).end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/replay`;
  close = () => once(server.close(), 'close');
});
afterEach(async () => {
  await close();
  await books.close();
});

async function replay(change: Partial<Replay> = {}) {
  const pauses: number[] = [];
  const sleep = async (ms: number) => void pauses.push(ms);
  const log = pino({ level: 'silent' });
  const output = openUrlOutput({
    url,
    secret,
    perSecond: 1e6,
    selection: everything,
    clock: systemClock,
    log,
    sleep,
    ...change,
  });
  try {
    const report = await restoreArchive({
      store: books.store,
      ledger: await books.ledger(),
      selection: change.selection ?? everything,
      identities: parseIdentities(books.identity),
      output,
      budget: openSortBudget({ directory: books.directory, maxBytes: 1024 * 1024 }),
      progress: () => {},
    });
    return { report, pauses, ...output.sent(), refused: output.refused() };
  } finally {
    output.save();
    output.close();
  }
}

async function archived(): Promise<string[]> {
  const parts = [...(await books.ledger()).sources.values()].flatMap((days) =>
    [...days.values()].flatMap(({ parts }) => parts),
  );
  return (await Promise.all(parts.map(({ key }) => books.lines(key)))).flat().sort();
}

test('every event of the archive comes once, byte for byte, signed by Standard Webhooks, whatever the endpoint does', async () => {
  answers = [200, 503, 200, 'cut', 429, 200];
  const { report, sent, refused, pauses } = await replay();
  assert.deepEqual([report.events, sent, refused.count], [27, 27, 0]);
  assert.deepEqual(received.map(({ body }) => body).sort(), await archived());
  assert.equal(new Set(received.map(({ id }) => id)).size, 27);
  assert.ok(received.every(({ id, source, body }) => id === `${source}/${JSON.parse(body).id}`));
  assert.ok(pauses.includes(3000), 'Retry-After is heeded');
});

test('what is refused is named and holds up nothing; an endpoint that stays away ends it, and --resume goes on', async () => {
  answers = [200, 400, 200];
  const first = await replay({ selection: { ...everything, sources: ['billing'] } });
  assert.deepEqual([first.sent, first.refused], [4, { count: 1, ids: ['event-2'] }]);

  received = [];
  const resume = join(books.directory, 'replay.json');
  answers = [...Array(9).fill(200), ...Array(12).fill(503)];
  await assert.rejects(replay({ resume }), { code: 'replay_failed', message: /HTTP 503/ });
  assert.equal(received.length, 9);
  const again = await replay({ resume });
  assert.deepEqual([again.sent, again.skipped], [18, 9]);
  assert.deepEqual(received.map(({ body }) => body).sort(), await archived());
  assert.deepEqual([(await replay({ resume })).sent, received.length], [0, 27]);

  await assert.rejects(replay({ resume, selection: { ...everything, sources: ['billing'] } }), {
    code: 'usage',
    message: /of another URL, or of other events/,
  });
  fs.writeFileSync(resume, 'mine');
  await assert.rejects(replay({ resume }), { code: 'usage', message: /not one that restore has written/ });
});

test('a rate is kept', async () => {
  const { pauses } = await replay({ perSecond: 10, selection: { ...everything, sources: ['billing'] } });
  assert.equal(pauses.length, 4);
  // Nobody sleeps here, so each waits for all before it.
  assert.ok(pauses.at(-1)! > 350 && pauses.at(-1)! <= 400, String(pauses));
});
