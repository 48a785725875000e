/** What the demo sends: four days of Stripe events and billing events, and what should come of them in the archive. */
import { createHash } from 'node:crypto';
import { addDays, type Day, startOfDayMs } from '../../shared/clock.ts';
import { type MadeEvent, stripeEvents } from '../stripe/events.ts';

const stripeEventsPerDay = 60;
const forgeries = 5;

export type Delivery = {
  readonly kind: 'first' | 'again' | 'forged';
  readonly body: string;
} & ({ readonly to: 'platform' } | { readonly to: 'billing'; readonly events: number });

/** What the archive must say of a day. */
export interface ExpectedDay {
  readonly delivered: number;
  readonly recovered: number;
  readonly duplicates: number;
}

export interface Traffic {
  /** All events of the Stripe account: what its list shows. */
  readonly account: readonly MadeEvent[];
  /** In the order in which they are sent: out of order, as Stripe does. */
  readonly deliveries: readonly Delivery[];
  /** Ids of Stripe events whose webhook never comes. */
  readonly lost: ReadonlySet<string>;
  /** By `source day`, closed days alone. */
  readonly expected: ReadonlyMap<string, ExpectedDay>;
}

/** Three closed days that end with `newestClosed`, and the time from then until now, which is not closed yet. */
export function makeTraffic(seed: string, newestClosed: Day, nowMs: number): Traffic {
  const account: MadeEvent[] = [];
  const lost = new Set<string>();
  const deliveries: Delivery[] = [];
  const expected = new Map<string, ExpectedDay>();

  for (const day of [-2, -1, 0, 1].map((offset) => addDays(newestClosed, offset))) {
    const isClosed = day <= newestClosed;
    const from = startOfDayMs(day);
    const to = isClosed ? startOfDayMs(addDays(day, 1)) : nowMs;
    const events = stripeEvents({
      count: isClosed ? stripeEventsPerDay : stripeEventsPerDay / 3,
      seed: `${seed} ${day}`,
      fromSeconds: Math.floor(from / 1000),
      toSeconds: Math.floor(to / 1000),
      livemode: false,
    });
    account.push(...events);
    const missed = isClosed ? events.filter((_, index) => index % 15 === 7) : [];
    for (const { id } of missed) lost.add(id);
    const delivered = events.filter(({ id }) => !lost.has(id));
    const again = delivered.filter((_, index) => index % 5 === 3);
    deliveries.push(...delivered.map(({ text }) => ({ kind: 'first', to: 'platform', body: text }) as const));
    deliveries.push(...again.map(({ text }) => ({ kind: 'again', to: 'platform', body: text }) as const));

    const billing = billingEvents(seed, day, from, to, isClosed ? 12 : 4);
    const batch = `[${billing.slice(0, -2).join(',')}]`;
    const batchEvents = billing.length - 2;
    deliveries.push(
      { kind: 'first', to: 'billing', body: batch, events: batchEvents },
      { kind: 'again', to: 'billing', body: batch, events: batchEvents },
      ...billing.slice(-2).map((body) => ({ kind: 'first', to: 'billing', body, events: 1 }) as const),
    );
    if (!isClosed) continue;
    expected.set(`platform ${day}`, {
      delivered: delivered.length,
      recovered: missed.length,
      duplicates: again.length,
    });
    expected.set(`billing ${day}`, { delivered: billing.length, recovered: 0, duplicates: batchEvents });
  }

  const fromSeconds = Math.floor(startOfDayMs(newestClosed) / 1000);
  const forged = stripeEvents({ count: forgeries, seed: `${seed} forged`, fromSeconds, toSeconds: fromSeconds + 3600 });
  deliveries.push(...forged.map(({ text }) => ({ kind: 'forged', to: 'platform', body: text }) as const));
  return { account, deliveries: shuffled(deliveries, seed), lost, expected };
}

/** Telemetry of a billing server; the amounts have digits that a parser would drop. */
function billingEvents(seed: string, day: Day, fromMs: number, toMs: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    const eventTime = new Date(fromMs + Math.floor(((index + 0.5) * (toMs - fromMs)) / count)).toISOString();
    const invoice = createHash('sha256').update(`${seed} ${day} ${index}`).digest('hex').slice(0, 12);
    const amount = `${10 + index}.${index % 10}0`;
    return `{"app":"billing","stage":"DEMO","type":"invoice.sent","value":${amount},"eventTime":"${eventTime}","tags":{"invoice":"${invoice}"}}`;
  });
}

/** In an order of its own for each seed; a repeated delivery may come before the first. */
function shuffled(deliveries: readonly Delivery[], seed: string): Delivery[] {
  const places = deliveries.map((delivery, index) => ({
    delivery,
    place: createHash('sha256').update(`${seed} ${index}`).digest('hex'),
  }));
  return places.sort((a, b) => (a.place < b.place ? -1 : 1)).map(({ delivery }) => delivery);
}
