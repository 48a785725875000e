/** Rules for the fields that go into an envelope's header, whoever sends them. */
import { dayMs, parseInstant } from '../../shared/clock.ts';
import { isEventId, maxHeaderCharacters } from '../../shared/envelope.ts';
import type { FieldError } from './answer.ts';

const maxAheadMs = 5 * 60 * 1000;
const maxAgeMs = 30 * dayMs;

export function idProblem(id: unknown): string | undefined {
  if (typeof id !== 'string') return 'must be a string';
  return isEventId(id) ? undefined : 'must have 1 to 255 characters, none a control character';
}

/** A text that goes into the header: not empty, not too long. */
export function textProblem(text: unknown): string | undefined {
  if (typeof text !== 'string') return 'must be a string';
  if (text === '') return 'must not be empty';
  return text.length > maxHeaderCharacters ? `must have at most ${maxHeaderCharacters} characters` : undefined;
}

export function timeProblem(time: unknown): string | undefined {
  const problem = textProblem(time);
  if (problem !== undefined) return problem;
  return parseInstant(time as string) === undefined ? 'must be an RFC 3339 date-time' : undefined;
}

/** A time far ahead would pin the stream for years, one long past would open days that are settled. */
export function rangeProblem(claimedMs: number, nowMs: number, anyAge: boolean): string | undefined {
  if (claimedMs - nowMs > maxAheadMs) return 'is more than 5 minutes ahead';
  return !anyAge && nowMs - claimedMs > maxAgeMs ? 'is more than 30 days ago' : undefined;
}

/** The errors of the fields that have a problem. `at` is the pointer to the event: `#` or `#/0`. */
export function fieldErrors(at: string, problems: Readonly<Record<string, string | undefined>>): FieldError[] {
  const errors: FieldError[] = [];
  for (const field in problems) {
    const problem = problems[field];
    if (problem !== undefined) errors.push({ pointer: `${at}/${field}`, detail: `${field} ${problem}.` });
  }
  return errors;
}
