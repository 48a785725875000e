/**
 * What the console tells, as the JSON API gives it and the pages show it. Read-only, and made from manifests, ids, the
 * stream's records and what ingest says of itself: without a private key.
 *
 * - Each document has `format` and, but for `Now`, `archive`. Members may be added; none is renamed or given another meaning.
 * - Times are RFC 3339 UTC, days are UTC days (`2026-11-20`), sizes are bytes, hashes are SHA-256 in hex.
 * - Ids, keys, addresses and reasons come from others: whoever shows them must escape them.
 */
import type { Day } from '../../shared/clock.ts';
import type { NumberedManifest, Pruned } from '../ledger/ledger.ts';
import type { DayCounts, Hashes, Hole, Verdict } from '../ledger/manifest.ts';

export const apiFormat = 'daybook-api/1';

/** What something could not be read for: a stable code, and words for people. */
export interface Trouble {
  readonly code: string;
  readonly message: string;
}

/** Which archive, and how new what is told of it is. */
export interface ArchiveState {
  /** A path or a URL without credentials. */
  readonly location: string;
  readonly prefix: string;
  /** The newest manifest that is believed; null where there is none. */
  readonly head: NumberedManifest | null;
  /** When it was last seen that there is nothing newer. */
  readonly readAt: string;
  /**
   * Null where all is well. Else why what is told may be old (the store is away), or ends at `head` (`ledger_broken`,
   * `signer_unknown`, `signer_retired`: the next manifest is not believed, nor any after it).
   */
  readonly trouble: Trouble | null;
}

export interface ApiDocument {
  readonly format: typeof apiFormat;
}

export interface ArchiveDocument extends ApiDocument {
  readonly archive: ArchiveState;
}

// --- archives: the manifests, and what each names

export interface ArchivesQuery {
  /** Manifests below this number; absent: from the newest on. */
  readonly before?: number | undefined;
  /** At most so many: 1 to 200, else 50. */
  readonly limit?: number | undefined;
}

export interface Archives extends ArchiveDocument {
  /** The newest first. */
  readonly manifests: readonly ManifestLine[];
  /** The `before` of the next page; null where this is the last. */
  readonly next: number | null;
}

export interface ManifestLine extends NumberedManifest {
  readonly key: string;
  /** Of the manifest's object. */
  readonly bytes: number;
  /** `hold`: a legal hold that begins or ends. */
  readonly by: 'night' | 'prune' | 'hold';
  /** The id of the key that signed it. The signature and the chain hold, or it would not be here. */
  readonly signer: string;
  /** Entries of days. */
  readonly days: number;
  /** In its own parts. */
  readonly events: number;
  /** That it names, and their sizes where it says them (parts alone). */
  readonly objects: number;
  readonly objectBytes: number;
  /** Objects that it says are deleted. */
  readonly pruned: number;
}

// --- the calendar

export interface CalendarQuery {
  /** `2026-11`; absent: this month. */
  readonly month?: string | undefined;
  /** Absent: all sources. */
  readonly source?: string | undefined;
}

export interface Calendar extends ArchiveDocument {
  readonly month: string;
  readonly today: Day;
  /** Months with an entry of any source, the oldest first: where one can go. */
  readonly months: readonly string[];
  readonly sources: readonly CalendarOfSource[];
  /** Of the whole stream: a hole is of no day. */
  readonly holes: readonly HoleInWords[];
}

export interface CalendarOfSource {
  readonly source: string;
  /** Whether this process is configured with it; one that is not has days of the past alone. */
  readonly isConfigured: boolean;
  /** Whether there is a list of Stripe's to ask, as the newest manifest that says so has it. */
  readonly isListed: boolean;
  /** From which on every closed day has an entry; null: not known. */
  readonly firstDay: Day | null;
  /**
   * Where Stripe's list ends today: the oldest day that it still has whole. Days before it can be settled no more. Null
   * where there is no list.
   */
  readonly listEdge: Day | null;
  /** One for each day of the month, in order. */
  readonly days: readonly CalendarDay[];
  /** Of the month. */
  readonly totals: DayTotals;
}

/**
 * Without an entry: `open` is today, yesterday before it is closed, and days to come; `late` is over and should have one;
 * `none` needs none (before the source's first day, or no longer configured).
 */
export type DayStanding = Verdict | 'open' | 'late' | 'none';

export interface CalendarDay {
  readonly day: Day;
  readonly standing: DayStanding;
  /** Null without an entry, as the next ones. */
  readonly events: number | null;
  readonly counts: DayCounts | null;
  /** Events known that could not be had, generation failures included. */
  readonly missing: number | null;
  readonly bytes: number | null;
  readonly manifest: number | null;
  /** The last UTC day on which Stripe lists it whole, and how many days that is from today (0: today); null as `listEdge`. */
  readonly listedUntil: Day | null;
  readonly daysLeft: number | null;
  /** Unsettled and near that end: the warning `retention_near`. */
  readonly isNearRetention: boolean;
  /** What there is to say of it, each a sentence; the first is what its standing means. */
  readonly words: readonly string[];
}

/** Sums over days. `listed` and `notListed` count the days alone that were listed. */
export interface DayTotals {
  readonly days: number;
  readonly byStanding: Readonly<Record<DayStanding, number>>;
  readonly events: number;
  readonly delivered: number;
  /** Without twins: with these and `delivered` they are the events. */
  readonly recovered: number;
  readonly twins: number;
  /** Of `recovered`. */
  readonly lostAfter2xx: number;
  readonly listed: number;
  readonly notListed: number;
  readonly differing: number;
  readonly duplicates: number;
  readonly missing: number;
}

export interface HoleInWords extends Hole {
  readonly words: string;
}

// --- one day

export interface DayDetail extends ArchiveDocument {
  readonly source: string;
  readonly today: Day;
  readonly isListed: boolean;
  /** As in the calendar. */
  readonly standing: CalendarDay;
  /** When its list was last asked for with success. */
  readonly listedAt: string | null;
  /** Each with both sides from numbers of the manifests, so that they can be compared. */
  readonly equations: readonly Equation[];
  readonly parts: readonly PartDetail[];
  readonly lateDeliveries: readonly SealedObject[];
  readonly exceptions: readonly (SealedObject & {
    readonly listedAt: string | null;
    readonly counts: { readonly notListed: number; readonly differing: number; readonly missing: number };
  })[];
  /** Ids, the first thousand of them. */
  readonly missing: readonly string[];
  readonly generationFailures: readonly {
    readonly notice: string;
    readonly eventType: string | null;
    readonly object: string | null;
  }[];
  readonly accounts: readonly string[];
  /** The newest manifest that has an entry of it, and the state of its signature. */
  readonly manifest: SignatureState;
  /** Each manifest that has an entry of it, the oldest first. */
  readonly history: readonly VerdictLine[];
  /** Of the stream, seen since the day began: what was lost in them may have been of this day, or of others. */
  readonly holes: readonly HoleInWords[];
}

/** `left` is a sum: `delivered 90 + recovered 10 = events 100`. */
export interface Equation {
  readonly left: readonly { readonly name: string; readonly count: number }[];
  readonly right: { readonly name: string; readonly count: number };
  readonly holds: boolean;
  /** What it says, or why it need not hold. */
  readonly words: string;
}

export interface PartDetail extends SealedObject {
  readonly events: number;
  readonly firstCreated: string;
  readonly lastCreated: string;
  /** Of the plaintext, and of the object. */
  readonly bytes: { readonly plaintext: number; readonly ciphertext: number };
  /** `sha256` is of the object's own bytes, as is `ciphertext` of the others. */
  readonly ids: { readonly key: string; readonly sha256: string; readonly link: TimedLink | null };
  readonly deliveries: SealedObject | null;
}

/** An object that only who has the private key can open. */
export interface SealedObject {
  readonly key: string;
  /** The manifest that names it. */
  readonly manifest: number;
  readonly sha256: Hashes;
  /** Lines in it; of exceptions all kinds together. */
  readonly lines: number;
  /** Gone, or about to be, and what says so. */
  readonly pruned: Pruned | null;
  /** Null where the store has none (a directory), and where it is pruned. */
  readonly link: TimedLink | null;
}

/** Whoever has the URL can read the object until then: a secret. */
export interface TimedLink {
  readonly url: string;
  readonly expiresAt: string;
}

export interface SignatureState extends NumberedManifest {
  readonly key: string;
  readonly signer: string;
  /** Checked when it was read by this process: true, or the manifest would not be believed. */
  readonly holds: true;
  /** Whether another key has signed since: that one signs no more. */
  readonly isRetired: boolean;
}

export interface VerdictLine {
  readonly manifest: number;
  readonly at: string;
  readonly verdict: Verdict;
  readonly listedAt: string | null;
  readonly events: number;
  readonly recovered: number;
  readonly missing: number;
  /** What it added: objects of its own. */
  readonly parts: number;
  readonly lateDeliveries: number;
}
