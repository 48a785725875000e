/** COMPACTOR_SCHEDULE: which jobs `serve` runs beside its nights, and when. */
import { CronPattern } from 'croner';
import { z } from 'zod';

/** Per job the options that it may be given; an option's own value follows it. Jobs that are due at once run in this order. */
const jobs = {
  replicate: ['--check', '--prune'],
  'backup-secrets': ['--name', '--allow-missing'],
  prune: ['--apply'],
  drill: ['--identity', '--replica'],
  verify: ['--strict'],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export interface ScheduledJob {
  readonly job: keyof typeof jobs;
  /** `after run`, or five fields of a crontab, UTC. */
  readonly when: string;
  readonly options: readonly string[];
}

const when = z.string().refine((text) => text === 'after run' || isPattern(text), {
  message: 'is neither five fields of a crontab (minute, hour, day, month, weekday), UTC, nor "after run"',
});

function isPattern(text: string): boolean {
  try {
    new CronPattern(text);
    return text.trim().split(/\s+/).length === 5;
  } catch {
    return false;
  }
}

function entryOf(known: readonly string[]) {
  const option = z.string().refine((text) => !text.startsWith('-') || known.includes(text), {
    message: known.length === 0 ? 'takes no options' : `takes ${known.join(' and ')} alone`,
  });
  return z
    .preprocess(
      (given) => [given].flat().map((entry) => (typeof entry === 'string' ? { when: entry } : entry)),
      z.array(z.strictObject({ when, options: z.array(option).default([]) })),
    )
    .optional();
}

export const jobScheduleSchema = z
  .strictObject(
    Object.fromEntries(Object.entries(jobs).map(([job, known]) => [job, entryOf(known)])) as {
      [J in ScheduledJob['job']]: ReturnType<typeof entryOf>;
    },
  )
  .transform((schedule): ScheduledJob[] =>
    Object.entries(schedule).flatMap(([job, entries = []]) =>
      entries.map((entry) => ({ job: job as ScheduledJob['job'], ...entry })),
    ),
  );
