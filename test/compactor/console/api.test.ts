/** The JSON API on a real archive: what it tells of days and events, and whom and what it refuses. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import request from 'supertest';
import { type CompactorServer, serve } from '../../../compactor/serve/serve.ts';
import { startFakeStripe } from '../../stripe/fake-stripe.ts';
import { eventsOf, pandaRecord, pathOf, signedRecord } from '../archive-under-test.ts';
import { type Books, listingOf, openBooks } from '../books.ts';
import { until } from '../until.ts';
import { placesOf } from './places.ts';

let books: Books;
let server: CompactorServer;
let api: ReturnType<typeof request>;
const day = '2026-11-20';
const secret = 'of the jobs';
const listed = eventsOf(day, 12, 'listed');
const waiting = eventsOf('2026-11-25', 1, 'waiting')[0]!;

/**
 * 2026-11-20 of platform: ten events delivered, one of them twice, and two recovered; asked again on the 21st, 22nd and 24th. One
 * event of today, the 25th, waits. billing has an event on the 20th.
 */
before(async () => {
  books = await openBooks();
  const stripe = await startFakeStripe({ clock: { now: () => books.now() } });
  for (const event of listed) stripe.add(event.text);
  const sources = [{ name: 'billing' }, { name: 'platform', listing: listingOf(stripe) }];
  await books.deliver(...listed.slice(0, 10).map((event) => signedRecord(event)), signedRecord(listed[0]!, 60));
  await books.deliver(pandaRecord(1, day));
  for (const today of ['2026-11-21', '2026-11-22', '2026-11-24']) {
    books.at(`${today}T03:00:00Z`);
    await books.night(sources);
  }
  await stripe.close();
  books.at('2026-11-25T10:00:00Z');
  await books.deliver(signedRecord(waiting));
  server = await open('127.0.0.1');
  api = request(`http://127.0.0.1:${server.port}`);
});
after(async () => {
  await server.close();
  await books.close();
});

const open = (host: string, change: Parameters<typeof placesOf>[1] = {}) =>
  serve({
    ...{ host, port: 0, adminHost: '127.0.0.1', adminPort: 0, jobSecret: secret, runHour: 11, lagSeconds: 3600 },
    ...{ jobLimitSeconds: 3600, sources: ['billing', 'platform'] },
    program: fileURLToPath(new URL('../serve/reporting-job.ts', import.meta.url)),
    loadLedger: () => books.ledger(),
    places: placesOf(books, change),
    gate: { isTrustedProxy: () => false, actors: [], hosts: [] },
    clock: { now: () => books.now() },
    log: pino({ level: 'silent' }),
  });

test('the calendar tells of each day how it stands, in words too, and how near the end of the list is', async () => {
  const { body } = await api.get('/api/days?month=2026-11&source=platform').expect(200);
  assert.equal(body.format, 'daybook-api/1');
  assert.deepEqual([body.archive.head.number, body.archive.trouble, body.today], [3, null, '2026-11-25']);
  assert.deepEqual(
    [body.sources.length, body.sources[0].source, body.sources[0].listEdge],
    [1, 'platform', '2026-10-27'],
  );
  const { days, totals } = body.sources[0];
  assert.equal(days.length, 30);
  const of = (date: string) => days.find((one: { day: string }) => one.day === date);
  assert.deepEqual(
    ['20', '21', '23', '24', '25', '30'].map((date) => of(`2026-11-${date}`).standing),
    ['complete', 'complete', 'provisional', 'late', 'open', 'open'],
  );
  const { counts, events, missing, listedUntil, daysLeft, words } = of(day);
  assert.deepEqual([events, missing, listedUntil, daysLeft], [12, 0, '2026-12-19', 24]);
  assert.deepEqual([counts.delivered, counts.recovered, counts.listed, counts.notListed], [10, 2, 12, 0]);
  assert.match(words[0], /^Complete: Stripe's list was asked on 2026-11-24/);
  assert.match(words[1], /^2 events came from Stripe's list/);
  assert.match(
    of('2026-11-23').words[0],
    /^Provisional: .* on 2026-11-26 or later\. Stripe lists it until 2026-12-22: 27 more days\.$/,
  );
  assert.deepEqual([totals.events, totals.byStanding.late, totals.days], [12, 1, 30]);
  const before = await api.get('/api/days?month=2026-09').expect(200);
  assert.deepEqual(
    before.body.sources.map((one: { source: string; totals: { byStanding: { none: number } } }) => [
      one.source,
      one.totals.byStanding.none,
    ]),
    [
      ['billing', 30],
      ['platform', 30],
    ],
  );
});

test('a day adds up, and tells its objects, its signature and how its verdict came about', async () => {
  const { body } = await api.get(`/api/days/platform/${day}`).expect(200);
  assert.deepEqual(
    body.equations.map((one: { left: { count: number }[]; right: { count: number }; holds: boolean }) => [
      ...one.left.map(({ count }) => count),
      one.right.count,
      one.holds,
    ]),
    [
      [10, 2, 12, true],
      [10, 1, 11, true],
      [12, 0, 12, true],
    ],
  );
  assert.deepEqual(
    body.history.map((line: { manifest: number; verdict: string; events: number }) => [
      line.manifest,
      line.verdict,
      line.events,
    ]),
    [
      [1, 'provisional', 12],
      [2, 'provisional', 12],
      [3, 'complete', 12],
    ],
  );
  assert.equal(body.parts.length, 1);
  const [part] = body.parts;
  assert.equal(fs.statSync(pathOf(books, part.key)).size, part.bytes.ciphertext);
  assert.deepEqual([part.link, part.ids.link, part.deliveries.lines, part.pruned], [null, null, 11, null]);
  assert.deepEqual([body.manifest.number, body.manifest.holds, body.manifest.isRetired], [3, true, false]);
  assert.deepEqual(
    [body.standing.standing, body.isListed, body.listedAt.slice(0, 10)],
    ['complete', true, '2026-11-24'],
  );
});

test('the table of manifests has pages', async () => {
  const { body } = await api.get('/api/archives?limit=2').expect(200);
  assert.deepEqual([body.manifests.map(({ number }: { number: number }) => number), body.next], [[3, 2], 2]);
  const last = await api.get(`/api/archives?before=${body.next}`).expect(200);
  assert.deepEqual([last.body.manifests.length, last.body.next], [1, null]);
  const [first] = last.body.manifests;
  assert.deepEqual([first.number, first.events, first.by], [1, 13, 'night']);
  const { sources, quarantine } = await books.manifest(1);
  const named = JSON.stringify([sources, quarantine]).match(/"key":/g)!.length;
  assert.equal(first.objects, named);
});

test('an event is found in its day and part, with its deliveries as far as the stream has them', async () => {
  const { body } = await api.get(`/api/events/${listed[0]!.id}`).expect(200);
  assert.equal(body.isFound, true);
  const [found] = body.archived.events;
  assert.deepEqual([found.source, found.day, found.manifest, found.origin], ['platform', day, 1, 'unknown']);
  assert.equal(body.stream.records.length, 2);
  assert.ok(
    body.stream.records.every(
      (one: { isDone: boolean; keyid: string }) => one.isDone && /^[0-9a-f]{16}$/.test(one.keyid),
    ),
  );
  assert.match(body.words.join('\n'), /only who has the private key can tell/);
  assert.match(body.words.join('\n'), /The stream has 2 deliveries of it/);

  const recovered = await api.get(`/api/events/${listed[11]!.id}?source=platform`).expect(200);
  assert.deepEqual([recovered.body.archived.events.length, recovered.body.stream.records], [1, []]);
  assert.equal(recovered.body.stream.isWhole, true);

  const today = await api.get(`/api/events/${waiting.id}`).expect(200);
  assert.deepEqual([today.body.isFound, today.body.archived.events, today.body.archived.next], [true, [], null]);
  const [record] = today.body.stream.records;
  assert.deepEqual(
    [record.source, record.day, record.isDone, record.via],
    ['platform', '2026-11-25', false, 'webhook'],
  );
  assert.match(today.body.words.join('\n'), /It is not archived\.\n.*\n1 record of it waits in the stream/);

  const billing = await api.get('/api/events/event-1').expect(200);
  assert.deepEqual(
    [billing.body.archived.events[0].source, billing.body.archived.events[0].origin],
    ['billing', 'delivered'],
  );
  const nothing = await api.get('/api/events/evt_nowhere').expect(200);
  assert.deepEqual(
    [nothing.body.isFound, nothing.body.words],
    [false, ['It is not archived.', 'The stream keeps no record of it.']],
  );
});

test('the report and the figures of now are there, and the ledger is read once', async () => {
  const { body } = await api.get('/api/report?month=2026-11').expect(200);
  assert.deepEqual([body.totals.events, body.totals.recovered, body.checks.length], [13, 2, 7]);
  const now = await api.get('/api/now').expect(200);
  assert.deepEqual([now.body.stream.lag, now.body.stream.trouble, now.body.ingests], [1, null, []]);
  assert.equal(now.body.nextNightAt, '2026-11-25T11:00:00.000Z');
  assert.ok(now.body.disks[0].freeBytes > 0);
  await api.get('/readyz').expect(200, { status: 'ready' });

  const read: string[] = [];
  const store: typeof books.store = {
    ...books.store,
    read(key, range) {
      read.push(key);
      return books.store.read(key, range);
    },
  };
  const { view } = placesOf(books, { store });
  await view.look();
  assert.equal(read.length, 3);
  await view.look();
  assert.equal(read.length, 3, 'who looks again at once reads nothing');
});

test('hostile names and ids are refused, or found nowhere, and are not quoted', async () => {
  for (const path of [
    '/api/days?month=2026-13',
    '/api/days?month=2026-11&month=2026-10',
    '/api/days?source=../../etc',
    '/api/days?other=1',
    '/api/days/platform/2026-02-31',
    '/api/days/..%2f..%2fmanifests/2026-11-20',
    '/api/days/platform/%2e%2e',
    '/api/archives?limit=0',
    '/api/archives?limit=1e9',
    '/api/archives?before=-1',
    `/api/events/${'x'.repeat(256)}`,
    '/api/events/a%00b',
    '/api/events/a%0ab',
    '/api/report',
    '/api/report?month=<script>',
  ]) {
    const { status, body, text } = await api.get(path);
    assert.deepEqual([status, body.code], [400, 'console_query_invalid'], path);
    assert.ok(!text.includes('script') && !text.includes('etc'), text);
  }
  await api.get('/api/days/platform/2020-01-01').expect(404);
  await api.get('/api/days/__proto__/2026-11-20').expect(400);
  await api.get('/api/days/constructor/2026-11-20').expect(404);
  await api.get('/api/days?source=constructor').expect(200);
  await api.get('/api/events/%ZZ').expect(404);
  const { body } = await api.get('/api/events/%3Cimg%20src=x%3E').expect(200);
  assert.deepEqual([body.id, body.isFound], ['<img src=x>', false]);
  const { headers } = await api.get('/api/days');
  assert.deepEqual([headers['cache-control'], headers['content-type']], ['no-store', 'application/json']);
  await api.post('/api/days').expect(405);
});

test('a foreign name in Host, a proxy, and a listener that others can reach get nothing', async () => {
  await api.get('/api/days').set('host', 'localhost:1').expect(200);
  for (const [name, value] of [
    ['host', 'attacker.example'],
    ['host', '127.0.0.1.attacker.example'],
    ['x-forwarded-for', '10.0.0.1'],
  ] as const) {
    const { status, body } = await api.get('/api/days').set(name, value);
    assert.deepEqual([status, body.code], [403, 'console_closed'], value);
  }
  const open0 = await open('0.0.0.0');
  try {
    const other = request(`http://127.0.0.1:${open0.port}`);
    for (const path of ['/api/days', '/api/archives', '/api/now', `/api/events/${listed[0]!.id}`])
      await other.get(path).expect(403);
    await other.get('/readyz').expect(200);
  } finally {
    await open0.close();
  }
});

test('where a manifest does not hold, what came before it is told with the trouble, and readyz says 503', async () => {
  const path = pathOf(books, 'manifests/00000003.jsonl');
  const sound = fs.readFileSync(path);
  fs.writeFileSync(path, sound.toString().replace('"complete"', '"provisional"'));
  const broken = await open('127.0.0.1');
  const other = request(`http://127.0.0.1:${broken.port}`);
  try {
    const { body } = await other.get(`/api/days/platform/${day}`).expect(200);
    assert.deepEqual([body.archive.head.number, body.archive.trouble.code], [2, 'ledger_broken']);
    assert.deepEqual([body.standing.standing, body.manifest.number], ['provisional', 2]);
    const ready = await other.get('/readyz').expect(503);
    assert.match(ready.body.detail, /^ledger_broken/);
  } finally {
    fs.writeFileSync(path, sound);
    await broken.close();
  }
});

test('a manifest that goes while serve runs: readyz says 503, and a verification is told that it was there', async () => {
  let nowMs = 0;
  const running = await open('127.0.0.1', { monotonicMs: () => nowMs });
  const other = request(`http://127.0.0.1:${running.port}`);
  const path = pathOf(books, 'manifests/00000003.jsonl');
  const sound = fs.readFileSync(path);
  await other.get('/readyz').expect(200);
  const { head } = (await other.get('/api/archives')).body.archive;
  fs.rmSync(path);
  try {
    nowMs += 1_001;
    assert.match((await other.get('/readyz').expect(503)).body.detail, /^ledger_broken/);
    const { body } = await other.get(`/api/days/platform/${day}`).expect(200);
    assert.deepEqual([body.archive.trouble.code, body.manifest.number], ['ledger_broken', 2]);
    const own = `2:${'a'.repeat(64)}`;
    for (const [options, expected] of [
      [{ strict: true }, ['--strict', '--expect-head', `3:${head.sha256}`]],
      [{ expectHead: own }, ['--expect-head', own]],
    ] as const) {
      const started = await until(async () => {
        const answer = await other.post('/jobs/verify').set('x-job-secret', secret).send(options);
        return answer.status === 202 ? answer : undefined;
      });
      assert.deepEqual(started.body.running.arguments, expected);
    }
  } finally {
    fs.writeFileSync(path, sound);
    await running.close();
  }
});

test('where the archive cannot be read at all it is said so, 503', async () => {
  const store = {
    ...books.store,
    list: () => {
      throw new Error('the store is away');
    },
  };
  const away = await open('127.0.0.1', { store });
  try {
    const { body } = await request(`http://127.0.0.1:${away.port}`).get('/api/days').expect(503);
    assert.deepEqual([body.code, /the store is away/.test(body.detail)], ['archive_unread', true]);
  } finally {
    await away.close();
  }
});
