/**
 * The list of thin events: GET /v2/core/events, page after page by the `next_page_url` of each answer. The order is not
 * relied on: a walk that breaks off has listed no day. Of a next page only path and query are followed, and only on
 * this very list, so that no answer can send the key to another host.
 */
import { parseInstant } from '../../shared/clock.ts';
import { DaybookError } from '../../shared/errors.ts';
import { generationFailureOf } from '../../shared/schemes/stripe-thin-events.ts';
import { type ListElement, malformed, readList, refusalOf } from './answer.ts';
import type { StripeAnswer } from './connection.ts';
import type { Ask, ListedEvent, ListWindow } from './listed-event.ts';
import { openPageSize } from './pages.ts';
import type { Attempt } from './retry.ts';

const listPath = '/v2/core/events';
/** Pages of one walk: a window of 29 days that fills more is a list without an end. */
const maxPages = 1_000_000;

interface Page {
  readonly events: ListedEvent[];
  readonly next: string | undefined;
}

export async function* walkThinEvents(window: ListWindow, ask: Ask): AsyncGenerator<ListedEvent[]> {
  const query = new URLSearchParams({
    'created[gte]': new Date(window.fromSeconds * 1000).toISOString(),
    'created[lt]': new Date(window.toSeconds * 1000).toISOString(),
  });
  const asked = new Set<string>();
  const size = openPageSize();
  let path: string | undefined = `${listPath}?${query}`;
  while (path !== undefined) {
    // A server, or a proxy, that answers with a page of before would have us walk in a circle.
    if (asked.has(path)) throw new DaybookError('stripe_answer_malformed', { detail: 'Stripe names a page twice' });
    if (asked.size === maxPages)
      throw new DaybookError('stripe_answer_malformed', { detail: 'Stripe names pages without end' });
    asked.add(path);
    const current: string = path;
    const page: Page = await ask(
      (limit) => withLimit(current, limit),
      size,
      window.account,
      (answer) => readPage(answer, window),
    );
    if (page.events.length > 0) yield page.events;
    path = page.next;
  }
}

function readPage(answer: StripeAnswer, window: ListWindow): Attempt<Page> {
  if (answer.status !== 200) return refusalOf(answer, true);
  const read = readList(answer);
  if ('failure' in read) return read;
  const { elements, list } = read.value;
  const events = elements.map((element) => eventOf(element, window));
  const { next_page_url: url } = list;
  if (url === undefined || url === null) return { value: { events, next: undefined } };
  const next = nextPath(url);
  return next === undefined
    ? malformed(answer, 'names a next page that is none of the list')
    : { value: { events, next } };
}

function withLimit(path: string, limit: number): string {
  const query = new URLSearchParams(path.slice(path.indexOf('?') + 1));
  query.set('limit', String(limit));
  return `${listPath}?${query}`;
}

function nextPath(url: unknown): string | undefined {
  // The base only completes a URL without a host; its own host is never asked.
  const parsed = typeof url === 'string' ? URL.parse(url, 'https://api.stripe.com') : null;
  return parsed?.pathname === listPath && parsed.search !== '' ? `${listPath}${parsed.search}` : undefined;
}

function eventOf({ id, value, text }: ListElement, window: ListWindow): ListedEvent {
  const createdMs = typeof value.created === 'string' ? parseInstant(value.created) : undefined;
  if (createdMs === undefined) return { id, createdMs: Number.NaN, text, problem: 'created is not a date-time' };
  const inside = createdMs >= window.fromSeconds * 1000 && createdMs < window.toSeconds * 1000;
  if (!inside) return { id, createdMs, text, problem: 'created lies outside of the window that was asked for' };
  const generationFailure = generationFailureOf(value);
  const mode = typeof value.livemode === 'boolean' ? { livemode: value.livemode } : {};
  return {
    id,
    createdMs,
    text,
    isThin: true,
    ...mode,
    ...(generationFailure === undefined ? {} : { generationFailure }),
  };
}
