/** The routes of the compactor's listener. */
import type { IncomingMessage, RequestListener } from 'node:http';
import type { Request } from 'express';
import { DaybookError } from '../../shared/errors.ts';
import { checkMediaType } from '../../shared/http/content-type.ts';
import { type Answer, jsonAnswer, Problem } from '../../shared/http/problem.ts';
import { type RouteNotes, read, routeRequests } from '../../shared/http/route-requests.ts';
import type { Logger } from '../../shared/program/log.ts';
import { apiRoutes, readyRoute } from '../console/api-routes.ts';
import type { ConsoleData } from '../console/console-data.ts';
import { isJobSecret, type JobLimits, jobArguments } from './job-requests.ts';
import { type JobName, type Jobs, jobNames } from './jobs.ts';

export interface AppOptions extends JobLimits {
  readonly data: ConsoleData;
  /** Throws where the request may not read what the console tells. */
  admit(request: Request): void;
  readonly jobs: Jobs;
  /** undefined: no request may start a job or see one. */
  readonly jobSecret: string | undefined;
  /** True from the first signal to stop: answers then close their connection. */
  closing(): boolean;
  readonly log: Logger;
}

const maxBodyBytes = 16 * 1024;

export function createApp({
  data,
  admit,
  jobs,
  jobSecret,
  clock,
  lagSeconds,
  closing,
  log,
}: AppOptions): RequestListener {
  return routeRequests<RouteNotes>({
    routes: [
      { path: '/healthz', methods: read, answer: () => jsonAnswer(200, { status: 'ok' }) },
      readyRoute(data),
      {
        path: '/',
        methods: read,
        answer() {
          throw new DaybookError('not_available');
        },
      },
      ...apiRoutes(data, admit),
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
          return start(job, await readBody(request));
        },
      })),
    ],
    notesOf: (route) => ({ route }),
    unknownRouteHint: 'See compactor/README.md, Every night, and jobs by request.',
    closing,
    log,
  });

  function refuseStrangers(request: Request): void {
    if (!isJobSecret(request.get('x-job-secret'), jobSecret)) throw new DaybookError('job_secret_refused');
  }

  function start(job: JobName, body: unknown): Answer {
    const request = { job, by: 'request', arguments: jobArguments(job, body, { clock, lagSeconds }) } as const;
    if (jobs.start(request)) {
      const { headers, ...answer } = jsonAnswer(202, { running: jobs.running() ?? null });
      return { ...answer, headers: { ...headers, location: '/jobs' } };
    }
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
  checkMediaType(headers, jsonAlone);
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    // What is too much is left to arrive, so that the answer can be read.
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > maxBodyBytes) break;
      chunks.push(chunk);
    }
  } catch (cause) {
    throw new DaybookError('request_aborted', { cause });
  }
  if (bytes > maxBodyBytes) {
    throw new DaybookError('body_too_large', {
      detail: `The limit is ${maxBodyBytes} bytes.`,
      hint: 'Name fewer days at once.',
    });
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    // The parser's message quotes the body.
    throw new DaybookError('body_malformed', { detail: 'The body is not JSON.' });
  }
}
