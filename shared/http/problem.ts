/** Answers of an HTTP listener, and refusals as problem documents (RFC 9457). */
import type { ServerResponse } from 'node:http';
import { DaybookError, type ErrorCode, type ErrorOptions, errorKind } from '../errors.ts';

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON text, unless the headers say another type. */
  readonly body: string;
  /** The stable code of a refusal. */
  readonly code?: string;
}

/** A refusal whose problem document says more than the members that all have. `retryAfterSeconds` is in its header too. */
export class Problem extends DaybookError {
  readonly members: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, members: Readonly<Record<string, unknown>>, options: ErrorOptions = {}) {
    super(code, options);
    this.name = 'Problem';
    this.members = members;
  }
}

const retryAfterSeconds = 5;

export function jsonAnswer(status: number, value: unknown): Answer {
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) };
}

/**
 * The problem document of anything thrown. What is not a DaybookError with an HTTP status is `internal_error`, and says no
 * more than that.
 */
export function problemAnswer(thrown: unknown, headers: Readonly<Record<string, string>> = {}): Answer {
  const known = thrown instanceof DaybookError && errorKind(thrown.code).status !== undefined;
  const error = known ? thrown : new DaybookError('internal_error');
  const { title, status = 500 } = errorKind(error.code);
  const members = error instanceof Problem ? error.members : {};
  const problem = {
    type: `urn:daybook:error:${error.code}`,
    title,
    status,
    code: error.code,
    detail: error.message,
    hint: error.hint,
    ...members,
  };
  return {
    status,
    headers: {
      'content-type': 'application/problem+json',
      ...(status === 401 ? { 'www-authenticate': error.code === 'login_needed' ? 'Form' : 'HMAC' } : {}),
      ...(status === 503 || status === 429
        ? { 'retry-after': String(members.retryAfterSeconds ?? retryAfterSeconds) }
        : {}),
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
    // RFC 9110, section 8.6: not with 204, which has no body.
    ...(answer.status === 204 ? {} : { 'content-length': Buffer.byteLength(answer.body) }),
    ...(closing ? { connection: 'close' } : {}),
  });
  response.end(answer.body);
}

/** The messages of an error and of its causes, outermost first. A parser's message would quote what it parsed. */
export function reasonsOf(thrown: unknown): string[] {
  const reasons: string[] = [];
  for (let error = thrown; error instanceof Error && reasons.length < 5; error = error.cause) {
    reasons.push(error instanceof SyntaxError ? error.name : error.message);
  }
  return reasons;
}
