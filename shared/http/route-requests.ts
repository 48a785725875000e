/** Answers requests by a table of routes: one log line for each request, and a problem for each error. */
import type { IncomingMessage, RequestListener } from 'node:http';
import express, { type Request, type Response } from 'express';
import { DaybookError } from '../errors.ts';
import type { Logger } from '../program/log.ts';
import { discardRest } from './discard-rest.ts';
import { type Answer, problemAnswer, reasonsOf, send } from './problem.ts';

/** What the log line of a request says of it: no header value, no body. */
export interface RouteNotes {
  /** As the path is declared: `/webhooks/:source`, `/healthz` …, or `unknown`. */
  route: string;
  /** Of the caller, where it tries to log in: who guesses is to be found. */
  address?: string;
}

/** Answers the methods given and refuses all others. */
export interface Route<Notes extends RouteNotes> {
  readonly path: string;
  readonly methods: readonly string[] | (() => readonly string[]);
  /** On each of its answers, refusals too. */
  headers?(request: Request): Readonly<Record<string, string>>;
  answer(request: Request, notes: Notes): Answer | Promise<Answer>;
  /** Another form of the problem document that a refusal is answered with: a page for people. */
  refused?(request: Request, problem: Answer): Answer;
  /** Comes first, whatever the method. Throws where there is nothing at this path. */
  check?(request: Request): void;
}

export interface Routing<Notes extends RouteNotes> {
  readonly routes: readonly Route<Notes>[];
  notesOf(route: string): Notes;
  /** What to do about a path that is not there, where the error's own hint does not fit. */
  readonly unknownRouteHint?: string;
  /** As that of a route. */
  refusedUnknown?(request: Request, problem: Answer): Answer;
  /** Whether what a proxy says in X-Forwarded-For of whom it was called by is believed; absent: nobody is. */
  readonly isTrustedProxy?: ((address: string) => boolean) | undefined;
  /** True from the first signal to stop: answers then close their connection. */
  closing(): boolean;
  answered?(notes: Notes, answer: Answer, seconds: number): void;
  readonly log: Logger;
}

export const read = ['GET', 'HEAD'] as const;

/** Routes that ask only for the state of the program. */
export const healthRoutes: ReadonlySet<string> = new Set(['/healthz', '/readyz']);

export function routeRequests<Notes extends RouteNotes>(routing: Routing<Notes>): RequestListener {
  const { routes, notesOf, unknownRouteHint: hint, refusedUnknown, isTrustedProxy, closing, answered, log } = routing;
  const app = express();
  app.disable('x-powered-by').disable('etag').set('query parser', false);
  app.enable('case sensitive routing').enable('strict routing');
  if (isTrustedProxy !== undefined) app.set('trust proxy', isTrustedProxy);
  for (const { path, methods: declared, headers, answer, check, refused } of routes) {
    app.route(path).all((request, response) => {
      const notes = notesOf(path);
      const methods = typeof declared === 'function' ? declared() : declared;
      const handler = () => {
        check?.(request);
        if (!methods.includes(request.method)) throw new MethodRefused(methods);
        return answer(request, notes);
      };
      void answerTo(request, response, notes, headers?.(request), handler, refused);
    });
  }

  async function answerTo(
    request: Request,
    response: Response,
    notes: Notes,
    headers: Readonly<Record<string, string>> | undefined,
    handler: () => Answer | Promise<Answer>,
    refused: Route<Notes>['refused'],
  ): Promise<void> {
    const startedMs = performance.now();
    let thrown: unknown;
    let answer: Answer;
    try {
      answer = await handler();
    } catch (error) {
      thrown = error;
      answer = problemAnswer(error, error instanceof MethodRefused ? { allow: error.allow } : {});
      if (refused !== undefined) answer = refused(request, answer);
    }
    if (headers !== undefined) answer = { ...answer, headers: { ...answer.headers, ...headers } };
    const gone = response.destroyed;
    if (!gone) {
      // A body that was cut to make room must not go on arriving.
      const isCut = answer.code === 'overloaded' && !request.complete;
      send(response, answer, isCut || closing());
      if (!isCut) discardRest(request);
    }
    const elapsedMs = performance.now() - startedMs;
    answered?.(notes, answer, elapsedMs / 1000);
    writeLine(log, request, notes, answer, thrown, elapsedMs, gone);
  }

  return (request, response) => {
    // Called where no route matched, or where the path could not be decoded.
    const unmatched = (): void => {
      const handler = () => {
        throw new DaybookError('unknown_route', hint === undefined ? {} : { hint });
      };
      void answerTo(request as Request, response as Response, notesOf('unknown'), undefined, handler, refusedUnknown);
    };
    app(request as Request, response as Response, unmatched);
  };
}

class MethodRefused extends DaybookError {
  readonly allow: string;

  constructor(methods: readonly string[]) {
    super('method_not_allowed');
    this.allow = methods.join(', ');
  }
}

function writeLine(
  log: Logger,
  { method }: IncomingMessage,
  notes: RouteNotes,
  { status, code }: Answer,
  thrown: unknown,
  elapsedMs: number,
  gone: boolean,
): void {
  const latencyMs = Math.round(elapsedMs * 10) / 10;
  const line = { method, ...notes, status, code, latencyMs, ...(gone ? { gone } : {}) };
  // Load balancers ask every few seconds: their answers are a line only where one is a refusal.
  if (status < 400 && healthRoutes.has(notes.route)) log.debug(line, 'request');
  else if (status < 500 || status === 501) log.info(line, 'request');
  else
    log.error(
      { ...line, reasons: reasonsOf(thrown), ...(code === 'internal_error' ? framesOf(thrown) : {}) },
      'request',
    );
}

function framesOf(thrown: unknown): { frames?: string[] } {
  if (!(thrown instanceof Error)) return {};
  return {
    frames: (thrown.stack ?? '')
      .split('\n')
      .filter((line) => line.startsWith('    at '))
      .slice(0, 8),
  };
}
