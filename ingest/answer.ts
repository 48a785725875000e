import type { ServerResponse } from 'node:http';
import { DaybookError, errorKind } from '../shared/errors.ts';

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON text. */
  readonly body: string;
  /** The stable code of a refusal. */
  readonly code?: string;
}

/** One field that is wrong: `pointer` is a JSON Pointer as a URI fragment, `#/0/eventTime`. */
export interface FieldError {
  readonly pointer: string;
  readonly detail: string;
}

/** A refusal that names fields. */
export class FieldsRefused extends DaybookError {
  readonly errors: readonly FieldError[];

  constructor(code: 'event_invalid' | 'time_out_of_range', errors: readonly FieldError[]) {
    super(code, { detail: errors.length === 1 ? errors[0]!.detail : `${errors.length} fields are wrong.` });
    this.name = 'FieldsRefused';
    this.errors = errors;
  }
}

const retryAfterSeconds = '5';

export function jsonAnswer(status: number, value: unknown): Answer {
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) };
}

/**
 * The problem document (RFC 9457) of anything thrown. What is no DaybookError with an HTTP status is `internal_error`,
 * and says no more than that.
 */
export function problemAnswer(thrown: unknown, headers: Readonly<Record<string, string>> = {}): Answer {
  const known = thrown instanceof DaybookError && errorKind(thrown.code).status !== undefined;
  const error = known ? thrown : new DaybookError('internal_error');
  const { title, status = 500 } = errorKind(error.code);
  const problem = {
    type: `urn:daybook:error:${error.code}`,
    title,
    status,
    code: error.code,
    detail: error.message,
    hint: error.hint,
    ...(error instanceof FieldsRefused ? { errors: error.errors } : {}),
  };
  return {
    status,
    headers: {
      'content-type': 'application/problem+json',
      ...(status === 401 ? { 'www-authenticate': 'HMAC' } : {}),
      ...(status === 503 ? { 'retry-after': retryAfterSeconds } : {}),
      ...headers,
    },
    body: JSON.stringify(problem),
    code: error.code,
  };
}

/** Sends the answer. Node leaves the body out where the request was a HEAD. */
export function send(response: ServerResponse, answer: Answer, closing: boolean): void {
  response.writeHead(answer.status, {
    ...answer.headers,
    'content-length': Buffer.byteLength(answer.body),
    ...(closing ? { connection: 'close' } : {}),
  });
  response.end(answer.body);
}
