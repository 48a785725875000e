/**
 * Jobs: one at a time, each a process of its own that runs a command of daybook-compactor with `--json`. Not in this
 * process, because a night sorts and compares for seconds without a pause (2 s for 60,000 events, measured) and holds
 * hundreds of megabytes for a while: health, metrics and progress would wait for it, and what kills it would kill them.
 *
 * A job may be killed at any moment: the commands are made for it. It tells its progress by IPC messages `{step,count,total}`
 * and its report on stdout; its log goes through a pipe to where this process's goes. When this process is gone the channel closes, and
 * the job ends as at SIGTERM, once it pauses (shared/program/end-with-parent.ts).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import type { Clock } from '../../shared/clock.ts';
import { messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/program/log.ts';
import { standardError } from '../../shared/program/standard-error.ts';
import { type ReportSummary, summaryOf } from './report-summary.ts';

export const jobNames = ['run', 'verify', 'prune', 'replicate', 'drill', 'backup-secrets'] as const;
export type JobName = (typeof jobNames)[number];

export interface JobRequest {
  readonly job: JobName;
  readonly by: 'schedule' | 'request';
  /** Of the command, after its name; `--json` comes by itself. */
  readonly arguments: readonly string[];
}

export interface RunningJob extends JobRequest {
  readonly startedAt: string;
  /** What it is at, and how far; null until it has said so. */
  readonly step: string | null;
  readonly count: number | null;
  /** Where the step ends, if that is known. */
  readonly total: number | null;
}

/**
 * By the exit code: 0 `done`; 3 `fault`: what the exit code 3 says (shared/README.md); else `failed`.
 * `stopped`: ended because this process ends.
 */
export type Outcome = 'done' | 'fault' | 'failed' | 'stopped';

export interface EndedJob extends JobRequest {
  readonly startedAt: string;
  readonly endedAt: string;
  readonly outcome: Outcome;
  /** null where a signal ended it. */
  readonly exitCode: number | null;
  /** null where it gave none: then the log says why. */
  readonly report: ReportSummary | null;
}

export interface JobsOptions {
  /** The program whose commands are run. */
  readonly program: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called when a job has ended; another may be started from there. */
  ended(job: EndedJob): void;
  /** How long a job may take: one that hangs must not keep all others from running. */
  readonly limitMs: number;
  /** From SIGTERM to SIGKILL. */
  readonly killAfterMs?: number;
}

export interface Jobs {
  /** Starts a job; false where one is running, or after `stop`. */
  start(request: JobRequest): boolean;
  running(): RunningJob | undefined;
  /** The newest first, ten at most. */
  last(): readonly EndedJob[];
  /** Ends what is running and starts no more. Resolves when nothing runs. */
  stop(): Promise<void>;
}

const maxKept = 10;
const maxReportBytes = 16 * 1024 * 1024;

export function openJobs({ program, clock, log, ended, limitMs, killAfterMs = 4_000 }: JobsOptions): Jobs {
  const last: EndedJob[] = [];
  let current: { job: RunningJob; child: ChildProcess; ending: Promise<void> } | undefined;
  let isStopped = false;

  function start(request: JobRequest): boolean {
    if (isStopped || current !== undefined) return false;
    const startedAt = clock.now().toISOString();
    const child = spawn(process.execPath, [program, request.job, ...request.arguments, '--json'], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    passOn(child.stderr!);
    log.info({ ...request, pid: child.pid }, 'job started');
    child.on('message', (message) => {
      if (current !== undefined) current.job = { ...current.job, ...progressOf(message) };
    });
    current = {
      job: { ...request, startedAt, step: null, count: null, total: null },
      child,
      ending: end(child, request, startedAt),
    };
    return true;
  }

  async function end(child: ChildProcess, request: JobRequest, startedAt: string): Promise<void> {
    const limit = setTimeout(() => {
      log.error({ job: request.job, limitSeconds: limitMs / 1000 }, 'the job takes too long and is ended');
      kill(child);
    }, limitMs);
    const [text, exitCode] = await Promise.all([readReport(child.stdout!), exitOf(child, log)]);
    clearTimeout(limit);
    const job: EndedJob = {
      ...request,
      startedAt,
      endedAt: clock.now().toISOString(),
      outcome: isStopped ? 'stopped' : outcomeOf(exitCode),
      exitCode,
      report: summaryOf(text),
    };
    current = undefined;
    last.unshift(job);
    last.length = Math.min(last.length, maxKept);
    const { outcome, report } = job;
    const line = { job: job.job, by: job.by, outcome, exitCode, report };
    if (outcome === 'failed' || outcome === 'fault') log.error(line, 'job ended');
    else log.info(line, 'job ended');
    ended(job);
  }

  async function stop(): Promise<void> {
    isStopped = true;
    if (current === undefined) return;
    const { child, ending } = current;
    kill(child);
    await ending;
  }

  /** It hears of the signal when it pauses; else it is killed, and its staging folder is left to the next run. */
  function kill(child: ChildProcess): void {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), killAfterMs);
    child.once('exit', () => clearTimeout(timer));
  }

  return { start, running: () => current?.job, last: () => last, stop };
}

function progressOf(message: unknown): Partial<RunningJob> {
  const { step, count, total } = Object(message) as { step?: unknown; count?: unknown; total?: unknown };
  if (typeof step !== 'string' || typeof count !== 'number') return {};
  return { step, count, total: typeof total === 'number' ? total : null };
}

/** A job's log into this process's, in whole lines. Not by readline, for which a line also ends at U+2028. */
function passOn(stderr: Readable): void {
  const output = standardError();
  let rest = '';
  stderr.setEncoding('utf8');
  stderr.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    for (const line of lines) output.write(`${line}\n`);
  });
  stderr.on('end', () => {
    if (rest !== '') output.write(`${rest}\n`);
  });
}

/** The text of stdout; undefined where it is longer than any report. */
async function readReport(stdout: Readable): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of stdout as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes <= maxReportBytes) chunks.push(chunk);
    }
  } catch {
    return undefined;
  }
  return bytes <= maxReportBytes ? Buffer.concat(chunks).toString() : undefined;
}

function exitOf(child: ChildProcess, log: Logger): Promise<number | null> {
  return new Promise((resolve) => {
    // Not at its exit: its last lines may still be on their way.
    child.once('close', (code) => resolve(code));
    child.on('error', (error) => {
      log.error({ reason: messageOf(error) }, 'the process of a job cannot be started or reached');
      if (child.pid === undefined) resolve(null);
    });
  });
}

function outcomeOf(exitCode: number | null): Outcome {
  if (exitCode === 0) return 'done';
  return exitCode === 3 ? 'fault' : 'failed';
}
