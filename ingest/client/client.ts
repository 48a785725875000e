/**
 * Sends events to ingest's POST /events, from Node or from a page.
 *
 * What `send` took stays in memory until the server answered 201, refused that very event, or `close` handed it back. It is
 * sent again after everything else: no answer, a reset after the server had stored it, 5xx, refused credentials. It gets its
 * id and its time once, and goes out in the same bytes each time, so the archive has it once. A process that dies, or a page
 * that closes with more than browsers let go, loses what is in memory: `send` is not a promise that an event is stored.
 */
import { type Answer, faultsOf, isAccepted, isForGood, readAnswer } from './answer.ts';
import type { Auth } from './auth.ts';
import { type Page, pageHere } from './page.ts';

export { type Attempt, type Auth, cookie, panda, standardWebhooks } from './auth.ts';

/** An event of a telemetry service, or a CloudEvent. What is left out of `id` and the time is filled in. */
export type DaybookEvent =
  | {
      readonly app: string;
      readonly stage: string;
      readonly type: string;
      readonly value: number | boolean;
      /** RFC 3339. */
      readonly eventTime?: string;
      readonly tags?: Readonly<Record<string, string | number | boolean>>;
      readonly [more: string]: unknown;
    }
  | {
      readonly specversion: '1.0';
      readonly source: string;
      readonly type: string;
      /** 255 characters at most. */
      readonly id?: string;
      /** RFC 3339. */
      readonly time?: string;
      readonly [more: string]: unknown;
    };

/** Of an event whose earlier attempt had no answer, that one may have stored it. */
export interface RefusedEvent {
  /** As it was sent. */
  readonly event: DaybookEvent;
  readonly status: number;
  /** The server's: `event_invalid`, `time_out_of_range`, … Undefined: of a proxy on the way. */
  readonly code: string | undefined;
  readonly detail: string;
}

export interface FailedAttempt {
  /** How many in a row. */
  readonly failures: number;
  /** Until the next. */
  readonly waitMs: number;
  /** 0: no answer. */
  readonly status: number;
  readonly code: string | undefined;
  readonly detail: string | undefined;
}

export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Calls `run` once, `delayMs` from now, unless the function that it returns is called before. */
  after(delayMs: number, run: () => void): () => void;
}

export interface ClientOptions {
  /** Of `/events`, in a page also without a host. */
  readonly url: string | URL;
  readonly auth: Auth;
  /** Told each event that the server will never take. It is the caller's again. */
  readonly onRefused: (refused: RefusedEvent) => void;
  /** Told each attempt that failed, for the log. Nothing is lost by it. */
  readonly onFailure?: (failed: FailedAttempt) => void;
  /** What is held at most, sent and not answered included: 10,000 events, 16 MiB of UTF-8. */
  readonly maxEvents?: number;
  readonly maxBytes?: number;
  /**
   * What a request brings at most: 500 events, and as many bytes as the server's INGEST_MAX_BODY_BYTES, 1 MiB. In a page
   * 32 KiB, so that a request and what came since outlive the page; an event that is larger goes alone.
   */
  readonly chunkEvents?: number;
  readonly chunkBytes?: number;
  /** How long an event waits for others to share its request, unless they fill one: 1 s. */
  readonly throttleMs?: number;
  /** How long an answer is waited for: 30 s. */
  readonly timeoutMs?: number;
  /** A wait is a random part of `firstWaitMs` (500), twice that after each failure, `longestWaitMs` (1 min) at most. */
  readonly firstWaitMs?: number;
  readonly longestWaitMs?: number;
  /** Those of the platform. */
  readonly fetch?: (url: URL, request: RequestInit) => Promise<Response>;
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly page?: Page | undefined;
}

export interface Client {
  /**
   * Takes the event as it is now, or says why not: `full`: try later, or do without; `too_large`: it fits in no request.
   * Throws where JSON.stringify does.
   */
  send(event: DaybookEvent): 'taken' | 'full' | 'too_large' | 'closed';
  /** Sends at once. Resolves when all that was taken until now is stored, refused or handed back. */
  flush(): Promise<void>;
  /** Takes no more, flushes for `withinMs` (10 s), and resolves with the events that nobody answered for. */
  close(options?: { readonly withinMs?: number }): Promise<DaybookEvent[]>;
  /** What is held now. */
  held(): { readonly events: number; readonly bytes: number };
}

/** An event on its way: either in the queue or in one request. */
interface Entry {
  /** Counts up. */
  readonly number: number;
  readonly id: string;
  readonly text: string;
  readonly bytes: number;
}

const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
};

/** The body of all requests together that outlive their page. */
const outlivingBytes = 65_536;

export function openClient(options: ClientOptions): Client {
  const { auth, clock = systemClock, random = Math.random, page = pageHere() } = options;
  const { maxEvents = 10_000, maxBytes = 16 * 1_048_576, chunkEvents = 500 } = options;
  const { throttleMs = 1000, timeoutMs = 30_000, firstWaitMs = 500, longestWaitMs = 60_000 } = options;
  const ask = options.fetch ?? ((url, request) => fetch(url, request));
  const url = new URL(options.url, page?.location.href);
  const maxRequests = auth.alone ? 4 : 1;

  /** All that is held, oldest first. */
  const held = new Set<Entry>();
  let heldBytes = 0;
  /** Those of them that are in no request. */
  const queue: Entry[] = [];
  let newest = 0;

  const requests = new Set<AbortController>();
  let aliveBytes = 0;
  const largest = (options.chunkBytes ?? 1_048_576) - 2;
  /** Both go down where the server takes less. */
  let chunkLimit = auth.alone ? 1 : chunkEvents;
  let byteLimit = options.chunkBytes ?? (page === undefined ? 1_048_576 : outlivingBytes / 2);

  /** Entries up to this number wait for no others. The later ones do until `dueMs`. */
  let released = 0;
  let dueMs = Infinity;
  let failures = 0;
  let notBeforeMs = -Infinity;
  let stopTimer = () => {};

  const flushes: { readonly upTo: number; readonly resolve: () => void }[] = [];
  let closing: Promise<DaybookEvent[]> | undefined;
  const leavePage = page?.onHide(sendBeforeHidden);

  function send(event: DaybookEvent): ReturnType<Client['send']> {
    if (closing !== undefined) return 'closed';
    const id = newId();
    const timeName = 'specversion' in event ? 'time' : 'eventTime';
    // Equal events are one to the archive, unless they have an id.
    const whole = { ...event, id: event.id ?? id, [timeName]: event[timeName] ?? new Date(clock.now()).toISOString() };
    const text = JSON.stringify(whole);
    const bytes = new TextEncoder().encode(text).length;
    if (bytes > largest) return 'too_large';
    if (held.size >= maxEvents || heldBytes + bytes > maxBytes) return 'full';

    newest += 1;
    const entry = { number: newest, id, text, bytes };
    held.add(entry);
    heldBytes += bytes;
    queue.push(entry);
    if (queue.length >= chunkEvents || heldBytes >= byteLimit) released = newest;
    else if (dueMs === Infinity) dueMs = clock.now() + throttleMs;
    sendDue();
    return 'taken';
  }

  /** Starts the requests that may start now, and sets the timer for the next. */
  function sendDue(): void {
    stopTimer();
    if (clock.now() >= dueMs) released = newest;
    while (queue.length > 0 && requests.size < maxRequests) {
      const waitMs = Math.max(notBeforeMs, queue[0]!.number <= released ? -Infinity : dueMs) - clock.now();
      if (waitMs > 0) {
        stopTimer = clock.after(waitMs, sendDue);
        return;
      }
      request(takeChunk(byteLimit));
    }
  }

  /** Whatever the wait is: there may be no later. What does not fit stays, for a page that is shown again. */
  function sendBeforeHidden(): void {
    while (queue.length > 0 && queue[0]!.bytes + 2 <= outlivingBytes - aliveBytes) {
      request(takeChunk(outlivingBytes - aliveBytes));
    }
  }

  /** The oldest of the queue that fit, one at least. */
  function takeChunk(most: number): Entry[] {
    let count = 1;
    let bytes = queue[0]!.bytes + 2;
    for (; count < Math.min(queue.length, chunkLimit); count++) {
      bytes += queue[count]!.bytes + 1;
      if (bytes > most) break;
    }
    const chunk = queue.splice(0, count);
    released = Math.max(released, chunk.at(-1)!.number);
    if (released >= newest) dueMs = Infinity;
    return chunk;
  }

  async function request(chunk: readonly Entry[]): Promise<void> {
    const begunMs = clock.now();
    const body = auth.alone ? chunk[0]!.text : `[${chunk.map(({ text }) => text).join(',')}]`;
    const bytes = chunk.reduce((sum, entry) => sum + entry.bytes + 1, 1);
    const keepalive = page !== undefined && aliveBytes + bytes <= outlivingBytes;
    if (keepalive) aliveBytes += bytes;
    const controller = new AbortController();
    const { signal } = controller;
    requests.add(controller);
    const stopTimeout = clock.after(timeoutMs, () => controller.abort(new Error(`No answer within ${timeoutMs} ms.`)));

    async function answerOf(): Promise<Answer> {
      const headers = { 'content-type': 'application/json', ...(await signed()) };
      const { credentials = 'same-origin' } = auth;
      // A redirect would turn the POST into a GET, and its 200 would say nothing of the events.
      const init = { method: 'POST', headers, body, signal, keepalive, credentials, redirect: 'error' } as const;
      return readAnswer(await ask(url, init), clock.now());
    }
    const signed = () => auth.sign({ url, id: chunk[0]!.id, body, nowMs: begunMs });
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
    });

    let answer: Answer;
    try {
      answer = await Promise.race([answerOf(), aborted]);
    } catch (error) {
      answer = { status: 0, detail: String(error), retryAfterMs: 0 };
    }
    stopTimeout();
    requests.delete(controller);
    if (keepalive) aliveBytes -= bytes;
    settle(
      // close() has handed back the others.
      chunk.filter((entry) => held.has(entry)),
      answer,
      begunMs,
    );
    sendDue();
  }

  function settle(chunk: readonly Entry[], answer: Answer, begunMs: number): void {
    if (chunk.length === 0) return;
    if (isAccepted(answer)) {
      failures = 0;
      if (!auth.alone) chunkLimit = Math.min(chunkLimit * 2, chunkEvents);
      release(chunk);
    } else if (isForGood(answer)) {
      failures = 0;
      refuse(chunk, answer);
    } else {
      queue.unshift(...chunk);
      waitAfter(answer, begunMs);
    }
  }

  /** Those that the answer names are refused, the others go out again. Where it names none, half as many do. */
  function refuse(chunk: readonly Entry[], answer: Answer): void {
    const faults = faultsOf(answer, chunk.length);
    if (faults.size === 0 && answer.status === 413) {
      byteLimit = chunk.reduce((sum, { bytes }) => sum + bytes, 0) / 2;
    } else if (faults.size === 0) {
      chunkLimit = Math.ceil(chunk.length / 2);
    }
    queue.unshift(...chunk.filter((_, index) => !faults.has(index)));
    const refused = chunk.filter((_, index) => faults.has(index));
    for (const [index, detail] of faults) {
      const event = JSON.parse(chunk[index]!.text);
      tell(() => options.onRefused({ event, status: answer.status, code: answer.code, detail }));
    }
    release(refused);
  }

  /** Requests that ran at the same time are one failure. */
  function waitAfter({ status, code, detail, retryAfterMs }: Answer, begunMs: number): void {
    const isNew = begunMs >= notBeforeMs;
    if (isNew) failures += 1;
    // Full jitter, on top of what the server asks for: clients that failed together do not come back together.
    const jitterMs = isNew ? random() * Math.min(firstWaitMs * 2 ** (failures - 1), longestWaitMs) : 0;
    notBeforeMs = Math.max(notBeforeMs, clock.now() + retryAfterMs + jitterMs);
    const waitMs = notBeforeMs - clock.now();
    tell(() => options.onFailure?.({ failures, waitMs, status, code, detail }));
  }

  function release(entries: Iterable<Entry>): void {
    for (const entry of entries) {
      held.delete(entry);
      heldBytes -= entry.bytes;
    }
    const [oldest] = held;
    while (flushes.length > 0 && (oldest?.number ?? Infinity) > flushes[0]!.upTo) flushes.shift()!.resolve();
  }

  function flush(): Promise<void> {
    released = newest;
    const done = new Promise<void>((resolve) => flushes.push({ upTo: newest, resolve }));
    release([]);
    sendDue();
    return done;
  }

  async function handBack(withinMs: number): Promise<DaybookEvent[]> {
    leavePage?.();
    let stopWait = () => {};
    const late = new Promise<void>((resolve) => {
      stopWait = clock.after(withinMs, resolve);
    });
    await Promise.race([flush(), late]);
    stopWait();
    stopTimer();
    queue.length = 0;
    const left = [...held];
    release(left);
    for (const controller of requests) controller.abort(new Error('The client is closed.'));
    return left.map(({ text }) => JSON.parse(text));
  }

  return {
    send,
    flush,
    close({ withinMs = 10_000 } = {}) {
      closing ??= handBack(withinMs);
      return closing;
    },
    held: () => ({ events: held.size, bytes: heldBytes }),
  };
}

/** What the caller's function throws is the caller's, and stops nothing here. */
function tell(run: () => void): void {
  void Promise.resolve().then(run);
}

/** 32 hex digits. crypto.randomUUID is not there in pages without TLS. */
function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
