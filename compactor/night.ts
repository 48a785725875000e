import type { Clock, Day } from '../shared/clock.ts';
import type { Recipient } from '../shared/crypto/recipients.ts';
import type { Signer, VerifyingKeys } from '../shared/crypto/signing.ts';
import type { StreamKeys } from '../shared/crypto/stream-seal.ts';
import type { ErrorCode } from '../shared/errors.ts';
import type { Logger } from '../shared/program/log.ts';
import type { ObjectStore } from '../shared/store/store.ts';
import type { EventStreamReader, EventStreamWriter } from '../shared/stream/stream.ts';
import type { Ledger } from './ledger/ledger.ts';
import type { DayCounts, Verdict } from './ledger/manifest.ts';
import type { AskTime } from './ledger/prove-time.ts';
import type { ListingSource } from './stripe/list-days.ts';
import type { Crew, Worker } from './workers/crew.ts';
import { mayHold, type Share } from './workers/share.ts';

/** All that one run works with: a simulation passes its own clock, stream, store and Stripe. */
export interface Night {
  readonly clock: Clock;
  readonly stream: EventStreamReader;
  readonly store: ObjectStore;
  /** '' or folders that end in a slash. */
  readonly prefix: string;
  /** Folders of a day with %Y %m %d. */
  readonly dayPath: string;
  readonly lagSeconds: number;
  readonly sources: readonly NightSource[];
  readonly recipients: readonly Recipient[];
  readonly signer: Signer;
  readonly verifyingKeys: VerifyingKeys;
  /** An empty folder for plaintext, removed by the caller. */
  readonly stagingDirectory: string;
  /** Only these days are touched; undefined: all that are closed. */
  readonly days?: ReadonlySet<Day>;
  /** List days again although they are not due. */
  readonly force: boolean;
  /** Who may write to the stream proves it by one of these; undefined: records are taken as they are. */
  readonly streamKeys?: StreamKeys | undefined;
  /** Records without a seal are taken that say they were received before this, while the keys are being introduced. */
  readonly acceptUnsealedBefore?: Date | undefined;
  /** Restored records make lines of their own: for an archive that is written again from another one. */
  readonly acceptRestored?: boolean;
  /** Asks others for the time; undefined: the ledger alone is asked. */
  readonly askTime?: AskTime | undefined;
  /** The ledger's time is ahead of the real one, and known to be. */
  readonly trustClock?: boolean;
  /** Where recovered events go out once they are archived; undefined: nowhere. */
  readonly recoveredTo?: RecoveredStream;
  /** It is made by several, of which this is one; undefined: by this one alone. */
  readonly worker?: Worker | undefined;
  /** Where there are several: all of them, in this try. Given by `compact` to its steps. */
  readonly crew?: Crew;
  readonly log: Logger;
  /** Told of the ledger as this run leaves it. */
  ended?(ledger: Ledger): void;
  /** Told now and then how far a long step is. */
  progress(step: string, count: number): void;
}

/** Where recovered events go out. */
export type RecoveredStream = Pick<EventStreamWriter, 'append' | 'maxValueBytes'>;

export interface NightSource {
  readonly name: string;
  /** What its records are; undefined: either. */
  readonly kind?: 'stripe' | 'events';
  /** Where its missed events can be asked for; undefined: nowhere. */
  readonly listing?: ListingSource;
}

export interface Problem {
  readonly code: ErrorCode;
  readonly source: string | null;
  readonly day: Day | null;
  readonly message: string;
}

/** `run --json`. */
export interface NightReport {
  readonly manifest: number | null;
  readonly days: readonly {
    readonly source: string;
    readonly day: Day;
    readonly verdict: Verdict;
    readonly counts: DayCounts;
    readonly parts: readonly string[];
  }[];
  readonly errors: readonly Problem[];
  readonly warnings: readonly Problem[];
}

/** A try that was in vain, and to whom: all is done over again. */
export interface Lost {
  readonly lost: string;
}

/** Whether this is the worker that speaks for the night: the first of several, or one that is alone. */
export function isLeader(worker: { readonly index: number } | undefined): boolean {
  return worker === undefined || worker.index === 0;
}

/** Whether this worker is to keep it; where it is alone, always. */
export function isOwn({ crew }: Pick<Night, 'crew'>, source: string, id: string): boolean {
  return crew === undefined || crew.isOwn(source, id);
}

/** Those of the parts that may have an event of this worker. */
export function ownParts<P extends { readonly share?: Share }>(
  { crew }: Pick<Night, 'crew'>,
  parts: readonly P[],
): readonly P[] {
  return crew === undefined ? parts : parts.filter(({ share }) => mayHold(share, crew));
}

/** The words of all workers, in their order: where this one is alone, its own. */
export async function gathered<T>({ crew }: Pick<Night, 'crew'>, step: string, word: T): Promise<T[]> {
  return crew === undefined ? [word] : crew.gather(step, word);
}
