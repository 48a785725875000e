/**
 * What ingest tells its metrics, as it happens. Calls come on the path of events: an observer counts and returns, and
 * throws nothing.
 */

/** `closed`: the stream takes events. `open`: it is away. `half_open`: it is tried with a probe and a small batch. */
export type CircuitState = 'closed' | 'half_open' | 'open';

export interface AnsweredRequest {
  /** As the path is declared: `/webhooks/:source`, `/events`, `/healthz` …, `unknown`. */
  readonly route: string;
  /** A configured source; undefined where the request proved none. */
  readonly source: string | undefined;
  /** Of the secret that proved it. */
  readonly keyid: string | undefined;
  readonly status: number;
  /** The stable code of a refusal; undefined where events were taken. */
  readonly code: string | undefined;
  /** Events stored. */
  readonly records: number;
  readonly seconds: number;
}

export interface Observer {
  answered(request: AnsweredRequest): void;
  /** A batch that came through the door was acknowledged by the stream, this long after it was handed over. */
  published(records: number, seconds: number): void;
  /** A batch that came through the door was made durable by the spool. */
  spooled(records: number, seconds: number): void;
  /** Records of the spool that the stream acknowledged in one append. */
  drained(records: number, seconds: number): void;
  /** Records put aside: the stream will never take them, or they cannot be read. */
  deadLettered(records: number): void;
  /** Told at the start, too. */
  circuit(state: CircuitState): void;
}

export const noObserver: Observer = {
  answered() {},
  published() {},
  spooled() {},
  drained() {},
  deadLettered() {},
  circuit() {},
};
