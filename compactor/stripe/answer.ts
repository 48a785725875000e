/** What an answer of Stripe's API means: the elements of a list with their texts verbatim, or why there are none. */
import { isEventId } from '../../shared/envelope.ts';
import { DaybookError } from '../../shared/errors.ts';
import { elementTexts, memberText } from '../../shared/json/json-text.ts';
import type { StripeAnswer } from './connection.ts';
import { type Attempt, askedDelayMs, mayRetry } from './retry.ts';

export interface ListElement {
  readonly id: string;
  readonly value: Readonly<Record<string, unknown>>;
  /** Its JSON text, as Stripe sent it. */
  readonly text: string;
}

export interface ListAnswer {
  readonly elements: readonly ListElement[];
  /** The members beside `data`. */
  readonly list: Readonly<Record<string, unknown>>;
}

/** The elements of an answer of status 200. One that is not a list may come right next time. */
export function readList(answer: StripeAnswer): Attempt<ListAnswer> {
  const { text } = answer;
  if (text === undefined) return malformed(answer, 'is not UTF-8, or larger than 64 MiB');
  let list: Record<string, unknown> | null;
  try {
    list = JSON.parse(text);
  } catch {
    return malformed(answer, 'is not JSON');
  }
  if (!Array.isArray(list?.data)) return malformed(answer, 'is not a list');
  const texts = elementTexts(memberText(text, 'data') ?? '[]');
  const elements: ListElement[] = [];
  for (const [index, value] of list.data.entries()) {
    const id: unknown = value?.id;
    if (typeof id !== 'string' || !isEventId(id)) return malformed(answer, 'has an item without an id');
    elements.push({ id, value, text: texts[index]! });
  }
  return { value: { elements, list } };
}

export function malformed(
  answer: StripeAnswer,
  what: string,
): { readonly failure: DaybookError; readonly isTooMuch: boolean } {
  const detail = `Stripe's answer ${what}${requestOf(answer)}`;
  return { failure: new DaybookError('stripe_answer_malformed', { detail }), isTooMuch: true };
}

/**
 * What an answer other than 200 means. `scoped`: the request was about one account or one kind of events, so that a 403
 * says nothing of the key's other rights. Throws where a repeat cannot help.
 */
export function refusalOf(
  answer: StripeAnswer,
  scoped: boolean,
): { failure: DaybookError; askedMs: number; isTooMuch: boolean } {
  const { status, headers } = answer;
  const error = errorOf(answer);
  // Codes and parameter names only: Stripe's message may quote the key or the request.
  const limited = status === 429 ? headers['stripe-rate-limited-reason'] : undefined;
  const said = [error.type, error.code, error.param, limited].filter(isName).join(' ');
  const detail = `Stripe answers ${status}${said === '' ? '' : ` (${said})`}${requestOf(answer)}`;
  if (status === 401 || (status === 403 && !scoped)) throw new DaybookError('stripe_key_refused', { detail });
  if (status === 403) throw new DaybookError('stripe_access_refused', { detail });
  const failure = new DaybookError(status === 429 || status >= 500 ? 'stripe_unreachable' : 'stripe_request_refused', {
    detail,
  });
  if (!mayRetry(status, headers)) throw failure;
  return { failure, askedMs: askedDelayMs(headers), isTooMuch: status >= 500 };
}

/** Stripe keeps events for 30 days; of an older one it says that it "aged out", or does not know it at all. */
export function isCursorGone(answer: StripeAnswer): boolean {
  if (answer.status !== 400) return false;
  const error = errorOf(answer);
  if (typeof error.message === 'string' && /aged out/i.test(error.message)) return true;
  return error.param === 'starting_after' && error.code === 'resource_missing';
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

function isName(value: unknown): value is string {
  return typeof value === 'string' && /^[\w.[\]-]{1,60}$/.test(value);
}

function requestOf(answer: StripeAnswer): string {
  const id = answer.headers['request-id'];
  return isName(id) ? `, request ${id}` : '';
}
