// biome-ignore-all lint/suspicious/noAssignInExpressions: a lie is one assignment
/** A signer that lies: each lie about a good archive is found by the claim that it contradicts. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { encodeManifest, type Manifest, sha256Hex } from '../../../compactor/ledger/manifest.ts';
import { wrongClaims, wrongGaps } from '../../../compactor/verify/check-claims.ts';
import { readSigner } from '../../../shared/crypto/signing.ts';
import { type Books, eventRecord, stripeRecord } from '../books.ts';
import { eventsOf, openStripeNights, type StripeNights } from '../stripe/stripe-nights.ts';

const day = '2026-11-18';
type Lie = (manifest: Mutable<Manifest>) => void;
type Mutable<T> = { -readonly [K in keyof T]: T[K] extends object | undefined ? Mutable<T[K]> : T[K] };

let books: Books;
let nights: StripeNights;
const closers: (() => unknown)[] = [];
before(async () => {
  nights = await openStripeNights({ after: (close: () => unknown) => closers.push(close) } as never);
  books = nights.books;
  for (const each of [day, '2026-11-19']) {
    const events = eventsOf(each, 4, each);
    for (const { text } of events) nights.stripe.add(text);
    await books.deliver(...events.slice(1).map(({ text }) => stripeRecord(text)));
    await books.deliver(eventRecord('{"app":"a","value":1}', { id: each, receivedAt: `${each}T10:00:00.000Z` }));
  }
  books.at('2026-11-20T03:00:00Z');
  await books.night([nights.source(), { name: 'billing' }]);
  await books.deliver({ key: 'x', value: Buffer.from('no envelope') });
  books.at('2026-11-21T03:00:00Z');
  await books.night([nights.source(), { name: 'billing' }]);
});
after(async () => {
  for (const close of closers) await close();
});

/** The messages about manifest 2 after the lie. */
async function told(lie: Lie, text?: (line: string) => string): Promise<string[]> {
  const first = await books.manifest(1);
  const manifest = structuredClone(await books.manifest(2)) as Mutable<Manifest>;
  lie(manifest);
  const signer = readSigner(books.signingKey);
  const bytes = await encodeManifest(manifest as Manifest, signer);
  const bent = text === undefined ? bytes : Buffer.from(text(bytes.toString()));
  const states = new Map(
    Object.entries(first.sources).map(([name, days]) => [
      name,
      new Map(Object.entries(days).map(([of, entry]) => [of, { ...entry } as never])),
    ]),
  );
  const head = { number: 1, sha256: sha256Hex(Buffer.from('')), createdAt: first.createdAt };
  const said = { head, stream: first.stream, holes: first.holes, firstDays: first.firstDays, states };
  return [...wrongClaims(JSON.parse(bent.toString().split('\n')[0]!), bent, said, '')].map(({ message }) => message);
}

const entryOf = (manifest: Mutable<Manifest>, source = 'platform') =>
  (manifest.sources as Record<string, Record<string, Mutable<Manifest['sources'][string][string]>>>)[source]![
    source === 'platform' ? day : '2026-11-20'
  ]!;

describe('what an honest night says', () => {
  test('contradicts nothing', async () => assert.deepEqual(await told(() => {}), []));

  test('a list that broke off adds events and leaves the count of the last whole list', async () => {
    const { listedAt } = (await books.manifest(1)).sources.platform![day]!;
    const found = await told((m) => {
      entryOf(m).listedAt = listedAt;
      entryOf(m).counts.listed = 0;
    });
    assert.deepEqual(
      found.filter((text) => text.includes('are listed, and')),
      [],
    );
  });
});

describe('a lie is told by what it contradicts:', () => {
  const lies: Record<string, [Lie, RegExp]> = {
    'createdAt before the one before': [
      (m) => void (m.createdAt = '2026-11-19T00:00:00.000Z'),
      /is before that of the manifest before/,
    ],
    'createdAt that is not a time': [(m) => void (m.createdAt = 'yesterday'), /createdAt is not a date-time/],
    'first days changed': [
      (m) => void ((m.firstDays as Record<string, string>).platform = '2026-11-20'),
      /the first day of platform/,
    ],
    'first days dropped': [(m) => void (m.firstDays = {}), /the first day of/],
    'positions back': [
      (m) => {
        for (const at of Object.values(m.stream.partitions)) (at as { next: string }).next = '0';
      },
      /was archived up to/,
    ],
    'positions gone': [(m) => void (m.stream.partitions = {}), /is up to nowhere/],
    'an unknown verdict': [(m) => void (entryOf(m).verdict = 'perfect' as never), /the verdict "perfect" is not known/],
    'complete on the day after': [
      (m) => void (entryOf(m).listedAt = '2026-11-19T01:00:00.000Z'),
      /by what the manifest says it is provisional/,
    ],
    'complete without a listing': [(m) => void (entryOf(m).listedAt = null), /by what the manifest says it is/],
    'complete though missing': [(m) => void (entryOf(m).missing = ['evt_x'] as never), /it is incomplete/],
    'complete though of another account': [
      (m) => void (entryOf(m).accounts = ['acct_x'] as never),
      /it is unreconciled/,
    ],
    'listed in the future': [
      (m) => void (entryOf(m).listedAt = '2099-01-01T00:00:00.000Z'),
      /after the manifest was made/,
    ],
    'listed before it was over': [(m) => void (entryOf(m).listedAt = `${day}T12:00:00.000Z`), /before it was over/],
    'a day that is none': [
      (m) => {
        const days = m.sources.platform as Record<string, unknown>;
        days.hello = days[day];
      },
      /hello: is not a day/,
    ],
    'a day of the future': [
      (m) => {
        const days = m.sources.platform as Record<string, unknown>;
        days['2099-01-01'] = days[day];
      },
      /2099-01-01: was not over/,
    ],
    'negative counts': [(m) => void (entryOf(m).counts.duplicates = -1), /duplicates is -1/],
    'more twins than were recovered': [
      (m) => void (entryOf(m).counts.twins = 1),
      /twins is 1 where it was 0, with 0 more recovered/,
    ],
    "Stripe's word while it may still retry": [
      (m) => Object.assign(entryOf(m).counts, { neverDelivered: 0, unsubscribed: 0, lostAfter2xx: 0 }),
      /Stripe's word is said by a listing at .*, when it might still retry/,
    ],
    "Stripe's word on more than was recovered, and while ids wait for it": [
      (m) => Object.assign(entryOf(m).counts, { neverDelivered: 9, unsubscribed: 0, lostAfter2xx: 0 }),
      /Stripe's word is on 9 of 1 events/,
    ],
    "Stripe's word while ids wait for it": [
      (m) => Object.assign(entryOf(m).counts, { neverDelivered: 1, unsubscribed: 0, lostAfter2xx: 0 }),
      /and ids still wait for it/,
    ],
    "a third of Stripe's word": [
      (m) => Object.assign(entryOf(m).counts, { neverDelivered: 1 }),
      /Stripe's word is not told in three counts/,
    ],
    'lost events that the exceptions do not name': [
      (m) => Object.assign(entryOf(m).counts, { neverDelivered: 0, unsubscribed: 0, lostAfter2xx: 1 }),
      /lostAfter2xx 1, and 0 in its exceptions where there were 0/,
    ],
    'more undelivered than were recovered': [
      (m) => Object.assign(entryOf(m), { undelivered: ['evt_a', 'evt_b'] }),
      /2 ids are said to be undelivered, of 1 events/,
    ],
    'less listed than its events': [
      (m) => void (entryOf(m).counts.listed = 0),
      /0 are listed, and 4 of its events are/,
    ],
    'more not listed than there are': [(m) => void (entryOf(m).counts.notListed = 9), /9 of 4 events are not listed/],
    'listed where nobody was asked': [
      (m) => void Object.assign(entryOf(m, 'billing').counts, { listed: 5, notListed: 0 }),
      /no list was asked/,
    ],
    'recovered where nobody was asked': [(m) => void (entryOf(m, 'billing').counts.recovered = 1), /no list was asked/],
    'a quarantine elsewhere': [
      (m) => void ((m.quarantine[0] as { key: string }).key = 'platform/0123456789abcdef.jsonl.gz.age'),
      /is not in the quarantine's folder/,
    ],
  };
  for (const [what, [lie, message]] of Object.entries(lies)) {
    test(what, async () => {
      const found = await told(lie);
      assert.ok(
        found.some((text) => message.test(text)),
        JSON.stringify(found),
      );
    });
  }

  test('a name twice, and white space', async () => {
    for (const text of [
      (line: string) => line.replace('{', '{"format":"x",'),
      (line: string) => line.replace(':', ': '),
    ]) {
      assert.match((await told(() => {}, text))[0]!, /is not canonical JSON/);
    }
  });

  test("an object's key in another source's folder, of another day, or out of the archive", async () => {
    const first = await books.manifest(1);
    const part = first.sources.platform![day]!.parts[0]!;
    for (const key of [
      part.key.replace('platform', 'billing'),
      part.key.replaceAll('18', '17'),
      `platform/../${part.key}`,
      7,
    ]) {
      const found = await told((m) => void (entryOf(m).parts = [{ ...part, key }] as never));
      assert.ok(
        found.some((text) => /is not in the folder of this source/.test(text)),
        JSON.stringify(found),
      );
    }
  });

  test('a day left out', async () => {
    const ledger = await books.ledger();
    const newest = await books.manifest(2);
    assert.deepEqual([...wrongGaps(newest, ledger)], []);
    const without = new Map(
      [...ledger.sources].map(([name, days]) => [name, new Map([...days].filter(([of]) => of !== day))]),
    );
    const found = [...wrongGaps(newest, { ...ledger, sources: without })].map(({ message }) => message);
    assert.deepEqual(found.length, 2);
    assert.match(found[1]!, /has no entry of 2026-11-18/);
    assert.deepEqual(
      [...wrongGaps({ ...newest, failed: { platform: [day], billing: null } }, { ...ledger, sources: without })],
      [],
    );
  });
});
