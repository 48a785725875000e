/**
 * Jobs beside the night, by COMPACTOR_SCHEDULE: at times of their own, or after each run, and then once at the start too.
 * One that is due while another job runs waits for it. A time at which nothing was up is not made up for.
 */
import { Cron } from 'croner';
import type { ScheduledJob } from '../../shared/job-schedule.ts';
import type { JobName } from './jobs.ts';

export interface OtherJobs {
  /** A run has ended, whoever had asked for it. */
  runEnded(): void;
  /** Starts what is due, if nothing runs. To be called after each job. */
  check(): void;
  stop(): void;
}

/** `start` answers false where another job is under way. */
export function openOtherJobs(
  jobs: readonly ScheduledJob[],
  start: (job: JobName, options: readonly string[]) => boolean,
): OtherJobs {
  const due = new Set<ScheduledJob>();
  const afterRun = jobs.filter(({ when }) => when === 'after run');
  for (const job of afterRun) due.add(job);

  function check(): void {
    for (const job of due) {
      if (!start(job.job, job.options)) return;
      due.delete(job);
    }
  }

  const timers = jobs
    .filter((job) => !afterRun.includes(job))
    .map(
      (job) =>
        new Cron(job.when, { timezone: 'Etc/UTC', unref: true }, () => {
          due.add(job);
          check();
        }),
    );
  return {
    runEnded() {
      for (const job of afterRun) due.add(job);
    },
    check,
    stop() {
      due.clear();
      for (const timer of timers) timer.stop();
    },
  };
}
