/** What the server's answer says of the events that a request brought. */

export interface Answer {
  /** 0: there was none. */
  readonly status: number;
  /** daybook's own code of a refusal, and what it says. */
  readonly code?: string | undefined;
  readonly detail?: string | undefined;
  readonly errors?: readonly { readonly pointer: string; readonly detail: string }[] | undefined;
  /** What Retry-After asks for. */
  readonly retryAfterMs: number;
}

/** An hour: what a proxy may say by mistake does not hold events for longer. */
const longestRetryAfterMs = 3_600_000;

export async function readAnswer(response: Response, nowMs: number): Promise<Answer> {
  const asked = response.headers.get('retry-after') ?? '';
  const afterMs = /^\d+$/.test(asked) ? Number(asked) * 1000 : Date.parse(asked) - nowMs;
  const retryAfterMs = Math.min(Math.max(afterMs || 0, 0), longestRetryAfterMs);
  // Read to its end, so that the connection can be used again. Where it breaks off, the status was said all the same.
  const text = await response.text().catch(() => '');
  let problem: { code?: unknown; detail?: unknown; errors?: unknown } | null = null;
  try {
    problem = JSON.parse(text);
  } catch {
    // A proxy's page.
  }
  return {
    status: response.status,
    code: typeof problem?.code === 'string' ? problem.code : undefined,
    detail: typeof problem?.detail === 'string' ? problem.detail : undefined,
    errors: Array.isArray(problem?.errors) ? problem.errors : undefined,
    retryAfterMs,
  };
}

/** 201 alone: a login page that a proxy answers with is 200. */
export function isAccepted({ status }: Answer): boolean {
  return status === 201;
}

/** Whether the events are refused for what they are: to send them again as they are is of no use. */
export function isForGood({ status, code }: Answer): boolean {
  return status === 413 || code === 'body_malformed' || code === 'event_invalid' || code === 'time_out_of_range';
}

/** Of an array of `count` events: the place of each that the answer names, with what is wrong with it. */
export function faultsOf({ errors = [], detail = '' }: Answer, count: number): Map<number, string> {
  const faults = new Map<number, string>();
  for (const error of errors) {
    const place = /^#\/(\d+)(?:\/|$)/.exec(error?.pointer)?.[1];
    if (place === undefined || Number(place) >= count) continue;
    const before = faults.get(Number(place));
    faults.set(Number(place), before === undefined ? error.detail : `${before} ${error.detail}`);
  }
  // One event alone has nobody else to be mistaken for.
  if (count === 1 && faults.size === 0) {
    faults.set(0, errors.map((error) => error?.detail).join(' ') || detail);
  }
  return faults;
}
