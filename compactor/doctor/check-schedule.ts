/** What `serve` runs on: the secret of its jobs, its hour, and whether the last night was when it should have been. */
import { addDays, dayMs, dayOf, startOfDayMs } from '../../shared/clock.ts';
import { type Found, ok, warning } from '../../shared/doctor/finding.ts';
import { newestClosedDay } from '../day/closing.ts';
import type { Ledger } from '../ledger/ledger.ts';

const hourMs = 3_600_000;
/** What a night may take, and be tried again. */
const graceMs = 2 * hourMs;

export interface ScheduleSettings {
  readonly runHour: number;
  readonly isEnabled: boolean;
  readonly lagSeconds: number;
  readonly jobSecret: string | undefined;
}

/** `ledger` is undefined where it cannot be read. */
export function checkSchedule(settings: ScheduleSettings, ledger: Ledger | undefined, nowMs: number): Found[] {
  return [
    ...checkSecret(settings.jobSecret),
    ...checkHour(settings),
    ...(ledger === undefined ? [] : checkLastNight(settings, ledger, nowMs)),
  ];
}

function checkSecret(secret: string | undefined): Found[] {
  if (secret === undefined) return [ok('COMPACTOR_JOB_SECRET is not set: no job can be started by request')];
  if (secret !== secret.trim()) {
    const hint = 'Make one: openssl rand -base64 32';
    return [warning('COMPACTOR_JOB_SECRET has white space around it, which no header can carry', hint)];
  }
  return [ok('COMPACTOR_JOB_SECRET is set')];
}

function checkHour({ runHour, isEnabled, lagSeconds }: ScheduleSettings): Found[] {
  if (!isEnabled) {
    const hint = 'Set it to true, or see that something else runs `node compactor/main.ts run` each day.';
    return [warning('COMPACTOR_ENABLED is false: serve runs no nights by itself', hint)];
  }
  const at = `${String(runHour).padStart(2, '0')}:00 UTC`;
  const closedAfter = lagSeconds / 3600;
  if (runHour * 3600 >= lagSeconds) return [ok(`serve runs a night each day at ${at}`)];
  const said = `the night at ${at} is too early for the day before, which is closed ${closedAfter} h after its end`;
  return [warning(said, 'Raise COMPACTOR_RUN_HOUR_UTC, or lower COMPACTOR_LAG_SECONDS.')];
}

/** A night writes a manifest wherever a day was closed since the last one: of each day, once there is a first. */
function checkLastNight({ runHour, lagSeconds }: ScheduleSettings, ledger: Ledger, nowMs: number): Found[] {
  const { newestNight } = ledger;
  if (newestNight === undefined) return [ok('no night has written anything yet')];
  const lastMs = Date.parse(newestNight.createdAt);
  if (lastMs > nowMs + graceMs) {
    const said = `the newest manifest is of ${newestNight.createdAt}, which is ahead of this machine's clock`;
    return [warning(said, 'Let all machines keep their time by NTP.')];
  }
  const slotMs = startOfDayMs(dayOf(nowMs - graceMs)) + runHour * hourMs;
  const lastSlotMs = slotMs > nowMs - graceMs ? slotMs - dayMs : slotMs;
  if (lastMs >= lastSlotMs) return [ok(`the last night was at ${newestNight.createdAt}`)];
  const days = Math.max(1, Math.floor((nowMs - lastMs) / dayMs));
  const unarchived = addDays(newestClosedDay(new Date(lastMs), lagSeconds), 1);
  const said = `no night has been written for ${days === 1 ? 'a day' : `${days} days`}, since ${newestNight.createdAt}; ${unarchived} is the oldest day not archived`;
  const hint =
    'See that serve runs, and what its log says of the last night; `node compactor/main.ts run` makes one now.';
  return [warning(said, hint)];
}
