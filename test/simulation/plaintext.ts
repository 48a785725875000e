/** What an archive says in plaintext: two of the same events are equal in it, whoever sealed them when. */
import { createHash } from 'node:crypto';
import type { Manifest } from '../../compactor/ledger/manifest.ts';
import type { SimulatedStore } from './simulated-store.ts';

/** What a manifest says of days, as far as the events alone decide it. */
export function plaintextOf({ objects }: SimulatedStore, key: string): unknown {
  const bytes = objects.get(key);
  if (bytes === undefined) return {};
  const { sources } = JSON.parse(bytes.toString().split('\n')[0]!) as Manifest;
  return Object.fromEntries(
    Object.entries(sources).map(([source, days]) => [
      source,
      Object.fromEntries(
        Object.entries(days).map(([day, { parts, lateDeliveries, exceptions, listedAt, ...rest }]) => {
          const evidence = lateDeliveries.map(({ sha256, count }) => [sha256.plaintext, count]);
          const own = parts.map(({ events, sha256, ids, deliveries }) => {
            return [events, sha256.plaintext, ids.sha256, deliveries?.sha256.plaintext, deliveries?.count];
          });
          const said = exceptions && { counts: exceptions.counts, sha256: exceptions.sha256.plaintext };
          return [day, { own, evidence, said, isListed: listedAt !== null, ...rest }];
        }),
      ),
    ]),
  );
}

/** Over all that was archived. */
export function digestOf(store: SimulatedStore): string {
  const hash = createHash('sha256');
  for (const key of [...store.objects.keys()].sort()) {
    if (key.startsWith('manifests/')) hash.update(JSON.stringify(plaintextOf(store, key)));
  }
  return hash.digest('hex');
}
