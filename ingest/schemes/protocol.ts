import type { IncomingHttpHeaders } from 'node:http';
import type { Answer } from '../../shared/http/problem.ts';

/** A request as the protocols see it, before its body was believed. */
export interface ReceivedRequest {
  readonly headers: IncomingHttpHeaders;
  /** As sent, without host and query. */
  readonly path: string;
  /** Behind the question mark of the path. */
  readonly query?: string;
  readonly body: Buffer;
  readonly receivedAtMs: number;
}

/** Who sent a request, and what proves it. */
export interface Proof {
  /** The configured name of the source. */
  readonly sourceName: string;
  readonly scheme: string;
  readonly keyid: string;
  /** `name: value` joined by `; `. */
  readonly signedheaders: string;
}

/** How a log line names an event. */
export interface NamedEvent {
  readonly id: string;
  readonly type: string;
}

/** One event of a body: what its envelope says of it. */
export interface ReceivedEvent extends NamedEvent {
  readonly subject: string | undefined;
  /** The claimed time, RFC 3339. */
  readonly time: string | undefined;
  readonly partitionKey: string;
  /** The bytes received, verbatim. */
  readonly data: Uint8Array;
  /** What the sender reads of it beside that it was received. */
  readonly answer?: Readonly<Record<string, string>> | undefined;
}

/** What differs between the routes that receive. The order of the steps is that of receive-event.ts. */
export interface Protocol {
  /** The first segment of the envelope's `source`. */
  readonly kind: 'stripe' | 'events';
  readonly via: 'webhook' | 'events';
  /** Of the body; undefined: there is none. */
  readonly mediaTypes: ReadonlySet<string> | undefined;
  /**
   * Whether somebody who calls from this address may be heard: before the body is read, and again with the source once that
   * is proven. Absent: no source names its callers.
   */
  admits?: ((caller: string | undefined, sourceName?: string) => boolean) | undefined;
  /** Who it was, or a refusal thrown. Never parses the body. */
  verify(request: ReceivedRequest): Proof;
  /**
   * The events of a verified body, or a refusal thrown. Undefined: valid, but by design not for this source. Calls `named`
   * with the first and their number as soon as these are known, so that also a refusal's log line says which event it was.
   */
  parse(
    request: ReceivedRequest,
    named: (first: NamedEvent, count: number) => void,
  ): readonly ReceivedEvent[] | undefined;
  /** What the sender reads once everything is durable, or, with undefined, was left out by design. */
  accepted(events: readonly ReceivedEvent[] | undefined): Answer;
}
