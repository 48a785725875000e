/** Opens ingest's public listener and closes it again without losing what it took. */

import { addressList } from '../shared/address-list.ts';
import type { Clock } from '../shared/clock.ts';
import type { StreamKey } from '../shared/crypto/stream-seal.ts';
import { envelopeBytes } from '../shared/envelope.ts';
import { messageOf } from '../shared/errors.ts';
import { listen } from '../shared/http/listen.ts';
import { createProblemServer } from '../shared/http/problem-server.ts';
import type { Listening } from '../shared/program/listening.ts';
import type { Logger } from '../shared/program/log.ts';
import { withTimeLimit } from '../shared/program/time-limit.ts';
import type { EventStreamWriter } from '../shared/stream/stream.ts';
import { createApp } from './app.ts';
import type { Observer } from './publish/observer.ts';
import { type OpenPublishing, openPublishing } from './publish-or-spool.ts';
import { boundIdleConnections } from './receive/idle-connections.ts';
import { openBodyBudget } from './receive/read-body.ts';
import type { Reception } from './receive-event.ts';
import { doorsOf } from './schemes/doors.ts';
import type { ResolvedSource } from './schemes/resolved-source.ts';
import type { BackingStore } from './spool/backing-store.ts';

export interface ServeOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly sources: readonly ResolvedSource[];
  /** Addresses and CIDR ranges; none: nobody's X-Forwarded-For is believed. */
  readonly trustedProxies?: readonly string[] | undefined;
  readonly maxBodyBytes: number;
  readonly publishDeadlineMs: number;
  /** Seals each record. */
  readonly streamKey?: StreamKey | undefined;
  /** Both closed by `Ingest.close`. */
  readonly writer: EventStreamWriter;
  readonly spool: BackingStore;
  /** Whether what waits in the spool outlives this process. Where not, a stop tries to the end of its time to drain it. */
  readonly isSpoolDurable: boolean;
  /** The stream is known to be away: nobody waits for it first. */
  readonly isStreamAway?: boolean;
  readonly observer: Observer;
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
  /**
   * After the signal to stop: when waiting requests go to the spool, when those that still wait are answered 503, when
   * connections are cut, when the drain ends, when the closing of stream and spool is no longer awaited.
   */
  readonly spoolMs: number;
  readonly stopWaitingMs: number;
  readonly cutMs: number;
  readonly drainMs: number;
  readonly abandonMs: number;
}

export const defaultTimeouts: Timeouts = {
  headersMs: 10_000,
  requestMs: 30_000,
  checkMs: 1_000,
  // Longer than the idle time of common load balancers (60 s): the side that closes first should be theirs.
  keepAliveMs: 65_000,
  probeMs: 2_000,
  spoolMs: 4_000,
  stopWaitingMs: 6_500,
  cutMs: 7_000,
  drainMs: 8_500,
  abandonMs: 9_000,
};

export interface Ingest extends Listening {
  /** Judges by these sources all requests that come from now on; those in hand end by those that they met. */
  take(sources: readonly ResolvedSource[]): void;
  /**
   * Stops accepting, answers what it took, drains the spool as far as time allows, closes both. Resolves within
   * `abandonMs` even if a client stays connected or the stream hangs. May be called again: the same promise.
   */
  close(): Promise<void>;
}

/** Of bodies that are whole and wait for the stream, and of those that are not whole yet. */
const bodyLimits = { maxBytes: 256 * 1024 * 1024, maxUnfinishedBytes: 32 * 1024 * 1024 };

/** Resolves when the port is open; rejects with `listener_unavailable`. */
export async function serve(options: ServeOptions): Promise<Ingest> {
  const { writer, spool, log, clock, observer, timeouts = defaultTimeouts } = options;
  const { isStreamAway = false, publishDeadlineMs: deadlineMs } = options;
  const publishing = await openPublishing({ writer, store: spool, deadlineMs, isStreamAway, clock, observer, log });
  let closing: Promise<void> | undefined;
  let doors = doorsOf(options.sources);
  const app = createApp(
    () => doors,
    receptionOf(options, publishing),
    { closing: () => closing !== undefined, probe: () => publishing.ready(timeouts.probeMs) },
    log,
    observer,
    options.trustedProxies && addressList(options.trustedProxies),
  );
  const server = createProblemServer(
    {
      headersTimeout: timeouts.headersMs,
      requestTimeout: timeouts.requestMs,
      connectionsCheckingInterval: timeouts.checkMs,
      keepAliveTimeout: timeouts.keepAliveMs,
    },
    app,
    ({ status, code }, reason) => {
      observer.answered({
        route: 'unknown',
        source: undefined,
        keyid: undefined,
        status,
        code,
        records: 0,
        seconds: 0,
      });
      log.info({ route: 'unknown', bytes: 0, records: 0, status, code, reason }, 'request');
    },
  );
  boundIdleConnections(server);
  const { address, port } = await listen(server, options.host, options.port, 'INGEST_PORT').catch(
    async (error: unknown) => {
      await publishing.stop();
      await publishing.finish(0, false);
      throw error;
    },
  );
  log.info({ host: address, port, sources: options.sources.map(({ source }) => source.name) }, 'listening');

  async function close(): Promise<void> {
    const startedMs = performance.now();
    const timers = [
      setTimeout(() => publishing.spoolNow(), timeouts.spoolMs),
      setTimeout(() => void publishing.stop(), timeouts.stopWaitingMs),
      setTimeout(() => server.closeAllConnections(), timeouts.cutMs),
    ];
    await withTimeLimit(timeouts.abandonMs, finish(startedMs)).catch((error: unknown) => {
      log.warn({ reason: messageOf(error) }, 'stopped before all was closed');
    });
    for (const timer of timers) clearTimeout(timer);
    log.info('stopped');
  }

  async function finish(startedMs: number): Promise<void> {
    // Resolves when the last connection is closed: idle ones at once, busy ones with their answer.
    await new Promise((resolve) => server.close(resolve));
    await publishing.stop();
    // Dies here: every request was answered or cut; what was answered 2xx is durable.
    const leftMs = Math.max(timeouts.drainMs - (performance.now() - startedMs), 0);
    const records = await publishing.finish(leftMs, !options.isSpoolDurable);
    if (records !== 0) {
      if (options.isSpoolDurable) log.warn({ records }, 'records stay in the spool until the next start');
      else log.error({ records }, 'records that were in the spool are lost with this process');
    }
    await Promise.all([writer.close(), spool.close()]);
  }

  return {
    host: address,
    port,
    take(sources) {
      doors = doorsOf(sources);
    },
    close: () => {
      closing ??= Promise.resolve().then(close);
      return closing;
    },
  };
}

function receptionOf(
  { clock, maxBodyBytes, writer, log, streamKey }: ServeOptions,
  publishing: OpenPublishing,
): Reception {
  let fitting = maxBodyBytes;

  /** The limit, lowered where a record of the stream does not hold such a body and its envelope: once that is known. */
  function fittingBodyBytes(): number {
    const most = writer.maxValueBytes;
    if (most !== undefined && most - envelopeBytes < fitting) {
      fitting = most - envelopeBytes;
      log.warn({ asked: maxBodyBytes, maxBodyBytes: fitting }, 'INGEST_MAX_BODY_BYTES lowered to what a record holds');
    }
    return fitting;
  }

  fittingBodyBytes();
  return {
    clock,
    get maxBodyBytes() {
      return fittingBodyBytes();
    },
    bodyBudget: openBodyBudget(bodyLimits),
    publishing,
    streamKey,
  };
}
