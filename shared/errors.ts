/**
 * Every error that daybook reports, by its stable code. The README's table is held equal to this one by
 * test/house/docs.test.ts. `status` is the HTTP answer where a sender can meet the code; `retry` says whether the same
 * call may succeed later without anybody changing anything.
 */
interface ErrorKind {
  readonly title: string;
  readonly hint: string;
  readonly status?: number;
  readonly retry?: boolean;
}

export const errorCodes = {
  // --- HTTP, in the order in which a request can meet them
  unknown_route: { status: 404, title: 'No such route', hint: 'POST to /webhooks/<source> or /events.' },
  unknown_source: {
    status: 404,
    title: 'No such source',
    hint: 'The name after /webhooks/ must be that of a stripe source in DAYBOOK_SOURCES.',
  },
  method_not_allowed: { status: 405, title: 'Method not allowed', hint: 'See the Allow header.' },
  unsupported_media_type: {
    status: 415,
    title: 'Unsupported media type',
    hint: 'Send application/json in UTF-8; /events also takes application/cloudevents+json and …-batch+json.',
  },
  unsupported_content_encoding: {
    status: 415,
    title: 'Unsupported content encoding',
    hint: 'Send the body as it is, without gzip, br or any other Content-Encoding.',
  },
  body_too_large: { status: 413, title: 'Body too large', hint: 'The limit is INGEST_MAX_BODY_BYTES.' },
  // --- programs
  configuration_invalid: { title: 'Configuration missing or wrong', hint: 'Mend every line named, then start again.' },
  usage: { title: 'Command line wrong', hint: 'See --help.' },
  // --- stream
  stream_unavailable: {
    status: 503,
    retry: true,
    title: 'The stream does not take events',
    hint: 'The sender repeats after Retry-After. See the log for what the stream said.',
  },
  stream_damaged: {
    title: 'The stream file cannot be read',
    hint: 'Keep the file, restore a copy of it, see the cause.',
  },
  // --- store
  object_missing: { title: 'An object is not there', hint: 'Restore it from a copy of the archive.' },
  store_unavailable: { retry: true, title: 'The object store failed', hint: 'Run again when the store answers.' },
  not_available: { status: 501, title: 'Not available', hint: 'This version of daybook does not have it.' },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorCodes;

export interface ErrorOptions {
  /** What happened this time, in a sentence. Never a secret, a key or an expected signature. */
  readonly detail?: string;
  readonly hint?: string;
  readonly retry?: boolean;
  readonly cause?: unknown;
}

/** The one error class: a stable code, whether a repeat may help, what to do about it, and the cause. */
export class DaybookError extends Error {
  readonly code: ErrorCode;
  readonly hint: string;
  readonly retry: boolean;

  constructor(code: ErrorCode, options: ErrorOptions = {}) {
    const kind: ErrorKind = errorCodes[code];
    super(options.detail ?? kind.title, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'DaybookError';
    this.code = code;
    this.hint = options.hint ?? kind.hint;
    this.retry = options.retry ?? kind.retry ?? false;
  }
}

export function errorKind(code: ErrorCode): ErrorKind {
  return errorCodes[code];
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
