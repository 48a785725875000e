/** What happens now: see shapes.ts. */
import type { NumberedManifest } from '../ledger/ledger.ts';
import type { ApiDocument, ArchiveState, Trouble } from './shapes.ts';

export interface Now extends ApiDocument {
  readonly at: string;
  readonly ingests: readonly IngestNow[];
  readonly stream: StreamNow;
  readonly disks: readonly DiskNow[];
  /** Runs that this process has seen, the newest first. */
  readonly nights: readonly NightNow[];
  /** When the last manifest of a night was made, whoever ran it; null: never, or not known. */
  readonly newestNight: NumberedManifest | null;
  /** Null where the schedule is off. Where it has passed, the night is due. */
  readonly nextNightAt: string | null;
  readonly archive: ArchiveState;
}

/** As one ingest's own metrics tell. Figures are null where they are not told, rates until there are two looks. */
export interface IngestNow {
  readonly address: string;
  readonly trouble: Trouble | null;
  readonly startedAt: string | null;
  /** Of the rates: since the look before. */
  readonly overSeconds: number | null;
  readonly sources: readonly SourceNow[];
  /** Codes with more than none, the most first. */
  readonly refusals: readonly { readonly code: string; readonly total: number; readonly perMinute: number | null }[];
  readonly spool: {
    readonly isUp: boolean | null;
    readonly records: number | null;
    readonly bytes: number | null;
    readonly oldestSeconds: number | null;
    readonly deadLetters: number | null;
  };
  readonly circuit: 'closed' | 'half_open' | 'open' | null;
}

/** `total` since that ingest began. `_unknown`: requests that proved no source. */
export interface SourceNow {
  readonly source: string;
  readonly events: { readonly total: number; readonly perMinute: number | null };
  readonly requests: Readonly<Record<string, { readonly total: number; readonly perMinute: number | null }>>;
}

export interface StreamNow {
  readonly type: string;
  /** Records above what is archived; null where the stream does not tell (Kinesis), or `trouble` is there. */
  readonly lag: number | null;
  readonly at: string | null;
  readonly trouble: Trouble | null;
}

export interface DiskNow {
  readonly path: string;
  readonly freeBytes: number | null;
  readonly totalBytes: number | null;
}

export interface NightNow {
  readonly startedAt: string;
  readonly endedAt: string;
  readonly seconds: number;
  readonly outcome: string;
  readonly exitCode: number | null;
  readonly manifest: number | null;
}
