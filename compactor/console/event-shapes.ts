/** What is told of one event, by its id: see shapes.ts. */
import type { Day } from '../../shared/clock.ts';
import type { EventSighting } from '../../shared/event-sighting.ts';
import type { Pruned } from '../ledger/ledger.ts';
import type { Verdict } from '../ledger/manifest.ts';
import type { ArchiveDocument, Trouble } from './shapes.ts';

export interface EventQuery {
  /** 1 to 255 characters without control characters; else `console_query_invalid`. */
  readonly id: string;
  /** In the days of this source alone. */
  readonly source?: string | undefined;
  /** Go on with the archive below this day, where an earlier search stopped. */
  readonly before?: Day | undefined;
}

export interface EventSearch extends ArchiveDocument {
  readonly id: string;
  /** Everywhere together. */
  readonly isFound: boolean;
  /** What can be said of it in a few sentences, and what cannot be said, and why. */
  readonly words: readonly string[];
  readonly spools: readonly SpoolSearch[];
  readonly stream: StreamSearch;
  readonly archived: ArchiveSearch;
  readonly limitSeconds: number;
}

/** A record with this id, in the stream or a spool. */
export type FoundRecord = EventSighting;

export interface SpoolSearch {
  /** Of the ingest that has it. */
  readonly ingest: string;
  /** Null: it could not be asked, as `trouble` says. */
  readonly records: readonly (FoundRecord & { readonly isDeadLetter: boolean })[] | null;
  /** Records that were looked at. */
  readonly looked: number;
  /** Whether that were all. */
  readonly isWhole: boolean;
  readonly trouble: Trouble | null;
}

export interface StreamSearch {
  /** The first hundred. */
  readonly records: readonly (FoundRecord & {
    readonly partition: string;
    readonly position: string;
    /** Whether a night is done with this record: archived, or in the quarantine. */
    readonly isDone: boolean;
  })[];
  readonly looked: number;
  /** Whether all that is not archived yet was looked at. */
  readonly isWaitingWhole: boolean;
  /** Whether all that the stream still keeps was looked at. */
  readonly isWhole: boolean;
  readonly trouble: Trouble | null;
}

/** `unknown`: the day has both kinds in one part, and only the sealed part tells which line is which. */
export type Origin = 'delivered' | 'recovered' | 'unknown';

export interface ArchivedEvent {
  readonly source: string;
  readonly day: Day;
  readonly verdict: Verdict;
  readonly part: string;
  readonly manifest: number;
  /** When that manifest was made. */
  readonly archivedAt: string;
  readonly origin: Origin;
  readonly pruned: Pruned | null;
}

export interface ArchiveSearch {
  readonly events: readonly ArchivedEvent[];
  /** Days whose manifests say that it is known and could not be had. */
  readonly missing: readonly { readonly source: string; readonly day: Day }[];
  /** Objects of ids that were looked at, of how many. */
  readonly looked: number;
  readonly total: number;
  /** Null: all days were looked at. Else give it as `before` to go on. */
  readonly next: Day | null;
  /** Days whose ids could not be read. */
  readonly damaged: readonly { readonly source: string; readonly day: Day; readonly message: string }[];
}
