/**
 * What servers send to /events: one event or an array of them, each with the fields of the telemetry service that
 * panda-hmac comes from (app, stage, type, value, eventTime, tags), or a CloudEvent 1.0 (PROTOCOLS.md, Events API).
 */
import { parseInstant } from '../../shared/clock.ts';
import { partitionKeyOf } from '../../shared/envelope.ts';
import { DaybookError } from '../../shared/errors.ts';
import { mediaTypeOf } from '../../shared/http/content-type.ts';
import { jsonAnswer } from '../../shared/http/problem.ts';
import { elementTexts } from '../../shared/json/json-text.ts';
import { contentId } from '../../shared/schemes/content-id.ts';
import { type Headers, isSignedBy, missingCredentials, type Scheme } from '../../shared/schemes/scheme.ts';
import { schemes } from '../../shared/schemes/schemes.ts';
import type { Refusal } from '../../shared/schemes/secret-match.ts';
import { schemeOfSource } from '../../shared/schemes/sources.ts';
import { type FieldError, FieldsRefused } from '../receive/answer.ts';
import { fieldErrors, idProblem, rangeProblem, textProblem, timeProblem } from '../receive/event-fields.ts';
import { isObject, parseJsonBody } from '../receive/json-body.ts';
import { proofOf, refusalOf } from './proof.ts';
import type { Proof, Protocol, ReceivedEvent, ReceivedRequest } from './protocol.ts';
import type { ResolvedSource } from './resolved-source.ts';

const oneCloudEvent = 'application/cloudevents+json';
const cloudEventBatch = 'application/cloudevents-batch+json';
const maxErrors = 100;

/** `sources`: all; those whose scheme has this route are callers here, in the order of DAYBOOK_SOURCES. */
export function eventsProtocol(sources: readonly ResolvedSource[]): Protocol {
  const callers = new Map(
    Object.entries(schemes)
      .filter(([, scheme]: [string, Scheme]) => scheme.routes.includes('events'))
      .map(([name, scheme]) => [scheme as Scheme, sources.filter(({ source }) => source.scheme === name)]),
  );
  return {
    kind: 'events',
    via: 'events',
    mediaTypes: new Set(['application/json', oneCloudEvent, cloudEventBatch]),
    verify: (request) => verifyCaller(request, callers),
    parse: (request, named) => parseEvents(request, named, schemeOfCaller(request.headers, callers.keys())),
    accepted: (events) => jsonAnswer(201, { status: 'ok', accepted: events?.length ?? 0 }),
  };
}

/** The first that has a header of its own in the request. */
function schemeOfCaller(headers: Headers, schemes: Iterable<Scheme>): Scheme | undefined {
  return [...schemes].find((one) => isSignedBy(one, headers));
}

function verifyCaller(request: ReceivedRequest, callers: ReadonlyMap<Scheme, readonly ResolvedSource[]>): Proof {
  const { headers, receivedAtMs } = request;
  const scheme = [...callers.keys()].find((one) => speaks(one, callers.get(one)!, headers));
  if (scheme === undefined) throw new DaybookError('credentials_missing');
  const missing = missingCredentials(scheme, headers);
  if (missing !== undefined && scheme.isAmbient === undefined) throw refusalOf(scheme, { code: missing });
  const service = scheme.callerHeader === undefined ? undefined : headers[scheme.callerHeader];
  const candidates = callers.get(scheme)!.filter(({ source }) => service === undefined || source.name === service);
  if (service !== undefined && candidates.length === 0) throw refusalOf(scheme, { code: 'service_unknown' });

  let refusal: Refusal | undefined;
  for (const { source, secrets } of candidates) {
    const result = schemeOfSource(source).verify(request, secrets, receivedAtMs);
    if ('secret' in result) return proofOf(source, result);
    if (refusal === undefined || saysMore(result, refusal)) refusal = result;
  }
  throw refusalOf(scheme, refusal ?? { code: 'token_mismatch' });
}

/** A page without a cookie is known by its Origin. Where no source takes cookies, one that came along means nothing. */
function speaks(scheme: Scheme, sources: readonly ResolvedSource[], headers: ReceivedRequest['headers']): boolean {
  if (scheme.isAmbient === undefined) return isSignedBy(scheme, headers);
  return sources.length > 0 && (isSignedBy(scheme, headers) || headers.origin !== undefined);
}

/** One source's stale date or expired secret says more than another's mismatch. The least first. */
const leastSaid: readonly string[] = ['origin_refused', 'no_cookie', 'invalid_cookie', 'token_mismatch'];

function saysMore({ code }: Refusal, than: Refusal): boolean {
  const rank = (each: string) => (leastSaid.includes(each) ? leastSaid.indexOf(each) : leastSaid.length);
  return rank(code) >= rank(than.code);
}

function parseEvents(
  { headers, body, receivedAtMs }: ReceivedRequest,
  named: Parameters<Protocol['parse']>[1],
  scheme: Scheme | undefined,
): ReceivedEvent[] {
  const { text, value } = parseJsonBody(body);
  const mediaType = mediaTypeOf(headers['content-type']);
  const batch = Array.isArray(value);
  if (batch ? mediaType === oneCloudEvent : mediaType === cloudEventBatch) {
    throw new DaybookError('body_malformed', {
      detail: batch ? 'Content-Type announces one CloudEvent.' : 'Content-Type announces an array of CloudEvents.',
    });
  }
  if (batch && scheme?.oneEvent) {
    throw new DaybookError('body_malformed', { detail: `${scheme.sender} brings one event, not an array.` });
  }
  if (batch && value.length === 0) throw new DaybookError('body_malformed', { detail: 'The array is empty.' });
  const elements: readonly unknown[] = batch ? value : [value];
  const onlyCloudEvents = mediaType !== 'application/json';
  const pointer = (index: number) => (batch ? `#/${index}` : '#');

  refuse('event_invalid', elements, (element, index) => shapeErrors(element, pointer(index), onlyCloudEvents));

  const texts = batch ? elementTexts(text) : [text];
  const events = elements.map((element, index) =>
    eventOf(
      element as Record<string, unknown>,
      texts[index]!,
      batch ? Buffer.from(texts[index]!) : body,
      (event) => scheme?.describe?.(headers, event).id,
    ),
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

/** `signedId`: that of a scheme which signs one. */
function eventOf(
  element: Record<string, unknown>,
  text: string,
  data: Uint8Array,
  signedId: (element: Record<string, unknown>) => unknown,
): ReceivedEvent {
  const cloudEvent = isCloudEvent(element);
  const id = cloudEvent ? (element.id as string) : ((signedId(element) as string | undefined) ?? contentId(text));
  return {
    id,
    type: element.type as string,
    subject: cloudEvent ? ((element.subject ?? undefined) as string | undefined) : undefined,
    time: ((cloudEvent ? element.time : element.eventTime) ?? undefined) as string | undefined,
    partitionKey: partitionKeyOf(id),
    data,
  };
}

function isCloudEvent(element: Record<string, unknown>): boolean {
  return Object.hasOwn(element, 'specversion');
}

function isTags(tags: unknown): boolean {
  return isObject(tags) && Object.values(tags).every((tag) => ['string', 'number', 'boolean'].includes(typeof tag));
}
