/** How the events of a part came: by the deliveries that are archived with it. */
import type { Identities } from '../../shared/crypto/identities.ts';
import { compareCodePoints } from '../../shared/json/canonical-json.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import { idsOf } from '../day/archived-ids.ts';
import type { Part } from '../ledger/manifest.ts';
import { readPart } from '../objects/read-part.ts';

/**
 * Of an event of the part: the `via` of its first delivery (`webhook`, `events`); `list` where no delivery brought it, but
 * Stripe's list (or, in an archive that was written again, a restore); null where its deliveries are pruned.
 */
export type Ways = (id: string) => string | null;

const recovered = 'list';
const bodyMark = Buffer.from(',"body":');

/**
 * Reads the part's ids and its deliveries, which are in the same order. In memory are those ids alone that came in another
 * way than most did. @throws DaybookError as readPart and idsOf
 */
export async function waysOf(
  store: ObjectStore,
  { ids, deliveries, events }: Pick<Part, 'ids' | 'deliveries' | 'events'>,
  identities: Identities,
  isPruned: (key: string) => boolean,
): Promise<Ways> {
  if (deliveries === null) return () => recovered;
  if (isPruned(deliveries.key)) return () => null;
  const others = new Map<string, string>();
  let usual = deliveries.count * 2 < events ? recovered : undefined;
  const delivered = deliveredWays(store, deliveries, identities);
  let next = await delivered.next();
  for await (const id of idsOf(store, ids)) {
    let via = recovered;
    for (; next.done !== true && compareCodePoints(next.value.id, id) <= 0; next = await delivered.next()) {
      if (next.value.id === id && via === recovered) ({ via } = next.value);
    }
    usual ??= via;
    if (via !== usual) others.set(id, via);
  }
  // To its end, where its bytes are proven.
  while (next.done !== true) next = await delivered.next();
  return (id) => others.get(id) ?? usual ?? recovered;
}

interface DeliveredWay {
  readonly id: string;
  readonly via: string;
}

async function* deliveredWays(
  store: ObjectStore,
  deliveries: Parameters<typeof readPart>[1],
  identities: Identities,
): AsyncGenerator<DeliveredWay, void, void> {
  for await (const lines of readPart(store, deliveries, identities)) {
    for (let start = 0; start < lines.length; start = lines.indexOf(0x0a, start) + 1) {
      // Inside a JSON string the mark's quotes would be escaped: the first one ends the members before the body.
      const end = lines.indexOf(bodyMark, start);
      yield JSON.parse(`${lines.toString('utf8', start, end)}}`) as DeliveredWay;
    }
  }
}
