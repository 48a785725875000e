/** Which protocol a source's route speaks. */
import { addressList } from '../../shared/address-list.ts';
import { schemeOf } from '../../shared/schemes/schemes.ts';
import { schemeOfSource } from '../../shared/schemes/sources.ts';
import { accessedProtocol } from './accessed.ts';
import { eventsProtocol } from './events.ts';
import type { Protocol } from './protocol.ts';
import type { ResolvedSource } from './resolved-source.ts';
import { stripeProtocol } from './stripe.ts';
import { webhookProtocol } from './webhook.ts';

export interface Doors {
  /** The protocol of each source that has a route of its own, by its name. */
  readonly webhooks: ReadonlyMap<string, Protocol>;
  readonly events: Protocol;
  /** Of sources that record GET /accessed; undefined: nothing is recorded. */
  readonly accessed: Protocol | undefined;
  /** Of the pages that may send with a cookie, of all sources. */
  readonly origins: readonly string[];
}

export function doorsOf(sources: readonly ResolvedSource[]): Doors {
  const webhooks = sources.flatMap((one) => {
    const protocol = protocolOf(one);
    return protocol === undefined ? [] : [[one.source.name, { ...protocol, admits: admitsOf([one]) }] as const];
  });
  const callers = sources.filter(({ source }) => schemeOf(source.scheme).routes.includes('events'));
  const recording = sources.filter(({ source }) => source.scheme === 'cookie' && source.accessed);
  return {
    webhooks: new Map(webhooks),
    events: { ...eventsProtocol(sources), admits: admitsOf(callers) },
    accessed: recording.length === 0 ? undefined : { ...accessedProtocol(recording), admits: admitsOf(recording) },
    origins: sources.flatMap(({ source }) => (source.scheme === 'cookie' ? source.origins : [])),
  };
}

/** Of the sources of one route. Who one of them would hear is let in, until it is proven which it is. */
function admitsOf(sources: readonly ResolvedSource[]): Protocol['admits'] {
  if (sources.every(({ source }) => source.allow === undefined)) return undefined;
  const anybody = () => true;
  const lists = new Map(
    sources.map(({ source: { name, allow } }) => [name, allow === undefined ? anybody : addressList(allow)] as const),
  );
  return (caller, sourceName) =>
    sourceName === undefined ? [...lists.values()].some((has) => has(caller)) : lists.get(sourceName)!(caller);
}

/** Of the source's own route; undefined where it has none. */
export function protocolOf(resolved: ResolvedSource): Protocol | undefined {
  const { source, secrets } = resolved;
  if (source.scheme === 'stripe') return stripeProtocol(source, secrets);
  const scheme = schemeOfSource(source);
  return scheme.routes.includes('webhooks') ? webhookProtocol(resolved, scheme) : undefined;
}
