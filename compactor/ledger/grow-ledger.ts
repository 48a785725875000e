/** What prune and legal holds share: a manifest that says one thing beside the nights, and changes nothing else. */
import type { Clock } from '../../shared/clock.ts';
import type { Signer, VerifyingKeys } from '../../shared/crypto/signing.ts';
import { DaybookError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/program/log.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import type { EventStreamReader } from '../../shared/stream/stream.ts';
import { type Ledger, loadLedger, refuseCutOff, refuseLedgerBehind } from './ledger.ts';
import { appendManifest, encodeManifest, type Manifest, manifestKey } from './manifest.ts';
import { type AskTime, proveTime, timeAfter } from './prove-time.ts';

export interface LedgerPlace {
  readonly clock: Clock;
  readonly store: ObjectStore;
  /** '' or folders that end in a slash. */
  readonly prefix: string;
  readonly verifyingKeys: VerifyingKeys;
}

/** What it takes to write a manifest. */
export interface GrowMeans {
  readonly signer: Signer;
  /** Whether the ledger is behind it is asked of this; undefined where there is no stream yet. */
  readonly stream: Pick<EventStreamReader, 'committed' | 'snapshot'> | undefined;
  /** Asks others for the time. */
  readonly askTime?: AskTime | undefined;
}

const maxAttempts = 5;

/** Over again from the ledger, where another run wrote the number first. */
export async function untilWon<T extends object>(log: Logger, once: () => Promise<T | 'lost'>): Promise<T> {
  for (let attempt = 1; attempt <= maxAttempts; attempt += 1) {
    const outcome = await once();
    if (outcome !== 'lost') return outcome;
    log.warn({ attempt }, 'another run wrote this manifest first; starting over from the ledger');
  }
  throw new DaybookError('manifest_contended', { detail: `lost ${maxAttempts} times to another run` });
}

/** The ledger, proven to be the newest and the time to be right where something is to be written. Rejects as a night does. */
export async function loadToGrow(place: LedgerPlace, means: GrowMeans | undefined): Promise<Ledger> {
  const { clock, store, prefix, verifyingKeys } = place;
  const committed = await means?.stream?.committed();
  const ledger = await loadLedger(store, prefix, verifyingKeys);
  const snapshot = await means?.stream?.snapshot();
  if (means !== undefined) await proveTime(clock.now(), ledger.head, means.askTime);
  // An archive that has lost its newest manifests must not grow others in their place, least of all such as delete.
  if (means?.stream !== undefined) await refuseLedgerBehind(means.stream, committed!, ledger, snapshot!.id);
  if (means !== undefined) await refuseCutOff(store, prefix);
  return ledger;
}

/** Says what it is told, and nothing else: all that is cumulative stays as it is. The number written; `lost` to another run. */
export async function appendSaying(
  { clock, store, prefix }: LedgerPlace,
  { head, stream, holes, firstDays, lists }: Ledger,
  said: Pick<Manifest, 'pruned' | 'holds' | 'released'>,
  signer: Signer,
): Promise<number | 'lost'> {
  const manifest: Manifest = {
    format: 'daybook-manifest/1',
    number: head!.number + 1,
    previous: { number: head!.number, sha256: head!.sha256 },
    createdAt: timeAfter(head, clock.now()),
    stream: stream!,
    holes,
    quarantine: [],
    firstDays,
    lists,
    asked: {},
    sources: {},
    ...said,
  };
  const key = manifestKey(prefix, manifest.number);
  const bytes = await encodeManifest(manifest, signer);
  return (await appendManifest(store, key, bytes)) === 'lost' ? 'lost' : manifest.number;
}
