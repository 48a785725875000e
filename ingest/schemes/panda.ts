/**
 * What servers send to /events: one event or an array of them, each with the fields of the telemetry service that
 * panda-hmac comes from (app, stage, type, value, eventTime, tags), or a CloudEvent 1.0.
 */
import { createHash } from 'node:crypto';
import { parseInstant } from '../../shared/clock.ts';
import { partitionKeyOf } from '../../shared/envelope.ts';
import { DaybookError, type ErrorCode } from '../../shared/errors.ts';
import { mediaTypeOf } from '../../shared/http/content-type.ts';
import { jsonAnswer } from '../../shared/http/problem.ts';
import { canonicalJson } from '../../shared/json/canonical-json.ts';
import { elementTexts } from '../../shared/json/json-text.ts';
import { verifyPandaDelivery } from '../../shared/schemes/panda.ts';
import type { Secret } from '../../shared/schemes/secrets.ts';
import { type FieldError, FieldsRefused } from '../receive/answer.ts';
import { fieldErrors, idProblem, rangeProblem, textProblem, timeProblem } from '../receive/event-fields.ts';
import { isObject, parseJsonBody } from '../receive/json-body.ts';
import type { Proof, Protocol, ReceivedEvent, ReceivedRequest } from './protocol.ts';

const oneCloudEvent = 'application/cloudevents+json';
const cloudEventBatch = 'application/cloudevents-batch+json';
const maxErrors = 100;

/** The secrets of each panda source by its name, in the order of DAYBOOK_SOURCES. */
export function eventsProtocol(sources: ReadonlyMap<string, readonly Secret[]>): Protocol {
  return {
    kind: 'events',
    via: 'events',
    mediaTypes: new Set(['application/json', oneCloudEvent, cloudEventBatch]),
    verify: (request) => verifyCaller(request, sources),
    parse: parseEvents,
    accepted: (events) => jsonAnswer(201, { status: 'ok', accepted: events?.length ?? 0 }),
  };
}

function verifyCaller(
  { headers, path, receivedAtMs }: ReceivedRequest,
  sources: ReadonlyMap<string, readonly Secret[]>,
): Proof {
  const token = headers['x-gu-tools-hmac-token'] as string | undefined;
  const date = headers['x-gu-tools-hmac-date'] as string | undefined;
  const service = headers['x-gu-tools-service-name'] as string | undefined;
  if (!token && !date) throw new DaybookError('credentials_missing');
  if (!token || !date) throw new DaybookError('credentials_incomplete');
  if (service !== undefined && !sources.has(service)) throw new DaybookError('service_unknown');

  const candidates = service === undefined ? [...sources] : [[service, sources.get(service)!] as const];
  let refusal: { readonly code: ErrorCode; readonly detail?: string } = { code: 'token_mismatch' };
  for (const [name, secrets] of candidates) {
    const result = verifyPandaDelivery({ token, date, path }, secrets, receivedAtMs);
    if ('secret' in result) {
      return {
        sourceName: name,
        scheme: 'panda',
        keyid: result.secret.keyid,
        signedheaders: result.signedheaders,
      };
    }
    // One source's stale date or expired secret says more than another's mismatch.
    if (result.code !== 'token_mismatch') refusal = result;
  }
  throw new DaybookError(refusal.code, refusal.detail === undefined ? {} : { detail: refusal.detail });
}

function parseEvents(
  { headers, body, receivedAtMs }: ReceivedRequest,
  named: Parameters<Protocol['parse']>[1],
): ReceivedEvent[] {
  const { text, value } = parseJsonBody(body);
  const mediaType = mediaTypeOf(headers['content-type']);
  const batch = Array.isArray(value);
  if (batch ? mediaType === oneCloudEvent : mediaType === cloudEventBatch) {
    throw new DaybookError('body_malformed', {
      detail: batch ? 'Content-Type announces one CloudEvent.' : 'Content-Type announces an array of CloudEvents.',
    });
  }
  if (batch && value.length === 0) throw new DaybookError('body_malformed', { detail: 'The array is empty.' });
  const elements: readonly unknown[] = batch ? value : [value];
  const onlyCloudEvents = mediaType !== 'application/json';
  const pointer = (index: number) => (batch ? `#/${index}` : '#');

  refuse('event_invalid', elements, (element, index) => shapeErrors(element, pointer(index), onlyCloudEvents));

  const texts = batch ? elementTexts(text) : [text];
  const events = elements.map((element, index) =>
    eventOf(element as Record<string, unknown>, texts[index]!, batch ? Buffer.from(texts[index]!) : body),
  );
  named(events[0]!, events.length);
  refuse('time_out_of_range', elements, (element, index) => timeErrors(element, pointer(index), receivedAtMs));
  return events;
}

/** Throws what is wrong with any of the elements, the first hundred errors of it. */
function refuse(
  code: 'event_invalid' | 'time_out_of_range',
  elements: readonly unknown[],
  errorsOf: (element: unknown, index: number) => FieldError[],
): void {
  const errors: FieldError[] = [];
  for (const [index, element] of elements.entries()) {
    if (errors.length < maxErrors) errors.push(...errorsOf(element, index));
  }
  if (errors.length > 0) throw new FieldsRefused(code, errors.slice(0, maxErrors));
}

function shapeErrors(element: unknown, at: string, onlyCloudEvents: boolean): FieldError[] {
  if (!isObject(element)) return [{ pointer: at, detail: 'An event must be a JSON object.' }];
  if (isCloudEvent(element) || onlyCloudEvents) {
    return fieldErrors(at, {
      specversion: element.specversion === '1.0' ? undefined : 'must be "1.0"',
      id: idProblem(element.id),
      source: textProblem(element.source),
      type: textProblem(element.type),
      // null stands for an attribute that is not there (CloudEvents JSON format §2.2).
      time: element.time == null ? undefined : timeProblem(element.time),
      subject: element.subject == null ? undefined : textProblem(element.subject),
    });
  }
  const { app, stage, type, value, eventTime, tags } = element;
  return fieldErrors(at, {
    app: typeof app === 'string' ? undefined : 'must be a string',
    stage: typeof stage === 'string' ? undefined : 'must be a string',
    type: textProblem(type),
    value: typeof value === 'number' || typeof value === 'boolean' ? undefined : 'must be a number or true or false',
    eventTime: timeProblem(eventTime),
    tags: tags === undefined || isTags(tags) ? undefined : 'must map names to strings, numbers, true or false',
  });
}

function timeErrors(element: unknown, at: string, nowMs: number): FieldError[] {
  const event = element as Record<string, unknown>;
  const field = isCloudEvent(event) ? 'time' : 'eventTime';
  const time = event[field];
  if (time == null) return [];
  return fieldErrors(at, { [field]: rangeProblem(parseInstant(time as string)!, nowMs, false) });
}

function eventOf(element: Record<string, unknown>, text: string, data: Uint8Array): ReceivedEvent {
  const cloudEvent = isCloudEvent(element);
  const id = cloudEvent ? (element.id as string) : contentId(text);
  return {
    id,
    type: element.type as string,
    subject: cloudEvent ? ((element.subject ?? undefined) as string | undefined) : undefined,
    time: ((cloudEvent ? element.time : element.eventTime) ?? undefined) as string | undefined,
    partitionKey: partitionKeyOf(id),
    data,
  };
}

/** An event without an id of its own is known by its content: two equal elements are one event. */
function contentId(text: string): string {
  return `sha256-${createHash('sha256').update(canonicalJson(text)).digest('hex').slice(0, 32)}`;
}

function isCloudEvent(element: Record<string, unknown>): boolean {
  return Object.hasOwn(element, 'specversion');
}

function isTags(tags: unknown): boolean {
  return isObject(tags) && Object.values(tags).every((tag) => ['string', 'number', 'boolean'].includes(typeof tag));
}
