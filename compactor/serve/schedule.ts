/**
 * When the nightly run takes place: once each UTC day, at the run hour or, where nothing was up then, as soon as something
 * is. The archive says what took place: a night's manifest made today at or after the run hour. There is no file of its own; what
 * a night that had nothing to write leaves behind is known to this process alone.
 */
import { Cron } from 'croner';
import { addDays, type Clock, dayOf, startOfDayMs } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/program/log.ts';

const hourMs = 3_600_000;

/**
 * The instant from which the next night is due; it has passed where one is due now. `lastMs`: when the last night was,
 * undefined where none is known. A time of another day says nothing of today, also one ahead: a clock that was wrong once
 * must not stop the nights that follow. All in epoch milliseconds.
 */
export function dueAt(nowMs: number, lastMs: number | undefined, hour: number): number {
  const today = dayOf(nowMs);
  const slotMs = startOfDayMs(today) + hour * hourMs;
  const hasRun = lastMs !== undefined && dayOf(lastMs) === today && lastMs >= slotMs;
  return hasRun ? startOfDayMs(addDays(today, 1)) + hour * hourMs : slotMs;
}

/** Waits after the first, second … failure of a night, in minutes. */
const retryMinutes = [10, 30, 60, 120, 240];

/**
 * When a night that failed just now, so often in a row, is tried again: on the UTC day on which it began; undefined: not
 * before the next one's.
 */
export function retryAt(nowMs: number, startedMs: number, failures: number): number | undefined {
  const minutes = retryMinutes[failures - 1];
  if (minutes === undefined) return undefined;
  const atMs = nowMs + minutes * 60_000;
  return dayOf(atMs) === dayOf(startedMs) ? atMs : undefined;
}

/** A whole night that has ended. */
export interface EndedNight {
  readonly startedMs: number;
  /** The manifest that it wrote. */
  readonly manifest: number | null;
  /** Whether the same run may succeed later without anybody changing anything. */
  readonly mayRetry: boolean;
}

export interface ScheduleOptions {
  readonly hour: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** The newest manifest that a night wrote. */
  newestManifest(): Promise<{ readonly number: number; readonly createdAt: string } | undefined>;
  /** Starts a night; false where another job is under way. */
  run(): boolean;
  /** Calls back at that time; a parameter for the sake of tests alone. */
  readonly at?: (atMs: number, call: () => void) => { cancel(): void };
}

export interface Schedule {
  /** Sees whether a night is due. At the start and at the run hour; also after each job: what was due has waited for it. */
  check(): Promise<void>;
  /** A whole night has ended, whoever had asked for it. */
  ended(night: EndedNight): void;
  /** When the next one is due, epoch milliseconds; it has passed where one is due now. `newestMs`: when the newest manifest of one was made. */
  nextMs(newestMs: number | undefined): number;
  stop(): void;
}

export function openSchedule(options: ScheduleOptions): Schedule {
  const { hour, clock, log, newestManifest, run, at = timerAt(clock) } = options;
  let own: EndedNight | undefined;
  let failures = 0;
  let retry: { readonly atMs: number; cancel(): void } | undefined;
  let checking: Promise<void> | undefined;
  let isStopped = false;

  const nowMs = () => clock.now().getTime();
  const cron = new Cron(`0 ${hour} * * *`, { timezone: 'Etc/UTC', unref: true }, check);

  function check(): Promise<void> {
    checking ??= checkOnce().finally(() => {
      checking = undefined;
    });
    return checking;
  }

  async function checkOnce(): Promise<void> {
    const isDue = retry === undefined ? await isNightDue() : retry.atMs <= nowMs();
    if (!isDue || isStopped || !run()) return;
    retry?.cancel();
    retry = undefined;
  }

  /** What this process knows comes first: the archive is asked once a day. */
  async function isNightDue(): Promise<boolean> {
    return dueAt(nowMs(), own?.startedMs, hour) <= nowMs() && dueAt(nowMs(), await archivedMs(), hour) <= nowMs();
  }

  /** When the newest manifest was made; where a night known here wrote it, what counts is that night's start. */
  async function archivedMs(): Promise<number | undefined> {
    try {
      const newest = await newestManifest();
      if (newest === undefined || newest.number === own?.manifest) return own?.startedMs;
      return Date.parse(newest.createdAt);
    } catch (error) {
      // The night says what is wrong, in its report and its exit code; at worst it finds nothing to do.
      log.warn({ reason: messageOf(error) }, 'the archive does not say when the last night was: one is started');
      return undefined;
    }
  }

  function ended(night: EndedNight): void {
    own = night;
    retry?.cancel();
    retry = undefined;
    if (isStopped) return;
    failures = night.mayRetry ? failures + 1 : 0;
    if (failures === 0) return;
    const atMs = retryAt(nowMs(), night.startedMs, failures);
    if (atMs === undefined) {
      log.error({ failures }, 'the night failed; the next one takes up what it left');
      failures = 0;
    } else {
      log.warn({ failures, retryAt: new Date(atMs).toISOString() }, 'the night failed and is tried again');
      retry = { atMs, ...at(atMs, () => void check()) };
    }
  }

  return {
    check,
    ended,
    nextMs(newestMs) {
      if (retry !== undefined) return retry.atMs;
      return Math.max(dueAt(nowMs(), own?.startedMs, hour), dueAt(nowMs(), newestMs, hour));
    },
    stop() {
      isStopped = true;
      retry?.cancel();
      cron.stop();
    },
  };
}

function timerAt(clock: Clock): NonNullable<ScheduleOptions['at']> {
  return (atMs, call) => {
    // A timer may fire a little before its time.
    const timer = setTimeout(call, atMs - clock.now().getTime() + 100);
    return { cancel: () => clearTimeout(timer) };
  };
}
