/**
 * GET /accessed, for tools that can only load an image: a page was opened. With the cookie of a source that has `accessed`, it
 * becomes a CloudEvent of that source; without such a source nothing is recorded.
 */
import { randomUUID } from 'node:crypto';
import { partitionKeyOf } from '../../shared/envelope.ts';
import { DaybookError } from '../../shared/errors.ts';
import type { Answer } from '../../shared/http/problem.ts';
import { FieldsRefused } from '../receive/answer.ts';
import { fieldErrors, textProblem } from '../receive/event-fields.ts';
import { eventsProtocol } from './events.ts';
import type { Protocol, ReceivedEvent, ReceivedRequest } from './protocol.ts';
import type { ResolvedSource } from './resolved-source.ts';

/** Each time the page asks, and not once: no-store. It may stand in pages that embed only what allows it. */
export const pixel: Answer = {
  status: 204,
  headers: { 'cache-control': 'no-store', 'cross-origin-resource-policy': 'cross-origin' },
  body: '',
};

export function accessedProtocol(sources: readonly ResolvedSource[]): Protocol {
  const events = eventsProtocol(sources);
  return {
    ...events,
    mediaTypes: undefined,
    verify(request) {
      if (request.headers.cookie === undefined) throw new DaybookError('no_cookie');
      return events.verify({ ...request, headers: withOrigin(request.headers) });
    },
    parse(request, named) {
      const event = eventOf(request);
      named(event, 1);
      return [event];
    },
    accepted: () => pixel,
  };
}

/** Browsers name no Origin for an image: the page is known by its Referer, and a strange one by Sec-Fetch-Site alone. */
function withOrigin({ cookie = '', referer, ...headers }: ReceivedRequest['headers']): ReceivedRequest['headers'] {
  const isStrange = referer === undefined && headers['sec-fetch-site'] === 'cross-site';
  const origin = isStrange ? 'null' : referer && URL.parse(referer)?.origin;
  return origin === undefined ? { cookie } : { cookie, origin: origin ?? 'null' };
}

function eventOf({ query, headers: { referer }, receivedAtMs }: ReceivedRequest): ReceivedEvent {
  const asked = new URLSearchParams(query);
  const [app, stage, path] = ['app', 'stage', 'path'].map((name) => asked.get(name) ?? undefined);
  const errors = fieldErrors('#', {
    app: textProblem(app),
    stage: stage === undefined ? undefined : textProblem(stage),
    path: textProblem(path),
  });
  if (errors.length > 0) throw new FieldsRefused('event_invalid', errors);
  const page = URL.parse(referer ?? '');
  const id = randomUUID();
  const time = new Date(receivedAtMs).toISOString();
  const event = {
    specversion: '1.0',
    id,
    source: '/accessed',
    type: 'daybook.accessed',
    time,
    // Whose cookie it was is not said, nor what the page was asked.
    data: { app, stage, path, page: page === null ? undefined : `${page.origin}${page.pathname}`.slice(0, 1024) },
  };
  return {
    id,
    type: event.type,
    subject: undefined,
    time,
    partitionKey: partitionKeyOf(id),
    data: Buffer.from(JSON.stringify(event)),
  };
}
