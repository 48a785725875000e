/**
 * Stripe's own word on events that were recovered (compactor/README.md, Stripe's word). `GET /v1/events?delivery_success=…` tells whether
 * all webhooks of an event were delivered. That speaks of all endpoints, so it is asked only where every one of them is ours,
 * and of a day that is older than any retry. Then what was recovered is
 *   never delivered     Stripe lists it with `delivery_success=false`;
 *   unsubscribed        no endpoint sends its type now;
 *   lost after a 2xx    Stripe lists it with `delivery_success=true`, and no delivery is here: our fault, or an endpoint that was
 *                       disabled, of which Stripe tells nothing. So it is said only where other events were delivered that were
 *                       made within the hour before and within the hour after, and one of the same type on that day;
 * or nothing is said of it. Which events were recovered the sealed deliveries alone tell, so their ids are kept in the entries of
 * the day until this is said, a thousand at most.
 */
import { addDays, type Day, startOfDayMs } from '../../shared/clock.ts';
import type { DayEntry } from '../ledger/manifest.ts';
import type { Problem } from '../night.ts';
import { type Endpoint, isSent, onlyOurs } from '../stripe/endpoints.ts';
import type { Listing } from '../stripe/list-days.ts';
import type { ListWindow } from '../stripe/listed-event.ts';
import { type Closing, problemOf } from './closing.ts';
import type { DecidedEvent } from './copies.ts';
import { isListable } from './verdict.ts';

export interface LostEvent {
  readonly id: string;
  readonly type: string;
  /** Seconds. */
  readonly created: number;
}

export interface StripeWord {
  /** Takes each event that the run archives, or brings copies of. */
  add(event: DecidedEvent): void;
  /** The event is the twin of one that was delivered: nothing is to be asked of it. */
  leaveOut(day: Day, id: string): void;
  /** Of several workers: what this one knows of the day. `events` goes through its share of the run once more. */
  tell(day: Day, events: () => Iterable<DecidedEvent>): WordShare | undefined;
  /** Of several workers, before the word is said: what they know of the day. */
  join(day: Day, told: readonly WordShare[]): void;
  /** The entry with what is known now, and the events that were lost. `events` goes through all of the run once more. */
  say(day: Day, entry: DayEntry, events: () => Iterable<DecidedEvent>): Promise<Said>;
}

/** Of one worker. Ids that are its own. */
export interface WordShare {
  readonly worker: number;
  readonly undelivered: readonly string[] | null;
  readonly listed: readonly LostEvent[];
  /** When on the day events were delivered, a byte a second in base64, and of which types; null: not looked for. */
  readonly delivered: { readonly seconds: string; readonly types: readonly string[] } | null;
}

interface Said {
  readonly entry: DayEntry;
  readonly lost: readonly LostEvent[];
  readonly errors: readonly Problem[];
}

/** Ids kept of one day. */
const maxKept = 1000;
/** Stripe retries for three days: what was made at the end of a day is settled on the fourth day after it. */
const retriesOverAfterDays = 4;
/** Types that one request may name. */
const maxTypes = 20;
const secondsNear = 3600;

interface DayFacts {
  /** Null: not known, or too many. */
  readonly undelivered: Set<string> | null;
  /** Of `undelivered` what this run's list says. */
  readonly listed: Map<string, LostEvent>;
  /** Of all workers; `unknown` where one of them did not look for it. Undefined: this one is alone. */
  readonly delivered?: Delivered | 'unknown';
}

/** When on a day events were delivered, by the second, and of which types. */
interface Delivered {
  readonly seconds: Uint8Array;
  readonly types: Set<string>;
}

export function openStripeWord(closing: Closing, listing: Listing | undefined): StripeWord {
  const { night, name, source, states, today } = closing;
  const api = source?.listing?.api;
  // Of what a connected account or an organisation gets delivered Stripe's documents do not say whose endpoints count.
  const isPossible = api !== undefined && source!.listing!.accounts.length === 0 && !source!.listing!.isOrganisation;
  const days = new Map<Day, DayFacts | undefined>();
  let ours: Promise<readonly Endpoint[] | undefined> | undefined;

  function of(day: Day): DayFacts | undefined {
    if (!days.has(day)) days.set(day, factsOf(day));
    return days.get(day);
  }

  /** Undefined: the word is said. */
  function factsOf(day: Day): DayFacts | undefined {
    const before = states.get(day);
    if (before?.counts.neverDelivered !== undefined) return undefined;
    const kept = before?.undelivered;
    const isKnown = Array.isArray(kept) || (kept === undefined && (before?.counts.recovered ?? 0) === 0);
    return { undelivered: isKnown ? new Set(kept ?? []) : null, listed: new Map() };
  }

  const isTime = (day: Day) => listing?.listedAt.has(day) === true && today >= addDays(day, retriesOverAfterDays);

  /** Of each of those that are undelivered what Stripe says; undefined where it cannot be asked. */
  async function ask(
    day: Day,
    { listed, delivered: known }: DayFacts,
    canBeLost: boolean,
    events: () => Iterable<DecidedEvent>,
  ) {
    ours ??= askEndpoints();
    const endpoints = await ours;
    const fromMs = startOfDayMs(day);
    if (endpoints === undefined) return undefined;
    if (endpoints.some(({ createdMs }) => createdMs === undefined || createdMs > fromMs)) return undefined;
    const window = { fromSeconds: fromMs / 1000, toSeconds: startOfDayMs(addDays(day, 1)) / 1000 };
    const sent = new Set(endpoints.filter(({ isEnabled }) => isEnabled).flatMap((endpoint) => endpoint.events));
    if (sent.size === 0) return undefined;
    const never = await idsIn({ ...window, delivered: false }, listed);
    const others = [...listed.values()].filter(({ id }) => !never.has(id));
    const unsubscribed = others.filter(({ type }) => !isSent(sent, type));
    const suspected = canBeLost ? others.filter(({ type }) => isSent(sent, type)) : [];
    // Where it is not known what was delivered around, nothing is said.
    if (suspected.length > 0 && known === 'unknown') return undefined;
    const around = suspected.length === 0 || known === 'unknown' ? undefined : (known ?? deliveredOn(day, events()));
    const near = around === undefined ? [] : amongDelivered(day, suspected, around);
    const types = [...new Set(near.map(({ type }) => type))];
    const delivered =
      near.length === 0
        ? new Set<string>()
        : await idsIn({ ...window, delivered: true, ...(types.length <= maxTypes ? { types } : {}) }, listed);
    const lost = near.filter(({ id }) => delivered.has(id));
    return { neverDelivered: never.size, unsubscribed: unsubscribed.length, lost };
  }

  async function askEndpoints(): Promise<readonly Endpoint[] | undefined> {
    const all = await api!.endpoints();
    const found = all === undefined ? 'the key may not read the endpoints' : onlyOurs(all, `/webhooks/${name}`);
    if (typeof found !== 'string') return found;
    night.log.info({ source: name, reason: found }, "Stripe's word on deliveries is not asked");
    return undefined;
  }

  async function idsIn(window: ListWindow, wanted: ReadonlyMap<string, LostEvent>): Promise<Set<string>> {
    const found = new Set<string>();
    for await (const page of api!.list(window)) for (const { id } of page) if (wanted.has(id)) found.add(id);
    return found;
  }

  function deliveredOn(day: Day, events: Iterable<DecidedEvent>): Delivered {
    const from = startOfDayMs(day) / 1000;
    const seconds = new Uint8Array(86_400);
    const types = new Set<string>();
    for (const event of events) {
      if (event.target !== day || event.isThin || event.line?.delivered === false || !event.listedIn.has(day)) continue;
      if (of(day)!.undelivered!.has(event.id)) continue;
      const { created, type } = listedFacts(event)!;
      seconds[created - from] = 1;
      types.add(type);
    }
    return { seconds, types };
  }

  /** Those that were made while other events, and one of their type, were delivered. */
  function amongDelivered(day: Day, suspected: readonly LostEvent[], { seconds, types }: Delivered): LostEvent[] {
    const from = startOfDayMs(day) / 1000;
    return suspected.filter(({ created, type }) => {
      const at = created - from;
      const before = seconds.subarray(Math.max(0, at - secondsNear), at + 1);
      const after = seconds.subarray(at, at + secondsNear + 1);
      return types.has(type) && before.includes(1) && after.includes(1);
    });
  }

  return {
    add(event) {
      const { id, line, target: day } = event;
      if (!isPossible || !event.isStripe || event.isThin) return;
      const facts = of(day);
      const undelivered = facts?.undelivered;
      if (facts === undefined || undelivered == null) return;
      if (line !== undefined && !line.delivered) undelivered.add(id);
      if (!undelivered.has(id)) return;
      for (const _ of event.deliveries()) undelivered.delete(id);
      const listed = undelivered.has(id) && isTime(day) ? listedFacts(event) : undefined;
      if (listed !== undefined && facts.listed.size < maxKept) facts.listed.set(id, listed);
      // More than can be asked for: nothing will be said, so nothing more is to be kept in memory.
      if (undelivered.size > maxKept) days.set(day, { undelivered: null, listed: new Map() });
    },

    leaveOut(day, id) {
      of(day)?.undelivered?.delete(id);
      of(day)?.listed.delete(id);
    },

    tell(day, events) {
      const { crew } = night;
      const facts = crew === undefined || !isPossible ? undefined : of(day);
      if (crew === undefined || facts === undefined) return undefined;
      const { undelivered, listed } = facts;
      const own = undelivered && [...undelivered].filter((id) => crew.isOwn(name, id));
      const isWanted = isTime(day) && own !== null && ((states.get(day)?.counts.recovered ?? 0) > 0 || own.length > 0);
      const delivered = isWanted ? deliveredOn(day, events()) : undefined;
      return {
        worker: crew.index,
        undelivered: own,
        listed: [...listed.values()],
        delivered: delivered === undefined ? null : told(delivered),
      };
    },

    join(day, shares) {
      const { crew } = night;
      const before = crew === undefined || !isPossible ? undefined : of(day);
      if (crew === undefined || before === undefined) return;
      // What was kept of a worker that has nothing of the day stays.
      const silent = (id: string) => !shares.some(({ worker }) => worker === crew.ownerOf(name, id));
      const ids = new Set([...(states.get(day)?.undelivered ?? [])].filter(silent));
      for (const { undelivered } of shares) for (const id of undelivered ?? []) ids.add(id);
      const isKnown = before.undelivered !== null && shares.every(({ undelivered }) => undelivered !== null);
      const delivered: Delivered = { seconds: new Uint8Array(86_400), types: new Set() };
      for (const { delivered: of } of shares) {
        for (const [at, second] of Buffer.from(of?.seconds ?? '', 'base64').entries()) delivered.seconds[at] ||= second;
        for (const type of of?.types ?? []) delivered.types.add(type);
      }
      const isWhole = shares.length === crew.count && shares.every((share) => share.delivered !== null);
      days.set(day, {
        undelivered: isKnown && ids.size <= maxKept ? ids : null,
        listed: new Map(shares.flatMap(({ listed }) => listed).map((event) => [event.id, event])),
        delivered: isWhole ? delivered : 'unknown',
      });
    },

    async say(day, entry, events) {
      const facts = isPossible ? of(day) : undefined;
      const nothing = { lost: [], errors: [] };
      if (facts === undefined || entry.counts.recovered === 0) return { entry, ...nothing };
      const { undelivered } = facts;
      const kept = undelivered === null ? null : [...undelivered].sort();
      const open = isListable(day, addDays(today, 1)) ? { ...entry, undelivered: kept } : entry;
      const isSettled = entry.verdict === 'complete' || entry.verdict === 'incomplete';
      if (kept === null || kept.length === 0 || !isSettled || !isTime(day)) return { entry: open, ...nothing };
      try {
        // Twins were not delivered themselves, and cannot be told from what was.
        const canBeLost = entry.counts.delivered > 0 && (entry.counts.twins ?? 0) === 0;
        const said = await ask(day, facts, canBeLost, events);
        if (said === undefined) return { entry: open, ...nothing };
        const { lost, ...counts } = said;
        return {
          entry: { ...entry, counts: { ...entry.counts, ...counts, lostAfter2xx: lost.length } },
          lost,
          errors: [],
        };
      } catch (error) {
        // The day itself is closed; a later listing asks again.
        return { entry: open, lost: [], errors: [problemOf(closing, null, error, `Stripe's word on ${day}`)] };
      }
    },
  };
}

/** What the list says of the event; undefined where a copy of it is none of the list. */
function listedFacts(event: DecidedEvent): LostEvent | undefined {
  for (const { origin, body } of event.copies()) {
    if (origin !== 'listed') continue;
    const { type, created } = JSON.parse(body.toString());
    return { id: event.id, type: String(type), created };
  }
  return undefined;
}

function told({ seconds, types }: Delivered): NonNullable<WordShare['delivered']> {
  return { seconds: Buffer.from(seconds).toString('base64'), types: [...types] };
}
