/** The JSON API: reads alone. Each document is what console-data.ts gives; nothing is kept by browsers and proxies. */
import type { Request } from 'express';
import { DaybookError } from '../../shared/errors.ts';
import { type Answer, jsonAnswer } from '../../shared/http/problem.ts';
import { type Route, type RouteNotes, read } from '../../shared/http/route-requests.ts';
import type { ConsoleData } from './console-data.ts';
import {
  archivesQuery,
  calendarQuery,
  dayQuery,
  eventQuery,
  type Parameters,
  parametersOf,
  reportQuery,
} from './queries.ts';

const noStore = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' };

/** `admit` throws where the request may not read. */
export function apiRoutes(data: ConsoleData, admit: (request: Request) => void): Route<RouteNotes>[] {
  const route = (
    path: string,
    names: readonly string[],
    ask: (parameters: Parameters, request: Request) => Promise<unknown>,
  ): Route<RouteNotes> => ({
    path,
    methods: read,
    headers: () => noStore,
    check: admit,
    async answer(request): Promise<Answer> {
      return jsonAnswer(200, await ask(parametersOf(request.url, names), request));
    },
  });
  const parameter = (request: Request, name: string) => String(request.params[name]);
  return [
    route('/api/archives', ['before', 'limit'], (given) => data.archives(archivesQuery(given))),
    route('/api/days', ['month', 'source'], (given) => data.calendar(calendarQuery(given))),
    route('/api/days/:source/:day', [], async (_, request) => {
      const { source, day } = dayQuery(parameter(request, 'source'), parameter(request, 'day'));
      return data.day(source, day);
    }),
    route('/api/events/:id', ['source', 'before'], (given, request) =>
      data.event(eventQuery(parameter(request, 'id'), given)),
    ),
    route('/api/report', ['month', 'source'], (given) => data.report(reportQuery(given))),
    route('/api/now', [], () => data.now()),
  ];
}

/** Whether the archive can be read and holds: for load balancers and probes, open to all who reach the listener. */
export function readyRoute(data: ConsoleData): Route<RouteNotes> {
  return {
    path: '/readyz',
    methods: read,
    async answer() {
      const { isReady, code } = await data.readiness();
      if (isReady) return jsonAnswer(200, { status: 'ready' });
      throw new DaybookError('archive_unread', { detail: `${code}: the log has more.` });
    },
  };
}
