/** All that the console asks for: the JSON API and the pages alike. What it is told is in the files of shapes. */
import type { Day } from '../../shared/clock.ts';
import type { EventQuery, EventSearch } from './event-shapes.ts';
import type { Now } from './now-shapes.ts';
import type { Report, ReportQuery } from './report-shapes.ts';
import type { Archives, ArchivesQuery, Calendar, CalendarQuery, DayDetail } from './shapes.ts';

/** Each function rejects with a DaybookError that has an HTTP status. */
export interface ConsoleData {
  archives(query: ArchivesQuery): Promise<Archives>;
  calendar(query: CalendarQuery): Promise<Calendar>;
  /** Rejects with `console_not_found` where the archive has no such day. */
  day(source: string, day: Day): Promise<DayDetail>;
  /** May take as long as `EventSearch.limitSeconds`, and is refused with `overloaded` where others search. */
  event(query: EventQuery): Promise<EventSearch>;
  report(query: ReportQuery): Promise<Report>;
  now(): Promise<Now>;
  readiness(): Promise<Readiness>;
}

export interface Readiness {
  readonly isReady: boolean;
  /** The code of what is wrong; null where it is ready. */
  readonly code: string | null;
}
