/**
 * Compacting one day from the embedded stream to a directory, and beside it the floor: a plain loop over JSON.parse,
 * sorted stringify, gzip and age of the same bodies in one process; or the same day from another stream to another
 * store. Each runs in a child of its own, whose CPU time (user and system, all threads) and peak memory are its whole
 * life's. What servers use is not in it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { createGzip } from 'node:zlib';
import { Encrypter, generateIdentity, identityToRecipient } from 'age-encryption';
import { pino } from 'pino';
import { startOfDayMs, systemClock } from '../../shared/clock.ts';
import { keepHeapSmall } from '../../shared/program/memory.ts';
import { openStore, type StoreConfiguration } from '../../shared/store/open.ts';
import { openEmbeddedReader } from '../../shared/stream/embedded/embedded.ts';
import { openReader, openWriter, type StreamConfiguration } from '../../shared/stream/open.ts';
import { openBooks, stripeRecord } from '../compactor/books.ts';
import { eachStripeEvent } from '../stripe/events.ts';

export interface CompactRow {
  readonly name: string;
  readonly events: number;
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
  readonly peakMegabytes: number;
}

export const day = '2026-11-18';
const duplicatesShare = 0.1;
const log = pino({ level: 'silent' });

/** Between what a day is compacted. */
interface Route {
  readonly stream: StreamConfiguration;
  readonly store: StoreConfiguration;
}

export const embeddedToDirectory: Route = { stream: { type: 'embedded' }, store: { type: 'directory' } };

/** Rows for each count of distinct events; a tenth of them is delivered twice. */
export async function benchCompact(counts: readonly number[]): Promise<CompactRow[]> {
  const rows: CompactRow[] = [];
  for (const events of counts) {
    const directory = await mkdtemp(join(tmpdir(), 'daybook-bench-'));
    try {
      await inChild('fill', directory, events);
      rows.push({ name: 'compact', events, ...(await inChild('compact', directory, events)) });
      rows.push({ name: 'floor: parse, sort, gzip, age', events, ...(await inChild('floor', directory, events)) });
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }
  return rows;
}

/** The same events from embedded to directory, and by a route whose stream and store are empty; a row each. */
export async function benchRoute(route: Route, events = 100_000): Promise<[embedded: CompactRow, other: CompactRow]> {
  const row = async (taken: Route): Promise<CompactRow> => {
    const directory = await mkdtemp(join(tmpdir(), 'daybook-bench-'));
    try {
      await inChild('fill', directory, events, taken);
      const measured = await inChild('compact', directory, events, taken);
      return { name: `compact, ${taken.stream.type} to ${taken.store.type}`, events, ...measured };
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  };
  return [await row(embeddedToDirectory), await row(route)];
}

type Measured = Omit<CompactRow, 'name' | 'events'>;

async function inChild(
  step: string,
  directory: string,
  events: number,
  route: Route = embeddedToDirectory,
): Promise<Measured> {
  const parameters = [step, directory, String(events), JSON.stringify(route)];
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), ...parameters], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  const exited = once(child, 'exit');
  for await (const chunk of child.stdout) output += chunk;
  const [exitCode] = await exited;
  if (exitCode !== 0) throw new Error(`bench step ${step} failed`);
  return JSON.parse(output);
}

/** The day's events on the stream, a tenth of them twice. */
export async function fill(directory: string, events: number, { stream }: Route): Promise<void> {
  const writer = await openWriter(stream, directory, log);
  const fromSeconds = startOfDayMs(day) / 1000;
  let batch: ReturnType<typeof stripeRecord>[] = [];
  let number = 0;
  for (const { text } of eachStripeEvent({
    count: events,
    seed: 'bench',
    fromSeconds,
    toSeconds: fromSeconds + 86_400,
  })) {
    batch.push(stripeRecord(text));
    number += 1;
    if (number % (1 / duplicatesShare) === 0) batch.push(stripeRecord(text, { receivedAt: `${day}T23:59:59.999Z` }));
    if (batch.length >= 500) {
      await writer.append(batch);
      batch = [];
    }
  }
  await writer.append(batch);
  await writer.close();
}

async function compactDay(directory: string, events: number, route: Route): Promise<void> {
  keepHeapSmall();
  const { store } = await openStore(route.store, directory, { willCreate: true });
  const books = await openBooks({ directory, store });
  const reader = await openReader(route.stream, directory, { consumer: 'bench', clock: systemClock, log });
  const report = await books.night([{ name: 'platform' }], { stream: () => reader });
  await reader.close();
  await store.close();
  const counts = report.days.find((entry) => entry.day === day)?.counts;
  if (counts?.delivered !== events || counts.duplicates !== Math.floor(events * duplicatesShare)) {
    throw new Error(`archived ${JSON.stringify(counts)} of ${events} events: ${JSON.stringify(report.errors)}`);
  }
}

async function floor(directory: string): Promise<void> {
  const reader = await openEmbeddedReader({ directory, consumer: 'floor', clock: { now: () => new Date() } });
  const encrypter = new Encrypter();
  encrypter.addRecipient(await identityToRecipient(await generateIdentity()));
  const gzip = createGzip({ level: 6 });
  const lines = async function* () {
    const snapshot = await reader.snapshot();
    let chunk = '';
    for (const partition of snapshot.partitions.keys()) {
      for await (const { entries } of reader.read(partition, undefined, snapshot)) {
        for (const { value } of entries) {
          const record = JSON.parse(Buffer.from(value).toString());
          chunk += `${JSON.stringify(sorted(record.data))}\n`;
          if (chunk.length > 65_536) {
            yield Buffer.from(chunk);
            chunk = '';
          }
        }
      }
    }
    yield Buffer.from(chunk);
  };
  const packed = Readable.toWeb(Readable.from(lines()).pipe(gzip)) as ReadableStream<Uint8Array>;
  const sealed = await encrypter.encrypt(packed);
  await pipeline(Readable.fromWeb(sealed as never), createWriteStream(join(directory, 'floor.age')));
}

/** Of this program alone: `maxRSS` of a fresh process begins at what its parent had. */
async function peakMegabytes(): Promise<number> {
  const status = await readFile('/proc/self/status', 'utf8');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const members = value as Record<string, unknown>;
  return Object.fromEntries(
    Object.keys(members)
      .sort()
      .map((name) => [name, sorted(members[name])]),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [step, directory, events, routeText] = process.argv.slice(2) as [string, string, string, string];
  const route: Route = JSON.parse(routeText);
  const started = performance.now();
  if (step === 'fill') await fill(directory, Number(events), route);
  else if (step === 'compact') await compactDay(directory, Number(events), route);
  else await floor(directory);
  const { userCPUTime, systemCPUTime } = process.resourceUsage();
  const measured: Measured = {
    cpuSeconds: (userCPUTime + systemCPUTime) / 1e6,
    wallSeconds: (performance.now() - started) / 1000,
    peakMegabytes: await peakMegabytes(),
  };
  process.stdout.write(JSON.stringify(measured));
}
