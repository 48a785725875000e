/** How far each witness is that is asked, by what the archive keeps of its word: names alone are looked at, no signature. */
import type { ObjectStore } from '../../shared/store/store.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { anchorsFolder, manifestKey, readManifest, sha256Hex } from '../ledger/manifest.ts';
import { hostOf, type Witnesses } from './anchor-ledger.ts';

export interface Standing {
  readonly witness: string;
  /** The number of the newest manifest that it has seen; 0: none. */
  readonly seen: number;
  /** Manifests after that. */
  readonly behind: number;
  /** When the oldest of these was made, RFC 3339; undefined: there is none. */
  readonly since: string | undefined;
}

/** The witnesses that are asked, and what the names of their anchors end with. */
export function askedOf({ timestamps, log }: Witnesses): { readonly witness: string; readonly ending: string }[] {
  const logs = log?.witnesses.filter(({ url }) => url !== undefined) ?? [];
  return [
    ...(timestamps?.url === undefined ? [] : [{ witness: hostOf(timestamps.url), ending: '.tsr' }]),
    ...logs.map(({ key }) => ({ witness: key.name, ending: `-${key.id}.checkpoint` })),
  ];
}

/** Rejects where the store fails. */
export async function standingOf(
  { store, prefix, witnesses }: { store: ObjectStore; prefix: string; witnesses: Witnesses },
  { hashes }: Pick<Ledger, 'hashes'>,
): Promise<Standing[]> {
  const asked = askedOf(witnesses);
  if (asked.length === 0) return [];
  const folder = `${prefix}${anchorsFolder}`;
  const newest = new Map<string, number>();
  for await (const key of store.list(folder)) {
    const [, number, ending] = /^(\d{8})(\.tsr|-\w+\.checkpoint)$/.exec(key.slice(folder.length)) ?? [];
    if (ending !== undefined) newest.set(ending, Math.max(newest.get(ending) ?? 0, Number(number)));
  }
  return Promise.all(
    asked.map(async ({ witness, ending }) => {
      const seen = newest.get(ending) ?? 0;
      const behind = Math.max(0, hashes.length - seen);
      return { witness, seen, behind, since: behind === 0 ? undefined : await madeAt(store, prefix, seen + 1, hashes) };
    }),
  );
}

async function madeAt(store: ObjectStore, prefix: string, number: number, hashes: readonly string[]): Promise<string> {
  const bytes = await readManifest(store, manifestKey(prefix, number));
  // One that was changed since the ledger was read is told by whoever reads that again.
  if (sha256Hex(bytes) !== hashes[number - 1]) return '';
  return JSON.parse(bytes.toString('utf8', 0, bytes.indexOf(0x0a))).createdAt;
}
