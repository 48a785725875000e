/** The public listener's routes (PROTOCOLS.md, Requests and answers). */
import type { IncomingMessage, RequestListener } from 'node:http';
import type { Request } from 'express';
import { DaybookError } from '../shared/errors.ts';
import { jsonAnswer } from '../shared/http/problem.ts';
import { read, routeRequests } from '../shared/http/route-requests.ts';
import type { Logger } from '../shared/program/log.ts';
import { noObserver, type Observer } from './publish/observer.ts';
import { answerPreflight, crossOriginHeaders } from './receive/cross-origin.ts';
import { type Reception, type RequestNotes, type RequestTarget, receiveEvent } from './receive-event.ts';
import { pixel } from './schemes/accessed.ts';
import type { Doors } from './schemes/doors.ts';
import type { Protocol } from './schemes/protocol.ts';

export interface Readiness {
  /** True from the first signal to stop: answers then close their connection. */
  closing(): boolean;
  /** Resolves when events can be taken, else rejects with the reason. */
  probe(): Promise<void>;
}

/** `doors` is asked at each request: a request is handled to its end by those that it met. */
export function createApp(
  doors: () => Doors,
  reception: Reception,
  readiness: Readiness,
  log: Logger,
  observer: Observer = noObserver,
  isTrustedProxy?: (address: string) => boolean,
): RequestListener {
  const webhook = (request: Request) => doors().webhooks.get(request.params.source as string);
  const receive = (request: Request, protocol: Protocol, notes: RequestNotes) =>
    receiveEvent(request, targetOf(request), protocol, reception, notes);

  return routeRequests<RequestNotes>({
    routes: [
      {
        path: '/webhooks/:source',
        methods: ['POST'],
        check(request) {
          if (webhook(request) === undefined) throw new DaybookError('unknown_source');
        },
        answer(request, notes) {
          notes.source = request.params.source as string;
          return receive(request, webhook(request)!, notes);
        },
      },
      ...['/events', '/event'].map((path) => ({
        path,
        methods: () => (doors().origins.length === 0 ? ['POST'] : ['POST', 'OPTIONS']),
        headers: ({ headers }: Request) => crossOriginHeaders(headers, doors().origins),
        answer: (request: Request, notes: RequestNotes) =>
          request.method === 'OPTIONS'
            ? answerPreflight(request.headers, doors().origins)
            : receive(request, doors().events, notes),
      })),
      { path: '/healthz', methods: read, answer: () => jsonAnswer(200, { status: 'ok' }) },
      {
        path: '/readyz',
        methods: read,
        async answer() {
          if (readiness.closing()) throw new DaybookError('stream_unavailable', { detail: 'Shutting down.' });
          await readiness.probe();
          return jsonAnswer(200, { status: 'ready' });
        },
      },
      {
        path: '/accessed',
        methods: read,
        answer: (request, notes) =>
          doors().accessed === undefined || request.method === 'HEAD'
            ? pixel
            : receive(request, doors().accessed!, notes),
      },
    ],
    notesOf: (route) => ({ route, bytes: 0, records: 0 }),
    isTrustedProxy,
    closing: readiness.closing,
    answered({ route, source, keyid, records }, { status, code }, seconds) {
      observer.answered({ route, source, keyid, status, code, records, seconds });
    },
    log,
  });
}

/** As sent; of the absolute form that proxies send, without the host. */
function targetOf({ url }: IncomingMessage): RequestTarget {
  const target = url!.startsWith('/') ? url! : url!.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '');
  const mark = target.indexOf('?');
  return mark < 0 ? { path: target } : { path: target.slice(0, mark), query: target.slice(mark + 1) };
}
