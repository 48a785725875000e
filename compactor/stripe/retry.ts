/** The wrappers around requests to Stripe: their pace, and what is tried again, after how long, how often. */
import type { IncomingHttpHeaders } from 'node:http';
import type { DaybookError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/program/log.ts';

/** 18 requests a second; Stripe allows 25 on one endpoint, in a sandbox 25 altogether (PROTOCOLS.md, Facts about Stripe). */
const spacingMs = 55;
const firstDelayMs = 500;
const longestDelayMs = 30_000;
/** The longest that a Retry-After is waited for. */
const longestAskedMs = 300_000;

export interface Pace {
  /** Milliseconds of a clock that never goes back. */
  monotonicMs(): number;
  sleep(ms: number): Promise<void>;
  /** How many programs call at that pace together. Default 1. */
  readonly callers?: number | undefined;
}

/** The same call, begun at least 55 ms (for each caller) after the last one began, whoever calls. */
export function spaced<A extends unknown[], T>(
  call: (...args: A) => Promise<T>,
  pace: Pace,
): (...args: A) => Promise<T> {
  let nextStartMs = Number.NEGATIVE_INFINITY;
  return async (...args) => {
    const now = pace.monotonicMs();
    const startMs = Math.max(now, nextStartMs);
    nextStartMs = startMs + spacingMs * (pace.callers ?? 1);
    if (startMs > now) await pace.sleep(startMs - now);
    return call(...args);
  };
}

/** What came of one try: a value, or the error to end with if no further try is left. */
export type Attempt<T> =
  | { readonly value: T }
  | {
      readonly failure: DaybookError;
      readonly askedMs?: number;
      /** Whether less may be answered where so much was not. */
      readonly isTooMuch?: boolean;
    };

export interface RetryOptions {
  readonly maxTries: number;
  /** From 0 to 1. */
  random(): number;
  sleep(ms: number): Promise<void>;
  readonly log: Logger;
}

/**
 * Tries until there is a value, at most `maxTries` times: waits half to all of 0.5 s, 1 s, 2 s … 30 s between, or as
 * long as the server asked for. An attempt that throws is not repeated. `tooMuch` is called before a try that should ask for
 * less.
 */
export async function retried<T>(
  attempt: () => Promise<Attempt<T>>,
  options: RetryOptions,
  tooMuch?: () => void,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    const outcome = await attempt();
    if ('value' in outcome) return outcome.value;
    const { failure, askedMs = 0 } = outcome;
    if (tries >= options.maxTries) throw failure;
    if (outcome.isTooMuch === true) tooMuch?.();
    const backoffMs = Math.min(firstDelayMs * 2 ** (tries - 1), longestDelayMs) * (0.5 + options.random() / 2);
    const waitMs = Math.ceil(Math.max(backoffMs, Math.min(askedMs, longestAskedMs)));
    options.log.warn({ code: failure.code, reason: failure.message, tries, waitMs }, 'Stripe is asked again');
    await options.sleep(waitMs);
  }
}

/**
 * Whether a refused request may be sent again. Stripe's own word counts (Stripe-Should-Retry), with two exceptions: a
 * refused key stays refused, and a 429 passes by waiting although Stripe may tell clients not to repeat it at once.
 */
export function mayRetry(status: number, headers: IncomingHttpHeaders): boolean {
  if (status === 401 || status === 403) return false;
  if (status === 429) return true;
  const word = headers['stripe-should-retry'];
  if (word === 'true') return true;
  return status >= 500 && word !== 'false';
}

/** Retry-After in milliseconds, in either of its forms; a date is compared with the answer's own, not with our clock. */
export function askedDelayMs(headers: IncomingHttpHeaders): number {
  const text = headers['retry-after'];
  if (text === undefined) return 0;
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const waitMs = Date.parse(text) - Date.parse(headers.date ?? '');
  return Number.isNaN(waitMs) ? 0 : Math.max(waitMs, 0);
}
