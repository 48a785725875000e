/**
 * What Stripe says happened: GET /v1/events, walked newest first by a pager of our own (the package's stops at 10,000
 * and hands out parsed events; here the text of each stays as Stripe sent it). Thin events have a list of their own:
 * list-thin-events.ts.
 *
 * A walk is complete if it ends without an error. One that ends with an error has handed out its newer part only.
 */

import { DaybookError, messageOf } from '../../shared/errors.ts';
import type { DatedAnswer } from '../../shared/http/note-date.ts';
import type { Logger } from '../../shared/program/log.ts';
import { isOrganisationKey } from '../../shared/schemes/stripe-scope.ts';
import { isCursorGone, type ListElement, malformed, readList, refusalOf } from './answer.ts';
import type { StripeAnswer } from './connection.ts';
import { type Endpoints, endpointPaths, endpointsOf, type StripeObject } from './endpoints.ts';
import { walkThinEvents } from './list-thin-events.ts';
import type { Ask, ListedEvent, ListWindow } from './listed-event.ts';
import { openPageSize, openWalkGuard } from './pages.ts';
import { openStripeRequests } from './requests.ts';
import { type Attempt, retried, spaced } from './retry.ts';

export interface StripeApi {
  /**
   * Every event that Stripe lists in the window, one batch a page: of snapshot events newest first, each id once, also
   * where the walk had to be resumed; of thin events in any order. Holds one page. What passes Stripe's 30 days while
   * the walk is on its way to it is not listed: the window's begin must lie inside them when the walk ends.
   * Throws `stripe_unreachable` and `stripe_answer_malformed` after all tries, `stripe_key_refused`,
   * `stripe_access_refused` (of the account, or of thin events alone) and `stripe_request_refused` at once.
   */
  list(window: ListWindow): AsyncIterable<ListedEvent[]>;
  /** The ids of all connected accounts (GET /v1/accounts). Throws as `list` does. */
  accounts(): Promise<string[]>;
  /** The endpoints of the key's own account; undefined where the key may not read them. Throws as `list` does. */
  endpoints(): Promise<Endpoints | undefined>;
  /** The date of one answer, whatever it says; undefined where none came. Asked once, and never twice. */
  askTime?(): Promise<DatedAnswer | undefined>;
  /** Ends the connections, so that the process can exit. */
  close(): void;
}

export interface StripeApiOptions {
  readonly apiKey: string;
  readonly base: URL;
  random(): number;
  sleep(ms: number): Promise<void>;
  readonly log: Logger;
  /** How many programs ask with this key at once: they share its pace. Default 1. */
  readonly callers?: number | undefined;
  /** Tries of one request, the first among them. Default 8: about a minute and a half. */
  readonly maxTries?: number;
  /** Of one request, from its begin to the answer's last byte. Default 30 s. */
  readonly timeoutMs?: number;
  /** A clock that never goes back. Default: the process's own. */
  monotonicMs?(): number;
}

/** Opens nothing yet; connections come with the first request. All that is asked here shares one pace. */
export function openStripeApi(options: StripeApiOptions): StripeApi {
  const { apiKey, base, sleep, log, maxTries = 8, timeoutMs = 30_000 } = options;
  const requests = openStripeRequests({ apiKey, base, timeoutMs });
  const monotonicMs = options.monotonicMs ?? (() => performance.now());
  const get = spaced(requests.get, { sleep, monotonicMs, callers: options.callers });
  let closed = false;

  const ask: Ask = async (pathOf, size, account, read) => {
    if (account === undefined && isOrganisationKey(apiKey)) throw accountMissing();
    const value = await retried(
      async () => {
        // Closing breaks what is under way; without this the next try would open a connection again.
        if (closed) throw new DaybookError('stripe_unreachable', { detail: 'The connection to Stripe was closed' });
        try {
          return read(await get(pathOf(size.limit()), account));
        } catch (error) {
          if (error instanceof DaybookError) throw error;
          const cause = error instanceof Error && 'detail' in error ? error.detail : error;
          const failure = new DaybookError('stripe_unreachable', { detail: `Stripe: ${messageOf(cause)}`, cause });
          return { failure, isTooMuch: true };
        }
      },
      { maxTries, random: options.random, sleep, log },
      size.halve,
    );
    size.grow();
    return value;
  };

  return {
    list: (window) => (window.thin === true ? walkThinEvents(window, ask) : walk(window, ask, log)),
    accounts: () => walkAccounts(ask),
    async endpoints() {
      const lists: StripeObject[] = [];
      for (const path of endpointPaths) {
        const list = await ask(() => path, openPageSize(), undefined, readIfGranted);
        if (list === undefined) return undefined;
        lists.push(list);
      }
      return endpointsOf(lists[0], lists[1]);
    },
    async askTime() {
      try {
        const { headers } = await get('/v1/events?limit=1', undefined);
        return { date: headers.date, receivedAtMs: Date.now() };
      } catch {
        return undefined;
      }
    },
    close() {
      closed = true;
      requests.close();
    },
  };
}

function accountMissing(): DaybookError {
  const detail =
    "The apiKey is an organisation's: each request has to name one of its accounts, and none is configured";
  const hint = 'Name them in `accounts` of the source. Stripe has no list of them, so "all" is not possible.';
  return new DaybookError('stripe_key_refused', { detail, hint });
}

interface ElementPage {
  readonly elements: readonly ListElement[];
  readonly hasMore: boolean;
}

interface Page {
  readonly events: readonly ListedEvent[];
  readonly hasMore: boolean;
}

/**
 * The walk. A cursor (`starting_after`) may age out under our feet: then it goes on by `created`, from the oldest
 * second seen. Any number of events may share that second, so its ids, and only its, are remembered and left out.
 */
async function* walk(window: ListWindow, ask: Ask, log: Logger): AsyncGenerator<ListedEvent[]> {
  let oldestMs = Number.POSITIVE_INFINITY;
  let idsOfOldest = new Set<string>();
  let newSinceResume = true;
  let query = queryOf(window);
  const size = openPageSize();
  const guard = openWalkGuard();
  for (;;) {
    const cursor = query.get('starting_after');
    const pathOf = (limit: number) => `/v1/events?limit=${limit}&${query}`;
    const page = await ask(pathOf, size, window.account, (answer) => readPage(answer, cursor, window));
    if (page === 'cursor gone') {
      if (!newSinceResume || oldestMs === Number.POSITIVE_INFINITY) {
        throw new DaybookError('stripe_request_refused', { detail: 'Stripe refuses its own cursors again and again' });
      }
      newSinceResume = false;
      const createdSeconds = oldestMs / 1000;
      query = queryOf(window, createdSeconds);
      guard.restart();
      log.warn({ createdSeconds, account: window.account }, "Stripe's cursor aged out; going on by time");
      continue;
    }
    const batch: ListedEvent[] = [];
    for (const event of page.events) {
      if (idsOfOldest.has(event.id)) continue;
      if (event.problem === undefined && event.createdMs < oldestMs) {
        oldestMs = event.createdMs;
        idsOfOldest = new Set();
      }
      // One without a usable second stays remembered with its neighbours, which a resumed listing repeats too.
      if (event.problem !== undefined || event.createdMs === oldestMs) idsOfOldest.add(event.id);
      batch.push(event);
    }
    if (batch.length > 0) {
      newSinceResume = true;
      yield batch;
    }
    const last = page.events.at(-1);
    if (!page.hasMore || last === undefined) return;
    guard.goOn(last.id, idsOfOldest.size);
    query.set('starting_after', last.id);
  }
}

function queryOf(window: ListWindow, throughSeconds?: number): URLSearchParams {
  const query = new URLSearchParams({ 'created[gte]': String(window.fromSeconds) });
  if (window.delivered !== undefined) query.set('delivery_success', String(window.delivered));
  for (const type of window.types ?? []) query.append('types[]', type);
  if (throughSeconds === undefined) query.set('created[lt]', String(window.toSeconds));
  else query.set('created[lte]', String(throughSeconds));
  return query;
}

/** The events of an answer. An answer that is not a page of events may come right next time. */
function readPage(answer: StripeAnswer, cursor: string | null, window: ListWindow): Attempt<Page | 'cursor gone'> {
  if (cursor !== null && isCursorGone(answer)) return { value: 'cursor gone' };
  const read = readElements(answer, cursor, window.account !== undefined);
  if ('failure' in read) return read;
  const { elements, hasMore } = read.value;
  return {
    value: { events: elements.map(({ id, value, text }) => eventOf(id, value, text, window)), hasMore },
  };
}

/** A list in one answer; undefined where the key may not have it. */
function readIfGranted(answer: StripeAnswer): Attempt<StripeObject | undefined> {
  if (answer.status === 403 || answer.status === 404) return { value: undefined };
  if (answer.status !== 200) return refusalOf(answer, true);
  const read = readList(answer);
  if ('failure' in read) return read;
  const { elements, list } = read.value;
  return { value: { ...list, data: elements.map(({ value }) => value) } };
}

/** The elements of one page of a v1 list. */
function readElements(answer: StripeAnswer, cursor: string | null, scoped: boolean): Attempt<ElementPage> {
  if (answer.status !== 200) return refusalOf(answer, scoped);
  const read = readList(answer);
  if ('failure' in read) return read;
  const { elements, list } = read.value;
  if (typeof list.has_more !== 'boolean') return malformed(answer, 'is not a list');
  // A server, or a proxy, that does not heed the cursor would have us walk in a circle.
  if (elements.some(({ id }) => id === cursor)) return malformed(answer, 'has the item after which it was to begin');
  if (list.has_more && elements.length === 0) return malformed(answer, 'is empty, yet says that more follow');
  return { value: { elements, hasMore: list.has_more } };
}

function eventOf(
  id: string,
  { created, livemode }: ListElement['value'],
  text: string,
  window: ListWindow,
): ListedEvent {
  if (!Number.isSafeInteger(created)) {
    return { id, createdMs: Number.NaN, text, problem: 'created is not a whole number of seconds' };
  }
  const createdSeconds = created as number;
  const createdMs = createdSeconds * 1000;
  const inside = createdSeconds >= window.fromSeconds && createdSeconds < window.toSeconds;
  return inside
    ? { id, createdMs, text, ...(typeof livemode === 'boolean' ? { livemode } : {}) }
    : { id, createdMs, text, problem: 'created lies outside of the window that was asked for' };
}

async function walkAccounts(ask: Ask): Promise<string[]> {
  const accounts = new Set<string>();
  const size = openPageSize();
  const guard = openWalkGuard();
  let cursor: string | null = null;
  for (;;) {
    const after: string | null = cursor;
    const read = (answer: StripeAnswer) => readElements(answer, after, false);
    const pathOf = (limit: number) =>
      `/v1/accounts?${new URLSearchParams({ limit: String(limit), ...(after !== null && { starting_after: after }) })}`;
    const page: ElementPage = await ask(pathOf, size, undefined, read);
    for (const { id } of page.elements) accounts.add(id);
    const last = page.elements.at(-1)?.id;
    if (!page.hasMore || last === undefined) return [...accounts];
    guard.goOn(last, 0);
    cursor = last;
  }
}
