/**
 * What passing an event on to readers costs: `daybook-ingest redact --once` as a user starts it, on a stream that is full,
 * measured over its whole life; and beside it, in this process, what becoming the readers' record takes of that, which is all
 * that a stage within ingest would have to do but for the append.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readersRecord } from '../../ingest/redact/readers-record.ts';
import { compileRules } from '../../ingest/redact/rules.ts';
import type { StreamConfiguration } from '../../shared/stream/streams.ts';
import { stripeRecord } from '../compactor/books.ts';
import { stripeEvents } from '../stripe/events.ts';
import { type CompactRow, embeddedToDirectory, fill } from './compact.ts';

const program = fileURLToPath(new URL('../../ingest/main.ts', import.meta.url));
const preload = new URL('at-exit.ts', import.meta.url).href;

/** A row of the command, from `stream` to `readers`, and one of the redaction alone. Throws if it fails. */
export async function benchRedact(
  stream: StreamConfiguration,
  readers: StreamConfiguration,
  events = 100_000,
): Promise<CompactRow[]> {
  const directory = await mkdtemp(join(tmpdir(), 'daybook-bench-'));
  const measuredFile = join(directory, 'measured.json');
  try {
    await fill(directory, events, { ...embeddedToDirectory, stream });
    const started = performance.now();
    const child = spawn(process.execPath, ['--import', preload, program, 'redact', '--once'], {
      cwd: directory,
      env: {
        PATH: process.env.PATH,
        BENCH_MEASURED: measuredFile,
        DAYBOOK_DATA_DIR: directory,
        DAYBOOK_STREAM: JSON.stringify(stream),
        DAYBOOK_READERS_STREAM: JSON.stringify(readers),
        LOG_LEVEL: 'error',
      },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const [code] = await once(child, 'exit');
    if (code !== 0) throw new Error(`redact: exit ${code}`);
    const wallSeconds = (performance.now() - started) / 1000;
    const measured = JSON.parse(await readFile(measuredFile, 'utf8'));
    // A tenth is there twice.
    const records = events + Math.floor(events / 10);
    return [{ name: `redact, ${stream.type} to ${readers.type}`, events: records, wallSeconds, ...measured }, alone()];
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function alone(events = 20_000): CompactRow {
  const made = stripeEvents({ count: events, seed: 'bench', fromSeconds: 1_763_600_000, toSeconds: 1_763_686_400 });
  const values = made.map(({ text }) => stripeRecord(text).value);
  const rules = { ruleOf: compileRules({ defaults: true, rules: [] }), hashKey: undefined, streamKeys: undefined };
  for (const value of values) readersRecord(value, rules);
  const before = process.cpuUsage();
  const started = performance.now();
  for (const value of values) readersRecord(value, rules);
  const { user, system } = process.cpuUsage(before);
  const wallSeconds = (performance.now() - started) / 1000;
  return { name: 'the redaction alone', events, cpuSeconds: (user + system) / 1e6, wallSeconds, peakMegabytes: 0 };
}
