/** Single questions to Stripe's API: each is asked twice at most, and a missing permission is an answer. */
import { setTimeout as sleep } from 'node:timers/promises';
import { DaybookError, messageOf } from '../../shared/errors.ts';
import type { DatedAnswer } from '../../shared/http/note-date.ts';
import { malformed, refusalOf } from '../stripe/answer.ts';
import type { StripeAnswer } from '../stripe/connection.ts';
import type { StripeObject } from '../stripe/endpoints.ts';
import { openStripeRequests } from '../stripe/requests.ts';

const timeoutMs = 10_000;
const pauseMs = 1_000;

/** What Stripe gives, or that it is not given to this key: `permission` as Stripe calls it (`rak_…`), where it says so. */
export type Reply =
  | { readonly value: StripeObject; readonly dated: DatedAnswer }
  | { readonly denied: DaybookError; readonly permission: string | undefined };

export interface StripeQuestions {
  /**
   * GET of a path with its query. Rejects with `stripe_key_refused` where the key is not known, and as `refusalOf` tells
   * where nothing is answered; never with the key in the error.
   */
  ask(path: string, account?: string): Promise<Reply>;
  close(): void;
}

export function openStripeQuestions({ apiKey, base }: { apiKey: string; base: URL }): StripeQuestions {
  const requests = openStripeRequests({ apiKey, base, timeoutMs });
  const tryOnce = async (path: string, account: string | undefined): Promise<Reply | { failure: DaybookError }> => {
    let answer: StripeAnswer;
    try {
      answer = await requests.get(path, account);
    } catch (error) {
      const cause = error instanceof Error && 'detail' in error ? error.detail : error;
      return { failure: new DaybookError('stripe_unreachable', { detail: `Stripe: ${messageOf(cause)}`, cause }) };
    }
    if (answer.status === 200) return readObject(answer);
    try {
      return refusalOf(answer, true);
    } catch (error) {
      const isDenied =
        error instanceof DaybookError && (error.code === 'stripe_access_refused' || answer.status === 404);
      if (!isDenied) throw error;
      return { denied: error, permission: permissionOf(answer) };
    }
  };
  return {
    async ask(path, account) {
      const first = await tryOnce(path, account);
      if (!('failure' in first)) return first;
      await sleep(pauseMs);
      const second = await tryOnce(path, account);
      if ('failure' in second) throw second.failure;
      return second;
    },
    close: requests.close,
  };
}

function readObject(answer: StripeAnswer): Reply | { failure: DaybookError } {
  const dated = { date: answer.headers.date, receivedAtMs: Date.now() };
  try {
    const value: unknown = JSON.parse(answer.text ?? '');
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return { value: value as StripeObject, dated };
  } catch {
    // As any other that is none of Stripe's.
  }
  return malformed(answer, 'is not a JSON object');
}

/** Stripe's message may quote the key: the name of the permission alone is taken out of it. */
function permissionOf({ text }: StripeAnswer): string | undefined {
  return /'(rak_\w{1,80})'/.exec(text ?? '')?.[1];
}
