/**
 * The ledger as the console shows it: read once, kept in memory, and brought up to date by looking whether there is a manifest
 * after the last one, and whether the last one is there as it was. Beside what the ledger says it keeps a line of each manifest and
 * of each thing said of a day.
 *
 * What does not hold (chain, signature) ends the ledger there: what came before is believed and shown, and the trouble is told. So
 * it is where the newest manifest that this process ever read is no longer in the chain: an end that was cut off.
 */
import type { Clock, Day } from '../../shared/clock.ts';
import type { VerifyingKeys } from '../../shared/crypto/signing.ts';
import { DaybookError, type ErrorCode, messageOf } from '../../shared/errors.ts';
import { mapAhead } from '../../shared/parallel.ts';
import { withTimeLimit } from '../../shared/program/time-limit.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import {
  addManifest,
  checkManifest,
  type Ledger,
  type LedgerInLoading,
  manifestKeys,
  type NamedManifest,
  type NumberedManifest,
  type OpenedManifest,
  openManifest,
  openManifests,
  readAhead,
  startLedger,
} from '../ledger/ledger.ts';
import { type DayEntry, isOfNight, type Manifest, manifestKey, readManifest, sha256Hex } from '../ledger/manifest.ts';
import { objectsOf } from '../ledger/named-objects.ts';
import { recoveredAlone } from './day-words.ts';
import type { ArchiveState, ManifestLine, Trouble, VerdictLine } from './shapes.ts';

export interface KnownArchive {
  readonly state: ArchiveState;
  readonly ledger: Ledger;
  /** Manifest n at n-1. */
  readonly manifests: readonly ManifestLine[];
  /** By source, then by day: each manifest with an entry of it, the oldest first. */
  readonly histories: ReadonlyMap<string, ReadonlyMap<Day, readonly VerdictLine[]>>;
  /** The sources that the newest night was configured with; undefined where it does not say. */
  readonly configured: ReadonlySet<string> | undefined;
}

export interface LedgerView {
  /**
   * What is known now. Looks for newer manifests, and at the newest, at most once a second. Does not reject: `state.trouble` says
   * what is wrong.
   */
  look(): Promise<KnownArchive>;
  /** The newest manifest that was ever read and believed, also where it is gone since; undefined: none yet. */
  newestSeen(): NumberedManifest | undefined;
  /** Reads all of it again, as no other look does: also what is known. Rejects where it cannot be read or does not hold: what is known then stays, and its trouble is told. */
  readAgain(): Promise<Ledger>;
}

export interface LedgerViewOptions {
  /** The same each time. */
  openStore(): Promise<{ readonly store: ObjectStore; readonly prefix: string }>;
  readonly verifyingKeys: VerifyingKeys;
  readonly clock: Clock;
  /** Up to this manifest: as the archive was then. Absent: all, and those that come. */
  readonly until?: number | undefined;
  /** A parameter for the sake of tests alone. */
  readonly monotonicMs?: () => number;
}

interface Known {
  readonly ledger: LedgerInLoading;
  readonly manifests: ManifestLine[];
  readonly histories: Map<string, Map<Day, VerdictLine[]>>;
  configured: ReadonlySet<string> | undefined;
}

const freshMs = 1_000;
const limitMs = 5_000;
const stillReading: Trouble = {
  code: 'store_unavailable',
  message: `The store has not answered in ${limitMs / 1000} s; it is still being read.`,
};

export function openLedgerView({
  openStore,
  verifyingKeys,
  clock,
  until,
  monotonicMs = () => performance.now(),
}: LedgerViewOptions): LedgerView {
  let known: Known | undefined;
  let seen: NumberedManifest | undefined;
  let trouble: Trouble | null = null;
  let readAt = clock.now().toISOString();
  let lookedMs = Number.NEGATIVE_INFINITY;
  /** One after the other: all of them change what is known. */
  let turn: Promise<unknown> = Promise.resolve();

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = turn.then(work);
    turn = result.catch(() => undefined);
    return result;
  }

  /** Whatever of it holds is handed over in `read`, also where it rejects. */
  async function readAll(read: { known?: Known }): Promise<void> {
    const { store, prefix } = await openStore();
    const fresh = startKnown();
    try {
      for await (const { number, key, opened } of openManifests(store, prefix, verifyingKeys)) {
        add(fresh, number, key, opened);
        if (number === until) break;
      }
      read.known = fresh;
    } catch (error) {
      // What was read before the store went away is only a beginning: the next look begins again.
      if (isOfLedger(error)) read.known = fresh;
      throw error;
    }
  }

  async function readNext(before: Known): Promise<boolean> {
    const { ledger } = before;
    const number = (ledger.head?.number ?? 0) + 1;
    if (until !== undefined && number > until) return false;
    const { store, prefix } = await openStore();
    const key = manifestKey(prefix, number);
    let bytes: Buffer;
    try {
      bytes = await readManifest(store, key);
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
    add(before, number, key, await openManifest(number, bytes, verifyingKeys));
    return true;
  }

  async function bringUpToDate(): Promise<void> {
    if (monotonicMs() - lookedMs < freshMs) return;
    try {
      // One that changed is read as if it were for the first time: what came before it is believed.
      if (known === undefined || !(await isHeadAsItWas(known))) await takeAll();
      else while (await readNext(known));
      found();
    } catch (error) {
      trouble = troubleOf(error);
    }
    lookedMs = monotonicMs();
  }

  async function isHeadAsItWas({ ledger: { head } }: Known): Promise<boolean> {
    if (head === undefined) return true;
    const { store, prefix } = await openStore();
    const bytes = await readManifest(store, manifestKey(prefix, head.number)).catch((error) => {
      if (isMissing(error)) return undefined;
      throw error;
    });
    return bytes !== undefined && sha256Hex(bytes) === head.sha256;
  }

  /** Whether each manifest that is known is there as it was. No object has to be made of them again to see it. */
  async function isAsItWas({ manifests }: Known): Promise<boolean> {
    const { store, prefix } = await openStore();
    let count = 0;
    try {
      const read = ({ key }: NamedManifest) => readManifest(store, key);
      for await (const { item, result } of mapAhead(manifestKeys(store, prefix), readAhead, read)) {
        if (item.number > manifests.length) break;
        if (sha256Hex(result) !== manifests[item.number - 1]!.sha256) return false;
        count = item.number;
      }
    } catch (error) {
      if (isOfLedger(error)) return false;
      throw error;
    }
    return count === manifests.length;
  }

  async function takeAll(): Promise<void> {
    if (known !== undefined && (await isAsItWas(known))) {
      while (await readNext(known));
      return;
    }
    const read: { known?: Known } = {};
    try {
      await readAll(read);
    } finally {
      known = read.known ?? known;
    }
  }

  /** All of the chain that there is was read. */
  function found(): void {
    const { head, hashes } = known!.ledger;
    if (seen !== undefined && hashes[seen.number - 1] !== seen.sha256) {
      const message = `manifest ${seen.number}, SHA-256 ${seen.sha256}, was there and is not in the chain any more, which ends at ${head?.number ?? 0}`;
      trouble = { code: 'ledger_broken', message };
      return;
    }
    seen = head;
    trouble = null;
    readAt = clock.now().toISOString();
  }

  return {
    async look() {
      // A first reading of many manifests may take longer, and a store may hang: meanwhile what is known is told.
      const isLate = await withTimeLimit(limitMs, inTurn(bringUpToDate)).then(
        () => false,
        () => true,
      );
      const { location, prefix } = await openStore().then(
        ({ store, prefix }) => ({ location: store.location, prefix }),
        () => ({ location: '', prefix: '' }),
      );
      const { ledger, manifests, histories, configured } = known ?? startKnown();
      return {
        state: { location, prefix, head: ledger.head ?? null, readAt, trouble: isLate ? stillReading : trouble },
        ...{ ledger, manifests, histories, configured },
      };
    },
    newestSeen: () => seen,
    readAgain: () =>
      inTurn(async () => {
        try {
          await takeAll();
        } catch (error) {
          trouble = troubleOf(error);
          throw error;
        } finally {
          lookedMs = monotonicMs();
        }
        found();
        return known!.ledger;
      }),
  };
}

function startKnown(): Known {
  return { ledger: startLedger(), manifests: [], histories: new Map(), configured: undefined };
}

/** Throws where it is not in its place. */
function add(known: Known, number: number, key: string, opened: OpenedManifest): void {
  const { bytes, sha256 } = opened;
  const signed = checkManifest(number, opened, known.ledger);
  const { manifest, signer } = signed;
  addManifest(known.ledger, signed, sha256);
  known.manifests.push({ ...lineOf(manifest), key, sha256, bytes: bytes.length, signer });
  if (isOfNight(manifest) && manifest.asked !== undefined) known.configured = new Set(Object.keys(manifest.asked));
  for (const [source, days] of Object.entries(manifest.sources)) {
    const ofSource = known.histories.get(source) ?? new Map<Day, VerdictLine[]>();
    known.histories.set(source, ofSource);
    for (const [day, entry] of Object.entries(days)) {
      const lines = ofSource.get(day) ?? [];
      ofSource.set(day, lines);
      lines.push(verdictLineOf(manifest, entry));
    }
  }
}

function lineOf(manifest: Manifest): Omit<ManifestLine, 'key' | 'sha256' | 'bytes' | 'signer'> {
  const { number, createdAt, sources, pruned } = manifest;
  const entries = Object.values(sources).flatMap((days) => Object.values(days));
  const parts = entries.flatMap((entry) => entry.parts);
  return {
    number,
    createdAt,
    by: isOfNight(manifest) ? 'night' : pruned === undefined ? 'hold' : 'prune',
    days: entries.length,
    events: parts.reduce((sum, part) => sum + part.events, 0),
    objects: [...objectsOf(manifest)].length,
    objectBytes: parts.reduce((sum, part) => sum + part.bytes.ciphertext, 0),
    pruned: pruned?.length ?? 0,
  };
}

function verdictLineOf({ number, createdAt }: Manifest, entry: DayEntry): VerdictLine {
  const { verdict, listedAt, counts, missing, generationFailures, parts, lateDeliveries } = entry;
  return {
    ...{ manifest: number, at: createdAt, verdict, listedAt },
    events: counts.delivered + counts.recovered,
    recovered: recoveredAlone(counts),
    missing: missing.length + (generationFailures?.length ?? 0),
    parts: parts.length,
    lateDeliveries: lateDeliveries.length,
  };
}

function isMissing(error: unknown): boolean {
  return error instanceof DaybookError && error.code === 'object_missing';
}

const ofLedger: ReadonlySet<ErrorCode> = new Set(['ledger_broken', 'signer_unknown', 'signer_retired']);

function isOfLedger(error: unknown): boolean {
  return error instanceof DaybookError && ofLedger.has(error.code);
}

function troubleOf(error: unknown): Trouble {
  return { code: error instanceof DaybookError ? error.code : 'internal_error', message: messageOf(error) };
}
