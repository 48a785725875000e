/** What a request for a job may say, and the command that it becomes. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import type { Clock } from '../../shared/clock.ts';
import { DaybookError } from '../../shared/errors.ts';
import { inPlainWords } from '../../shared/setting-shapes.ts';
import { closedDays } from '../commands/run.ts';
import type { JobName } from './jobs.ts';

export interface JobLimits {
  readonly clock: Clock;
  readonly lagSeconds: number;
}

type ArgumentsOf = (body: unknown, limits: JobLimits) => string[];

const runOptions = z.strictObject({
  days: z.array(z.string()).min(1).max(400).optional(),
  force: z.boolean().optional(),
});
const verifyOptions = z.strictObject({
  strict: z.boolean().optional(),
  /** As `list --json` tells them. */
  expectHead: z
    .string()
    .regex(/^[1-9]\d{0,7}:[0-9a-f]{64}$/, 'is not <number>:<sha256>')
    .optional(),
});

const pruneOptions = z.strictObject({ apply: z.boolean().optional() });
const replicateOptions = z.strictObject({ check: z.boolean().optional() });
const drillOptions = z.strictObject({ replica: z.boolean().optional() });

/** The arguments of each job's command. */
const jobs: Readonly<Record<JobName, ArgumentsOf>> = {
  run(body, { clock, lagSeconds }) {
    const { days, force } = parse(runOptions, body);
    refuseOpenDays(days, clock, lagSeconds);
    return [...(days ?? []).flatMap((day) => ['--day', day]), ...(force === true ? ['--force'] : [])];
  },
  verify(body) {
    const { strict, expectHead } = parse(verifyOptions, body);
    return [
      ...(strict === true ? ['--strict'] : []),
      ...(expectHead === undefined ? [] : ['--expect-head', expectHead]),
    ];
  },
  // The ages are the settings': who may start a job may not choose them.
  prune: (body) => (parse(pruneOptions, body).apply === true ? ['--apply'] : []),
  replicate: (body) => (parse(replicateOptions, body).check === true ? ['--check'] : []),
  // Which private key is used is not the requester's to say.
  drill: (body) => (parse(drillOptions, body).replica === true ? ['--replica'] : []),
  'backup-secrets': (body) => {
    parse(z.strictObject({}), body);
    return [];
  },
};

/** `body` is undefined where there was none. Throws `job_invalid`. */
export function jobArguments(job: JobName, body: unknown, limits: JobLimits): string[] {
  return jobs[job](body ?? {}, limits);
}

/** Takes time that depends on what was given alone. Nothing is right where no secret is set. */
export function isJobSecret(given: string | undefined, secret: string | undefined): boolean {
  const isSame = timingSafeEqual(digestOf(given ?? ''), digestOf(secret ?? ''));
  return isSame && given !== undefined && secret !== undefined;
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function parse<T>(options: z.ZodType<T>, body: unknown): T {
  const parsed = options.safeParse(body, { error: inPlainWords });
  if (parsed.success) return parsed.data;
  const [{ path, message }] = parsed.error.issues as [z.core.$ZodIssue];
  const where = path.length === 0 ? 'the body' : path.join('.');
  throw new DaybookError('job_invalid', { detail: `${where}: ${message}` });
}

function refuseOpenDays(days: readonly string[] | undefined, clock: Clock, lagSeconds: number): void {
  try {
    closedDays(days, clock, lagSeconds);
  } catch (error) {
    if (!(error instanceof DaybookError)) throw error;
    throw new DaybookError('job_invalid', { detail: error.message });
  }
}
