/** What is said of a job that has ended. */
import { errorKind, isErrorCode } from '../../shared/errors.ts';
import type { Listener } from '../../shared/notify-settings.ts';

export interface EndOfJob {
  readonly job: string;
  readonly outcome: 'done' | 'fault' | 'failed' | 'stopped';
  /** null where a signal ended it. */
  readonly exitCode: number | null;
  readonly startedAt: string;
  readonly endedAt: string;
  /** Its `--json`, lists cut short; null where it gave none. */
  readonly report: Readonly<Record<string, unknown>> | null;
}

interface Said {
  readonly code: string;
  readonly where: string;
  readonly message: string;
}

const maxShown = 10;

/** Two ends are alike where outcome and the codes of errors are. */
export function stateOf(end: EndOfJob): string {
  const named = wrongIn(end).map(({ code, where }) => `${code}${where === '' ? '' : `(${where})`}`);
  return [end.outcome, ...new Set(named.sort())].join(' ');
}

export function messageTo(
  { format }: Listener,
  end: EndOfJob,
  before: string | null,
  id: string,
): { readonly contentType: string; readonly body: string } {
  if (format === 'slack')
    return { contentType: 'application/json', body: JSON.stringify({ text: slackText(textOf(end)) }) };
  const { job, outcome, endedAt, ...others } = end;
  const event = {
    specversion: '1.0',
    id,
    source: '/daybook-compactor',
    type: `daybook.job.${outcome}`,
    subject: job,
    time: endedAt,
    datacontenttype: 'application/json',
    data: { job, outcome, before, state: stateOf(end), text: textOf(end), endedAt, ...others },
  };
  return { contentType: 'application/cloudevents+json', body: JSON.stringify(event) };
}

const words = { done: 'is well again', fault: 'found a fault', failed: 'failed', stopped: 'was stopped' } as const;

function textOf(end: EndOfJob): string {
  const { job, outcome, exitCode, report } = end;
  const problems = wrongIn(end);
  const warnings = problemsIn(end, 'warnings');
  const isIncomplete = job === 'run' && outcome === 'fault' && problems.length === 0;
  const isToBeSeen = outcome === 'done' && problems.length > 0;
  const did = isIncomplete
    ? 'knows of a day that is incomplete'
    : isToBeSeen
      ? 'ended well, and has put records aside'
      : words[outcome];
  const lines = problems.slice(0, maxShown).map(({ code, where, message }) => {
    const place = where === '' ? '' : ` (${where})`;
    const hint = isErrorCode(code) ? ` ${errorKind(code).hint}` : '';
    return `• ${code}${place}: ${message}.${hint}`;
  });
  const manifest = typeof report?.manifest === 'number' ? ` Manifest ${report.manifest}.` : '';
  const code = exitCode === null ? 'by a signal' : `exit ${exitCode}`;
  return [
    `daybook: ${job === 'run' ? 'the night' : job} ${did} (${code}).${manifest}`,
    ...lines,
    ...(problems.length > maxShown ? [`and ${problems.length - maxShown} more`] : []),
    ...(warnings.length === 0 ? [] : [`Warnings: ${[...new Set(warnings.map((warning) => warning.code))].join(', ')}`]),
  ].join('\n');
}

/**
 * Of a night its errors, of `verify` the breaks, of what copies, deletes and restores the failures. And what went to the
 * quarantine: senders had a 2xx for it, and where they have no list nothing else tells that it is not archived.
 */
function wrongIn(end: EndOfJob): Said[] {
  const wrong = (['errors', 'breaks', 'failures'] as const).flatMap((list) => problemsIn(end, list));
  return [...wrong, ...problemsIn(end, 'warnings').filter(({ code }) => code === 'records_quarantined')];
}

function problemsIn({ report }: EndOfJob, list: 'errors' | 'breaks' | 'failures' | 'warnings'): Said[] {
  const found = report?.[list];
  if (!Array.isArray(found)) return [];
  return found.map((one) => {
    const { code, source, day, key, message } = Object(one) as Record<string, unknown>;
    const where = [source, day, key].filter((part) => typeof part === 'string');
    return { code: String(code), where: where.join(' '), message: String(message).replace(/\.$/, '') };
  });
}

/** Slack's own marks stand for nothing here. api.slack.com/reference/surfaces/formatting, Escaping text. */
function slackText(text: string): string {
  return text.slice(0, 3_000).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
