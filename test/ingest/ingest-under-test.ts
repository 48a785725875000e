/** Ingest on a free port of this machine with a writer of the test's own, and senders that sign. */
import { createHmac } from 'node:crypto';
import { pino } from 'pino';
import type { Target } from '../../ingest/publish/group-commit.ts';
import { noObserver, type Observer } from '../../ingest/publish/observer.ts';
import { defaultTimeouts, type Ingest, serve, type Timeouts } from '../../ingest/serve.ts';
import type { BackingStore } from '../../ingest/spool/backing-store.ts';
import { openMemoryStore } from '../../ingest/spool/memory-store.ts';
import { type Clock, systemClock } from '../../shared/clock.ts';
import { type EnvelopeHeader, readEnvelope } from '../../shared/envelope.ts';
import { DaybookError } from '../../shared/errors.ts';
import { type Source, secretsOf, sourcesSchema } from '../../shared/schemes/sources.ts';
import type { AppendRecord, EventStreamWriter } from '../../shared/stream/stream.ts';
import { signatureHeader } from '../stripe/webhook-sender.ts';

export const stripeSecret = 'whsec_under_test';
export const pandaSecret = 'changeme';

/** Remembers what it acknowledged. `intercept` runs before each append and may wait or throw. */
export interface MemoryWriter extends EventStreamWriter {
  readonly records: AppendRecord[];
  /** The number of records of each append that was tried. */
  readonly appends: number[];
  intercept: ((records: readonly AppendRecord[]) => Promise<void> | void) | undefined;
  probeError: Error | undefined;
  proveError: Error | undefined;
  closed: boolean;
}

export function memoryWriter(maxValueBytes?: number): MemoryWriter {
  return {
    records: [],
    appends: [],
    intercept: undefined,
    probeError: undefined,
    proveError: undefined,
    closed: false,
    maxValueBytes,
    async append(records) {
      this.appends.push(records.length);
      await this.intercept?.(records);
      this.records.push(...records);
    },
    async probe() {
      if (this.probeError !== undefined) throw this.probeError;
    },
    async prove() {
      if (this.proveError !== undefined) throw this.proveError;
    },
    async close() {
      this.closed = true;
    },
  };
}

/** A writer as the only target there is: what it refuses for good is refused, and so is what it does not take in time. */
export function targetOf(writer: EventStreamWriter): () => Target {
  const refusal = (cause: unknown) => new DaybookError('stream_unavailable', { cause });
  const target: Target = {
    append: (records) => writer.append(records),
    judge(error, isAlone) {
      if (error instanceof DaybookError && error.retry) return 'again';
      return isAlone ? refusal(error) : 'apart';
    },
    late: refusal,
  };
  return () => target;
}

export interface LogLine {
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface IngestUnderTest extends Ingest {
  readonly url: string;
  readonly log: LogLine[];
}

export interface UnderTestOptions {
  readonly writer?: EventStreamWriter;
  /** A spool in memory where none is given; `no spool`: one that is always full. */
  readonly spool?: BackingStore | 'no spool';
  readonly isSpoolDurable?: boolean;
  readonly isStreamAway?: boolean;
  readonly observer?: Observer;
  /** 127.0.0.1 where none is given. */
  readonly host?: string;
  readonly sources?: readonly unknown[];
  readonly trustedProxies?: readonly string[];
  readonly clock?: Clock;
  readonly maxBodyBytes?: number;
  readonly publishDeadlineMs?: number;
  readonly timeouts?: Partial<Timeouts>;
}

export const defaultSources = [
  { name: 'platform', scheme: 'stripe', secrets: [stripeSecret] },
  { name: 'live', scheme: 'stripe', secrets: [stripeSecret], mode: 'live' },
  { name: 'sandbox', scheme: 'stripe', secrets: [stripeSecret], mode: 'test' },
  { name: 'connect', scheme: 'stripe', secrets: [stripeSecret], mode: 'live', accounts: ['acct_1'] },
  { name: 'billing', scheme: 'panda', secrets: ['billing-old', pandaSecret] },
  { name: 'editor', scheme: 'panda', secrets: ['editor-secret'] },
];

/** In memory. `maxBytes`: 0 takes nothing. */
export async function memorySpool(maxBytes = 64 * 1024 * 1024, clock: Clock = systemClock): Promise<BackingStore> {
  const log = pino({ level: 'silent' });
  return openMemoryStore({ params: { maxBytes }, dataDirectory: '', clock, log, use: 'drain' });
}

/** A spool that does not answer. */
export async function brokenSpool(cause: Error = new Error('gone')): Promise<BackingStore> {
  const fail = () => Promise.reject(new DaybookError('spool_unavailable', { cause }));
  return { ...(await memorySpool()), append: fail, peek: fail, size: fail };
}

export async function startIngest(options: UnderTestOptions = {}): Promise<IngestUnderTest> {
  const log: LogLine[] = [];
  const ingest = await serve({
    host: options.host ?? '127.0.0.1',
    port: 0,
    sources: sourcesSchema.parse(options.sources ?? defaultSources).map((source: Source) => ({
      source,
      secrets: secretsOf(source, source.name, {}, []),
    })),
    trustedProxies: options.trustedProxies,
    maxBodyBytes: options.maxBodyBytes ?? 1_048_576,
    publishDeadlineMs: options.publishDeadlineMs ?? 5000,
    writer: options.writer ?? memoryWriter(),
    spool: options.spool === 'no spool' ? await memorySpool(0) : (options.spool ?? (await memorySpool())),
    isSpoolDurable: options.isSpoolDurable ?? true,
    isStreamAway: options.isStreamAway ?? false,
    observer: options.observer ?? noObserver,
    clock: options.clock ?? systemClock,
    log: pino({ level: 'debug' }, { write: (line: string) => void log.push(JSON.parse(line)) }),
    timeouts: { ...defaultTimeouts, ...options.timeouts },
  });
  return { ...ingest, url: `http://127.0.0.1:${ingest.port}`, log };
}

/** Resolves once the condition holds. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(setImmediate);
}

/** The least Stripe event that is taken, created now. */
export function stripeEvent(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    id: 'evt_1',
    object: 'event',
    type: 'invoice.paid',
    created: Math.floor(Date.now() / 1000),
    livemode: false,
    data: { object: { id: 'in_1', object: 'invoice' } },
    ...changes,
  };
}

export function stripeHeaders(body: string | Uint8Array, timestampSeconds?: number): Record<string, string> {
  const signed = { body, secrets: [stripeSecret], ...(timestampSeconds === undefined ? {} : { timestampSeconds }) };
  return { 'content-type': 'application/json; charset=utf-8', 'stripe-signature': signatureHeader(signed) };
}

export function pandaHeaders(path = '/events', secret = pandaSecret, date = new Date()): Record<string, string> {
  const signedDate = date.toUTCString();
  const token = createHmac('sha256', secret).update(`${signedDate}\n${path}`).digest('base64');
  return {
    'content-type': 'application/json',
    'x-gu-tools-hmac-date': signedDate,
    'x-gu-tools-hmac-token': `HMAC ${token}`,
  };
}

/** An event with the fields that /events asks for. */
export function serverEvent(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    app: 'billing',
    stage: 'PROD',
    type: 'invoice.sent',
    value: 1,
    eventTime: new Date().toISOString(),
    ...changes,
  };
}

export function cloudEvent(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return { specversion: '1.0', id: 'ce-1', source: '/billing', type: 'invoice.sent', ...changes };
}

/** Sends bytes as they are: supertest would make JSON of a string or a Buffer of its own. */
export async function post(
  url: string,
  headers: Record<string, string>,
  body: string | Uint8Array,
): Promise<{ status: number; headers: Headers; json: Record<string, unknown> & { errors?: { pointer: string }[] } }> {
  const response = await fetch(url, { method: 'POST', headers, body: Buffer.from(body as Uint8Array) });
  return {
    status: response.status,
    headers: response.headers,
    json: (await response.json()) as Record<string, unknown>,
  };
}

export function envelopes(writer: MemoryWriter): { key: string; header: EnvelopeHeader; data: string }[] {
  return writer.records.map(({ key, value }) => {
    const envelope = readEnvelope(value);
    if ('reason' in envelope) throw new Error(envelope.reason);
    return { key, header: envelope.header, data: envelope.data.toString() };
  });
}
