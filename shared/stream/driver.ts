/**
 * A kind of stream, whole: its settings, how its ends are opened, and what doctor looks at. A new one is a folder beside this
 * file and a line in streams.ts. A driver's client library is loaded only where the stream is used: hence the imports inside.
 */
import type { z } from 'zod';
import type { Clock } from '../clock.ts';
import type { Found } from '../doctor/finding.ts';
import type { Logger } from '../program/log.ts';
import type { EventStreamReader, EventStreamWriter } from './stream.ts';

export interface ReaderOptions {
  readonly consumer: string;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface StreamFindings {
  readonly found: readonly Found[];
  /** The largest value of a record, in bytes; undefined where there is no limit, or it is not known. */
  readonly maxValueBytes?: number;
}

export interface StreamDriver<P> {
  /** `{"type":…,"params":…}`, without `params` where it takes none. */
  readonly settings: z.ZodType;
  /** For the table of settings. */
  readonly example: string;
  /** On this machine, written by nobody but its owner: no seal is needed, and a drill may read it by a time of its own. */
  readonly isLocal: boolean;
  /** Whether committed positions are kept, and no record is dropped by them. */
  readonly keepsPositions: boolean;
  /** Whether there is none yet, and opening makes it. */
  isAbsent?(dataDirectory: string): boolean;
  /** The same settings without leave to make anything; undefined where they give none. */
  withoutCreate?(params: P): object | undefined;
  openWriter(params: P, dataDirectory: string, log: Logger): Promise<EventStreamWriter>;
  openReader(params: P, dataDirectory: string, options: ReaderOptions): Promise<EventStreamReader>;
  /** Makes nothing and writes nothing. Rejects with what keeps the stream from being used. */
  check(params: P, dataDirectory: string): Promise<StreamFindings>;
}
