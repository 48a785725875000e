/** The report of a month: see shapes.ts. */
import type { Day } from '../../shared/clock.ts';
import type { DayCounts } from '../ledger/manifest.ts';
import type { ArchiveDocument, DayStanding, DayTotals, HoleInWords } from './shapes.ts';

export interface ReportQuery {
  /** `2026-11` */
  readonly month: string;
  readonly source?: string | undefined;
}

/**
 * Says the same of the same archive up to `archive.head`, whenever it is made: it goes by the time of that manifest, not by
 * the clock.
 */
export interface Report extends ArchiveDocument {
  readonly month: string;
  /** The source that was asked for; null: all. */
  readonly only: string | null;
  /** Those with a day of the month. */
  readonly sources: readonly ReportOfSource[];
  readonly totals: DayTotals;
  /** Whether the month is over and each of its days is complete. */
  readonly isComplete: boolean;
  readonly words: readonly string[];
  /** Every manifest that has an entry of a day of the month, the oldest first. */
  readonly manifests: readonly {
    readonly number: number;
    readonly sha256: string;
    readonly createdAt: string;
    readonly signer: string;
  }[];
  readonly holes: readonly HoleInWords[];
  /** To be run in a folder that holds the objects under their keys. */
  readonly checks: readonly ReportCheck[];
}

export interface ReportOfSource {
  readonly source: string;
  readonly isListed: boolean;
  /** Lists that were not asked for all days yet: days that are complete may be so without them. */
  readonly pending: readonly string[];
  readonly firstDay: Day | null;
  readonly days: readonly ReportDay[];
  readonly totals: DayTotals;
  readonly isComplete: boolean;
}

export interface ReportDay {
  readonly day: Day;
  readonly standing: DayStanding;
  readonly counts: DayCounts | null;
  readonly events: number | null;
  readonly listedAt: string | null;
  readonly missing: readonly string[];
  readonly generationFailures: number;
  /** What was delivered and is in no list that is asked: accounts, events that name none, modes. */
  readonly uncovered: readonly string[];
  readonly manifest: number | null;
  readonly parts: number;
}

export interface ReportCheck {
  readonly title: string;
  /** Of a POSIX shell, with sha256sum, jq, openssl, gunzip. */
  readonly command: string;
  /** What it prints where all is as the report says. */
  readonly expected: string;
}
