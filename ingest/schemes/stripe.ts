/** What Stripe sends to /webhooks/<source>: snapshot events, and thin ones (`v2.core.event`). */
import { parseInstant } from '../../shared/clock.ts';
import { maxHeaderCharacters, partitionKeyOf } from '../../shared/envelope.ts';
import { DaybookError } from '../../shared/errors.ts';
import { type Answer, jsonAnswer } from '../../shared/http/problem.ts';
import { quickReader } from '../../shared/json/json-bytes.ts';
import type { Secret } from '../../shared/schemes/secrets.ts';
import type { StripeSource } from '../../shared/schemes/sources.ts';
import { stripeScheme } from '../../shared/schemes/stripe.ts';
import { FieldsRefused } from '../receive/answer.ts';
import { fieldErrors, idProblem, rangeProblem, textProblem, timeProblem } from '../receive/event-fields.ts';
import { isObject, parseJsonBody } from '../receive/json-body.ts';
import { proofOf, refusalOf } from './proof.ts';
import type { Proof, Protocol, ReceivedEvent, ReceivedRequest } from './protocol.ts';

const stored: Answer = jsonAnswer(200, { received: true });
const leftOut: Answer = jsonAnswer(200, { received: true, stored: false });

/** What is looked at of an event; the rest is checked to be JSON, and no more. */
const readQuickly = quickReader({
  id: true,
  object: true,
  type: true,
  created: true,
  livemode: true,
  related_object: { id: true },
  data: { object: { id: true } },
});

export function stripeProtocol(source: StripeSource, secrets: readonly Secret[]): Protocol {
  return {
    kind: 'stripe',
    via: 'webhook',
    mediaTypes: new Set(['application/json']),
    verify: (request) => verifyWebhook(request, source, secrets),
    parse: (request, named) => parseWebhook(request, source, named),
    accepted: (events) => (events === undefined ? leftOut : stored),
  };
}

function verifyWebhook(request: ReceivedRequest, source: StripeSource, secrets: readonly Secret[]): Proof {
  const result = stripeScheme.verify(request, secrets, request.receivedAtMs);
  if ('secret' in result) return proofOf(source, result);
  throw refusalOf(stripeScheme, result);
}

function parseWebhook(
  { body, receivedAtMs }: ReceivedRequest,
  source: StripeSource,
  named: Parameters<Protocol['parse']>[1],
): ReceivedEvent[] | undefined {
  const event = readQuickly(body) ?? parseJsonBody(body).value;
  if (!isObject(event)) throw new DaybookError('body_malformed', { detail: 'The body is not a JSON object.' });
  const { id, type, created, livemode } = event;
  const thin = event.object === 'v2.core.event';
  const errors = fieldErrors('#', {
    id: idProblem(id),
    type: textProblem(type),
    created: thin ? timeProblem(created) : secondsProblem(created),
    livemode: source.mode === undefined || typeof livemode === 'boolean' ? undefined : 'must be true or false',
  });
  if (errors.length > 0) throw new FieldsRefused('event_invalid', errors);
  named({ id: id as string, type: type as string }, 1);

  if (source.mode !== undefined && livemode !== (source.mode === 'live')) {
    // Stripe sends both modes to the production endpoint of a Connect platform: no fault of the sender's.
    if (source.accounts !== undefined) return undefined;
    throw new DaybookError('wrong_mode');
  }
  const claimedMs = thin ? parseInstant(created as string)! : (created as number) * 1000;
  const late = fieldErrors('#', { created: rangeProblem(claimedMs, receivedAtMs, true) });
  if (late.length > 0) throw new FieldsRefused('time_out_of_range', late);

  const about = thin ? event.related_object : isObject(event.data) ? event.data.object : undefined;
  const aboutId = isObject(about) ? about.id : undefined;
  return [
    {
      id: id as string,
      type: type as string,
      subject: typeof aboutId === 'string' && aboutId.length <= maxHeaderCharacters ? aboutId : undefined,
      time: thin ? (created as string) : new Date(claimedMs).toISOString(),
      partitionKey: partitionKeyOf(id as string, thin ? undefined : aboutId),
      data: body,
    },
  ];
}

function secondsProblem(created: unknown): string | undefined {
  return Number.isInteger(created) && (created as number) >= 0 ? undefined : 'must be a time in whole seconds';
}
