/** The routes of the compactor's listener (interface.md, HTTP), one log line a request, a problem for each error. */
import type { RequestListener } from 'node:http';
import express, { type Request, type Response } from 'express';
import { DaybookError } from '../../shared/errors.ts';
import { type Answer, jsonAnswer, Problem, problemAnswer, reasonsOf, send } from '../../shared/http/problem.ts';
import type { Logger } from '../../shared/program/log.ts';
import { isJobSecret, type JobLimits, jobArguments } from './job-requests.ts';
import { type JobName, type Jobs, jobNames } from './jobs.ts';

export interface AppOptions extends JobLimits {
  readonly jobs: Jobs;
  /** undefined: no request may start a job or see one. */
  readonly jobSecret: string | undefined;
  /** True from the first signal to stop: answers then close their connection. */
  closing(): boolean;
  readonly log: Logger;
}

type Handler = (request: Request, response: Response) => Answer | Promise<Answer>;

const maxBodyBytes = 16 * 1024;

export function createApp({ jobs, jobSecret, clock, lagSeconds, closing, log }: AppOptions): RequestListener {
  const app = express();
  app.disable('x-powered-by').disable('etag').set('query parser', false);
  app.enable('case sensitive routing').enable('strict routing');

  route('/healthz', 'GET, HEAD', () => jsonAnswer(200, { status: 'ok' }));
  for (const path of ['/', '/api/archives', '/api/days']) {
    route(path, 'GET, HEAD', () => {
      throw new DaybookError('not_available');
    });
  }
  route('/jobs', 'GET, HEAD', (request) => {
    refuseStrangers(request);
    return jsonAnswer(200, { running: jobs.running() ?? null, last: jobs.last() });
  });
  for (const job of jobNames) {
    route(`/jobs/${job}`, 'POST', async (request, response) => {
      refuseStrangers(request);
      return start(job, await readBody(request, response));
    });
  }

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

  function route(path: string, allow: string, handler: Handler): void {
    const methods = new Set(allow.split(', '));
    app.route(path).all((request, response) => {
      void answerTo(request, response, path, allow, () => {
        if (!methods.has(request.method)) throw new DaybookError('method_not_allowed');
        return handler(request, response);
      });
    });
  }

  async function answerTo(
    request: Request,
    response: Response,
    route: string,
    allow: string,
    handler: () => Answer | Promise<Answer>,
  ): Promise<void> {
    const startedMs = performance.now();
    let thrown: unknown;
    let answer: Answer;
    try {
      answer = await handler();
    } catch (error) {
      thrown = error;
      const isMethod = error instanceof DaybookError && error.code === 'method_not_allowed';
      answer = problemAnswer(error, isMethod ? { allow } : {});
    }
    const { status, code } = answer;
    // A body that was not read to its end would be taken for the next request.
    if (!response.destroyed) send(response, answer, closing() || (hasBody(request) && !request.complete));
    const latencyMs = Math.round((performance.now() - startedMs) * 10) / 10;
    const line = { method: request.method, route, status, code, latencyMs };
    if (status === 500) log.error({ ...line, reasons: reasonsOf(thrown) }, 'request');
    // Load balancers ask every few seconds.
    else if (status < 400 && route === '/healthz') log.debug(line, 'request');
    else log.info(line, 'request');
  }

  return (request, response) => {
    // Called where no route matched, or where the path could not be decoded.
    const unmatched = (): void => {
      void answerTo(request as Request, response as Response, 'unknown', '', () => {
        throw new DaybookError('unknown_route', { hint: 'See compactor/README.md, Every night, and jobs by request.' });
      });
    };
    app(request as Request, response as Response, unmatched);
  };
}

const parseJson = express.json({ limit: maxBodyBytes, inflate: false, strict: false, type: 'application/json' });

/** The value of a JSON body; undefined where there is none. */
async function readBody(request: Request, response: Response): Promise<unknown> {
  if (!hasBody(request)) return undefined;
  if (!request.is('application/json')) {
    throw new DaybookError('unsupported_media_type', { hint: 'Send application/json, or no body.' });
  }
  await new Promise<void>((resolve, reject) => {
    parseJson(request, response, (error?: unknown) => (error === undefined ? resolve() : reject(refusalOf(error))));
  });
  return request.body;
}

function hasBody({ headers }: Request): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** What express's parser found, as an error of daybook. Its own messages would quote the body. */
function refusalOf(error: unknown): unknown {
  switch ((error as { type?: unknown }).type) {
    case 'entity.too.large':
      return new DaybookError('body_too_large', {
        detail: `The limit is ${maxBodyBytes} bytes.`,
        hint: 'Name fewer days at once.',
      });
    case 'encoding.unsupported':
      return new DaybookError('unsupported_content_encoding');
    case 'charset.unsupported':
      return new DaybookError('unsupported_media_type', { hint: 'Send application/json in UTF-8, or no body.' });
    case 'request.aborted':
      return new DaybookError('request_aborted');
    case 'entity.parse.failed':
    case 'request.size.invalid':
      return new DaybookError('body_malformed', { detail: 'The body is no JSON.' });
    default:
      return error;
  }
}
