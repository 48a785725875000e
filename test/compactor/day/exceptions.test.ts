/** What a night has to say against a day, by id, night after night. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, type TestContext, test } from 'node:test';
import { describeExceptions, listArchive } from '../../../compactor/commands/list.ts';
import { readNamedObjects } from '../../../compactor/ledger/named-objects.ts';
import type { NightReport } from '../../../compactor/night.ts';
import { addDays, type Day } from '../../../shared/clock.ts';
import { readSigner } from '../../../shared/crypto/signing.ts';
import { canonicalJson, compareCodePoints } from '../../../shared/json/canonical-json.ts';
import { faultyStore } from '../../faults/faulty.ts';
import type { MadeEvent } from '../../stripe/events.ts';
import { verify } from '../archive-under-test.ts';
import { eventRecord, stripeRecord } from '../books.ts';
import { eventsOf, openStripeNights, type StripeNights, yesterday } from '../stripe/stripe-nights.ts';

const changed = ({ text }: MadeEvent) => text.replace('"data": {', '"data": {"changed":true,');
const notListed = (event: MadeEvent) => {
  const { id, createdSeconds: created, type } = event;
  return { created, id, kind: 'not_listed', type };
};
const byId = (a: { id: string }, b: { id: string }) => compareCodePoints(a.id, b.id);

/** What the newest manifest says of the day's exceptions, and the object's lines; the archive verifies. */
async function exceptionsOf({ books, entry }: StripeNights, report: NightReport, day: Day = yesterday) {
  for (const change of [{}, { identities: undefined }]) assert.deepEqual((await verify(books, change)).breaks, []);
  const { exceptions, counts, listedAt } = (await entry(report, day))!;
  if (exceptions == null) return { exceptions, counts, listedAt, lines: [] };
  const texts = await books.lines(exceptions.key);
  for (const text of texts) assert.equal(canonicalJson(text), text);
  const lines = texts.map((text) => JSON.parse(text));
  const place = ({ kind, id }: { kind: string; id: string }) => `${kind}\0${id}`;
  assert.deepEqual(lines.map(place), lines.map(place).sort(compareCodePoints), 'sorted by kind and id');
  return { exceptions, counts, listedAt, lines };
}

describe('a night that lists the day', () => {
  test('names what is not listed, missing and differing, with both sides, in one sealed object', async (t) => {
    const nights = await openStripeNights(t);
    const { books, stripe } = nights;
    const [same, differing, lost, ...others] = eventsOf(yesterday, 6, 'a') as [MadeEvent, MadeEvent, MadeEvent];
    for (const text of [same.text, changed(differing)]) stripe.add(text);
    stripe.add(lost.text.replace('"data": {', `"data": {"deep":${'['.repeat(300)}${']'.repeat(300)},`));
    await books.deliver(...[same, differing, ...others].map(({ text }) => stripeRecord(text)));
    const report = await nights.night('2026-11-21');

    const { exceptions, counts, listedAt, lines } = await exceptionsOf(nights, report);
    assert.deepEqual([counts.listed, counts.notListed, counts.differing], [3, 3, 1]);
    assert.match(exceptions!.key, /^platform\/2026\/11\/20\/2026-11-20-[0-9a-f]{16}\.exceptions\.jsonl\.gz\.age$/);
    assert.deepEqual(exceptions!.counts, { notListed: 3, differing: 1, missing: 1 });
    assert.equal(exceptions!.listedAt, listedAt);
    const receivedat = new Date(differing.createdSeconds * 1000).toISOString();
    assert.deepEqual(lines, [
      {
        copies: [
          { body: differing.text, origin: 'delivered', receivedat },
          { body: changed(differing), origin: 'listed' },
        ],
        differ: ['data'],
        id: differing.id,
        kind: 'differing',
      },
      { id: lost.id, kind: 'missing', why: 'nested too deeply' },
      ...others.map(notListed).sort(byId),
    ]);
    assert.deepEqual(
      report.warnings.filter(({ code }) => code === 'copies_differ'),
      [
        {
          code: 'copies_differ',
          source: 'platform',
          day: yesterday,
          message: `Stripe's list tells of ${differing.id} something else than was delivered: both sides are in ${exceptions!.key}`,
        },
      ],
    );
  });

  test('names all of the day, those of earlier nights too, and nothing once all is listed', async (t) => {
    const nights = await openStripeNights(t);
    const { books, stripe } = nights;
    const events = eventsOf(yesterday, 7, 'b');
    await books.deliver(...events.slice(0, 3).map(({ text }) => stripeRecord(text)));
    await nights.night('2026-11-21');
    stripe.add(events[0]!.text);
    await books.deliver(...events.slice(3, 5).map(({ text }) => stripeRecord(text)));
    const second = await exceptionsOf(nights, await nights.night('2026-11-22'));
    assert.deepEqual([second.counts.notListed, second.exceptions?.counts.notListed], [4, 4]);
    const earlier = events.slice(1, 3).map(({ id }) => ({ id, kind: 'not_listed' }));
    assert.deepEqual(second.lines, [...earlier, ...events.slice(3, 5).map(notListed)].sort(byId));

    stripe.add(events[4]!.text);
    const third = await exceptionsOf(nights, await nights.night('2026-11-23'));
    const left = events.slice(1, 4).map(({ id }) => ({ id, kind: 'not_listed' }));
    assert.deepEqual(third.lines, left.sort(byId), 'over the ids of both parts');
    const listed = async () => describeExceptions(listArchive(await books.ledger(), '2026-11-28').days).join('');
    const { key } = third.exceptions!;
    assert.equal(await listed(), `platform ${yesterday}: 3 not listed, 0 missing, 0 differing, in\n  ${key}\n`);
    for (const { text } of events.slice(1, 4)) stripe.add(text);
    const fourth = await exceptionsOf(nights, await nights.night('2026-11-28'));
    assert.deepEqual([fourth.exceptions, fourth.counts.notListed], [null, 0]);
    assert.equal(await listed(), '');
    const { exceptions } = (await books.ledger()).sources.get('platform')!.get(yesterday)!;
    assert.deepEqual(
      exceptions.map(({ manifest, counts }) => [manifest, counts.notListed]),
      [
        [1, 3],
        [2, 4],
        [3, 3],
      ],
      'what was said stays',
    );
  });

  test('what an earlier list named and no list has any more stays missing by name', async (t) => {
    const nights = await openStripeNights(t);
    const [event] = eventsOf(yesterday, 1, 'c') as [MadeEvent];
    nights.stripe.add(event.text.replace('"data": {', `"data": {"deep":${'['.repeat(300)}${']'.repeat(300)},`));
    await nights.night('2026-11-21');
    nights.stripe.remove(event.id);
    const { lines } = await exceptionsOf(nights, await nights.night('2026-11-22'));
    assert.deepEqual(lines, [{ id: event.id, kind: 'missing', why: 'an earlier list named it' }]);
    await nights.books.deliver(stripeRecord(event.text));
    const found = await exceptionsOf(nights, await nights.night('2026-11-23'));
    assert.deepEqual(found.lines, [notListed(event)]);
  });

  test('an event that the list names, and that cannot be read there, is listed all the same', async (t) => {
    const nights = await openStripeNights(t);
    const [first, second] = eventsOf(yesterday, 2, 'd') as [MadeEvent, MadeEvent];
    for (const { text } of [first, second]) {
      nights.stripe.add(text.replace('"data": {', `"data": {"deep":${'['.repeat(300)}${']'.repeat(300)},`));
    }
    await nights.books.deliver(stripeRecord(first.text));
    const one = await exceptionsOf(nights, await nights.night('2026-11-21'));
    assert.deepEqual([one.counts.listed, one.counts.notListed, one.exceptions?.counts.missing], [2, 0, 1]);
    await nights.books.deliver(stripeRecord(second.text));
    const two = await exceptionsOf(nights, await nights.night('2026-11-22'));
    assert.deepEqual([two.counts.notListed, two.exceptions], [0, null]);
  });

  test('a warning names ten ids and counts the others', async (t) => {
    const nights = await openStripeNights(t);
    const events = eventsOf(yesterday, 12, 'e');
    for (const event of events) nights.stripe.add(changed(event));
    await nights.books.deliver(...events.map(({ text }) => stripeRecord(text)));
    const report = await nights.night('2026-11-21');
    const { message } = report.warnings.find(({ code }) => code === 'copies_differ')!;
    const sorted = events.map(({ id }) => id).sort(compareCodePoints);
    assert.ok(message.includes(`tells of ${sorted.slice(0, 10).join(', ')} and 2 more something else`), message);
    assert.equal((await exceptionsOf(nights, report)).lines.length, 12);
  });

  test('data of another api_version is not a difference; another type, time or mode always is one', async (t) => {
    const nights = await openStripeNights(t);
    const [other, typed] = eventsOf(yesterday, 2, 'f') as [MadeEvent, MadeEvent];
    const version = (text: string) => text.replace(/"api_version": "[^"]*"/, '"api_version": "2020-01-01"');
    nights.stripe.add(version(changed(other)));
    nights.stripe.add(version(typed.text).replace(`"${typed.type}"`, '"payout.paid"'));
    await nights.books.deliver(...[other, typed].map(({ text }) => stripeRecord(text)));
    const { lines } = await exceptionsOf(nights, await nights.night('2026-11-21'));
    assert.deepEqual(
      lines.map(({ id, differ }) => [id, differ]),
      [[typed.id, ['type']]],
    );
  });

  test('the list against what was delivered comes first, however many deliveries differ', async (t) => {
    const nights = await openStripeNights(t);
    const [event] = eventsOf(yesterday, 1, 'g') as [MadeEvent];
    const copy = (note: string) => event.text.replace('"data": {', `"data": {"note":"${note}",`);
    nights.stripe.add(copy('listed'));
    await nights.books.deliver(...['listed', 'one', 'two'].map((note) => stripeRecord(copy(note))));
    const { lines } = await exceptionsOf(nights, await nights.night('2026-11-21'));
    assert.equal(lines.length, 1);
    assert.deepEqual(
      lines[0].copies.map(({ origin, body }: { origin: string; body: string }) => [origin, body]),
      [
        ['delivered', copy('one')],
        ['listed', copy('listed')],
      ],
    );
  });
});

describe('a night that does not list the day', () => {
  test('tells a body larger than ingest takes by its hash', async (t) => {
    const { books, ...nights } = await openStripeNights(t);
    const [event] = eventsOf(yesterday, 1, 'k') as [MadeEvent];
    const large = event.text.replace('"data": {', `"data": {"large":"${'x'.repeat(9 * 1024 * 1024)}",`);
    await books.deliver(stripeRecord(event.text), stripeRecord(large));
    const { lines } = await exceptionsOf({ books, ...nights }, await nights.night('2026-11-21', { name: 'platform' }));
    const sides = lines[0].copies.map(({ body, sha256 }: Record<string, string>) => [body, sha256]);
    assert.deepEqual(
      sides.sort(),
      [
        [event.text, undefined],
        [undefined, createHash('sha256').update(large).digest('hex')],
      ].sort(),
    );
  });

  test('names deliveries that differ, of Stripe and of others', async (t) => {
    const nights = await openStripeNights(t);
    const { books } = nights;
    const [event] = eventsOf(yesterday, 1, 'h') as [MadeEvent];
    const time = `${yesterday}T12:00:00.000Z`;
    const elements = ['{"n": 1.00}', '{"n": 1.0}'];
    await books.deliver(
      stripeRecord(event.text),
      stripeRecord(changed(event)),
      ...elements.map((element) => eventRecord(element, { id: 'b-1', time, receivedAt: time })),
    );
    books.at('2026-11-21T03:00:00Z');
    const report = await books.night([{ name: 'billing' }, { name: 'platform' }]);
    const { exceptions, lines } = await exceptionsOf(nights, report);
    assert.deepEqual(exceptions?.counts, { notListed: 0, differing: 1, missing: 0 });
    assert.equal(exceptions?.listedAt, null);
    assert.deepEqual(
      lines[0].copies.map(({ body }: { body: string }) => body).sort(),
      [event.text, changed(event)].sort(),
    );
    const billing = (await books.manifest(1)).sources.billing![yesterday]!;
    const [line] = await books.lines(billing.exceptions!.key);
    assert.deepEqual(JSON.parse(line!), {
      copies: elements.map((body) => ({ body, origin: 'delivered', receivedat: time })),
      differ: ['line'],
      id: 'b-1',
      kind: 'differing',
    });
    assert.deepEqual(report.warnings, [], 'the counts say it; nothing contradicts Stripe');
  });

  test('has no object where there is nothing to say, and says nothing of a listing of before', async (t) => {
    const nights = await openStripeNights(t);
    const [delivered, late] = eventsOf(yesterday, 2, 'i') as [MadeEvent, MadeEvent];
    await nights.books.deliver(stripeRecord(delivered.text));
    await nights.night('2026-11-21');
    await nights.books.deliver(stripeRecord(delivered.text, { receivedAt: `${yesterday}T23:59:59.000Z` }));
    const again = await exceptionsOf(nights, await nights.night('2026-11-21'));
    assert.deepEqual([again.exceptions, again.counts.notListed], [null, 1]);

    // Stripe's 30 days have passed: what still comes adds to the count, by name.
    await nights.books.deliver(stripeRecord(late.text));
    const { exceptions, counts, lines } = await exceptionsOf(nights, await nights.night(addDays(yesterday, 40)));
    assert.deepEqual([counts.notListed, exceptions?.listedAt], [2, null]);
    assert.deepEqual(lines, [notListed(late)]);
  });
});

describe('writing the object', () => {
  const made = async (t: TestContext) => {
    const nights = await openStripeNights(t);
    await nights.books.deliver(...eventsOf(yesterday, 2, 'j').map(({ text }) => stripeRecord(text)));
    return nights;
  };
  const isExceptions = (key: string) => key.endsWith('.exceptions.jsonl.gz.age');

  for (const way of ['before', 'after'] as const) {
    test(`that fails ${way} its effect fails the day, and the next night says all of it`, async (t) => {
      const nights = await made(t);
      const store: Parameters<StripeNights['night']>[2] = {
        store: (inner) =>
          faultyStore(inner, (operation, key) => (operation === 'create' && isExceptions(key) ? way : undefined)),
      };
      const failed = await nights.night('2026-11-21', nights.source(), store);
      assert.deepEqual(
        failed.errors.map(({ code, day }) => [code, day]),
        [['store_unavailable', yesterday]],
      );
      assert.ok(failed.days.every(({ day }) => day !== yesterday));
      const report = await nights.night('2026-11-21');
      const { exceptions, lines, counts } = await exceptionsOf(nights, report);
      assert.deepEqual([lines.length, counts.notListed], [2, 2]);
      assert.equal(exceptions!.key.includes('-2.exceptions.'), way === 'after', 'an orphan keeps its name');
    });
  }

  test('makes it one of the objects that the manifests name, for links too', async (t) => {
    const { books, ...nights } = await made(t);
    const { exceptions } = (await nights.entry(await nights.night('2026-11-21')))!;
    const signer = readSigner(books.signingKey);
    const named = await readNamedObjects(books.store, '', new Map([[signer.keyId, signer]]));
    const { key, sha256 } = exceptions!;
    const expected = { key, sha256: sha256.ciphertext, manifest: 1, source: 'platform', day: yesterday };
    assert.deepEqual(named.get(key), expected);
  });

  test('that meets ids it cannot trust fails the day', async (t) => {
    const nights = await made(t);
    const first = await nights.night('2026-11-21');
    const { ids } = (await nights.entry(first))!.parts[0]!;
    let reads = 0;
    const store: Parameters<StripeNights['night']>[2] = {
      store: (inner) =>
        faultyStore(inner, (operation, key) => {
          if (operation !== 'read' || key !== ids.key) return undefined;
          reads += 1;
          return 'after';
        }),
    };
    const failed = await nights.night('2026-11-22', nights.source(), store);
    assert.ok(reads > 0);
    assert.ok(failed.errors.some(({ day }) => day === yesterday));
    assert.ok(failed.days.every(({ day }) => day !== yesterday));
  });
});
