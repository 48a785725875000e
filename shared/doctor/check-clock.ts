/** This machine's clock against the one of a server that dates its answers. */
import type { DatedAnswer } from '../http/note-date.ts';
import { stripeToleranceSeconds } from '../schemes/stripe.ts';
import { type Found, ok, problem, warning } from './finding.ts';

/** An HTTP date has whole seconds, and an answer takes its time. */
const unremarkableSeconds = 30;
const hint = 'Let this machine keep its time by NTP.';

/** Nothing where the answer has no date. `consequence`: of a clock that is off by more than signatures may be. */
export function checkClock(
  { date, receivedAtMs }: DatedAnswer,
  whose: string,
  consequence = 'signatures made now are refused',
): Found[] {
  const theirsMs = date === undefined ? Number.NaN : Date.parse(date);
  if (Number.isNaN(theirsMs)) return [];
  const aheadSeconds = Math.round((receivedAtMs - theirsMs) / 1000);
  const seconds = Math.abs(aheadSeconds);
  if (seconds <= unremarkableSeconds) return [ok(`this machine's clock agrees with ${whose}`)];
  const said = `this machine's clock is ${seconds} s ${aheadSeconds > 0 ? 'ahead of' : 'behind'} ${whose}`;
  if (seconds <= stripeToleranceSeconds) return [warning(said, hint)];
  return [problem(`${said}: ${consequence}`, hint)];
}
