/** Nights of a source `platform` against the fake Stripe, at three o'clock, for tests of Stripe's side of the night. */
import type { TestContext } from 'node:test';
import type { DayEntry } from '../../../compactor/ledger/manifest.ts';
import type { NightReport, NightSource } from '../../../compactor/night.ts';
import { addDays, type Day, startOfDayMs } from '../../../shared/clock.ts';
import { type MadeEvent, stripeEvents } from '../../stripe/events.ts';
import {
  type FakeRequest,
  type FakeStripe,
  type FakeStripeOptions,
  startFakeStripe,
} from '../../stripe/fake-stripe.ts';
import { type Books, listingOf, type NightChange, openBooks } from '../books.ts';

export const yesterday: Day = '2026-11-20';

export interface StripeNights {
  readonly books: Books;
  readonly stripe: FakeStripe;
  source(accounts?: readonly string[] | 'all', thinEvents?: boolean): NightSource;
  /** Runs the night of that day. `entry` is what the report's manifest says of the day asked for. */
  night(today: Day, source?: NightSource, change?: NightChange): Promise<NightReport>;
  /** The newest manifest's entry of a day. */
  entry(report: NightReport, day?: Day): Promise<DayEntry | undefined>;
  /** Every line of the archive, and how often its id is there. */
  ids(): Promise<Map<string, number>>;
}

export async function openStripeNights(t: TestContext, options: FakeStripeOptions = {}): Promise<StripeNights> {
  const books = await openBooks();
  const stripe = await startFakeStripe({ clock: { now: () => books.now() }, ...options });
  const opened: { close(): void }[] = [];
  t.after(async () => {
    for (const api of opened) api.close();
    await stripe.close();
    await books.close();
  });
  const source: StripeNights['source'] = (accounts, thinEvents) => {
    const listing = listingOf(stripe, accounts, thinEvents);
    opened.push(listing.api);
    return { name: 'platform', listing };
  };
  return {
    books,
    stripe,
    source,
    night(today, of = source(), change = {}) {
      books.at(`${today}T03:00:00Z`);
      return books.night([of], change);
    },
    async entry({ manifest }, day = yesterday) {
      return manifest === null ? undefined : (await books.manifest(manifest)).sources.platform?.[day];
    },
    async ids() {
      const ids = new Map<string, number>();
      for (const key of await books.keys('platform/')) {
        if (!key.endsWith('.ids.gz')) continue;
        for (const id of await books.lines(key)) ids.set(id, (ids.get(id) ?? 0) + 1);
      }
      return ids;
    },
  };
}

export function eventsOf(day: Day, count: number, seed: string): MadeEvent[] {
  const fromSeconds = startOfDayMs(day) / 1000;
  return stripeEvents({ count, seed, fromSeconds, toSeconds: fromSeconds + 86_400 });
}

/** The windows that the first requests of walks ask for, as days: `v1 acct_one 2026-11-20..2026-11-20`. */
export function walksOf(requests: readonly FakeRequest[]): string[] {
  return requests
    .filter(({ query }) => query.has('created[lt]'))
    .map(({ path, account, query }) => {
      const bound = (name: string) => {
        const text = query.get(`created[${name}]`)!;
        return new Date(path.startsWith('/v2/') ? text : Number(text) * 1000).toISOString().slice(0, 10);
      };
      const list = [path.slice(1, 3), account].filter((part) => part !== undefined).join(' ');
      return `${list} ${bound('gte')}..${addDays(bound('lt'), -1)}`;
    });
}
