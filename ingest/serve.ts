/** Opens ingest's public listener and closes it again without losing what it took. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Clock } from '../shared/clock.ts';
import { DaybookError } from '../shared/errors.ts';
import type { Logger } from '../shared/log.ts';
import type { Secret } from '../shared/secrets.ts';
import type { Source } from '../shared/sources.ts';
import type { EventStreamWriter } from '../shared/stream/stream.ts';
import { createApp, type Doors } from './app.ts';
import { eventsProtocol } from './events-protocol.ts';
import { openGroupCommit } from './group-commit.ts';
import type { Protocol } from './protocol.ts';
import { openBodyBudget } from './read-body.ts';
import { stripeProtocol } from './stripe-protocol.ts';

/** A source with the secrets that its references stand for. */
export interface ResolvedSource {
  readonly source: Source;
  readonly secrets: readonly Secret[];
}

export interface ServeOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly sources: readonly ResolvedSource[];
  readonly maxBodyBytes: number;
  readonly publishDeadlineMs: number;
  /** Closed by `Ingest.close`. */
  readonly writer: EventStreamWriter;
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts?: Timeouts;
}

/** All in milliseconds; parameters for the sake of tests alone. */
export interface Timeouts {
  /** From the first byte (or the opened connection) until all headers are in. */
  readonly headersMs: number;
  /** Until the whole request is in. */
  readonly requestMs: number;
  /** How often the two above are looked at. */
  readonly checkMs: number;
  readonly keepAliveMs: number;
  readonly probeMs: number;
  /** After the signal to stop: when waiting requests are answered 503, when connections are cut, when the writer's close is no longer awaited. */
  readonly stopWaitingMs: number;
  readonly cutMs: number;
  readonly abandonMs: number;
}

export const defaultTimeouts: Timeouts = {
  headersMs: 10_000,
  requestMs: 30_000,
  checkMs: 1_000,
  // Longer than the idle time of common load balancers (60 s): the side that closes first should be theirs.
  keepAliveMs: 65_000,
  probeMs: 2_000,
  stopWaitingMs: 7_500,
  cutMs: 8_000,
  abandonMs: 9_000,
};

export interface Ingest {
  /** The real one, also where 0 was asked for. */
  readonly port: number;
  /**
   * Stops accepting, answers what it took, closes the writer. Resolves within `abandonMs` even if a client stays
   * connected or the stream hangs. May be called again: the same promise.
   */
  close(): Promise<void>;
}

/** Kept beside the largest body in a record of the stream, for the envelope's header. */
export const envelopeBytes = 32 * 1024;
const maxBodiesBytes = 256 * 1024 * 1024;

/** Resolves when the port is open; rejects with `listener_unavailable`. */
export async function serve(options: ServeOptions): Promise<Ingest> {
  const { writer, log, clock, publishDeadlineMs, timeouts = defaultTimeouts } = options;
  const groupCommit = openGroupCommit(writer);
  let closing: Promise<void> | undefined;
  const app = createApp(
    doorsOf(options.sources),
    {
      clock,
      maxBodyBytes: fittingBodyBytes(options.maxBodyBytes, writer, log),
      bodyBudget: openBodyBudget(maxBodiesBytes),
      publishing: { groupCommit, deadlineMs: publishDeadlineMs },
    },
    { closing: () => closing !== undefined, probe: () => probeWithin(writer, timeouts.probeMs) },
    log,
  );
  const server = createServer(
    {
      headersTimeout: timeouts.headersMs,
      requestTimeout: timeouts.requestMs,
      connectionsCheckingInterval: timeouts.checkMs,
      keepAliveTimeout: timeouts.keepAliveMs,
    },
    app,
  );
  const { address, port } = await listen(server, options.host, options.port);
  log.info({ host: address, port, sources: options.sources.map(({ source }) => source.name) }, 'listening');

  async function close(): Promise<void> {
    const timers = [
      setTimeout(() => void groupCommit.close(), timeouts.stopWaitingMs),
      setTimeout(() => server.closeAllConnections(), timeouts.cutMs),
    ];
    const abandoned = within(timeouts.abandonMs);
    await Promise.race([finish(), abandoned.passed]);
    for (const timer of timers) clearTimeout(timer);
    abandoned.cancel();
    log.info('stopped');
  }

  async function finish(): Promise<void> {
    // Resolves when the last connection is closed: idle ones at once, busy ones with their answer.
    await new Promise((resolve) => server.close(resolve));
    // Dies here: every request was answered or cut; what was answered 2xx is durable.
    await groupCommit.close();
    await writer.close();
  }

  return {
    port,
    close: () => {
      closing ??= Promise.resolve().then(close);
      return closing;
    },
  };
}

function doorsOf(sources: readonly ResolvedSource[]): Doors {
  const webhooks = new Map<string, Protocol>();
  const callers = new Map<string, readonly Secret[]>();
  for (const { source, secrets } of sources) {
    if (source.scheme === 'stripe') webhooks.set(source.name, stripeProtocol(source, secrets));
    else callers.set(source.name, secrets);
  }
  return { webhooks, events: eventsProtocol(callers) };
}

/** The body limit, lowered where a record of the stream does not hold such a body and its envelope. */
function fittingBodyBytes(maxBodyBytes: number, writer: EventStreamWriter, log: Logger): number {
  const fitting = writer.maxValueBytes === undefined ? maxBodyBytes : writer.maxValueBytes - envelopeBytes;
  if (fitting >= maxBodyBytes) return maxBodyBytes;
  log.warn({ asked: maxBodyBytes, maxBodyBytes: fitting }, 'INGEST_MAX_BODY_BYTES lowered to what a record holds');
  return fitting;
}

function listen(server: Server, host: string, port: number): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      reject(new DaybookError('listener_unavailable', { detail: `${host}:${port} cannot be opened`, cause }));
    });
    server.listen(port, host, () => resolve(server.address() as AddressInfo));
  });
}

async function probeWithin(writer: EventStreamWriter, limitMs: number): Promise<void> {
  const limit = within(limitMs);
  try {
    await Promise.race([
      writer.probe(),
      limit.passed.then(() => Promise.reject(new Error(`no answer in ${limitMs} ms`))),
    ]);
  } catch (cause) {
    throw new DaybookError('stream_unavailable', { cause });
  } finally {
    limit.cancel();
  }
}

function within(ms: number): { passed: Promise<void>; cancel(): void } {
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  return { passed, cancel: () => clearTimeout(timer) };
}
