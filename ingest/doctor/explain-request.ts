/**
 * What ingest would say to a captured request, and why: the same steps in the same order as receive-event.ts, but none
 * stops the next, since the first refusal need not be the fault.
 */

import { type Check, type Found, ok, problem, problemOf, warning } from '../../shared/doctor/finding.ts';
import { secretKind } from '../../shared/doctor/secret-kind.ts';
import { DaybookError } from '../../shared/errors.ts';
import { checkMediaType } from '../../shared/http/content-type.ts';
import { counted } from '../../shared/program/counted.ts';
import { FieldsRefused } from '../receive/answer.ts';
import { isObject, parseJsonBody } from '../receive/json-body.ts';
import { eventsProtocol } from '../schemes/panda.ts';
import type { Protocol } from '../schemes/protocol.ts';
import { stripeProtocol } from '../schemes/stripe.ts';
import type { ResolvedSource } from '../serve.ts';
import type { CapturedRequest } from './captured-request.ts';
import { explainPanda } from './explain-panda.ts';
import { explainStripe } from './explain-stripe.ts';
import { secretName } from './signing-keys.ts';

export interface RequestToExplain {
  readonly request: CapturedRequest;
  readonly sources: readonly ResolvedSource[];
  readonly maxBodyBytes: number;
  /** When it was received. */
  readonly nowMs: number;
}

export function requestChecks(given: RequestToExplain): Check[] {
  const { sources, nowMs } = given;
  const { request, found } = wholeBody(given.request);
  const { protocol, source, isEvents, found: route } = routeOf(request, sources);
  const verify = () =>
    isEvents ? explainPanda({ request, sources, nowMs }) : explainStripe({ request, source, sources, nowMs });
  return [
    { name: 'request', run: () => [...route, ...found, ...checkForm(request, protocol, given.maxBodyBytes)] },
    { name: 'secrets', run: () => (source === undefined ? [] : wrongKinds(source)) },
    { name: 'signature', run: verify },
    { name: 'event', run: () => (protocol === undefined ? [] : checkEvent(request, protocol, nowMs)) },
  ];
}

interface Route {
  /** Undefined where no door is there. */
  readonly protocol: Protocol | undefined;
  readonly source: ResolvedSource | undefined;
  readonly isEvents: boolean;
  readonly found: readonly Found[];
}

function routeOf({ path, method, headers }: CapturedRequest, sources: readonly ResolvedSource[]): Route {
  const found =
    method === 'POST'
      ? []
      : [
          problemOf(
            new DaybookError('method_not_allowed', { detail: `${method} was sent; the routes that receive take POST` }),
          ),
        ];
  const callers = sources.filter(({ source }) => source.scheme === 'panda');
  const events = () => eventsProtocol(new Map(callers.map(({ source, secrets }) => [source.name, secrets])));
  if (path === '/events' || path === '/event') return { protocol: events(), source: undefined, isEvents: true, found };

  const names = sources.filter(({ source }) => source.scheme === 'stripe').map(({ source }) => source.name);
  const [, prefix = '', name] = /^(.*)\/webhooks\/([^/]+)\/?$/.exec(path) ?? [];
  const source = sources.find((one) => one.source.name === name && one.source.scheme === 'stripe');
  const protocol = source?.source.scheme === 'stripe' ? stripeProtocol(source.source, source.secrets) : undefined;
  if (source !== undefined && path === `/webhooks/${name}`) return { protocol, source, isEvents: false, found };

  const isEvents = name === undefined && (/\/events?\/?$/.test(path) || headers['x-gu-tools-hmac-token'] !== undefined);
  const unknown = (code: 'unknown_route' | 'unknown_source', said: string, hint: string) => ({
    protocol: isEvents ? events() : protocol,
    source,
    isEvents,
    found: [...found, problem(said, hint, code)],
  });
  if (source !== undefined || (isEvents && /\/events?\/?$/.test(path))) {
    const extra = prefix === '' && !isEvents ? 'a slash behind it' : 'something before it or behind it';
    const hint =
      'Let the proxy take that away, or change the URL. Under panda-hmac the sender signs the path that arrives here.';
    return unknown('unknown_route', `the path has a route of ingest in it, with ${extra}, and is answered 404`, hint);
  }
  if (name === undefined) {
    return unknown('unknown_route', 'no route of ingest has this path', new DaybookError('unknown_route').hint);
  }
  const others = sources.some((one) => one.source.name === name);
  const said = others ? `${name} is no source of scheme stripe` : 'no source has the name at the end of the path';
  return unknown('unknown_source', said, `Stripe's sources here are: ${names.join(', ') || 'none'}.`);
}

/** What Content-Length and Transfer-Encoding say of the body's bytes. More than it says never came: HTTP ends there. */
function wholeBody(request: CapturedRequest): { request: CapturedRequest; found: Found[] } {
  const { headers, body } = request;
  const told = /^\d{1,12}$/.test(headers['content-length'] ?? '') ? Number(headers['content-length']) : undefined;
  if (headers['transfer-encoding'] !== undefined && /^[0-9a-f]+\r?\n/i.test(body.toString('latin1', 0, 20))) {
    const hint = 'Save the body without them; its length is then that of the JSON alone.';
    return { request, found: [warning('the body was captured with its chunk sizes (Transfer-Encoding)', hint)] };
  }
  if (told === undefined || told === body.length) return { request, found: [] };
  if (told > body.length) {
    const said = `the body has ${body.length} bytes, and Content-Length says ${told}: it was cut short, or changed after it was sent`;
    const hint =
      'Capture the exact bytes. If ingest got no more, see what is before it: a size limit, or a body parser.';
    return { request, found: [problem(said, hint)] };
  }
  const said = `the capture goes on for ${body.length - told} bytes behind the ${told} that Content-Length says: they are left out`;
  const hint = 'Nothing to do: editors add a line feed.';
  return { request: { ...request, body: body.subarray(0, told) }, found: [warning(said, hint)] };
}

function checkForm({ headers, body }: CapturedRequest, protocol: Protocol | undefined, maxBodyBytes: number): Found[] {
  const found: Found[] = [];
  if (body.length > maxBodyBytes) {
    const detail = `the body has ${body.length} bytes, and ${maxBodyBytes} are taken`;
    found.push(problemOf(new DaybookError('body_too_large', { detail })));
  }
  try {
    if (protocol !== undefined) checkMediaType(headers, protocol.mediaTypes);
  } catch (error) {
    found.push(problemOf(error));
  }
  return found.length === 0 ? [ok(`${body.length} bytes, in the form that is taken`)] : found;
}

/** Secrets of the source that can verify nothing, whatever comes. */
function wrongKinds({ source, secrets }: ResolvedSource): Found[] {
  return secrets.flatMap(({ text, keyid }, index) => {
    const { kind } = secretKind(text);
    if (kind === 'signing secret' || kind === 'other') return [];
    const said = `${secretName(source.name, index, keyid)} is a ${kind}, which verifies nothing`;
    const hint = "Put the endpoint's signing secret (whsec_…, in the Dashboard under the endpoint) in its place.";
    return [problem(said, hint, 'signature_mismatch')];
  });
}

/** What would be said of the event, were its signature right. */
function checkEvent({ headers, path, body }: CapturedRequest, protocol: Protocol, receivedAtMs: number): Found[] {
  try {
    const events = protocol.parse({ headers, path, body, receivedAtMs }, () => {});
    if (events === undefined) {
      const said = 'the event is of the other mode: a source with `accounts` answers 200 and does not store it';
      return [warning(said, 'Nothing to do: Stripe sends both modes to the production endpoint of a platform.')];
    }
    return [
      ok(protocol.kind === 'stripe' ? `${kindOf(body)} that is taken` : `${counted(events.length, 'event')} taken`),
    ];
  } catch (error) {
    if (!(error instanceof FieldsRefused)) return [problemOf(error)];
    const { errors } = error.members as { errors: readonly { pointer: string; detail: string }[] };
    return errors.map(({ pointer, detail }) => problem(`${pointer}: ${detail}`, error.hint, error.code));
  }
}

function kindOf(body: Buffer): string {
  const { value } = parseJsonBody(body);
  return isObject(value) && value.object === 'v2.core.event' ? 'a thin event (v2.core.event)' : 'a snapshot event';
}
