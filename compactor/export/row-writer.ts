import type { EventRow } from './event-row.ts';

/** Takes bytes in order. They may change once it resolves. */
export type TakeBytes = (bytes: Uint8Array) => Promise<void>;

/** Writes a file of rows as bytes. */
export interface RowWriter {
  /** Keeps the row's data until it is written. Where a promise comes back, await it before the next call. */
  write(row: EventRow): void | Promise<void>;
  /** Hands over what is left; nothing may be written after it. */
  finish(): Promise<void>;
}
