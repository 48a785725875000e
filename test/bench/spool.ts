/**
 * What the spool costs: ingest as a process of its own whose stream is a Kafka that nothing listens for, under the load of
 * ingest.ts, beside the same with the embedded stream; then the drain of what it took, by an ingest that finds a stream
 * when it starts again; then the peak memory of one that drains a spool of a million records.
 */
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { openSpool } from '../../ingest/spool/open-spool.ts';
import { systemClock } from '../../shared/clock.ts';
import type { SpoolSettings } from '../../shared/config.ts';
import type { StreamConfiguration } from '../../shared/stream/open.ts';
import { stripeRecord } from '../compactor/books.ts';
import { freePorts } from '../services/service.ts';
import { newTopicName } from '../shared/stream/kafka/kafka-under-test.ts';
import { eachStripeEvent } from '../stripe/events.ts';
import {
  assertStored,
  type BenchedIngest,
  cpuSecondsOf,
  drive,
  type IngestBenchRow,
  makeRequests,
  measure,
  startBenchedIngest,
  warmUpEvents,
} from './ingest.ts';

export interface DrainRow {
  readonly name: string;
  readonly records: number;
  readonly wallSeconds: number;
  readonly cpuSecondsPer1000: number;
  /** Of the process, from its start, as is its CPU time. */
  readonly peakMegabytes: number;
}

export interface SpoolBench {
  readonly embedded: IngestBenchRow;
  readonly spooling: IngestBenchRow;
  /** Of what `spooling` took, into each stream. */
  readonly drains: readonly DrainRow[];
}

const embedded: StreamConfiguration = { type: 'embedded' };
const manyBytes = 64 * 1024 ** 3;

async function inFolder<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'daybook-bench-'));
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function whileRunning<T>(
  directory: string,
  settings: Readonly<Record<string, string>>,
  work: (ingest: BenchedIngest) => Promise<T>,
): Promise<T> {
  const ingest = await startBenchedIngest(directory, settings);
  try {
    const result = await work(ingest);
    await ingest.stop();
    return result;
  } finally {
    await ingest.end();
  }
}

/** Throws if an event was refused, or is not in a stream after the drain. */
export async function benchSpool(events: number, streams: readonly StreamConfiguration[]): Promise<SpoolBench> {
  const made = makeRequests(warmUpEvents + events);
  const underLoad = (directory: string, name: string, stream: StreamConfiguration) =>
    whileRunning(directory, { DAYBOOK_STREAM: JSON.stringify(stream) }, async (ingest) => {
      await drive(ingest.port, made.requests.slice(0, warmUpEvents));
      return measure(ingest, name, made, warmUpEvents, events);
    });
  return inFolder(async (folder) => {
    const beside = await inFolder((directory) => underLoad(directory, 'to the embedded stream', embedded));
    const [closedPort] = await freePorts(1);
    const away: StreamConfiguration = {
      type: 'kafka',
      params: { brokers: [`127.0.0.1:${closedPort}`], topic: newTopicName() },
    };
    const spooling = await underLoad(folder, 'to the file spool, the stream away', away);
    const drains: DrainRow[] = [];
    for (const stream of streams) {
      const row = await inFolder(async (directory) => {
        await cp(join(folder, 'spool'), join(directory, 'spool'), { recursive: true });
        const drained = await drain(directory, `file spool into ${stream.type}`, stream, made.ids.length);
        await assertStored(made, stream, directory);
        return drained;
      });
      drains.push(row);
    }
    return { embedded: beside, spooling, drains };
  });
}

/** Fills a spool beside any ingest, and drains it into the embedded stream. */
export async function benchSpoolMemory(records: number, spool: SpoolSettings): Promise<DrainRow> {
  const settings = { ...spool, params: { ...spool.params, maxBytes: manyBytes } };
  return inFolder(async (directory) => {
    await fill(directory, records, settings);
    return drain(directory, `${spool.type} spool into embedded`, embedded, records, settings);
  });
}

async function fill(dataDirectory: string, records: number, settings: SpoolSettings): Promise<void> {
  const log = pino({ level: 'silent' });
  const store = await openSpool(settings, { dataDirectory, clock: systemClock, log, use: 'drain' });
  const toSeconds = Math.floor(Date.now() / 1000);
  let batch: ReturnType<typeof stripeRecord>[] = [];
  for (const { text } of eachStripeEvent({
    count: records,
    seed: 'bench',
    fromSeconds: toSeconds - 86_400,
    toSeconds,
  })) {
    batch.push(stripeRecord(text));
    if (batch.length < 1_000) continue;
    await store.append(batch);
    batch = [];
  }
  await store.append(batch);
  await store.close();
}

/**
 * Starts ingest on a spool that is not empty, and ends it when the spool is. The time is what its log says: the drain
 * begins right after the metrics' port is open, and gives the door back to the stream when nothing is left.
 */
async function drain(
  directory: string,
  name: string,
  stream: StreamConfiguration,
  records: number,
  spool: SpoolSettings = { type: 'file' },
): Promise<DrainRow> {
  const settings = { DAYBOOK_STREAM: JSON.stringify(stream), INGEST_SPOOL: JSON.stringify(spool) };
  return whileRunning(directory, settings, async ({ pid, said }) => {
    const { time: end } = await said('"events go to the stream"');
    const { time: start } = await said('"metrics listening"');
    return {
      name,
      records,
      wallSeconds: (Date.parse(end) - Date.parse(start)) / 1000,
      cpuSecondsPer1000: ((await cpuSecondsOf(pid)) * 1000) / records,
      peakMegabytes: await peakMegabytesOf(pid),
    };
  });
}

async function peakMegabytesOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
}
