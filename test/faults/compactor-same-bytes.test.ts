/** Promise 4: the same events give the same bytes, in whatever order, however often and through which partitions. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import type { Manifest } from '../../compactor/ledger/manifest.ts';
import { type EnvelopeHeader, type Via, writeEnvelope } from '../../shared/envelope.ts';
import { readWhole } from '../../shared/store/store.ts';
import { type Books, openBooks } from '../compactor/books.ts';
import { memoryStream } from './night-stream.ts';

let books: Books;
before(async () => {
  books = await openBooks();
});
after(() => books.close());

const days = ['2026-11-17', '2026-11-18', '2026-11-19'];
const pick = <T>(...values: T[]) => fc.constantFrom(...values);

/** What copies of one event can differ in. */
const facts = fc.record({
  kind: pick('stripe', 'events'),
  id: pick('a', 'b', 'b1', '\u{1f600}', '\ufffd'),
  day: pick(...days),
  second: fc.nat(2),
  received: fc.nat(3),
  via: pick<Via>('webhook', 'webhook', 'list'),
  version: pick('v1', 'v2', undefined),
  pending: fc.nat(2),
  spaces: fc.boolean(),
  isTimed: fc.boolean(),
  account: pick('acct_1', undefined),
  keyid: pick('0123456789abcdef', 'fedcba9876543210'),
  number: pick('1.10', '-0', '12345678901234567890'),
});

type Facts = typeof facts extends fc.Arbitrary<infer T> ? T : never;

function recordOf(copy: Facts): Buffer {
  const { kind, id, day, second, received, via, version, pending, spaces, isTimed, account, keyid, number } = copy;
  const seconds = Date.parse(`${day}T12:00:00Z`) / 1000 + second;
  const claimed = new Date(seconds * 1000).toISOString();
  const isStripe = kind === 'stripe';
  const event = isStripe
    ? { id, created: seconds, type: 't', account, api_version: version, pending_webhooks: pending, data: { n: 0 } }
    : { app: version, value: pending, data: { n: 0 } };
  const text = JSON.stringify(event, null, spaces ? 2 : 0).replace(/"n": ?0/, `"n": ${number}`);
  const header: EnvelopeHeader = {
    id,
    source: isStripe ? '/stripe/platform' : '/events/billing',
    type: isStripe ? 't' : 'metric',
    ...(isStripe || isTimed ? { time: claimed } : {}),
    receivedat: new Date(Date.parse(claimed) + received * 1_000).toISOString(),
    via: !isStripe && via === 'webhook' ? 'events' : via,
    scheme: isStripe ? 'stripe' : 'panda',
    signedheaders: 'a: b',
    path: '/events',
    keyid,
  };
  return writeEnvelope(header, Buffer.from(text));
}

/** How a set of records lies on a stream: each repeated some times, all of them in some order, in some partitions. */
const layout = (records: number) =>
  fc.record({
    partitions: fc.integer({ min: 1, max: 5 }),
    batchEntries: fc.integer({ min: 1, max: 7 }),
    places: fc
      .tuple(
        ...Array.from({ length: records }, (_, record) =>
          fc.array(fc.constant(record), { minLength: 1, maxLength: 3 }),
        ),
      )
      .chain((repeated) => {
        const all = repeated.flat();
        return fc.tuple(
          fc.shuffledSubarray(all, { minLength: all.length, maxLength: all.length }),
          fc.array(fc.nat(4), { minLength: all.length, maxLength: all.length }),
        );
      }),
  });

type Layout = ReturnType<typeof layout> extends fc.Arbitrary<infer T> ? T : never;

let archives = 0;

/** Archives the records into a place of their own; says all that must not depend on how they came. */
async function archived(records: readonly Buffer[], { partitions, batchEntries, places: [order, into] }: Layout) {
  const stream = memoryStream(partitions, batchEntries);
  for (const [index, record] of order.entries()) {
    stream.partitions[into[index]! % partitions]!.values.push(records[record]!);
  }
  archives += 1;
  const prefix = `archive-${archives}/`;
  const report = await books.night([{ name: 'billing' }, { name: 'platform' }], {
    prefix,
    stream: () => stream,
    acceptRestored: true,
  });
  assert.deepEqual([report.errors, report.warnings], [[], []]);
  const bytes = await readWhole(books.store, `${prefix}manifests/00000001.jsonl`);
  const { sources }: Manifest = JSON.parse(bytes.toString().split('\n')[0]!);
  return Object.entries(sources).flatMap(([source, entries]) =>
    Object.entries(entries).map(([day, { parts, exceptions, verdict, accounts, counts }]) => ({
      source,
      day,
      verdict,
      accounts,
      counts,
      exceptions: exceptions?.sha256.plaintext,
      parts: parts.map(({ key, events, firstCreated, lastCreated, sha256, ids, deliveries }) => ({
        key: key.slice(prefix.length),
        span: [events, firstCreated, lastCreated],
        plaintext: sha256.plaintext,
        ids: ids.sha256,
        deliveries: deliveries === null ? null : [deliveries.sha256.plaintext, deliveries.count],
      })),
    })),
  );
}

test('the same records in any order, repeated, over any partitions and batches give the same plaintexts and counts', async () => {
  const cases = fc
    .uniqueArray(facts, { minLength: 1, maxLength: 14, selector: (copy) => recordOf(copy).toString() })
    .chain((copies) => fc.tuple(fc.constant(copies.map(recordOf)), layout(copies.length), layout(copies.length)));
  await fc.assert(
    fc.asyncProperty(cases, async ([records, one, other]) => {
      assert.deepEqual(await archived(records, other), await archived(records, one));
    }),
    { numRuns: 40 },
  );
});
