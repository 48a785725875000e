/**
 * What Stripe says happened: GET /v1/events, walked newest first by a pager of our own (the package's stops at 10,000
 * and hands out parsed events; here the text of each stays as Stripe sent it).
 *
 * A walk is complete if it ends without an error. One that ends with an error has handed out its newer part only.
 */

import { isEventId } from '../shared/envelope.ts';
import { DaybookError, messageOf } from '../shared/errors.ts';
import { elementTexts, memberText } from '../shared/json-text.ts';
import type { Logger } from '../shared/log.ts';
import { openStripeRequests, type StripeAnswer } from './stripe-api.ts';
import { type Attempt, askedDelayMs, mayRetry, retried, spaced } from './stripe-retry.ts';

export interface ListedEvent {
  readonly id: string;
  /** Whole seconds since the epoch; NaN where the event has none (it has a `problem` then). */
  readonly createdSeconds: number;
  /** The event's JSON text, verbatim. */
  readonly text: string;
  /** Why the event cannot be used, though it is known: no whole `created`, or one outside of the window. */
  readonly problem?: string;
}

export interface ListWindow {
  /** `created` from this second on … */
  readonly fromSeconds: number;
  /** … to before this one. */
  readonly toSeconds: number;
  /** A connected account (`acct_…`) instead of the key's own. */
  readonly account?: string;
}

export interface StripeApi {
  /**
   * Every event that Stripe lists in the window, newest first, one batch a page, each id once, also where the walk had
   * to be resumed. Holds one page. What passes Stripe's 30 days while the walk is on its way to it is not listed: the
   * window's begin must lie inside them when the walk ends.
   * Throws `stripe_unreachable` and `stripe_answer_malformed` after all tries, `stripe_key_refused` and
   * `stripe_request_refused` at once.
   */
  list(window: ListWindow): AsyncIterable<ListedEvent[]>;
  /** Ends the connections, so that the process can exit. */
  close(): void;
}

export interface StripeApiOptions {
  readonly apiKey: string;
  readonly base: URL;
  random(): number;
  sleep(ms: number): Promise<void>;
  readonly log: Logger;
  /** Tries of one request, the first among them. Default 8: about a minute and a half. */
  readonly maxTries?: number;
  /** Of one request, from its begin to the answer's last byte. Default 30 s. */
  readonly timeoutMs?: number;
  /** A clock that never goes back. Default: the process's own. */
  monotonicMs?(): number;
}

const pageSize = 100;

interface Page {
  readonly events: ListedEvent[];
  readonly hasMore: boolean;
}

type GetPage = (query: URLSearchParams, window: ListWindow) => Promise<Page | 'cursor gone'>;

/** Opens nothing yet; connections come with the first request. */
export function openStripeApi(options: StripeApiOptions): StripeApi {
  const { apiKey, base, sleep, log, maxTries = 8, timeoutMs = 30_000 } = options;
  const requests = openStripeRequests({ apiKey, base, timeoutMs });
  const get = spaced(requests.get, { sleep, monotonicMs: options.monotonicMs ?? (() => performance.now()) });
  let closed = false;

  const getPage: GetPage = (query, window) => {
    const attempt = async (): Promise<Attempt<Page | 'cursor gone'>> => {
      // Closing breaks what is under way; without this the next try would open a connection anew.
      if (closed) throw new DaybookError('stripe_unreachable', { detail: 'The connection to Stripe was closed' });
      let answer: StripeAnswer;
      try {
        answer = await get(`/v1/events?${query}`, window.account);
      } catch (error) {
        const cause = error instanceof Error && 'detail' in error ? error.detail : error;
        return { failure: new DaybookError('stripe_unreachable', { detail: `Stripe: ${messageOf(cause)}`, cause }) };
      }
      return answer.status === 200 ? readPage(answer, query.get('starting_after'), window) : judge(answer, query);
    };
    return retried(attempt, { maxTries, random: options.random, sleep, log });
  };

  return {
    list: (window) => walk(window, getPage, log),
    close() {
      closed = true;
      requests.close();
    },
  };
}

/**
 * The walk. A cursor (`starting_after`) may age out under our feet: then it goes on by `created`, from the oldest
 * second seen. Any number of events may share that second, so its ids, and only its, are remembered and left out.
 */
async function* walk(window: ListWindow, getPage: GetPage, log: Logger): AsyncGenerator<ListedEvent[]> {
  let oldestSeconds = Number.POSITIVE_INFINITY;
  let idsOfOldest = new Set<string>();
  let newSinceResume = true;
  let query = queryOf(window);
  for (;;) {
    const page = await getPage(query, window);
    if (page === 'cursor gone') {
      if (!newSinceResume || oldestSeconds === Number.POSITIVE_INFINITY) {
        throw new DaybookError('stripe_request_refused', { detail: 'Stripe refuses its own cursors again and again' });
      }
      newSinceResume = false;
      query = queryOf(window, oldestSeconds);
      log.warn(
        { createdSeconds: oldestSeconds, account: window.account },
        "Stripe's cursor aged out; going on by time",
      );
      continue;
    }
    const batch: ListedEvent[] = [];
    for (const event of page.events) {
      if (idsOfOldest.has(event.id)) continue;
      if (event.problem === undefined && event.createdSeconds < oldestSeconds) {
        oldestSeconds = event.createdSeconds;
        idsOfOldest = new Set();
      }
      // One without a usable second stays remembered with its neighbours, which a resumed listing repeats too.
      if (event.problem !== undefined || event.createdSeconds === oldestSeconds) idsOfOldest.add(event.id);
      batch.push(event);
    }
    if (batch.length > 0) {
      newSinceResume = true;
      yield batch;
    }
    const last = page.events.at(-1);
    if (!page.hasMore || last === undefined) return;
    query.set('starting_after', last.id);
  }
}

function queryOf(window: ListWindow, throughSeconds?: number): URLSearchParams {
  const query = new URLSearchParams({ limit: String(pageSize), 'created[gte]': String(window.fromSeconds) });
  if (throughSeconds === undefined) query.set('created[lt]', String(window.toSeconds));
  else query.set('created[lte]', String(throughSeconds));
  return query;
}

/** The events of an answer, each with its text verbatim. An answer that is no page of events may come right next time. */
function readPage(answer: StripeAnswer, cursor: string | null, window: ListWindow): Attempt<Page> {
  const malformed = (what: string): Attempt<Page> => ({
    failure: new DaybookError('stripe_answer_malformed', { detail: `Stripe's answer ${what}${requestOf(answer)}` }),
  });
  const { text } = answer;
  if (text === undefined) return malformed('is not UTF-8, or larger than 64 MiB');
  let list: { data?: unknown; has_more?: unknown } | null;
  try {
    list = JSON.parse(text);
  } catch {
    return malformed('is not JSON');
  }
  if (!Array.isArray(list?.data) || typeof list.has_more !== 'boolean') return malformed('is no list');
  const texts = elementTexts(memberText(text, 'data') ?? '[]');
  const events: ListedEvent[] = [];
  for (const [index, item] of list.data.entries()) {
    const id: unknown = item?.id;
    if (typeof id !== 'string' || !isEventId(id)) return malformed('has an item without an id');
    // A server, or a proxy, that does not heed the cursor would have us walk in a circle.
    if (id === cursor) return malformed('has the event after which it was to begin');
    events.push(eventOf(id, item.created, texts[index]!, window));
  }
  if (list.has_more && events.length === 0) return malformed('is empty, yet says that more follow');
  return { value: { events, hasMore: list.has_more } };
}

function eventOf(id: string, created: unknown, text: string, window: ListWindow): ListedEvent {
  if (!Number.isSafeInteger(created)) {
    return { id, createdSeconds: Number.NaN, text, problem: 'created is no whole number of seconds' };
  }
  const createdSeconds = created as number;
  const inside = createdSeconds >= window.fromSeconds && createdSeconds < window.toSeconds;
  return inside
    ? { id, createdSeconds, text }
    : { id, createdSeconds, text, problem: 'created lies outside of the window that was asked for' };
}

/** What an answer other than 200 means. */
function judge(answer: StripeAnswer, query: URLSearchParams): Attempt<'cursor gone'> {
  const { status, headers } = answer;
  const error = errorOf(answer);
  // Codes and parameter names only: Stripe's message may quote the key or the request.
  const said = [error.type, error.code, error.param].filter(isName).join(' ');
  const detail = `Stripe answers ${status}${said === '' ? '' : ` (${said})`}${requestOf(answer)}`;
  if (status === 401 || status === 403) throw new DaybookError('stripe_key_refused', { detail });
  if (status === 400 && query.has('starting_after') && isCursorGone(error)) return { value: 'cursor gone' };
  const failure = new DaybookError(status === 429 || status >= 500 ? 'stripe_unreachable' : 'stripe_request_refused', {
    detail,
  });
  if (!mayRetry(status, headers)) throw failure;
  return { failure, askedMs: askedDelayMs(headers) };
}

interface StripeErrorBody {
  readonly type?: unknown;
  readonly code?: unknown;
  readonly param?: unknown;
  readonly message?: unknown;
}

function errorOf(answer: StripeAnswer): StripeErrorBody {
  try {
    const error: unknown = JSON.parse(answer.text ?? 'null')?.error;
    return typeof error === 'object' && error !== null ? error : {};
  } catch {
    return {};
  }
}

/** Stripe keeps events for 30 days; of an older one it says that it "aged out", or does not know it at all. */
function isCursorGone(error: StripeErrorBody): boolean {
  if (typeof error.message === 'string' && /aged out/i.test(error.message)) return true;
  return error.param === 'starting_after' && error.code === 'resource_missing';
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && /^[\w.[\]-]{1,60}$/.test(value);
}

function requestOf(answer: StripeAnswer): string {
  const id = answer.headers['request-id'];
  return isName(id) ? `, request ${id}` : '';
}
