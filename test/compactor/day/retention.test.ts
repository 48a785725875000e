import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { listArchive } from '../../../compactor/commands/list.ts';
import { daysNearRetention } from '../../../compactor/day/retention.ts';
import type { Verdict } from '../../../compactor/ledger/manifest.ts';
import type { NightSource } from '../../../compactor/night.ts';
import { addDays, type Day } from '../../../shared/clock.ts';
import { type FakeStripe, startFakeStripe } from '../../stripe/fake-stripe.ts';
import { type Books, listingOf, openBooks } from '../books.ts';

const today = '2026-11-21';
const aged = (days: number) => addDays(today, -days);

let books: Books;
let stripe: FakeStripe;
let source: NightSource & { listing: ReturnType<typeof listingOf> };
beforeEach(async () => {
  books = await openBooks();
  stripe = await startFakeStripe({ clock: { now: () => books.now() } });
  source = { name: 'platform', listing: listingOf(stripe) };
});
afterEach(async () => {
  source.listing.api.close();
  await stripe.close();
  await books.close();
});

async function warningsOf(day: Day): Promise<[string, string | null, Day | null][]> {
  books.at(`${day}T03:00:00Z`);
  const { warnings } = await books.night([source]);
  return warnings.map((warning) => [warning.code, warning.source, warning.day]);
}

test('a provisional or incomplete day is near the end of the list from D+24 to D+29', () => {
  const verdicts: Verdict[] = ['provisional', 'incomplete', 'complete', 'unverifiable', 'unreconciled'];
  const found = verdicts.map((verdict) => {
    const days = new Map(Array.from({ length: 40 }, (_, age) => [aged(age), { verdict }]));
    return daysNearRetention(new Map([['platform', days]]), today).map(({ day }) => day);
  });
  const near = [29, 28, 27, 26, 25, 24].map(aged);
  assert.deepEqual(found, [near, near, [], [], []]);
});

test('a run warns of each such day while Stripe refuses the list, also where it writes no manifest; the list says it too', async () => {
  stripe.faults.push({ action: 'revoke key' });
  const expected = (day: Day) =>
    [29, 28, 27, 26, 25, 24].map((age) => ['retention_near', 'platform', addDays(day, -age)]);
  assert.deepEqual(await warningsOf(today), expected(today));
  const again = await books.night([source]);
  assert.equal(again.manifest, null);
  assert.match(again.warnings[0]!.message, /^provisional; Stripe lists it whole until the end of 2026-11-21$/);
  assert.deepEqual(await warningsOf(addDays(today, 1)), expected(addDays(today, 1)));
  const { retentionNear } = listArchive(await books.ledger(), addDays(today, 1));
  assert.deepEqual(retentionNear[0], {
    source: 'platform',
    day: '2026-10-24',
    verdict: 'provisional',
    listedUntil: '2026-11-22',
  });
});

test('once a listing settles the days nothing is warned of, and an event that cannot be had is', async () => {
  assert.deepEqual(await warningsOf(today), []);
  const created = Date.parse(`${aged(24)}T12:00:00Z`) / 1000;
  // Nested deeper than a line may be: known, and not to be had.
  stripe.add(
    `{"id":"evt_deep","object":"event","type":"a","created":${created},"data":${'['.repeat(300)}${']'.repeat(300)}}`,
  );
  books.at('2026-11-21T04:00:00Z');
  const { warnings } = await books.night([source], { force: true });
  assert.deepEqual(
    warnings.map(({ day, message }) => [day, message.split(';')[0]]),
    [[aged(24), 'incomplete']],
  );
});
