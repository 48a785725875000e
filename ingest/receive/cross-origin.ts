/**
 * What lets a page of another origin send with its login cookie and read the answer: the CORS protocol (Fetch standard, section
 * 3.3). The page's script is stopped by the browser alone; that a refused page's request has no effect is up to the scheme.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { DaybookError } from '../../shared/errors.ts';
import type { Answer } from '../../shared/http/problem.ts';
import { isAllowedOrigin } from '../../shared/schemes/origins.ts';

type Headers = Readonly<Record<string, string>>;

/** Of every answer, a refusal too: the page is to read its code. `origins`: all that are taken; none: nothing is added. */
export function crossOriginHeaders({ origin }: IncomingHttpHeaders, origins: readonly string[]): Headers {
  if (origins.length === 0) return {};
  // Also where there is no Origin: a cache must not give one page the answer to another.
  if (origin === undefined || !isAllowedOrigin(origin, origins)) return { vary: 'Origin' };
  return {
    vary: 'Origin',
    'access-control-allow-origin': origin,
    'access-control-allow-credentials': 'true',
    'access-control-expose-headers': 'Retry-After',
  };
}

/** Of OPTIONS: what a browser asks before it lets a page send. A page that may not is told so. */
export function answerPreflight({ origin }: IncomingHttpHeaders, origins: readonly string[]): Answer {
  if (origin === undefined) return { status: 204, headers: { allow: 'POST, OPTIONS' }, body: '' };
  if (!isAllowedOrigin(origin, origins)) throw new DaybookError('origin_refused');
  const headers = {
    'access-control-allow-methods': 'POST',
    'access-control-allow-headers': 'Content-Type',
    // As long as each browser lets it be: what a page sends as it is left arrives only while a preflight is remembered.
    'access-control-max-age': '86400',
  };
  return { status: 204, headers, body: '' };
}
