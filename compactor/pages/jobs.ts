/** What runs, how far it is, and how the last jobs ended. Shown by itself too, so that it can be fetched while a job runs. */
import type { ErrorCode } from '../../shared/errors.ts';
import { counted } from '../../shared/program/counted.ts';
import { duration, figure, sign, time } from './format.ts';
import { type Html, html } from './html.ts';

/** What the pages need of the jobs of `serve`. */
export interface JobBoard {
  running(): RunningJobShown | undefined;
  /** The newest first. */
  last(): readonly EndedJobShown[];
  /** As POST /jobs/<job> with this body. @throws DaybookError `job_invalid`, `job_running` */
  start(job: 'run' | 'verify' | 'prune', body: unknown): void;
}

interface AskedJob {
  readonly job: string;
  readonly by: 'schedule' | 'request';
  readonly arguments: readonly string[];
  readonly startedAt: string;
}

export interface RunningJobShown extends AskedJob {
  readonly step: string | null;
  readonly count: number | null;
  readonly total: number | null;
}

export interface EndedJobShown extends AskedJob {
  readonly endedAt: string;
  readonly outcome: 'done' | 'fault' | 'failed' | 'stopped';
  readonly exitCode: number | null;
  readonly report: Readonly<Record<string, unknown>> | null;
}

const jobNames: Readonly<Record<string, string>> = {
  run: 'Night',
  verify: 'Verification',
  prune: 'Prune',
  replicate: 'Replication',
};
const outcomes = {
  done: ['complete', 'done'],
  fault: ['incomplete', 'fault: in the archive, or a day is incomplete'],
  failed: ['late', 'failed: run it again'],
  stopped: ['open', 'stopped, as serve was'],
} as const;
const maxProblems = 5;

/** `data-running` tells the script of the page whether to look again. */
export function jobsSection(board: JobBoard): Html {
  const running = board.running();
  const [newest, ...others] = board.last();
  const past = running === undefined ? others : board.last();
  return html`<div id="jobs" data-running="${running === undefined ? 'no' : 'yes'}">
<div role="status">${running !== undefined ? progress(running) : newest === undefined ? html`<p>Nothing runs, and nothing has run since serve began.</p>` : ended(newest)}</div>
${past.length > 0 && html`<h3>Before that</h3><ol class="jobs">${past.map((job) => html`<li>${ended(job)}</li>`)}</ol>`}
</div>`;
}

const nameOf = ({ job, by, arguments: given }: AskedJob) =>
  html`<strong>${jobNames[job] ?? job}</strong>${given.length > 0 && html` <code>${given.join(' ')}</code>`}, ${by === 'schedule' ? 'by the schedule' : 'asked for'}`;

function progress(job: RunningJobShown): Html {
  const { step, count, total, startedAt } = job;
  const isKnown = total !== null && total > 0;
  return html`<p>${sign('provisional')} ${nameOf(job)}, since ${time(startedAt)}</p>
<p><label for="progress">${step ?? 'starts'}</label>${count !== null && html`: ${figure(count)}${isKnown && html` of ${figure(total)}`}`}</p>
<progress id="progress"${isKnown && html` max="${total}" value="${Math.min(count ?? 0, total)}"`}></progress>
<noscript><p><a href="/now">Look again</a></p></noscript>`;
}

function ended(job: EndedJobShown): Html {
  const [mark, words] = outcomes[job.outcome];
  const seconds = (Date.parse(job.endedAt) - Date.parse(job.startedAt)) / 1000;
  return html`<div class="ended ${job.outcome}"><p>${sign(mark)} ${nameOf(job)}, ${time(job.startedAt)}, ${duration(seconds)}: ${words}</p>
<p class="result">${resultOf(job)}</p>${problems(job.report)}</div>`;
}

/** The result in a line. Reports are read as what they are: another program's output. */
function resultOf({ job, report, exitCode }: EndedJobShown): string {
  if (report === null) return `It gave no report (exit ${exitCode ?? 'by a signal'}): the log says why.`;
  const omitted = Object(report.omitted) as Record<string, unknown>;
  const lengthOf = (name: string) =>
    (Array.isArray(report[name]) ? report[name].length : 0) + (typeof omitted[name] === 'number' ? omitted[name] : 0);
  const numberOf = (name: string) => (typeof report[name] === 'number' ? report[name] : 0);
  const counts = (names: readonly string[]) => names.map((name) => counted(lengthOf(`${name}s`), name)).join(', ');
  if (job === 'run') {
    const manifest =
      report.manifest === null ? 'No manifest: there was nothing to say.' : `Manifest ${numberOf('manifest')}.`;
    return `${manifest} ${counts(['day', 'error', 'warning'])}.`;
  }
  if (job === 'verify') {
    const said = `${counted(numberOf('manifests'), 'manifest')}, ${counted(numberOf('objects'), 'object')}, ${counted(lengthOf('days'), 'day')} looked at.`;
    const breaks = lengthOf('breaks') + numberOf('breaksOmitted');
    return `${report.ok === true ? 'All of it holds.' : `${counted(breaks, 'break')}.`} ${said}`;
  }
  if (job !== 'prune') return `Exit ${exitCode ?? 'by a signal'}.`;
  const objects = counted(lengthOf('objects'), 'object');
  if (report.dryRun !== true)
    return `${counted(numberOf('removed'), 'object')} deleted, ${figure(numberOf('left'))} left.`;
  return report.evidenceDays === null && report.eventDays === null
    ? 'Dry run: no age is configured, so nothing would be deleted.'
    : `Dry run: ${objects} would be deleted. Nothing was changed.`;
}

function problems(report: EndedJobShown['report']): Html | false {
  const found = ['errors', 'breaks', 'failures', 'warnings'].flatMap((name) =>
    Array.isArray(report?.[name]) ? report[name] : [],
  );
  if (found.length === 0) return false;
  return html`<ul>${found.slice(0, maxProblems).map((problem) => {
    const { code, source, day, key, message } = Object(problem) as { [name: string]: unknown; code?: ErrorCode };
    const where = [source, day, key].filter((part) => typeof part === 'string').join(' ');
    return html`<li>${typeof code === 'string' && html`<code>${code}</code> `}${where} ${typeof message === 'string' && message}</li>`;
  })}${found.length > maxProblems && html`<li>${found.length - maxProblems} more: see the log.</li>`}</ul>`;
}
