/** POST /events as a function: it takes events as ingest does, and fails in every way that servers and networks do. */
import type { ManualClock } from './manual-clock.ts';

export const failures = [
  'refuse', // no connection
  'hang', // no answer, ever
  'slow', // an answer after 20 s
  'late', // stored, and answered when nobody waits any more
  'lose-answer', // stored, then the connection is reset
  'cut-answer', // stored, and the connection is reset in the body of the answer
  'twice', // a proxy on the way sends it two times
  'error', // 500
  'busy', // 503 with Retry-After
  'proxy', // 502 with a page
  'login', // 200 with a page
  'unauthorized', // 401
  'small', // 413 for what has more than 2,000 bytes
] as const;

export type Failure = (typeof failures)[number];

export const smallBytes = 2000;
export const retryAfterMs = 40_000;

/** `tags.is` of an event says how the server sees it. Of `deep` ones it does not say which they are. */
export type Kind = 'good' | 'bad' | 'deep';

export interface SentRequest {
  readonly atMs: number;
  readonly ids: readonly string[];
  readonly bytes: number;
  readonly init: RequestInit;
}

export interface FailingServer {
  fetch(url: URL, init: RequestInit): Promise<Response>;
  failure: Failure | undefined;
  readonly requests: SentRequest[];
  /** Of each event that was stored, all texts that came for it. */
  readonly stored: Map<string, string[]>;
  /** Requests that wait for their answer: how many, and the bytes of those that outlive their page. */
  readonly open: { count: number; keepaliveBytes: number };
}

export function failingServer(clock: ManualClock): FailingServer {
  const stored = new Map<string, string[]>();
  const open = { count: 0, keepaliveBytes: 0 };
  const requests: SentRequest[] = [];

  function take(body: string): Response {
    const value = JSON.parse(body);
    const elements: { id: string; tags?: { is?: Kind } }[] = Array.isArray(value) ? value : [value];
    if (elements.some(({ tags }) => tags?.is === 'deep')) return problem(400, 'body_malformed');
    const errors = elements.flatMap(({ tags }, index) =>
      tags?.is === 'bad'
        ? [{ pointer: Array.isArray(value) ? `#/${index}/value` : '#/value', detail: 'value must be a number.' }]
        : [],
    );
    // Ingest names the first hundred; here few enough that tests meet the limit.
    if (errors.length > 0) return problem(400, 'event_invalid', { errors: errors.slice(0, 3) });
    for (const element of elements) {
      stored.set(element.id, [...(stored.get(element.id) ?? []), JSON.stringify(element)]);
    }
    return Response.json({ status: 'ok', accepted: elements.length }, { status: 201 });
  }

  async function answer(body: string, bytes: number, signal: AbortSignal, failure: Failure | undefined) {
    const wait = (ms: number) =>
      new Promise<void>((resolve, reject) => {
        clock.after(ms, resolve);
        signal.addEventListener('abort', () => reject(signal.reason));
      });
    switch (failure) {
      case 'refuse':
        throw new TypeError('fetch failed');
      case 'hang':
        await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
        break;
      case 'slow':
        await wait(20_000);
        break;
      case 'late':
        take(body);
        await wait(50_000);
        break;
      case 'lose-answer':
        take(body);
        throw new TypeError('fetch failed');
      case 'cut-answer':
        return cut(take(body));
      case 'twice':
        take(body);
        break;
      case 'error':
        return problem(500, 'internal_error');
      case 'busy':
        return problem(503, 'stream_unavailable', {}, { 'retry-after': String(retryAfterMs / 1000) });
      case 'proxy':
        return new Response('<h1>Bad gateway</h1>', { status: 502 });
      case 'login':
        return new Response('<form>', { status: 200 });
      case 'unauthorized':
        return problem(401, 'credentials_missing');
      case 'small':
        if (bytes > smallBytes) return problem(413, 'body_too_large');
        break;
    }
    return take(body);
  }

  return {
    failure: undefined,
    stored,
    requests,
    open,
    async fetch(_url, init) {
      const body = init.body as string;
      const bytes = Buffer.byteLength(body);
      const ids = [JSON.parse(body)].flat().map(({ id }) => id);
      requests.push({ atMs: clock.now(), ids, bytes, init });
      open.count += 1;
      if (init.keepalive) open.keepaliveBytes += bytes;
      try {
        return await answer(body, bytes, init.signal!, this.failure);
      } finally {
        open.count -= 1;
        if (init.keepalive) open.keepaliveBytes -= bytes;
      }
    },
  };
}

function problem(status: number, code: string, members = {}, headers: Record<string, string> = {}): Response {
  const body = JSON.stringify({ status, code, detail: `It is ${code}.`, ...members });
  return new Response(body, { status, headers: { 'content-type': 'application/problem+json', ...headers } });
}

/** The status and the headers, then a reset. */
function cut(response: Response): Response {
  const body = new ReadableStream({ pull: (controller) => controller.error(new TypeError('terminated')) });
  return new Response(body, { status: response.status, headers: response.headers });
}
