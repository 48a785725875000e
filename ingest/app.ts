/** The public listener's routes (PROTOCOLS.md, Requests and answers). */
import type { IncomingMessage, RequestListener } from 'node:http';
import type { Request } from 'express';
import { DaybookError } from '../shared/errors.ts';
import { jsonAnswer } from '../shared/http/problem.ts';
import { read, routeRequests } from '../shared/http/route-requests.ts';
import type { Logger } from '../shared/program/log.ts';
import { noObserver, type Observer } from './publish/observer.ts';
import { type Reception, type RequestNotes, receiveEvent } from './receive-event.ts';
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
    receiveEvent(request, pathOf(request), protocol, reception, notes);

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
        methods: ['POST'],
        answer: (request: Request, notes: RequestNotes) => receive(request, doors().events, notes),
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
        answer() {
          throw new DaybookError('not_available');
        },
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

/** The request's path as sent, without the query and, in the absolute form that proxies send, without the host. */
function pathOf({ url }: IncomingMessage): string {
  const target = url!.startsWith('/') ? url! : url!.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '');
  const query = target.indexOf('?');
  return query < 0 ? target : target.slice(0, query);
}
