/** What requests ask for, checked before anything is looked up: nothing of it becomes a path, a key or a pattern. */
import { type Day, isDay } from '../../shared/clock.ts';
import { isEventId } from '../../shared/envelope.ts';
import { DaybookError } from '../../shared/errors.ts';
import { isSourceName } from '../../shared/schemes/source-members.ts';
import { isMonth } from './day-words.ts';
import type { EventQuery } from './event-shapes.ts';
import type { ReportQuery } from './report-shapes.ts';
import type { ArchivesQuery, CalendarQuery } from './shapes.ts';

const maxPage = 200;

/** The parameters behind the `?` of a request's URL. All of these throw `console_query_invalid`, which quotes no value. */
export type Parameters = Readonly<Record<string, string>>;

/** Each at most once, and none that is not known. An empty one is as none: an empty field of a form. */
export function parametersOf(url: string, names: readonly string[]): Parameters {
  const found: Record<string, string> = {};
  for (const [name, value] of new URLSearchParams(url.slice(url.indexOf('?') + 1 || url.length))) {
    if (!names.includes(name)) throw invalid(`There is no such parameter; there are: ${names.join(', ') || 'none'}.`);
    if (found[name] !== undefined) throw invalid(`${name} is given twice.`);
    if (value !== '') found[name] = value;
  }
  return found;
}

export function archivesQuery({ before, limit }: Parameters): ArchivesQuery {
  return {
    before: before === undefined ? undefined : wholeOf('before', before, 99_999_999),
    limit: limit === undefined ? undefined : wholeOf('limit', limit, maxPage),
  };
}

export function calendarQuery({ month, source }: Parameters): CalendarQuery {
  return { month: month === undefined ? undefined : monthOf(month), source: sourceOf(source) };
}

export function reportQuery({ month, source }: Parameters): ReportQuery {
  if (month === undefined) throw invalid('month is needed, such as 2026-11.');
  return { month: monthOf(month), source: sourceOf(source) };
}

export function eventQuery(id: string, { source, before }: Parameters): EventQuery {
  if (!isEventId(id)) throw invalid('An id has 1 to 255 characters, and no control characters.');
  return { id, source: sourceOf(source), before: before === undefined ? undefined : dayOf('before', before) };
}

export function dayQuery(source: string, day: string): { readonly source: string; readonly day: Day } {
  return { source: sourceOf(source)!, day: dayOf('The day', day) };
}

function wholeOf(name: string, text: string, most: number): number {
  if (/^[1-9]\d{0,7}$/.test(text) && Number(text) <= most) return Number(text);
  throw invalid(`${name} is a whole number from 1 to ${most}.`);
}

function monthOf(text: string): string {
  if (isMonth(text)) return text;
  throw invalid('month is written as 2026-11.');
}

function dayOf(name: string, text: string): Day {
  if (isDay(text)) return text;
  throw invalid(`${name} is written as 2026-11-20.`);
}

function sourceOf(name: string | undefined): string | undefined {
  if (name === undefined || isSourceName(name)) return name;
  throw invalid('source is the name of a source.');
}

function invalid(detail: string): DaybookError {
  return new DaybookError('console_query_invalid', { detail });
}
