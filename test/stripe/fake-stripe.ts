/**
 * A Stripe that lists events, for tests and the demo: a real HTTP server on 127.0.0.1 with the quirks of
 * GET /v1/events and /v1/events/<id> that are known, and faults on demand. Thin events have a list of their own,
 * GET /v2/core/events, by page URLs; GET /v1/accounts names the connected accounts. An account is asked for by
 * Stripe-Account in v1, by Stripe-Context in both, and by an organisation's key (`sk_org_…`) with each request, and a
 * Stripe-Version beside.
 *
 * - Newest first by `created`; of one second, the event added last comes first.
 * - An event is listed from `visibleAtMs` on and until 30 days after its `created`.
 * - `delivery_success` is true of what was delivered to every endpoint, and of what no endpoint was to get.
 * - Each text comes out as it went in: odd numbers, duplicate keys and white space stay.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Clock, systemClock } from '../../shared/clock.ts';

const retentionSeconds = 30 * 86_400;
export const fakeApiKey = 'sk_test_daybookFakeKey';

export interface FakeStripeOptions {
  /** 0 or absent: any free one. */
  readonly port?: number;
  readonly apiKey?: string;
  readonly clock?: Clock;
  /** Accounts that the key may name, as it names them, beside those that have events. */
  readonly accounts?: readonly string[];
}

export interface AddOptions {
  /** The account whose event it is, as the key names it; absent: the key's own. */
  readonly account?: string;
  /** From when on it is listed; absent: at once. */
  readonly visibleAtMs?: number;
  /** Whether all its webhooks were delivered, as `delivery_success` tells. Absent: yes, as where there are none. */
  readonly delivered?: boolean;
}

export interface FakeRequest {
  /** Counted from 1. */
  readonly number: number;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly account: string | undefined;
  readonly headers: IncomingMessage['headers'];
}

/** What a request meets instead of, or on the way to, its answer. */
export type FaultAction =
  | 'rate limit' // 429 as Stripe sends it
  | 'server error' // 500
  | 'reset before' // the connection ends before an answer
  | 'reset in body' // … in the middle of the body
  | 'hang before' // no answer, until the client gives up
  | 'hang in body' // half of one, until the client gives up
  | 'malformed' // 200 with half of the JSON
  | 'revoke key' // 401 to this request and every later one
  | 'cursor aged out'
  | { readonly status: number; readonly body: string | Buffer; readonly headers?: Readonly<Record<string, string>> };

export interface Fault {
  readonly action: FaultAction;
  /** How many requests meet it. Default 1; Infinity: all. */
  times?: number;
  readonly when?: (request: FakeRequest) => boolean;
}

export interface FakeStripe {
  readonly base: URL;
  readonly apiKey: string;
  /** Adds an event by its JSON text. */
  add(text: string, options?: AddOptions): void;
  remove(id: string): void;
  /** What GET /v1/webhook_endpoints and GET /v2/core/event_destinations list, in that order. */
  readonly endpoints: object[];
  readonly destinations: object[];
  readonly requests: FakeRequest[];
  /** The first that applies is met. */
  readonly faults: Fault[];
  close(): Promise<void>;
}

interface Stored {
  readonly id: string;
  /** Seconds; of a thin event with milliseconds. */
  readonly created: number;
  readonly type: string;
  readonly account: string | undefined;
  readonly visibleAtMs: number;
  readonly delivered: boolean;
  readonly order: number;
  readonly text: string;
}

interface Answer {
  readonly status: number;
  readonly body: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

export async function startFakeStripe(options: FakeStripeOptions = {}): Promise<FakeStripe> {
  const { apiKey = fakeApiKey, clock = systemClock, accounts = [], port = 0 } = options;
  const books = new Map<string | undefined, Stored[]>([undefined, ...accounts].map((account) => [account, []]));
  const thinBooks = new Map<string | undefined, Stored[]>();
  const unsorted = new Set<Stored[]>();
  const requests: FakeRequest[] = [];
  const faults: Fault[] = [];
  const endpoints: object[] = [];
  const destinations: object[] = [];
  let keyRevoked = false;
  let added = 0;

  const server = createServer((incoming, response) => {
    const url = new URL(incoming.url ?? '/', 'http://fake');
    const { 'stripe-context': context, 'stripe-account': connected } = incoming.headers;
    const account = context ?? (url.pathname.startsWith('/v2/') ? undefined : connected);
    const request: FakeRequest = {
      number: requests.length + 1,
      path: url.pathname,
      query: url.searchParams,
      account: typeof account === 'string' ? account : undefined,
      headers: incoming.headers,
    };
    requests.push(request);
    const fault = takeFault(faults, request);
    if (fault === 'revoke key') keyRevoked = true;
    if (typeof fault === 'object') return send(response, request, fault);
    const answer = instead(fault, request) ?? refusal(request) ?? answerOf(request);
    act(fault, response, request, answer);
  });

  function refusal(request: FakeRequest): Answer | undefined {
    const key = keyOf(request.headers.authorization);
    if (key === undefined) return error(401, { message: 'You did not provide an API key.' });
    if (keyRevoked || key !== apiKey) {
      const shown = `${key.slice(0, 8)}${'*'.repeat(8)}${key.slice(-4)}`; // as Stripe does
      return error(401, { message: `Invalid API Key provided: ${shown}` });
    }
    const { 'stripe-context': context, 'stripe-account': connected, 'stripe-version': version } = request.headers;
    if (key.startsWith('sk_org_') && context === undefined) {
      const message =
        'Please include the Stripe-Context header with your target account when using an Organization API key.';
      return error(400, { message }); // seen in stripe-python's #1660
    }
    if (key.startsWith('sk_org_') && version === undefined) {
      return error(400, { message: 'Please include the Stripe-Version header when using an Organization API key.' });
    }
    if (context !== undefined && connected !== undefined) {
      return error(400, { message: 'Only one of Stripe-Context and Stripe-Account may be given.' });
    }
    if (request.account !== undefined && !books.has(request.account)) {
      const message = `The provided key '${key.slice(0, 8)}****' does not have access to account '${request.account}'`;
      return error(403, { code: 'account_invalid', message });
    }
    return undefined;
  }

  function answerOf(request: FakeRequest): Answer {
    const isThin = request.path === '/v2/core/events';
    const book = (isThin ? thinBooks : books).get(request.account) ?? [];
    if (unsorted.delete(book)) book.sort((a, b) => b.created - a.created || b.order - a.order);
    const nowMs = clock.now().getTime();
    if (request.path === '/v1/events') return listOf(book, request.query, nowMs);
    if (isThin) return thinListOf(book, request.query, nowMs);
    if (request.path === '/v1/accounts') return accountsOf([...books.keys()], request.query);
    if (request.path === '/v1/account') {
      return json({ ...ownAccount, ...(request.account && { id: request.account.split('/').at(-1) }) });
    }
    if (request.path === '/v1/webhook_endpoints') return json({ ...listShape, data: endpoints, url: request.path });
    if (request.path === '/v2/core/event_destinations')
      return json({ data: shown(destinations, request.query), ...v2Shape });
    const id = /^\/v1\/events\/(\w+)$/.exec(request.path)?.[1];
    if (id === undefined) return error(404, { message: `Unrecognized request URL (GET: ${request.path}).` });
    const found = book.find((event) => event.id === id && isListed(event, nowMs));
    return found === undefined ? missing(404, id, 'id') : { status: 200, body: found.text };
  }

  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    base: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    apiKey,
    requests,
    faults,
    endpoints,
    destinations,
    add(text, { account, visibleAtMs = 0, delivered = true } = {}) {
      const { id, object, created: claimed, type } = JSON.parse(text);
      const isThin = object === 'v2.core.event';
      const created = isThin ? Date.parse(claimed) / 1000 : claimed;
      if (!books.has(account)) books.set(account, []);
      const kind = isThin ? thinBooks : books;
      const book = kind.get(account) ?? [];
      kind.set(account, book);
      book.push({ id, created, type, account, visibleAtMs, delivered, order: added++, text });
      unsorted.add(book);
    },
    remove(id) {
      for (const book of [...books.values(), ...thinBooks.values()]) {
        const at = book.findIndex((event) => event.id === id);
        if (at >= 0) book.splice(at, 1);
      }
    },
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

const ownAccount = {
  id: 'acct_1DaybookFake0001',
  object: 'account',
  business_type: 'company',
  charges_enabled: true,
  country: 'DE',
  default_currency: 'eur',
  details_submitted: true,
  email: null,
  payouts_enabled: true,
  settings: { dashboard: { display_name: 'Fake', timezone: 'Etc/UTC' } },
  type: 'standard',
};
const listShape = { object: 'list', has_more: false };
const v2Shape = { next_page_url: null, previous_page_url: null };

function json(value: object): Answer {
  return { status: 200, body: JSON.stringify(value, null, 2) };
}

/** URLs of destinations are left out unless `include` asks for them. */
function shown(destinations: readonly object[], query: URLSearchParams): object[] {
  if (query.get('include[0]') === 'webhook_endpoint.url') return [...destinations];
  return destinations.map((one) => ({ ...one, webhook_endpoint: null }));
}

/** As GET /v1/webhook_endpoints shows one: the secret is told at its creation alone. */
export function webhookEndpoint(change: object = {}): object {
  return {
    id: 'we_1DaybookFake0001',
    object: 'webhook_endpoint',
    api_version: '2026-10-28.endive',
    application: null,
    created: 1_790_000_000,
    description: null,
    enabled_events: ['*'],
    livemode: false,
    metadata: {},
    status: 'enabled',
    url: 'https://hooks.example.com/webhooks/platform',
    ...change,
  };
}

/** As GET /v2/core/event_destinations shows one. */
export function eventDestination(change: object = {}, url = 'https://hooks.example.com/webhooks/platform'): object {
  return {
    id: 'ed_test_61DaybookFake0001',
    object: 'v2.core.event_destination',
    created: '2026-09-21T14:13:20.000Z',
    description: '',
    enabled_events: ['v1.billing.meter.error_report_triggered'],
    event_payload: 'thin',
    events_from: ['@self'],
    livemode: false,
    metadata: {},
    name: 'daybook',
    status: 'enabled',
    status_details: null,
    type: 'webhook_endpoint',
    updated: '2026-09-21T14:13:20.000Z',
    webhook_endpoint: { signing_secret: null, url },
    ...change,
  };
}

/** What a restricted key gets that lacks a permission: of status 403. */
export function permissionRefusal(permission: string): Exclude<FaultAction, string> {
  const message = `The provided key 'rk_test_*********FakeKy' does not have the required permissions for this endpoint on account '${ownAccount.id}'. Having the '${permission}' permission would allow this request to continue.`;
  return error(403, { message });
}

function isAged({ created }: Stored, nowMs: number): boolean {
  return created < nowMs / 1000 - retentionSeconds;
}

function isListed(event: Stored, nowMs: number): boolean {
  return event.visibleAtMs <= nowMs && !isAged(event, nowMs);
}

const parameters: ReadonlySet<string> = new Set([
  ...['created[gt]', 'created[gte]', 'created[lt]', 'created[lte]', 'created', 'limit'],
  ...['starting_after', 'ending_before', 'type', 'types[]', 'delivery_success'],
]);

/** The page that a query asks for, of events sorted newest first. */
function listOf(book: readonly Stored[], query: URLSearchParams, nowMs: number): Answer {
  for (const name of query.keys()) {
    if (!parameters.has(name.replace(/^types\[\d+\]$/, 'types[]'))) {
      return error(400, { code: 'parameter_unknown', param: name, message: `Received unknown parameter: ${name}` });
    }
  }
  const limit = Number(query.get('limit') ?? 10);
  if (!Number.isInteger(limit) || limit < 1 || limit > 100) {
    return error(400, { code: 'parameter_invalid_integer', param: 'limit', message: 'Invalid integer' });
  }
  const after = query.get('starting_after');
  const before = query.get('ending_before');
  if (after !== null && before !== null) {
    return error(400, { message: 'You may only specify one of these parameters: starting_after, ending_before.' });
  }
  const types = [...query].filter(([name]) => name.startsWith('type')).map(([, value]) => value);
  if (types.length > 20) return error(400, { param: 'types', message: 'Array types exceeded maximum 20 allowed.' });

  const success = query.get('delivery_success');
  if (success !== null && success !== 'true' && success !== 'false') {
    return error(400, { code: 'parameter_invalid_boolean', param: 'delivery_success', message: 'Invalid boolean' });
  }
  const wanted = success === null ? undefined : success === 'true';

  const cursor = after ?? before;
  const at = cursor === null ? -1 : book.findIndex((event) => event.id === cursor && event.visibleAtMs <= nowMs);
  if (cursor !== null) {
    const param = after === null ? 'ending_before' : 'starting_after';
    if (at < 0) return missing(400, cursor, param);
    if (isAged(book[at]!, nowMs)) return agedOut(cursor, param);
  }
  const matches = (event: Stored) =>
    isListed(event, nowMs) &&
    inWindow(event, query) &&
    ofTypes(event, types) &&
    (wanted ?? event.delivered) === event.delivered;
  const step = before === null ? 1 : -1;
  const page: Stored[] = [];
  let hasMore = false;
  for (let index = at + step; index >= 0 && index < book.length; index += step) {
    const event = book[index]!;
    if (!matches(event)) continue;
    hasMore = page.length === limit;
    if (hasMore) break;
    page.push(event);
  }
  if (before !== null) page.reverse();
  const data = page.map((event) => event.text).join(',\n');
  return {
    status: 200,
    body: `{\n  "object": "list",\n  "data": [\n${data}\n],\n  "has_more": ${hasMore},\n  "url": "/v1/events"\n}`,
  };
}

/** The page of thin events that a query asks for: bounds as date-times, or a page's own token, which holds them. */
function thinListOf(book: readonly Stored[], query: URLSearchParams, nowMs: number): Answer {
  const token = query.get('page');
  const asked = token === null ? query : new URLSearchParams(Buffer.from(token, 'base64url').toString());
  for (const name of query.keys()) {
    if (!thinParameters.has(name)) {
      return error(400, { code: 'parameter_unknown', param: name, message: `Unknown parameter: ${name}` });
    }
  }
  const limit = Number(asked.get('limit') ?? 20);
  const from = Number(asked.get('from') ?? 0);
  const seconds = new URLSearchParams();
  for (const [name, value] of asked) {
    if (!name.startsWith('created')) continue;
    const ms = Date.parse(value);
    if (Number.isNaN(ms)) return error(400, { code: 'invalid_timestamp', param: name, message: 'No date-time' });
    seconds.set(name, String(ms / 1000));
  }
  const listed = book.filter((event) => isListed(event, nowMs) && inWindow(event, seconds));
  const data = listed.slice(from, from + limit).map((event) => event.text);
  asked.set('from', String(from + limit));
  const page = Buffer.from(String(asked)).toString('base64url');
  const next = from + limit < listed.length ? `"/v2/core/events?page=${page}"` : 'null';
  return { status: 200, body: `{"data":[${data.join(',\n')}],"next_page_url":${next},"previous_page_url":null}` };
}

const thinParameters: ReadonlySet<string> = new Set([
  ...['created[gt]', 'created[gte]', 'created[lt]', 'created[lte]', 'limit', 'object_id', 'types', 'page'],
]);

function accountsOf(known: readonly (string | undefined)[], query: URLSearchParams): Answer {
  const ids = known.filter((account) => account !== undefined);
  const after = query.get('starting_after');
  const from = after === null ? 0 : ids.indexOf(after) + 1;
  const limit = Number(query.get('limit') ?? 10);
  const data = ids.slice(from, from + limit).map((id) => ({ id, object: 'account' }));
  const list = { object: 'list', data, has_more: ids.length > from + limit, url: '/v1/accounts' };
  return { status: 200, body: JSON.stringify(list) };
}

function inWindow({ created }: Stored, query: URLSearchParams): boolean {
  const bound = (name: string) => (query.has(name) ? Number(query.get(name)) : undefined);
  const [gt, gte, lt, lte, exactly] = ['created[gt]', 'created[gte]', 'created[lt]', 'created[lte]', 'created'].map(
    bound,
  );
  if (gt !== undefined && !(created > gt)) return false;
  if (gte !== undefined && !(created >= gte)) return false;
  if (lt !== undefined && !(created < lt)) return false;
  if (lte !== undefined && !(created <= lte)) return false;
  return exactly === undefined || created === exactly;
}

function ofTypes({ type }: Stored, types: readonly string[]): boolean {
  if (types.length === 0) return true;
  return types.some((wanted) => (wanted.endsWith('*') ? type.startsWith(wanted.slice(0, -1)) : type === wanted));
}

function keyOf(authorization: string | undefined): string | undefined {
  const [scheme, credentials] = authorization?.split(' ') ?? [];
  if (credentials === undefined) return undefined;
  if (scheme === 'Bearer') return credentials;
  return scheme === 'Basic' ? Buffer.from(credentials, 'base64').toString().split(':')[0] : undefined;
}

function takeFault(faults: Fault[], request: FakeRequest): FaultAction | undefined {
  const fault = faults.find(({ when = () => true }) => when(request));
  if (fault === undefined) return undefined;
  fault.times = (fault.times ?? 1) - 1;
  if (fault.times <= 0) faults.splice(faults.indexOf(fault), 1);
  return fault.action;
}

/** The answer that a fault gives in place of the right one. */
function instead(fault: FaultAction | undefined, request: FakeRequest): Answer | undefined {
  switch (fault) {
    case 'rate limit': {
      const message = 'Request rate limit exceeded.';
      return {
        ...error(429, { code: 'rate_limit', message }),
        headers: { 'stripe-rate-limited-reason': 'endpoint-rate' },
      };
    }
    case 'server error':
      return error(500, { type: 'api_error', message: 'An unknown error occurred' });
    case 'cursor aged out':
      return agedOut(request.query.get('starting_after') ?? '', 'starting_after');
    default:
      return undefined;
  }
}

function act(fault: FaultAction | undefined, response: ServerResponse, request: FakeRequest, answer: Answer): void {
  const half = answer.body.slice(0, answer.body.length / 2);
  switch (fault) {
    case 'reset before':
      response.socket?.resetAndDestroy();
      return;
    case 'hang before':
      return;
    case 'reset in body':
    case 'hang in body':
      response.writeHead(answer.status, { ...headersOf(request), 'content-length': Buffer.byteLength(answer.body) });
      response.write(half, () => fault === 'reset in body' && response.socket?.resetAndDestroy());
      return;
    case 'malformed':
      send(response, request, { ...answer, body: half });
      return;
    default:
      send(response, request, answer);
  }
}

function send(response: ServerResponse, request: FakeRequest, answer: Answer): void {
  response.writeHead(answer.status, { ...headersOf(request), ...answer.headers });
  response.end(answer.body);
}

function headersOf(request: FakeRequest): Record<string, string> {
  return { 'content-type': 'application/json', 'request-id': `req_fake${request.number}` };
}

function error(status: number, members: Readonly<Record<string, string>>): Answer {
  return { status, body: JSON.stringify({ error: { type: 'invalid_request_error', ...members } }, null, 2) };
}

function missing(status: number, id: string, param: string): Answer {
  return error(status, { code: 'resource_missing', message: `No such event: '${id}'`, param });
}

function agedOut(id: string, param: string): Answer {
  const message = `The event ${id} is no longer available because it's aged out of our retention policy.`;
  return error(400, { message, param });
}
