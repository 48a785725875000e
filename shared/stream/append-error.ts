import { DaybookError, type ErrorOptions } from '../errors.ts';

/**
 * An append that was not acknowledged in full. `unacknowledged` holds the indexes, ascending, into the records of that
 * call: those may be in the stream all the same. All others are acknowledged.
 */
export class AppendError extends DaybookError {
  readonly unacknowledged: readonly number[];

  constructor(unacknowledged: readonly number[], options: ErrorOptions = {}) {
    super('stream_unavailable', options);
    this.name = 'AppendError';
    this.unacknowledged = unacknowledged;
  }
}
