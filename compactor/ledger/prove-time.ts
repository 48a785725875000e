/**
 * Whether this machine's clock can be believed. One that is behind takes good events for events of the future; one that is
 * ahead closes days that are not over, and lets prune delete what is young. So a night, and a prune that deletes, begin with
 * what others say of the time: the ledger, and whoever dates an answer.
 */

import { DaybookError } from '../../shared/errors.ts';
import type { DatedAnswer } from '../../shared/http/note-date.ts';
import type { NumberedManifest } from './ledger.ts';

/** What two honest clocks may differ by. */
export const clockToleranceMs = 5 * 60_000;

/** Answers of others, each with whose it is. */
export type AskTime = () => Promise<readonly { readonly whose: string; readonly answer: DatedAnswer }[]>;

/** Throws `clock_untrusted`. An answer without a date says nothing. */
export async function proveTime(
  now: Date,
  head: NumberedManifest | undefined,
  ask: AskTime | undefined,
): Promise<void> {
  const nowMs = now.getTime();
  if (head !== undefined && nowMs < Date.parse(head.createdAt) - clockToleranceMs) {
    throw untrusted(`it says ${now.toISOString()}, and manifest ${head.number} was made at ${head.createdAt}`);
  }
  for (const { whose, answer } of (await ask?.()) ?? []) {
    const theirMs = Date.parse(answer.date ?? '');
    if (Number.isNaN(theirMs) || Math.abs(answer.receivedAtMs - theirMs) <= clockToleranceMs) continue;
    const mine = new Date(answer.receivedAtMs).toISOString();
    throw untrusted(`it said ${mine} when ${whose} said ${new Date(theirMs).toISOString()}`);
  }
}

export function untrusted(detail: string): DaybookError {
  return new DaybookError('clock_untrusted', { detail: `The clock of this machine cannot be right: ${detail}` });
}

/** When a manifest is made, by a clock that was proven: never before the one that it follows. */
export function timeAfter(head: NumberedManifest | undefined, now: Date): string {
  const text = now.toISOString();
  return head !== undefined && head.createdAt > text ? head.createdAt : text;
}
