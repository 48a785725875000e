import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { NightSource } from '../../../compactor/night.ts';
import { addDays, type Day, startOfDayMs } from '../../../shared/clock.ts';
import { listedCopy, type MadeEvent, stripeEvents } from '../../stripe/events.ts';
import { type FakeStripe, startFakeStripe } from '../../stripe/fake-stripe.ts';
import { type Books, listingOf, openBooks, stripeRecord } from '../books.ts';

const eventsOf = (day: Day, count: number, seed: string) =>
  stripeEvents({
    count,
    seed,
    fromSeconds: startOfDayMs(day) / 1000,
    toSeconds: startOfDayMs(addDays(day, 1)) / 1000,
  });
const recordsOf = (events: readonly MadeEvent[]) => events.map(({ text }) => stripeRecord(text));
const yesterday = '2026-11-20';

let books: Books;
let stripe: FakeStripe;
let opened: { close(): void }[];

beforeEach(async () => {
  books = await openBooks();
  stripe = await startFakeStripe({ clock: { now: () => books.now() }, accounts: ['acct_one', 'acct_two'] });
  opened = [];
});
afterEach(async () => {
  for (const api of opened) api.close();
  await stripe.close();
  await books.close();
});

function source(accounts: readonly string[] = []): NightSource {
  const listing = listingOf(stripe, accounts);
  opened.push(listing.api);
  return { name: 'platform', listing };
}

/** The windows asked for, as days: the first page of each walk. */
function walks(): string[] {
  return stripe.requests
    .filter(({ query }) => !query.has('starting_after'))
    .map(({ query }) => {
      const bound = (name: string) => new Date(Number(query.get(`created[${name}]`)) * 1000).toISOString().slice(0, 10);
      return `${bound('gte')}..${addDays(bound('lt'), -1)}`;
    });
}

/** Runs a night at three o'clock of that day and says what the report says of one day. */
async function nightOf(today: Day, day: Day, sources: readonly NightSource[] = [source()]) {
  books.at(`${today}T03:00:00Z`);
  const asked = stripe.requests.length;
  const report = await books.night(sources);
  const entry = report.days.find((one) => one.day === day);
  return { report, entry, requests: stripe.requests.length - asked };
}

describe('difference both ways', () => {
  test('what was never delivered is recovered from the list, what is not listed is counted', async () => {
    const events = eventsOf(yesterday, 20, 'a');
    for (const { text } of events.slice(5)) stripe.add(listedCopy(text));
    await books.deliver(...recordsOf(events.slice(0, 12)));
    const { entry, report } = await nightOf('2026-11-21', yesterday);
    assert.deepEqual(report.errors, []);
    const counts = { delivered: 12, recovered: 8, listed: 15, notListed: 5, differing: 0, duplicates: 0 };
    assert.deepEqual(entry?.counts, counts);
    assert.equal(entry?.verdict, 'provisional');
    const { parts } = (await books.manifest(1)).sources.platform![yesterday]!;
    assert.equal(parts[0]?.events, 20);
    assert.equal(parts[0]?.deliveries?.count, 12, 'nobody delivered a recovered event');
  });

  test('a recovered line is the raw text of the list, numbers as written there', async () => {
    const [{ text, id }] = eventsOf(yesterday, 1, 'b') as [MadeEvent];
    stripe.add(text.replace('"data": {', '"data": {"odd":[1.10,-0,12345678901234567890,1e400],'));
    await nightOf('2026-11-21', yesterday);
    const part = (await books.manifest(1)).sources.platform![yesterday]!.parts[0]!;
    const [line] = await books.lines(part.key);
    assert.ok(line?.includes('"odd":[1.10,-0,12345678901234567890,1e400]'), line);
    assert.ok(line?.includes(`"id":"${id}"`));
    assert.equal(part.deliveries, null);
  });

  test('a delivered copy beats a listed one; a difference of substance is counted', async () => {
    const [same, other] = eventsOf(yesterday, 2, 'c') as [MadeEvent, MadeEvent];
    stripe.add(listedCopy(same.text));
    stripe.add(other.text.replace('"data": {', '"data": {"changed":true,'));
    await books.deliver(...recordsOf([same, other]));
    const { entry } = await nightOf('2026-11-21', yesterday);
    const counts = { delivered: 2, recovered: 0, listed: 2, notListed: 0, differing: 1, duplicates: 0 };
    assert.deepEqual(entry?.counts, counts);
    const part = (await books.manifest(1)).sources.platform![yesterday]!.parts[0]!;
    assert.ok((await books.lines(part.key)).every((line) => !line.includes('changed')));
  });

  test('a recovered event that is delivered later is evidence, not a second line', async () => {
    const [event] = eventsOf(yesterday, 1, 'd') as [MadeEvent];
    stripe.add(event.text);
    await nightOf('2026-11-21', yesterday);
    await books.deliver(stripeRecord(event.text));
    const { entry, requests } = await nightOf('2026-11-21', yesterday);
    const counts = { delivered: 0, recovered: 1, listed: 1, notListed: 0, differing: 0, duplicates: 1 };
    assert.deepEqual(entry?.counts, counts);
    assert.equal(requests, 0, 'late deliveries alone cause no listing');
  });
});

describe('which days are listed, and when again', () => {
  test('the first run covers the 29 days that Stripe still lists whole, in one walk', async () => {
    const { report } = await nightOf('2026-11-21', yesterday);
    assert.deepEqual(walks(), ['2026-10-23..2026-11-20']);
    assert.equal(report.days.length, 29);
    const verdicts = new Map(report.days.map(({ day, verdict }) => [day, verdict]));
    assert.equal(verdicts.get('2026-11-18'), 'complete');
    assert.equal(verdicts.get('2026-11-19'), 'provisional');
  });

  test('a day is listed each night until D+3, then on D+7 and D+28, then never again', async () => {
    const listedOn: Day[] = [];
    await nightOf('2026-11-21', yesterday);
    for (let today = '2026-11-22'; today <= '2026-12-25'; today = addDays(today, 1)) {
      stripe.requests.length = 0;
      await nightOf(today, yesterday);
      const covers = walks().some((walk) => walk.slice(0, 10) <= yesterday && walk.slice(12) >= yesterday);
      if (covers) listedOn.push(today);
    }
    assert.deepEqual(listedOn, ['2026-11-22', '2026-11-23', '2026-11-27', '2026-12-18']);
  });

  test('a listing that finds more adds a part and keeps the verdict', async () => {
    const [early, lateInList] = eventsOf(yesterday, 2, 'e') as [MadeEvent, MadeEvent];
    stripe.add(early.text);
    stripe.add(lateInList.text, { visibleAtMs: Date.parse('2026-11-25T00:00:00Z') });
    await nightOf('2026-11-21', yesterday);
    await nightOf('2026-11-23', yesterday);
    const { entry } = await nightOf('2026-11-27', yesterday);
    assert.deepEqual([entry?.verdict, entry?.counts.recovered, entry?.parts.length], ['complete', 2, 1]);
  });

  test('a complete day that gets a new line is listed again', async () => {
    await nightOf('2026-11-21', '2026-11-10');
    await books.deliver(...recordsOf(eventsOf('2026-11-10', 1, 'f')));
    stripe.requests.length = 0;
    const { entry } = await nightOf('2026-11-21', '2026-11-10');
    assert.deepEqual(walks(), ['2026-11-10..2026-11-10']);
    assert.deepEqual([entry?.verdict, entry?.counts.notListed], ['complete', 1]);
  });

  test('a second run on the same day lists nothing; --force lists again', async () => {
    await nightOf('2026-11-21', yesterday);
    assert.deepEqual([(await nightOf('2026-11-21', yesterday)).requests, walks().length], [0, 1]);
    await books.night([source()], { force: true, days: new Set([yesterday]) });
    assert.deepEqual(walks().at(-1), `${yesterday}..${yesterday}`);
  });

  test("what Stripe's 30 days have passed without a listing from D+3 on is unverifiable, never complete", async () => {
    await books.deliver(...recordsOf(eventsOf('2026-10-01', 1, 'g')));
    const { entry } = await nightOf('2026-11-21', '2026-10-01');
    assert.equal(entry?.verdict, 'unverifiable');
    stripe.faults.push({ action: 'server error', times: Number.POSITIVE_INFINITY });
    const { entry: aged } = await nightOf('2026-12-21', yesterday);
    assert.equal(aged?.verdict, 'unverifiable', 'a provisional day grows old without Stripe');
  });

  test('a source that gets its key later is listed for the days that can still be had', async () => {
    await books.deliver(...recordsOf(eventsOf('2026-10-01', 1, 'h')), ...recordsOf(eventsOf('2026-10-23', 1, 'h2')));
    await nightOf('2026-11-21', yesterday, [{ name: 'platform' }]);
    const { report } = await nightOf('2026-11-22', yesterday);
    const verdicts = new Map(report.days.map(({ day, verdict }) => [day, verdict]));
    assert.equal(verdicts.get('2026-10-24'), 'complete');
    assert.equal(verdicts.get('2026-10-23'), 'unverifiable');
    assert.equal(verdicts.get('2026-10-01'), 'unverifiable');
    assert.equal(verdicts.get('2026-10-02'), undefined, 'an old event adds its own day alone');
  });
});

describe('when Stripe does not answer', () => {
  test('delivered events are archived all the same, the day stays provisional, the next night lists it', async () => {
    const events = eventsOf(yesterday, 6, 'i');
    for (const { text } of events) stripe.add(text);
    await books.deliver(...recordsOf(events.slice(0, 4)));
    stripe.faults.push({ action: 'server error', times: Number.POSITIVE_INFINITY });
    const { entry, report } = await nightOf('2026-11-21', yesterday);
    assert.deepEqual([entry?.verdict, entry?.counts.delivered, entry?.counts.listed], ['provisional', 4, null]);
    assert.deepEqual(
      report.errors.map(({ code, source: name }) => [code, name]),
      [['stripe_unreachable', 'platform']],
    );
    stripe.faults.length = 0;
    const next = await nightOf('2026-11-22', yesterday);
    assert.deepEqual([next.entry?.counts.delivered, next.entry?.counts.recovered], [4, 2]);
  });

  test('a key that is refused is said, and nothing of it but the code', async () => {
    stripe.faults.push({ action: 'revoke key' });
    const { report } = await nightOf('2026-11-21', yesterday);
    assert.deepEqual(
      report.errors.map(({ code }) => code),
      ['stripe_key_refused'],
    );
    assert.ok(!JSON.stringify(report).includes(stripe.apiKey));
  });

  test('a walk that breaks off has listed the days that it left behind', async () => {
    for (const { text } of stripeEvents({
      count: 250,
      seed: 'j',
      fromSeconds: startOfDayMs('2026-11-16') / 1000,
      toSeconds: startOfDayMs('2026-11-21') / 1000,
    })) {
      stripe.add(text);
    }
    stripe.faults.push({
      action: 'server error',
      times: Number.POSITIVE_INFINITY,
      when: ({ query }) => query.has('starting_after'),
    });
    const { report } = await nightOf('2026-11-21', yesterday);
    assert.equal(report.errors.length, 1);
    const entries = (await books.manifest(1)).sources.platform!;
    assert.notEqual(entries[yesterday]?.listedAt, null);
    assert.equal(entries['2026-11-16']?.listedAt, null);
    stripe.faults.length = 0;
    const next = await nightOf('2026-11-22', '2026-11-16');
    assert.equal(next.entry?.verdict, 'complete');
    const states = (await books.ledger()).sources.get('platform')!;
    const total = [...states.values()].reduce((sum, { counts }) => sum + counts.delivered + counts.recovered, 0);
    assert.equal(total, 250, 'every event once');
  });

  test('that a list is asked for is told before its first answer', async () => {
    const steps: string[] = [];
    stripe.faults.push({ action: 'revoke key' });
    await books.night([source()], { progress: (step) => steps.push(step) });
    assert.deepEqual(steps.slice(0, 1), ['listing platform']);
  });

  test("one source's failure stops no other", async () => {
    await books.deliver(stripeRecord(eventsOf(yesterday, 1, 'k')[0]!.text, { source: 'other' }));
    stripe.faults.push({ action: 'revoke key' });
    const { report } = await nightOf('2026-11-21', yesterday, [source(), { name: 'other' }]);
    assert.ok(report.days.some((entry) => entry.source === 'other' && entry.counts.delivered === 1));
  });

  test('an event in the list that cannot be had makes the day incomplete, until a listing has it', async () => {
    const [event] = eventsOf(yesterday, 1, 'l') as [MadeEvent];
    const deep = event.text.replace('"data": {', `"data": {"deep":${'['.repeat(300)}${']'.repeat(300)},`);
    stripe.add(deep);
    const { entry } = await nightOf('2026-11-21', yesterday);
    assert.deepEqual([entry?.verdict, entry?.counts.listed, entry?.counts.recovered], ['incomplete', 1, 0]);
    assert.deepEqual((await books.manifest(1)).sources.platform![yesterday]!.missing, [event.id]);
    stripe.remove(event.id);
    const unnamed = await nightOf('2026-11-22', yesterday);
    assert.equal(unnamed.entry?.verdict, 'incomplete', 'a list that names it no more does not have it');
    assert.deepEqual((await books.manifest(2)).sources.platform![yesterday]!.missing, [event.id]);
    stripe.add(event.text);
    const { entry: next } = await nightOf('2026-11-23', yesterday);
    assert.deepEqual([next?.verdict, next?.counts.recovered], ['complete', 1]);
    assert.deepEqual((await books.manifest(3)).sources.platform![yesterday]!.missing, []);
  });

  test('a listed event without a time of its own is known, missing, and stops nothing', async () => {
    const [good, odd] = eventsOf(yesterday, 2, 'n') as [MadeEvent, MadeEvent];
    const body = `{"object":"list","has_more":false,"url":"/v1/events","data":[${good.text},${odd.text.replace(`"created": ${odd.createdSeconds},\n  "data"`, '"created": 1.5,\n  "data"')}]}`;
    stripe.faults.push({ action: { status: 200, body } });
    const { entry, report } = await nightOf('2026-11-21', yesterday);
    assert.deepEqual([report.errors, entry?.verdict, entry?.counts.recovered], [[], 'incomplete', 1]);
    assert.deepEqual((await books.manifest(1)).sources.platform![yesterday]!.missing, [odd.id]);
  });
});

describe('connected accounts', () => {
  const withAccount = (text: string, account: string) => text.replace(/^\{/, `{"account":"${account}",`);

  test('each account is listed for itself, and a delivered account that is not listed leaves the day unreconciled', async () => {
    const [one, two, three] = eventsOf(yesterday, 3, 'm') as [MadeEvent, MadeEvent, MadeEvent];
    stripe.add(one.text, { account: 'acct_one' });
    stripe.add(two.text, { account: 'acct_two' });
    await books.deliver(stripeRecord(withAccount(three.text, 'acct_three')));
    const accounts = ['acct_one', 'acct_two'];
    const { entry } = await nightOf('2026-11-21', yesterday, [source(accounts)]);
    assert.deepEqual([entry?.verdict, entry?.counts.recovered], ['unreconciled', 2]);
    assert.deepEqual((await books.manifest(1)).sources.platform![yesterday]!.accounts, ['acct_three']);
    stripe.add(three.text, { account: 'acct_three' });
    const next = await nightOf('2026-11-22', yesterday, [source([...accounts, 'acct_three'])]);
    assert.equal(next.entry?.verdict, 'provisional', 'accounts are compared again at each run');
  });
});
