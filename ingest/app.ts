/** The public listener's routes, one log line for each request, and a problem for each error. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import express, { type Request, type Response } from 'express';
import { DaybookError } from '../shared/errors.ts';
import { type Answer, jsonAnswer, problemAnswer, reasonsOf, send } from '../shared/http/problem.ts';
import type { Logger } from '../shared/program/log.ts';
import { healthRoutes, noObserver, type Observer } from './publish/observer.ts';
import { discardRest } from './receive/read-body.ts';
import { type Reception, type RequestNotes, receiveEvent } from './receive-event.ts';
import type { Protocol } from './schemes/protocol.ts';

export interface Doors {
  /** The protocol of each source that has a route of its own, by its name. */
  readonly webhooks: ReadonlyMap<string, Protocol>;
  readonly events: Protocol;
}

export interface Readiness {
  /** True from the first signal to stop: answers then close their connection. */
  closing(): boolean;
  /** Resolves when events can be taken, else rejects with the reason. */
  probe(): Promise<void>;
}

type Handler = (request: Request, notes: RequestNotes) => Answer | Promise<Answer>;

export function createApp(
  doors: Doors,
  reception: Reception,
  readiness: Readiness,
  log: Logger,
  observer: Observer = noObserver,
): RequestListener {
  const app = express();
  app.disable('x-powered-by').disable('etag').set('query parser', false);
  app.enable('case sensitive routing').enable('strict routing');

  const webhook = (request: Request) => doors.webhooks.get(request.params.source as string);
  route(
    '/webhooks/:source',
    'POST',
    (request, notes) => {
      const protocol = webhook(request)!;
      notes.source = request.params.source as string;
      return receiveEvent(request, pathOf(request), protocol, reception, notes);
    },
    (request) => {
      if (webhook(request) === undefined) throw new DaybookError('unknown_source');
    },
  );
  for (const path of ['/events', '/event']) {
    route(path, 'POST', (request, notes) => receiveEvent(request, pathOf(request), doors.events, reception, notes));
  }
  route('/healthz', 'GET, HEAD', () => jsonAnswer(200, { status: 'ok' }));
  route('/readyz', 'GET, HEAD', async () => {
    if (readiness.closing()) throw new DaybookError('stream_unavailable', { detail: 'Shutting down.' });
    await readiness.probe();
    return jsonAnswer(200, { status: 'ready' });
  });
  route('/accessed', 'GET, HEAD', () => {
    throw new DaybookError('not_available');
  });

  /** A route that answers the methods given and refuses all others; `check` comes first, whatever the method. */
  function route(path: string, allow: string, handler: Handler, check?: (request: Request) => void): void {
    const methods = new Set(allow.split(', '));
    app.route(path).all((request, response) => {
      const notes = notesOf(path);
      void answerTo(request, response, notes, allow, () => {
        check?.(request);
        if (!methods.has(request.method)) throw new DaybookError('method_not_allowed');
        return handler(request, notes);
      });
    });
  }

  async function answerTo(
    request: IncomingMessage,
    response: ServerResponse,
    notes: RequestNotes,
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
      answer = problemAnswer(error, isRefusedMethod(error) ? { allow } : {});
    }
    const gone = response.destroyed;
    if (!gone) {
      // One that was cut to make room is not to send on.
      const isCut = answer.code === 'overloaded' && !request.complete;
      send(response, answer, isCut || readiness.closing());
      if (!isCut) discardRest(request);
    }
    const elapsedMs = performance.now() - startedMs;
    const { route, source, records } = notes;
    observer.answered({ route, source, status: answer.status, code: answer.code, records, seconds: elapsedMs / 1000 });
    writeLine(log, request.method ?? '', notes, answer, thrown, elapsedMs, gone);
  }

  return (request, response) => {
    // Called where no route matched, or where the path could not be decoded.
    const unmatched = (): void => {
      void answerTo(request, response, notesOf('unknown'), '', () => {
        throw new DaybookError('unknown_route');
      });
    };
    app(request as Request, response as Response, unmatched);
  };
}

function notesOf(route: string): RequestNotes {
  return { route, bytes: 0, records: 0 };
}

function isRefusedMethod(error: unknown): boolean {
  return error instanceof DaybookError && error.code === 'method_not_allowed';
}

/** The request's path as sent, without the query and, in the absolute form that proxies send, without the host. */
function pathOf({ url }: IncomingMessage): string {
  const target = url!.startsWith('/') ? url! : url!.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '');
  const query = target.indexOf('?');
  return query < 0 ? target : target.slice(0, query);
}

function writeLine(
  log: Logger,
  method: string,
  notes: RequestNotes,
  answer: Answer,
  thrown: unknown,
  elapsedMs: number,
  gone: boolean,
): void {
  const { status, code } = answer;
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
