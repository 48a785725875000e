import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { Ledger } from '../../compactor/ledger/ledger.ts';
import { addDays, startOfDayMs } from '../../shared/clock.ts';
import { type MadeEvent, stripeEvents } from '../stripe/events.ts';
import { type Books, eventRecord, openBooks, stripeRecord } from './books.ts';

const day = '2026-11-18';
const eventsOf = (d: string, count: number, seed: string) =>
  stripeEvents({
    count,
    seed,
    fromSeconds: startOfDayMs(d) / 1000,
    toSeconds: startOfDayMs(addDays(d, 1)) / 1000,
  });
const recordsOf = (events: readonly MadeEvent[]) => events.map(({ text }) => stripeRecord(text));
const late = { receivedAt: '2026-11-20T23:59:59.999Z' };

let books: Books;
beforeEach(async () => {
  books = await openBooks();
});
afterEach(() => books.close());

describe('a source without an API key', () => {
  const sources = [{ name: 'platform' }];

  test('a closed day becomes one part, however often and in whatever order its events were told', async () => {
    const events = eventsOf(day, 50, 'a');
    await books.deliver(...recordsOf(events).reverse());
    await books.deliver(...events.slice(0, 20).map(({ text }) => stripeRecord(text, late)));
    const report = await books.night(sources);
    assert.deepEqual(report.errors, []);
    assert.equal(report.manifest, 1);
    assert.deepEqual(
      report.days.map((entry) => [entry.day, entry.verdict]),
      ['2026-11-18', '2026-11-19', '2026-11-20'].map((closed) => [closed, 'unreconciled']),
    );
    const counts = { delivered: 50, recovered: 0, listed: null, notListed: null, differing: 0, duplicates: 20 };
    assert.deepEqual(report.days[0]?.counts, counts);
    const part = (await books.manifest(1)).sources.platform![day]!.parts[0]!;
    const ids = (await books.lines(part.key)).map((line) => JSON.parse(line).id);
    const order = (a: MadeEvent, b: MadeEvent) => a.createdSeconds - b.createdSeconds || (a.id < b.id ? -1 : 1);
    assert.deepEqual(
      ids,
      events.toSorted(order).map(({ id }) => id),
    );
    assert.deepEqual(await books.lines(part.ids.key), events.map(({ id }) => id).sort());
    const deliveries = (await books.lines(part.deliveries!.key)).map((line) => JSON.parse(line));
    assert.equal(deliveries.length, 70);
    const first = events.find(({ id }) => id === deliveries[0].id);
    assert.equal(deliveries[0].body, first?.text, 'the body is kept byte for byte');
    assert.match(part.key, /^platform\/2026\/11\/18\/2026-11-18-[0-9a-f]{16}\.jsonl\.gz\.age$/);
  });

  test('an event with a member of its own called reason is an event like any other', async () => {
    const [event] = eventsOf(day, 1, 'reason');
    await books.deliver(stripeRecord(event!.text.replace('{', '{"reason":"requested",')));
    const { warnings, days } = await books.night(sources);
    assert.deepEqual([warnings, days[0]?.counts.delivered], [[], 1]);
  });

  test('the ledger that a night leaves is the one that the next one reads', async () => {
    const told: Ledger[] = [];
    const night = () => books.night(sources, { ended: (ledger) => told.push(ledger) });
    await books.deliver(...recordsOf(eventsOf(day, 5, 'e')), { key: 'x', value: Buffer.from('no envelope') });
    for (const expected of [1, null]) {
      assert.equal((await night()).manifest, expected);
      const { quarantine, ...read } = await books.ledger();
      assert.equal(quarantine.size, 1);
      assert.deepEqual(told.pop(), { ...read, quarantine });
    }
  });

  test('a second run with nothing new writes nothing', async () => {
    await books.deliver(...recordsOf(eventsOf(day, 5, 'b')));
    await books.night(sources);
    const before = await books.keys();
    assert.deepEqual(await books.night(sources), { manifest: null, days: [], errors: [], warnings: [] });
    assert.deepEqual(await books.keys(), before);
  });

  test("today's events wait, pin the position, and are archived when their day is closed", async () => {
    const [yesterday, today] = [eventsOf('2026-11-20', 6, 'c'), eventsOf('2026-11-21', 6, 'd')];
    const records = recordsOf(yesterday).flatMap((record, index) => [recordsOf(today)[index]!, record]);
    await books.deliver(...records);
    await books.night(sources);
    const { partitions } = (await books.manifest(1)).stream;
    assert.ok(Object.values(partitions).some(({ done }) => done.length > 0));
    books.at('2026-11-22T03:00:00Z');
    const report = await books.night(sources);
    assert.deepEqual(
      report.days.map((entry) => [entry.day, entry.counts.delivered]),
      [['2026-11-21', 6]],
    );
    for (const { done } of Object.values((await books.manifest(2)).stream.partitions)) assert.deepEqual(done, []);
  });

  test('a day is closed only when the lag has passed after its end', async () => {
    await books.deliver(...recordsOf(eventsOf('2026-11-20', 3, 'e')));
    books.at('2026-11-21T00:59:59Z');
    assert.deepEqual(
      (await books.night(sources)).days.map((entry) => entry.day),
      ['2026-11-19'],
    );
    books.at('2026-11-21T01:00:00Z');
    assert.deepEqual(
      (await books.night(sources)).days.map((entry) => entry.day),
      ['2026-11-20'],
    );
  });

  test('late events of an archived day make a further part; late copies make late deliveries', async () => {
    const events = eventsOf(day, 8, 'f');
    await books.deliver(...recordsOf(events.slice(0, 5)));
    await books.night(sources);
    await books.deliver(...events.slice(3).map(({ text }) => stripeRecord(text, late)));
    const report = await books.night(sources);
    assert.deepEqual(
      report.days.map((entry) => entry.counts),
      [{ delivered: 8, recovered: 0, listed: null, notListed: null, differing: 0, duplicates: 2 }],
    );
    const entry = (await books.manifest(2)).sources.platform![day]!;
    assert.equal(entry.parts[0]?.events, 3);
    assert.equal(entry.parts[0]?.deliveries?.count, 3);
    assert.deepEqual(
      entry.lateDeliveries.map(({ count }) => count),
      [2],
    );
  });

  test('a record that is there twice in every byte is one delivery in a run and a late one in a later run', async () => {
    const [record] = recordsOf(eventsOf(day, 1, 'g'));
    await books.deliver(record!, record!);
    const first = await books.night(sources);
    assert.equal(first.days.find((entry) => entry.day === day)?.counts.duplicates, 0);
    await books.deliver(record!);
    assert.deepEqual(
      (await books.night(sources)).days.map((entry) => entry.counts.duplicates),
      [1],
    );
  });

  test('of copies that differ the smallest canonical line is archived, and the difference is counted', async () => {
    const [{ text }] = eventsOf(day, 1, 'h') as [MadeEvent];
    const copies = ['"zeta"', '"alpha"', '"mid"'].map((note) =>
      text.replace(/^\{/, `{"note":${note},`).replace('"data": {', `"data": {"n":${note},`),
    );
    await books.deliver(...copies.map((copy) => stripeRecord(copy)));
    const report = await books.night(sources);
    assert.equal(report.days[0]?.counts.differing, 1);
    const part = (await books.manifest(1)).sources.platform![day]!.parts[0]!;
    assert.deepEqual(
      (await books.lines(part.key)).map((line) => JSON.parse(line).note),
      ['alpha'],
    );
  });

  test('copies that differ in formatting, in pending_webhooks or in another api_version do not differ', async () => {
    const [{ text }] = eventsOf(day, 1, 'i') as [MadeEvent];
    const other = text
      .replace(/"api_version": "[^"]*"/, '"api_version": "2026-01-01"')
      .replace('"data": {', '"data": {"more":1,');
    const copies = [
      text,
      JSON.stringify(JSON.parse(text)),
      text.replace(/"pending_webhooks": \d+/, '"pending_webhooks": 9'),
      other,
    ];
    await books.deliver(...copies.map((copy) => stripeRecord(copy)));
    assert.equal((await books.night(sources)).days[0]?.counts.differing, 0);
  });

  test('a copy that claims another day joins the day of the line; both days stay right', async () => {
    const [{ text, createdSeconds }] = eventsOf(day, 1, 'j') as [MadeEvent];
    await books.deliver(stripeRecord(text));
    await books.night(sources);
    const elsewhere = text.replace(
      `"created": ${createdSeconds},\n  "data"`,
      `"created": ${createdSeconds + 86_400},\n  "data"`,
    );
    assert.notEqual(elsewhere, text);
    await books.deliver(stripeRecord(elsewhere));
    const report = await books.night(sources);
    assert.deepEqual(
      report.days.map((entry) => [entry.day, entry.counts.duplicates]),
      [[day, 1]],
    );
  });

  test('an event of a day before the first adds that day alone', async () => {
    await books.deliver(...recordsOf(eventsOf('2026-11-19', 1, 'k')));
    await books.night(sources);
    await books.deliver(...recordsOf(eventsOf('2026-11-10', 1, 'l')));
    assert.deepEqual(
      (await books.night(sources)).days.map((entry) => entry.day),
      ['2026-11-10'],
    );
    books.at('2026-11-24T03:00:00Z');
    assert.deepEqual(
      (await books.night(sources)).days.map((entry) => entry.day),
      ['2026-11-21', '2026-11-22', '2026-11-23'],
    );
  });

  test('events of a source that is no longer configured are archived under its name, without empty days', async () => {
    await books.deliver(stripeRecord(eventsOf(day, 1, 'm')[0]!.text, { source: 'former' }));
    const report = await books.night(sources);
    assert.deepEqual(
      report.days.map((entry) => [entry.source, entry.day]),
      [
        ['former', day],
        ['platform', '2026-11-20'],
      ],
    );
    books.at('2026-11-22T03:00:00Z');
    assert.deepEqual(
      (await books.night(sources)).days.map((entry) => entry.source),
      ['platform'],
    );
  });

  test('--day touches that day alone; the others are archived by the next run, every event once', async () => {
    const days = ['2026-11-17', '2026-11-18', '2026-11-19'];
    const events = days.flatMap((d) => eventsOf(d, 4, `n${d}`));
    await books.deliver(...recordsOf(events));
    const alone = await books.night(sources, { days: new Set(['2026-11-18']) });
    assert.deepEqual(
      alone.days.map((entry) => [entry.day, entry.counts.delivered]),
      [['2026-11-18', 4]],
    );
    const rest = await books.night(sources);
    assert.deepEqual(
      rest.days.map((entry) => [entry.day, entry.counts.delivered, entry.counts.duplicates]),
      [
        ['2026-11-17', 4, 0],
        ['2026-11-19', 4, 0],
        ['2026-11-20', 0, 0],
      ],
    );
  });

  test('an orphan of a run that died is left as it is: the new object gets the next name', async () => {
    const events = eventsOf(day, 3, 'o');
    await books.deliver(...recordsOf(events));
    const report = await books
      .night(sources, {
        store: (store) => ({
          ...store,
          create: (key, body) =>
            key.startsWith('manifests/') ? Promise.reject(new Error('killed')) : store.create(key, body),
        }),
      })
      .catch((error: Error) => error.message);
    assert.equal(report, 'killed');
    const orphans = await books.keys('platform/');
    await books.night(sources);
    const part = (await books.manifest(1)).sources.platform![day]!.parts[0]!;
    assert.match(part.key, /-2\.jsonl\.gz\.age$/);
    assert.match(part.deliveries!.key, /-2\.deliveries\.jsonl\.gz\.age$/);
    assert.match(part.ids.key, /-2\.ids\.gz$/);
    assert.deepEqual(
      orphans.filter((key) => !key.includes('-2')),
      orphans,
    );
    assert.equal((await books.lines(part.key)).length, 3);
  });
});

describe('events of other servers', () => {
  const sources = [{ name: 'billing' }];
  const element = (value: number) => `{"app":"a","stage":"PROD","type":"metric","value":${value},"eventTime":"x"}`;
  const receivedAt = '2026-11-18T12:00:00.000Z';

  test('a line is the CloudEvent around the element, numbers as written', async () => {
    const body = '{"value":1.10,"big":12345678901234567890,"app":"a"}';
    await books.deliver(eventRecord(body, { id: 'sha256-1', time: '2026-11-18T13:00:00.5+01:00', receivedAt }));
    await books.night(sources);
    const part = (await books.manifest(1)).sources.billing![day]!.parts[0]!;
    assert.deepEqual(await books.lines(part.key), [
      '{"data":{"app":"a","big":12345678901234567890,"value":1.10},"datacontenttype":"application/json","id":"sha256-1","source":"/events/billing","specversion":"1.0","time":"2026-11-18T13:00:00.5+01:00","type":"metric"}',
    ]);
    assert.equal(part.firstCreated, '2026-11-18T12:00:00.500Z');
  });

  test('without a claimed time it is that of the earliest receipt, which is not a difference between copies', async () => {
    const copies = ['2026-11-19T00:00:05.000Z', '2026-11-18T23:59:59.000Z'];
    await books.deliver(...copies.map((at) => eventRecord(element(1), { id: 'one', receivedAt: at })));
    const report = await books.night(sources);
    const entry = report.days.find((one) => one.day === day);
    assert.deepEqual([entry?.counts.delivered, entry?.counts.duplicates, entry?.counts.differing], [1, 1, 0]);
    const part = (await books.manifest(1)).sources.billing![day]!.parts[0]!;
    assert.equal(JSON.parse((await books.lines(part.key))[0]!).time, '2026-11-18T23:59:59.000Z');
  });

  test('an id is one event within 31 days back and one day ahead, and another one beyond', async () => {
    const at = (time: string) => eventRecord(element(1), { id: 'again', time, receivedAt: time });
    await books.deliver(at('2026-10-01T10:00:00.000Z'));
    await books.night(sources);
    await books.deliver(at('2026-11-01T10:00:00.000Z'), at('2026-11-02T10:00:00.000Z'));
    const report = await books.night(sources);
    assert.deepEqual(
      report.days.map((entry) => [entry.day, entry.counts.delivered, entry.counts.duplicates]),
      [
        ['2026-10-01', 1, 1],
        // The first night began the source 30 days back at most.
        ['2026-11-01', 0, 0],
        ['2026-11-02', 1, 0],
      ],
    );
  });

  test('late copies that claim several days are one delivery each, of the one event that is archived', async () => {
    const at = (time: string) => eventRecord(element(1), { id: 'late', time, receivedAt: time });
    await books.deliver(at('2026-11-18T10:00:00.000Z'));
    await books.night(sources);
    await books.deliver(at('2026-11-19T10:00:00.000Z'), at('2026-11-20T10:00:00.000Z'));
    const { manifest } = await books.night(sources);
    const entry = (await books.manifest(manifest!)).sources.billing![day]!;
    assert.deepEqual([entry.counts.delivered, entry.counts.duplicates], [1, 2]);
    const lines = await Promise.all(entry.lateDeliveries.map(({ key }) => books.lines(key)));
    assert.deepEqual(
      lines.flat().map((line) => JSON.parse(line).receivedat),
      ['2026-11-19T10:00:00.000Z', '2026-11-20T10:00:00.000Z'],
    );
  });

  test('of copies of one run the earliest day has the line', async () => {
    const at = (time: string, value: number) => eventRecord(element(value), { id: 'many', time, receivedAt: time });
    await books.deliver(
      at('2026-11-19T10:00:00.000Z', 1),
      at('2026-11-18T10:00:00.000Z', 2),
      at('2026-11-20T10:00:00.000Z', 0),
    );
    const report = await books.night(sources);
    assert.deepEqual(
      report.days.map(({ counts }) => [counts.delivered, counts.duplicates, counts.differing]),
      [
        [1, 2, 1],
        [0, 0, 0],
        [0, 0, 0],
      ],
    );
  });
});
