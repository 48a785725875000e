/** The routes of the compactor's listener. */
import type { IncomingMessage, RequestListener } from 'node:http';
import type { Request } from 'express';
import { DaybookError } from '../../shared/errors.ts';
import { jsonAnswer, Problem } from '../../shared/http/problem.ts';
import { type RouteNotes, read, routeRequests } from '../../shared/http/route-requests.ts';
import type { Logger } from '../../shared/program/log.ts';
import { apiRoutes, readyRoute } from '../console/api-routes.ts';
import type { ConsoleData } from '../console/console-data.ts';
import type { Gate } from '../gate/gate.ts';
import { readSmallBody } from '../gate/read-small-body.ts';
import { openPages } from '../pages/routes.ts';
import { isJobSecret, type JobLimits, jobArguments } from './job-requests.ts';
import { type JobName, type Jobs, jobNames } from './jobs.ts';

export interface AppOptions extends JobLimits {
  readonly jobs: Jobs;
  /** undefined: no request may start a job or see one. */
  readonly jobSecret: string | undefined;
  /** What the pages and the API show, and to whom. */
  readonly data: ConsoleData;
  readonly gate: Gate;
  readonly isTrustedProxy: (address: string | undefined) => boolean;
  /** Names of the configured sources. */
  readonly sources: readonly string[];
  /** True from the first signal to stop: answers then close their connection. */
  closing(): boolean;
  readonly log: Logger;
}

export function createApp(options: AppOptions): RequestListener {
  const { jobs, jobSecret, data, gate, isTrustedProxy, sources, clock, lagSeconds, closing, log } = options;
  const board = { running: jobs.running, last: jobs.last, start };
  const pages = openPages({ data, gate, jobs: board, sources, clock });
  return routeRequests<RouteNotes>({
    routes: [
      { path: '/healthz', methods: read, answer: () => jsonAnswer(200, { status: 'ok' }) },
      readyRoute(data),
      ...pages.routes,
      ...apiRoutes(data, refuseWhoMayNotRead),
      {
        path: '/jobs',
        methods: read,
        answer(request) {
          refuseStrangers(request);
          return jsonAnswer(200, { running: jobs.running() ?? null, last: jobs.last() });
        },
      },
      ...jobNames.map((job) => ({
        path: `/jobs/${job}`,
        methods: ['POST'],
        async answer(request: Request) {
          refuseStrangers(request);
          start(job, await readBody(request));
          const { headers, ...answer } = jsonAnswer(202, { running: jobs.running() ?? null });
          return { ...answer, headers: { ...headers, location: '/jobs' } };
        },
      })),
    ],
    notesOf: (route) => ({ route }),
    unknownRouteHint:
      'See compactor/README.md: The console, for pages and the API; Every night, and jobs by request, for jobs.',
    refusedUnknown: pages.refusedUnknown,
    isTrustedProxy,
    closing,
    log,
  });

  function refuseStrangers(request: Request): void {
    if (!isJobSecret(request.get('x-job-secret'), jobSecret)) throw new DaybookError('job_secret_refused');
  }

  /** A script that has the secret of the jobs need not log in to read. */
  function refuseWhoMayNotRead(request: Request): void {
    if (request.get('x-job-secret') !== undefined) refuseStrangers(request);
    else if (gate.visitorOf(request) === undefined) throw new DaybookError('login_needed');
  }

  function start(job: JobName, body: unknown): void {
    const request = { job, by: 'request', arguments: jobArguments(job, body, { clock, lagSeconds }) } as const;
    if (jobs.start(request)) return;
    const running = jobs.running();
    const detail = running === undefined ? 'Shutting down.' : `${running.job} runs since ${running.startedAt}.`;
    throw new Problem('job_running', { running: running ?? null }, { detail });
  }
}

const jsonAlone = new Set(['application/json']);

/** The value of a JSON body; undefined where there is none. */
async function readBody(request: IncomingMessage): Promise<unknown> {
  const { headers } = request;
  if (headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0) return undefined;
  const text = await readSmallBody(request, jsonAlone, 'Name fewer days at once.');
  try {
    return JSON.parse(text);
  } catch {
    // The parser's message quotes the body.
    throw new DaybookError('body_malformed', { detail: 'The body is not JSON.' });
  }
}
