/** Records on the stream that no ingest of ours would write: kept as they came, in the way of nothing else. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { ListedEvent } from '../../compactor/stripe/listed-event.ts';
import { type EnvelopeHeader, writeEnvelope } from '../../shared/envelope.ts';
import { compareCodePoints } from '../../shared/json/canonical-json.ts';
import { maxNesting } from '../../shared/json/json-text.ts';
import type { AppendRecord } from '../../shared/stream/stream.ts';
import { type Books, openBooks, stripeRecord } from '../compactor/books.ts';
import { assertBooks, billingRecord, copiesOf, eventsOfDay } from './night-books.ts';
import { startNight } from './night-process.ts';
import { standingRecords } from './night-stream.ts';

const day = '2026-11-18';
const sources = [{ name: 'billing' }, { name: 'platform' }];
const nothing = { manifest: null, days: [], errors: [], warnings: [] };
const createdSeconds = Date.parse(`${day}T12:00:00Z`) / 1000;

let books: Books;
beforeEach(async () => {
  books = await openBooks();
});
afterEach(() => books.close());

/** A Stripe event of the day with these members beside, or instead of, its own; `header` belongs to its envelope. */
function stripe(id: string, members: object = {}, header: Partial<EnvelopeHeader> & Record<string, unknown> = {}) {
  const event = { id, object: 'event', type: 'a.b', created: createdSeconds, data: { object: { id: `in_${id}` } } };
  const { value } = stripeRecord(JSON.stringify({ ...event }), { header: header as Partial<EnvelopeHeader> });
  return replaced(value, JSON.stringify(event), JSON.stringify({ ...event, ...members }));
}

function replaced(value: Uint8Array, from: string, to: string): Buffer {
  return Buffer.from(
    Buffer.from(value)
      .toString()
      .replace(from, () => to),
  );
}

/** An envelope with this text as its data. */
function withData(text: string | Uint8Array, header: Partial<EnvelopeHeader> = {}): Buffer {
  const time = `${day}T12:00:00.000Z`;
  const whole = {
    id: 'x',
    source: '/events/billing',
    type: 't',
    time,
    receivedat: time,
    via: 'events',
    scheme: 'panda',
  };
  return writeEnvelope({ ...whole, ...header } as EnvelopeHeader, Buffer.from(text));
}

const deep = (levels: number) => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;
const sound = Buffer.from(billingRecord('b-sound', `${day}T12:00:00Z`).value);

const hostile: readonly (readonly [what: string, value: Uint8Array, reason: RegExp])[] = [
  ['nothing', Buffer.alloc(0), /no data/],
  ['bytes', Buffer.from([0, 255, 254, 1, 10, 13, 0]), /no data/],
  ['a line feed', Buffer.from('\n'), /no data/],
  ['other JSON', Buffer.from('{"id":"x"}'), /no data/],
  ['900 KB of bytes', Buffer.alloc(900_000, 0xa5), /no data/],
  ['an envelope cut in its header', sound.subarray(0, 40), /no data/],
  ['an envelope cut in its data', sound.subarray(0, -9), /no data/],
  ['an envelope without its last brace', sound.subarray(0, -1), /JSON/],
  ['an envelope with something behind it', Buffer.concat([sound, Buffer.from('}')]), /JSON/],
  ['data that is not UTF-8', withData(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])), /UTF-8/],
  ['data with a byte order mark', withData('\ufeff{}'), /JSON/],
  ['data that is an array', withData('[{}]'), /not an object/],
  ['data that is null', withData('null'), /not an object/],
  ['data that goes on', withData('{},"data":{}'), /JSON/],
  [`data nested ${maxNesting + 1} deep`, withData(deep(maxNesting + 1)), /deep/],
  ['data nested 100,000 deep', withData(deep(100_000)), /deep/],
  ['a header that is not JSON', Buffer.from('{"specversion":"1.0",,"data":{}}'), /header/],
  ['the reserved source manifests', withData('{}', { source: '/events/manifests' }), /source/],
  ['the reserved source quarantine', withData('{}', { source: '/stripe/quarantine' }), /source/],
  ['a source that leaves its folder', withData('{}', { source: '/events/../manifests' }), /source/],
  ['a source in capitals', withData('{}', { source: '/events/Billing' }), /source/],
  ['a source of another kind', withData('{}', { source: '/else/billing' }), /source/],
  ['an id with a line feed', withData('{}', { id: 'a\nb' }), /id/],
  ['an id with NUL', withData('{}', { id: 'a\0b' }), /id/],
  ['an id of 256 characters', withData('{}', { id: 'a'.repeat(256) }), /id/],
  ['an id with half a surrogate pair', withData('{}', { id: 'a\ud800' }), /id/],
  ['another id in the data', stripe('evt_a', { id: 'evt_b' }), /id/],
  ['no id in the data', stripe('evt_a', { id: null }), /id/],
  ['another time in the data', stripe('evt_a', { created: createdSeconds + 1 }), /time/],
  ['a time in the data that is not a number of seconds', stripe('evt_a', { created: 1.5 }), /time/],
  ['a claimed time that is none', withData('{}', { time: 'yesterday' }), /time/],
  ['a day more than one ahead', withData('{}', { time: '2026-11-23T00:00:00Z' }), /future/],
  ['the year 9999', withData('{}', { time: '9999-12-31T23:59:59Z' }), /future/],
  ['a time before 1970', withData('{}', { time: '1969-12-31T23:59:59Z' }), /1970/],
  ['a receipt without milliseconds', withData('{}', { receivedat: `${day}T12:00:00Z` }), /receivedat/],
  ['a receipt in a month that is none', withData('{}', { receivedat: '2026-00-18T12:00:00.000Z' }), /receivedat/],
  [
    'a receipt of a megabyte',
    withData('{}', { receivedat: `${day}T12:00:00.${'0'.repeat(1_100_000)}Z` }),
    /receivedat/,
  ],
  ['an unknown via', withData('{}', { via: 'pigeon' as 'list' }), /via/],
];

test('what is not an envelope goes to the quarantine with its place, its reason and its exact bytes; nothing waits for it', async () => {
  const events = eventsOfDay(day, 5, 'sound');
  const records = [...hostile.map(([what, value]) => ({ key: what, value })), ...events.flatMap((e) => copiesOf(e, 1))];
  for (const record of records) await books.deliver(record);
  await books.deliver({ key: 'sound', value: sound });
  const report = await books.night(sources);
  assert.deepEqual(report.errors, []);
  assert.deepEqual(
    report.warnings.map(({ code }) => code),
    ['records_quarantined'],
  );
  await assertBooks(books, {
    platform: { ids: events.map(({ id }) => id), deliveries: 5 },
    billing: { ids: ['b-sound'], deliveries: 1 },
  });

  const [quarantine, ...others] = (await books.manifest(1)).quarantine;
  assert.deepEqual(others, []);
  const lines = (await books.lines(quarantine!.key)).map((line) => JSON.parse(line));
  const ledger = await books.ledger();
  const standing = await standingRecords(books, ledger);
  assert.ok(
    standing.every(({ isDone }) => isDone),
    'nothing waits',
  );
  for (const [what, value, reason] of hostile) {
    const raw = Buffer.from(value).toString('base64');
    const place = standing.find((record) => Buffer.from(record.value).equals(value))!;
    const line = lines.find((one) => one.raw === raw);
    assert.ok(line !== undefined, `${what} is in the quarantine`);
    assert.deepEqual(Object.keys(line), ['partition', 'position', 'reason', 'raw']);
    assert.deepEqual([line.partition, line.position], [place.partition, String(place.before)], what);
    assert.match(line.reason, reason, what);
  }
  assert.equal(lines.length, hostile.length);
  assert.deepEqual(await books.night(sources), nothing);
});

describe('what is an envelope, but strange', () => {
  test('is archived: big, with odd members, odd texts and odd accounts, at the deepest nesting allowed', async () => {
    const odd: [string, Buffer][] = [
      ['evt_big', stripe('evt_big', { data: { object: { id: 'in_1', note: 'x'.repeat(900_000) } } })],
      ['evt_nul', stripe('evt_nul', { account: 'acct\0 1\n2' })],
      ['evt_spaces', stripe('evt_spaces', { account: '  acct 1  ' })],
      ['evt_account', stripe('evt_account', { account: { no: 'text' } })],
      [
        'evt_proto',
        replaced(stripe('evt_proto'), '"type":"a.b","created"', '"__proto__":{"type":1},"type":"a.b","created"'),
      ],
      ['evt_header', stripe('evt_header', {}, { subject: 'a\0b', path: '/\ud83d\ude00', other: '{"data":1}' })],
      ['evt_types', stripe('evt_types', { type: { a: 1 }, livemode: 'yes', api_version: [1, 2] })],
    ];
    await books.deliver(...odd.map(([key, value]) => ({ key, value })));
    await books.deliver({ key: 'deep', value: withData(deep(maxNesting), { id: 'b-deep' }) });
    // Twice, in other bytes: copies are compared.
    await books.deliver(
      ...odd.map(([key, value]) => ({ key, value: replaced(value, '"data":{"object"', '"data": {"object"') })),
    );
    const report = await books.night(sources);
    assert.deepEqual(report.errors, []);
    assert.deepEqual(report.warnings, []);
    await assertBooks(books, { platform: { ids: odd.map(([id]) => id) }, billing: { ids: ['b-deep'] } });
    const { accounts } = (await books.ledger()).sources.get('platform')!.get(day)!;
    assert.deepEqual(accounts, ['  acct 1  ', 'acct\0 1\n2']);
  });

  test('with a claimed time in one copy and none in another, and receipts of any order, lies in one day', async () => {
    const element = JSON.stringify({ app: 'billing' });
    const copies = [
      withData(element, { id: 'b-mixed', receivedat: `${day}T23:59:00.000Z`, time: '2026-11-19T00:00:10Z' }),
      replaced(
        withData(element, { id: 'b-mixed', receivedat: '2026-11-19T00:00:20.000Z' }),
        /"time":"[^"]*",/.exec(withData(element).toString())![0],
        '',
      ),
    ];
    await books.deliver(...copies.map((value) => ({ key: 'b-mixed', value })));
    assert.deepEqual((await books.night(sources)).errors, []);
    await assertBooks(books, { billing: { ids: ['b-mixed'], deliveries: 2 } });
    assert.deepEqual(await books.night(sources), nothing);
  });

  test('of both kinds under one name and one id, one of them listed too, is one event, and blocks no other', async () => {
    const event = eventsOfDay('2026-11-19', 1, 'listed')[0]!;
    const listed: ListedEvent = { id: event.id, createdMs: event.createdSeconds * 1000, text: event.text };
    const api = {
      async *list({ fromSeconds, toSeconds }: { fromSeconds: number; toSeconds: number }) {
        if (fromSeconds <= event.createdSeconds && event.createdSeconds < toSeconds) yield [listed];
      },
      accounts: async () => [],
      endpoints: async () => undefined,
      close() {},
    };
    const time = new Date(event.createdSeconds * 1000).toISOString();
    await books.deliver(billingRecord(event.id, time, { source: 'platform' }), ...copiesOf(event, 1));
    // Far from its namesake: an event of its own that is listed alone.
    await books.deliver(billingRecord(event.id, '2026-09-01T00:00:00Z', { source: 'platform' }));
    const other = eventsOfDay('2026-11-19', 3, 'other');
    await books.deliver(...other.flatMap((one) => copiesOf(one, 1)));
    const report = await books.night([{ name: 'platform', listing: { api, accounts: [] } }]);
    assert.deepEqual(report.errors, []);
    await assertBooks(books, { platform: { ids: [event.id, event.id, ...other.map(({ id }) => id)] } });
  });

  test('from many sources that nobody configured and of many days is archived, each under its own name and day', async () => {
    const names = Array.from({ length: 40 }, (_, number) => `stranger-${number}`);
    const days = Array.from({ length: 60 }, (_, back) => new Date(Date.parse(day) - back * 86_400_000).toISOString());
    await books.deliver(...names.map((source) => billingRecord(`b-${source}`, `${day}T01:00:00Z`, { source })));
    await books.deliver(...days.map((time) => billingRecord(`b-${time}`, time)));
    const report = await books.night(sources);
    assert.deepEqual(report.errors, []);
    const strangers = names.map((name) => [name, { ids: [`b-${name}`], deliveries: 1 }] as const);
    const billing = { ids: days.map((time) => `b-${time}`), deliveries: 60 };
    await assertBooks(books, { ...Object.fromEntries(strangers), billing });
  });
});

test('ids of any characters are sorted by code point, in lines and in ids.gz', async () => {
  const traps = [
    '\u{10000}',
    '\u{1f600}',
    '\u{10ffff}',
    '\ufffd',
    '\ue000',
    '\ud7ff',
    '\uff5e',
    'é',
    'z',
    '~',
    ' ',
    '"',
    '\\',
  ];
  const stems = ['', 'evt_', 'evt_1', 'evt_1evt_', '\u{1f600}', '\ufffd\u{10000}', '\ue000'];
  const ids = new Set<string>();
  for (const stem of stems) {
    for (const a of traps) for (const b of ['', ...traps, 'a-', 'a0']) ids.add(`${stem}${a}${b}`);
  }
  for (let number = 0; ids.size < 3_000; number += 1) ids.add(`evt_shared_prefix_${number % 7}_${number}`);
  const records: AppendRecord[] = [...ids].map((id) => billingRecord(id, `${day}T12:00:00Z`));
  await books.deliver(...records.filter((_, index) => index % 2 === 0));
  await books.deliver(...records.toReversed());
  const report = await books.night(sources);
  assert.deepEqual(report.errors, []);
  assert.deepEqual(report.warnings, []);
  await assertBooks(books, { billing: { ids, deliveries: 3_000 } });
  const part = (await books.manifest(1)).sources.billing![day]!.parts[0]!;
  const lines = (await books.lines(part.key)).map((line) => JSON.parse(line).id);
  assert.deepEqual(lines, [...ids].sort(compareCodePoints));
  assert.deepEqual(
    await books.lines(part.ids.key),
    [...ids].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
  );
});

test('one id delivered 5,000 times, no two copies alike, is one line with all its deliveries, in bounded memory', async (t) => {
  const note = 'n'.repeat(40_000);
  const copies = 5_000;
  const id = 'evt_1_again_and_again';
  for (let from = 0; from < copies; from += 250) {
    const numbers = Array.from({ length: 250 }, (_, index) => from + index);
    await books.deliver(
      ...numbers.map((number) => ({
        key: id,
        // Each says that it was rendered in another version, so none is compared with another.
        value: stripe(id, {
          pending_webhooks: number,
          api_version: `v${number}`,
          data: { object: { id: 'in_1', number, note } },
        }),
      })),
    );
  }
  const { ended } = await startNight(books, { preload: new URL('night-memory.ts', import.meta.url) });
  const { code, report, stderr } = await ended;
  assert.equal(code, 0, stderr);
  assert.deepEqual(report.errors, []);
  await assertBooks(books, { platform: { ids: [id], deliveries: copies } });
  const peakBytes = Number(/peak memory: (\d+)/.exec(stderr)?.[1]);
  t.diagnostic(`peak memory ${Math.round(peakBytes / 1e6)} MB`);
  assert.ok(peakBytes < 400e6, `peak memory ${Math.round(peakBytes / 1e6)} MB for ${copies} copies`);
});
