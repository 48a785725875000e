import { DaybookError, type ErrorOptions } from '../errors.ts';

export interface AppendErrorOptions extends ErrorOptions {
  readonly refused?: readonly number[];
}

/**
 * An append that was not acknowledged in full. `unacknowledged` holds the indexes, ascending, into the records of that
 * call: those may be in the stream all the same. All others are acknowledged. `refused` holds those of them that the
 * stream will never take, since of the record itself (its size); where it is empty and `retry` is false, that record may
 * not have been told apart: a record alone in its append always is.
 */
export class AppendError extends DaybookError {
  readonly unacknowledged: readonly number[];
  readonly refused: readonly number[];

  constructor(unacknowledged: readonly number[], { refused = [], ...options }: AppendErrorOptions = {}) {
    super('stream_unavailable', options);
    this.name = 'AppendError';
    this.unacknowledged = unacknowledged;
    this.refused = refused;
  }
}
