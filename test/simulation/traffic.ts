/**
 * What senders do: events day by day, their deliveries on the way to the stream, and what Stripe lists when. A source of
 * each kind: `platform` (Stripe, the key's own account, thin events among them), `connect` (Stripe, connected accounts) and
 * `billing` (another server).
 */
import { addDays, type Day, dayMs, dayOf, startOfDayMs } from '../../shared/clock.ts';
import { eventRecord, stripeRecord } from '../compactor/books.ts';
import { billingRecord } from '../faults/night-books.ts';
import { listedCopy, type MadeEvent, stripeEvents } from '../stripe/events.ts';
import { generationFailureNotice, thinEvent } from '../stripe/thin-events.ts';
import type { Random } from './random.ts';
import { type Sent, sentGarbage, sentRecord } from './sent.ts';

export const sourceNames = ['billing', 'connect', 'platform'] as const;
export type SourceName = (typeof sourceNames)[number];

/** An event as Stripe's list knows it. */
export interface ListedEvent {
  readonly source: SourceName;
  readonly id: string;
  readonly day: Day;
  readonly account: string | undefined;
  readonly isThin: boolean;
  readonly isNotice: boolean;
  readonly createdMs: number;
  readonly visibleFromMs: number;
  readonly text: string;
  /** Until then the list shows it in a way that nobody can archive. */
  readonly brokenUntilMs: number;
  readonly brokenText: string | undefined;
}

export interface Arrival {
  readonly atMs: number;
  readonly sent: Sent;
}

export interface DayOfTraffic {
  readonly arrivals: readonly Arrival[];
  readonly listed: readonly ListedEvent[];
}

export interface Traffic {
  /** All that comes of one day's events. Days are asked for in order. */
  of(day: Day, accounts: readonly string[]): DayOfTraffic;
}

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const poolEvents = 3_000;
let pool: readonly MadeEvent[] | undefined;

/** The same for all lives: ids are used once in each. */
function eventPool(): readonly MadeEvent[] {
  pool ??= stripeEvents({
    count: poolEvents,
    seed: 'simulation',
    fromSeconds: 1e9,
    toSeconds: 1e9 + poolEvents * 1000,
  });
  return pool;
}

export function openTraffic(random: Random, busiest: number): Traffic {
  let taken = random.between(0, poolEvents);
  let made = 0;
  const billingIds: { id: string; day: Day }[] = [];

  function stripeBody(createdSeconds: number): { id: string; text: string } {
    const event = eventPool()[taken++ % poolEvents]!;
    made += 1;
    const id = `${event.id.slice(0, 20)}${String(made).padStart(6, '0')}`;
    const text = event.text
      .replace(`"${event.id}"`, `"${id}"`)
      .replace(`"created": ${event.createdSeconds}`, `"created": ${createdSeconds}`);
    return { id, text };
  }

  /** Instants of a day: spread, on its edges, or many in one second. */
  function seconds(day: Day, count: number): number[] {
    const start = startOfDayMs(day) / 1000;
    const burst = start + random.between(0, 86_400);
    return Array.from({ length: count }, () => {
      if (random.chance(0.25)) return burst;
      if (random.chance(0.06)) return start;
      if (random.chance(0.06)) return start + 86_399;
      return start + random.between(0, 86_400);
    });
  }

  function countOf(): number {
    if (random.chance(0.15)) return 0;
    if (random.chance(0.01)) return random.between(100, 160);
    return random.between(1, busiest + 1);
  }

  /** From when on Stripe lists it: not while a night is at work. */
  function visibleFrom(createdMs: number): number {
    const delay = random.chance(0.03)
      ? random.between(2, 12) * dayMs
      : random.chance(0.08)
        ? random.between(0, 40) * hourMs
        : random.between(0, minuteMs);
    return afterNight(createdMs + delay);
  }

  /** When copies of it are received: mostly one, soon. */
  function receipts(createdMs: number): number[] {
    if (random.chance(0.12)) return [];
    const count = random.chance(0.75) ? 1 : random.between(2, 5);
    return Array.from({ length: count }, () => {
      const delay = random.chance(0.07)
        ? random.between(0, 3 * dayMs)
        : random.chance(0.1)
          ? random.between(0, 8 * hourMs)
          : random.between(100, 20_000);
      return createdMs + delay;
    });
  }

  /** A record on its way: at once, or by way of the spool, and sometimes written twice. */
  function arrivalsOf(receivedMs: number, sent: Sent): Arrival[] {
    const later = () => (random.chance(0.04) ? random.between(0, 2 * dayMs) : random.between(5, 3_000));
    const first = { atMs: receivedMs + later(), sent };
    return random.chance(0.06) ? [first, { atMs: first.atMs + later(), sent }] : [first];
  }

  function changed(text: string): string {
    const pending = text.replace(/"pending_webhooks": \d+/, `"pending_webhooks": ${random.between(1, 4)}`);
    if (!random.chance(0.04)) return pending;
    const other = pending.replace('"data": {', `"data": {\n    "altered": ${random.between(1, 9)},`);
    return random.chance(0.5) ? other : other.replace(/"api_version": "[^"]*"/, '"api_version": "2031-01-01"');
  }

  function snapshotEvents(source: 'platform' | 'connect', day: Day, accounts: readonly string[]): DayOfTraffic {
    const arrivals: Arrival[] = [];
    const listed: ListedEvent[] = [];
    for (const createdSeconds of seconds(day, countOf())) {
      const createdMs = createdSeconds * 1000;
      const { id, text } = stripeBody(createdSeconds);
      const account = source === 'connect' ? random.pick(accounts) : undefined;
      // Rarely one of an account that is none of ours.
      const named = random.chance(0.004) ? 'acct_stranger' : account;
      const of = named === undefined ? text : text.replace('{', `{\n  "account": "${named}",`);
      for (const receivedMs of receipts(createdMs)) {
        const receivedAt = new Date(receivedMs).toISOString();
        arrivals.push(...arrivalsOf(receivedMs, sentRecord(stripeRecord(changed(of), { source, receivedAt }))));
      }
      if (random.chance(0.02)) continue; // Stripe's list never has it
      const brokenUntilMs = random.chance(0.006)
        ? random.chance(0.5)
          ? Number.POSITIVE_INFINITY
          : createdMs + random.between(1, 20) * dayMs
        : 0;
      const brokenText = text.replace('"data": {', `"data": {"deep":${'['.repeat(250)}${']'.repeat(250)},`);
      listed.push({
        source,
        id,
        day,
        account,
        isThin: false,
        isNotice: false,
        createdMs,
        visibleFromMs: visibleFrom(createdMs),
        text: listedCopy(text),
        brokenUntilMs: afterNight(brokenUntilMs),
        brokenText: brokenUntilMs > 0 ? brokenText : undefined,
      });
    }
    return { arrivals, listed };
  }

  function thinEvents(day: Day): DayOfTraffic {
    const arrivals: Arrival[] = [];
    const listed: ListedEvent[] = [];
    const count = random.chance(0.3) ? random.between(1, 4) : 0;
    for (const second of seconds(day, count)) {
      const createdMs = second * 1000 + random.between(0, 1000);
      made += 1;
      const id = `evt_test_thin${String(made).padStart(10, '0')}`;
      const created = new Date(createdMs).toISOString();
      const isNotice = random.chance(0.1);
      const { notification, listed: text } = isNotice
        ? generationFailureNotice({ id, created, eventType: 'invoice.paid', object: `in_${made}` })
        : thinEvent({ id, created });
      for (const receivedMs of receipts(createdMs)) {
        const receivedAt = new Date(receivedMs).toISOString();
        arrivals.push(...arrivalsOf(receivedMs, sentRecord(stripeRecord(notification, { receivedAt }))));
      }
      const common = { source: 'platform', id, day, account: undefined, createdMs, text } as const;
      const never = { brokenUntilMs: 0, brokenText: undefined };
      listed.push({ ...common, ...never, isThin: true, isNotice, visibleFromMs: visibleFrom(createdMs) });
    }
    return { arrivals, listed };
  }

  function billingEvents(day: Day): Arrival[] {
    const arrivals: Arrival[] = [];
    for (const second of seconds(day, countOf() % 40)) {
      const claimedMs = second * 1000 + random.between(0, 1000);
      made += 1;
      // Some senders count again: an id comes back once the old one is out of the window of the look-up.
      const old = random.chance(0.05) ? billingIds.find((one) => one.day < addDays(day, -45)) : undefined;
      const id = old?.id ?? `billing-${made}`;
      if (old !== undefined) billingIds.splice(billingIds.indexOf(old), 1);
      billingIds.push({ id, day });
      const claimsTime = !random.chance(0.15);
      for (const receivedMs of receipts(claimedMs)) {
        // A sender that repeats may claim the time of the repeat.
        const moved = random.chance(0.25) ? random.between(0, receivedMs - claimedMs + 1) : 0;
        const time = new Date(claimedMs + moved).toISOString();
        const receivedAt = new Date(receivedMs).toISOString();
        const element = { app: 'billing', id, value: random.chance(0.05) ? random.between(1, 5) : 1, eventTime: time };
        const record = claimsTime
          ? billingRecord(id, time, { receivedAt })
          : eventRecord(JSON.stringify({ ...element, eventTime: undefined }), { id, receivedAt });
        arrivals.push(...arrivalsOf(receivedMs, sentRecord(record)));
      }
    }
    return arrivals;
  }

  /** What should never have got onto the stream. */
  function strangeRecords(day: Day): Arrival[] {
    if (!random.chance(0.12)) return [];
    const atMs = startOfDayMs(day) + random.between(0, dayMs);
    const { text } = stripeBody(Math.floor(atMs / 1000));
    const record = stripeRecord(text);
    const value = Buffer.from(record.value).toString();
    const sealed = Buffer.from(sentRecord(record).value).toString();
    const garbage = (of: string) => sentGarbage(record.key, Buffer.from(of));
    const ahead = Math.floor(atMs / 1000) + random.between(2, 6) * 86_400;
    const sent = random.pick([
      () => garbage('no envelope'),
      () => garbage(value.replace('"specversion":"1.0"', '"specversion":"0.3"')),
      () => garbage(value.replace('/stripe/platform', '/stripe/manifests')),
      () => garbage(value.replace('"id": "evt_', '"id": "evt_other_')),
      () => garbage(value.slice(0, -9)),
      // Forged: without a seal, with somebody's own, under the seal of another record, of another kind, repeated.
      () => garbage(value),
      () => garbage(value.replace('"via":"webhook"', '"via":"list"')),
      () => garbage(value.replace('"via":"webhook"', '"via":"restore"')),
      () => garbage(value.replace(',"data":', `,"seal":"${'0'.repeat(16)}:${'A'.repeat(43)}","data":`)),
      () => garbage(sealed.replace('"type":"', '"type":"x')),
      () => garbage(sealed.replace('/stripe/platform', '/events/platform')),
      () => sentRecord(stripeRecord(stripeBody(ahead).text, { receivedAt: new Date(atMs).toISOString() })),
    ])();
    return [{ atMs, sent }];
  }

  return {
    of(day, accounts) {
      const parts = [snapshotEvents('platform', day, []), thinEvents(day)];
      if (accounts.length > 0) parts.push(snapshotEvents('connect', day, accounts));
      return {
        arrivals: [...parts.flatMap(({ arrivals }) => arrivals), ...billingEvents(day), ...strangeRecords(day)],
        listed: parts.flatMap(({ listed }) => listed),
      };
    },
  };
}

/** Not between midnight and five o'clock, when nights are at work: moved behind it. */
export function afterNight(instantMs: number): number {
  if (!Number.isFinite(instantMs)) return instantMs;
  const inDay = instantMs - startOfDayMs(dayOf(instantMs));
  return inDay < 5 * hourMs ? instantMs - inDay + 5 * hourMs : instantMs;
}
