import type { IncomingHttpHeaders } from 'node:http';
import type { Answer } from '../../shared/http/problem.ts';

/** A request as the protocols see it, before its body was believed. */
export interface ReceivedRequest {
  readonly headers: IncomingHttpHeaders;
  /** As sent, without host and query. */
  readonly path: string;
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

/** One event of a body: what its envelope says of it. */
export interface ReceivedEvent {
  readonly id: string;
  readonly type: string;
  readonly subject: string | undefined;
  /** The claimed time, RFC 3339. */
  readonly time: string | undefined;
  readonly partitionKey: string;
  /** The bytes received, verbatim. */
  readonly data: Uint8Array;
}

/** What differs between the routes that receive. The order of the steps is that of receive-event.ts. */
export interface Protocol {
  /** The first segment of the envelope's `source`. */
  readonly kind: 'stripe' | 'events';
  readonly via: 'webhook' | 'events';
  readonly mediaTypes: ReadonlySet<string>;
  /** Who it was, or a refusal thrown. Never parses the body. */
  verify(request: ReceivedRequest): Proof;
  /** The events of a verified body, or a refusal thrown. Undefined: valid, but by design not for this source. */
  parse(request: ReceivedRequest): readonly ReceivedEvent[] | undefined;
  /** What the sender reads once everything is durable, or, with undefined, was left out by design. */
  accepted(events: readonly ReceivedEvent[] | undefined): Answer;
}
