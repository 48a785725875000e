/**
 * What ingest would say to a captured request, and why: the same steps in the same order as receive-event.ts, but none
 * stops the next, since the first refusal need not be the fault.
 */

import { type Check, type Found, ok, problem, problemOf, warning } from '../../shared/doctor/finding.ts';
import { DaybookError } from '../../shared/errors.ts';
import { checkMediaType } from '../../shared/http/content-type.ts';
import { counted } from '../../shared/program/counted.ts';
import { isSignedBy, type Scheme } from '../../shared/schemes/scheme.ts';
import { type SchemeName, schemeOf, schemes } from '../../shared/schemes/schemes.ts';
import { schemeOfSource } from '../../shared/schemes/sources.ts';
import { FieldsRefused } from '../receive/answer.ts';
import { isObject, parseJsonBody } from '../receive/json-body.ts';
import { doorsOf, protocolOf } from '../schemes/doors.ts';
import type { Protocol } from '../schemes/protocol.ts';
import type { ResolvedSource } from '../schemes/resolved-source.ts';
import type { CapturedRequest } from './captured-request.ts';
import { explainCookie } from './explain-cookie.ts';
import { explainPanda } from './explain-panda.ts';
import { explainSignature } from './explain-signature.ts';
import { type Explanation, explainStripe } from './explain-stripe.ts';
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
  const explain = explainerOf(request, source, isEvents);
  return [
    { name: 'request', run: () => [...route, ...found, ...checkForm(request, protocol, given.maxBodyBytes)] },
    { name: 'secrets', run: () => (source === undefined ? [] : wrongKinds(source)) },
    { name: 'signature', run: () => explain({ request, source, sources, nowMs }) },
    { name: 'event', run: () => (protocol === undefined ? [] : checkEvent(request, protocol, nowMs)) },
  ];
}

type Explain = (explanation: Explanation) => Found[];

/** Schemes that doctor knows more of than that their signature does not hold. */
const explanations: Partial<Record<string, Explain>> = {
  stripe: explainStripe,
  panda: explainPanda,
  cookie: explainCookie,
};

/** Where the route has no source, the headers tell the scheme; where they do not, it is the usual one of the route. */
function explainerOf(request: CapturedRequest, source: ResolvedSource | undefined, isEvents: boolean): Explain {
  const name: SchemeName = isEvents
    ? (callersScheme(request.headers) ?? (request.headers.origin === undefined ? 'panda' : 'cookie'))
    : (source?.source.scheme ?? 'stripe');
  return (
    explanations[name] ??
    ((explanation) =>
      explainSignature(explanation, source === undefined ? schemeOf(name) : schemeOfSource(source.source)))
  );
}

function callersScheme(headers: CapturedRequest['headers']): SchemeName | undefined {
  const found = Object.entries(schemes).find(
    ([, scheme]: [string, Scheme]) => scheme.routes.includes('events') && isSignedBy(scheme, headers),
  );
  return found?.[0] as SchemeName | undefined;
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
  const { events, webhooks } = doorsOf(sources);
  if (path === '/events' || path === '/event') return { protocol: events, source: undefined, isEvents: true, found };

  const names = [...webhooks.keys()];
  const [, prefix = '', name] = /^(.*)\/webhooks\/([^/]+)\/?$/.exec(path) ?? [];
  const source = sources.find((one) => one.source.name === name && protocolOf(one) !== undefined);
  const protocol = source && webhooks.get(source.source.name);
  if (source !== undefined && path === `/webhooks/${name}`) return { protocol, source, isEvents: false, found };

  const isEvents = name === undefined && (/\/events?\/?$/.test(path) || callersScheme(headers) !== undefined);
  const unknown = (code: 'unknown_route' | 'unknown_source', said: string, hint: string) => ({
    protocol: isEvents ? events : protocol,
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
  const said = others ? `${name} is a source that has no webhook` : 'no source has the name at the end of the path';
  return unknown('unknown_source', said, `Sources with webhooks here are: ${names.join(', ') || 'none'}.`);
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
    if (protocol?.mediaTypes !== undefined) checkMediaType(headers, protocol.mediaTypes);
  } catch (error) {
    found.push(problemOf(error));
  }
  return found.length === 0 ? [ok(`${body.length} bytes, in the form that is taken`)] : found;
}

/** Secrets of the source that can verify nothing, whatever comes. */
function wrongKinds({ source, secrets }: ResolvedSource): Found[] {
  const code = source.scheme === 'stripe' ? 'signature_mismatch' : 'token_mismatch';
  return secrets.flatMap(({ text, keyid }, index) => {
    const name = secretName(source.name, index, keyid);
    return schemeOf(source.scheme)
      .checkSecret(text)
      .filter(({ status }) => status === 'problem')
      .map(({ said, hint }) => problem(`${name} ${said}`, hint, code));
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
