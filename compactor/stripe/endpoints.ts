/**
 * The endpoints that Stripe delivers to, as its API shows them: webhook endpoints (v1: id, url, status, enabled_events,
 * api_version, livemode, created in seconds), and event destinations (v2: webhook_endpoint.url, status, enabled_events,
 * event_payload, snapshot_api_version, events_from, livemode, created as a date-time), which alone send thin events.
 */
import { parseInstant } from '../../shared/clock.ts';

export type StripeObject = Readonly<Record<string, unknown>>;

export interface Endpoint {
  readonly id: string;
  /** Host and path alone: a URL may hold a password or a token. */
  readonly place: string;
  readonly path: string;
  readonly isEnabled: boolean;
  readonly events: readonly string[];
  readonly isThin: boolean;
  /** The version that its events are written in; undefined: that of the account, as it is at the time. */
  readonly version: string | undefined;
  readonly isLive: boolean | undefined;
  /** Whose events it gets: `@self`, `@accounts`; undefined where that is not told. */
  readonly from: readonly string[] | undefined;
  /** Milliseconds since the epoch; undefined where that is not told. */
  readonly createdMs: number | undefined;
}

export interface Endpoints {
  readonly endpoints: readonly Endpoint[];
  readonly destinations: readonly Endpoint[];
  /** Destinations of snapshot events that are no webhook endpoints. */
  readonly elsewhere: number;
  /** Whether there are more than one answer tells. */
  readonly isCut: boolean;
}

export const endpointPaths = [
  '/v1/webhook_endpoints?limit=100',
  '/v2/core/event_destinations?include[0]=webhook_endpoint.url&limit=100',
] as const;

/** Of the answers to both paths; undefined where the key may not have one. */
export function endpointsOf(v1: StripeObject | undefined, v2: StripeObject | undefined): Endpoints {
  const of = (list: StripeObject | undefined) => (list === undefined ? [] : dataOf(list));
  const destinations = of(v2).map((object) => ({ object, found: destinationOf(object) }));
  return {
    endpoints: of(v1).flatMap(endpointOf),
    destinations: destinations.flatMap(({ found }) => found),
    elsewhere: destinations.filter(({ object, found }) => found.length === 0 && object.event_payload !== 'thin').length,
    isCut: v1?.has_more === true || typeof v2?.next_page_url === 'string',
  };
}

/** The objects of a list, of either API. */
export function dataOf({ data }: StripeObject): readonly StripeObject[] {
  return Array.isArray(data) ? data.filter((one) => typeof one === 'object' && one !== null) : [];
}

export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

export function isHere({ path }: Endpoint, wanted: string): boolean {
  return path.endsWith(wanted);
}

export function isSent(events: ReadonlySet<string>, type: string): boolean {
  return events.has(type) || [...events].some((one) => one.endsWith('*') && type.startsWith(one.slice(0, -1)));
}

/**
 * Those to whose deliveries alone Stripe's `delivery_success` can refer: every endpoint of snapshot events sends to this
 * path. Else why not. One that is disabled counts too: it may have been enabled.
 */
export function onlyOurs(all: Endpoints, path: string): readonly Endpoint[] | string {
  const snapshots = [...all.endpoints, ...all.destinations].filter(({ isThin }) => !isThin);
  const others = snapshots.filter((one) => !isHere(one, path));
  if (all.isCut) return 'it has more endpoints than one answer tells';
  if (all.elsewhere > 0) return 'events go to a destination that is not a webhook endpoint';
  if (others.length > 0) return `${others[0]!.id} gets events too`;
  return snapshots.length === 0 ? 'there is no endpoint' : snapshots;
}

function endpointOf(object: StripeObject): Endpoint[] {
  return made(object, object.url, { isThin: false, version: textOf(object.api_version), from: undefined });
}

function destinationOf(object: StripeObject): Endpoint[] {
  const { webhook_endpoint: webhook, events_from: from } = object;
  const url = typeof webhook === 'object' && webhook !== null ? (webhook as StripeObject).url : undefined;
  return made(object, url, {
    isThin: object.event_payload === 'thin',
    version: textOf(object.snapshot_api_version),
    from: Array.isArray(from) ? from.map(String) : undefined,
  });
}

function made(object: StripeObject, url: unknown, rest: Pick<Endpoint, 'isThin' | 'version' | 'from'>): Endpoint[] {
  const { id, status, enabled_events: events, livemode, created } = object;
  const parsed = typeof url === 'string' ? URL.parse(url) : null;
  if (parsed === null) return [];
  return [
    {
      id: textOf(id) ?? 'an endpoint without id',
      place: `${parsed.host}${parsed.pathname}`,
      path: parsed.pathname,
      isEnabled: status === 'enabled',
      events: Array.isArray(events) ? events.map(String) : [],
      isLive: typeof livemode === 'boolean' ? livemode : undefined,
      createdMs:
        typeof created === 'number' ? created * 1000 : typeof created === 'string' ? parseInstant(created) : undefined,
      ...rest,
    },
  ];
}
