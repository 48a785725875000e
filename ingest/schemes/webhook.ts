/** What any other sender posts to /webhooks/<source>: one JSON object, of which the scheme tells what event it is. */
import { parseInstant } from '../../shared/clock.ts';
import { partitionKeyOf } from '../../shared/envelope.ts';
import { DaybookError } from '../../shared/errors.ts';
import { jsonAnswer } from '../../shared/http/problem.ts';
import { contentId } from '../../shared/schemes/content-id.ts';
import { factsOf } from '../../shared/schemes/event-facts.ts';
import { missingCredentials, type Scheme } from '../../shared/schemes/scheme.ts';
import { FieldsRefused } from '../receive/answer.ts';
import { fieldErrors, idProblem, rangeProblem, textProblem, timeProblem } from '../receive/event-fields.ts';
import { isObject, parseJsonBody } from '../receive/json-body.ts';
import { proofOf, refusalOf } from './proof.ts';
import type { Protocol, ReceivedEvent, ReceivedRequest } from './protocol.ts';
import type { ResolvedSource } from './resolved-source.ts';

export function webhookProtocol({ source, secrets }: ResolvedSource, scheme: Scheme): Protocol {
  return {
    kind: scheme.kind,
    via: 'webhook',
    mediaTypes: new Set(['application/json']),
    verify(request) {
      const missing = missingCredentials(scheme, request.headers);
      if (missing !== undefined) throw refusalOf(scheme, { code: missing });
      const result = scheme.verify(request, secrets, request.receivedAtMs);
      if ('secret' in result) return proofOf(source, result);
      throw refusalOf(scheme, result);
    },
    parse: (request, named) => [parseWebhook(request, scheme, named)],
    accepted: (events) => jsonAnswer(200, { received: true, ...events?.[0]?.answer }),
  };
}

function parseWebhook(
  { headers, body, receivedAtMs }: ReceivedRequest,
  scheme: Scheme,
  named: Parameters<Protocol['parse']>[1],
): ReceivedEvent {
  const { text, value } = parseJsonBody(body);
  if (!isObject(value)) throw new DaybookError('body_malformed', { detail: 'The body is not a JSON object.' });
  const { id = contentId(text), type, subject, time } = factsOf(scheme, headers, value);
  const errors = fieldErrors('#', {
    id: idProblem(id),
    type: textProblem(type),
    subject: subject === undefined ? undefined : textProblem(subject),
    time: time === undefined ? undefined : timeProblem(time),
  });
  if (errors.length > 0) throw new FieldsRefused('event_invalid', errors);
  const event = { id, type, subject, time } as Pick<ReceivedEvent, 'id' | 'type' | 'subject' | 'time'>;
  named(event, 1);
  const late = event.time === undefined ? undefined : rangeProblem(parseInstant(event.time)!, receivedAtMs, false);
  if (late !== undefined) throw new FieldsRefused('time_out_of_range', fieldErrors('#', { time: late }));
  return { ...event, partitionKey: partitionKeyOf(event.id), data: body, answer: scheme.answer?.(value) };
}
