#!/usr/bin/env node
/** daybook-ingest: receives, verifies, and puts on the stream. Only this file and its configuration know the process. */
import { Command } from 'commander';
import { systemClock } from '../shared/clock.ts';
import type { DaybookError } from '../shared/errors.ts';
import { openLog } from '../shared/log.ts';
import { keepHeapSmall } from '../shared/memory.ts';
import { openMetricsListener } from '../shared/metrics.ts';
import { notAvailable, runProgram } from '../shared/program.ts';
import { openWriter } from '../shared/stream/open.ts';
import { readServeConfiguration } from './configuration.ts';
import { doctorCommand } from './doctor/doctor.ts';
import { openLateWriter } from './late-writer.ts';
import { openIngestMetrics } from './metrics.ts';
import { serve } from './serve.ts';
import { openSpool } from './spool/open-spool.ts';
import { exportCommand, inspectCommand, requeueCommand } from './spool/spool-command.ts';

/** Ends by a signal, or where the stream turns out to refuse for good: then it rejects with why. */
async function runServe(): Promise<void> {
  const { settings, sources } = readServeConfiguration();
  const { DAYBOOK_DATA_DIR: dataDirectory, DAYBOOK_STREAM: stream, INGEST_SPOOL: spoolSettings } = settings;
  const log = openLog('ingest', settings.LOG_LEVEL);
  const clock = systemClock;
  const refused = Promise.withResolvers<never>();
  // Heard at the end of this function; until then a refusal must not go unheard.
  refused.promise.catch(() => undefined);
  await using closing = new AsyncDisposableStack();

  const spool = await openSpool(spoolSettings, { dataDirectory, clock, log, use: 'drain' });
  closing.defer(() => spool.close());
  const open = () => openWriter(stream, dataDirectory, log);
  const writer = await openLateWriter({ open, log, onRefused: (error: DaybookError) => refused.reject(error) });
  closing.defer(() => writer.close());
  const names = sources.map(({ source }) => source.name);
  const metrics = openIngestMetrics({ sources: names, spoolSize: () => spool.size(), log });
  closing.defer(() => metrics.close());
  const { INGEST_ADMIN_HOST: adminHost, INGEST_ADMIN_PORT: adminPort } = settings;
  const scrape = () => metrics.scrape();
  const listener = await openMetricsListener({ host: adminHost, port: adminPort, scrape, log });
  closing.defer(() => listener.close());

  const starting = serve({
    host: settings.INGEST_HOST,
    port: settings.INGEST_PORT,
    sources,
    maxBodyBytes: settings.INGEST_MAX_BODY_BYTES,
    publishDeadlineMs: settings.INGEST_PUBLISH_DEADLINE_MS,
    writer,
    spool,
    isSpoolDurable: spoolSettings.type !== 'memory',
    isStreamAway: !writer.isOpen(),
    observer: metrics.observer,
    clock,
    log,
  });
  const stop = async (signal: string): Promise<void> => {
    log.info({ signal }, 'stopping');
    await (await starting).close();
    // Whatever still hangs on (a stream that does not answer) must not keep the process.
    process.exit(0);
  };
  // In place before the port is open: who sees it open may send a signal.
  process.once('SIGTERM', stop).once('SIGINT', stop);
  const ingest = await starting;
  closing.defer(() => ingest.close());
  await refused.promise;
}

keepHeapSmall();
const program = new Command('daybook-ingest').description('Receives signed events and puts them on the stream.');
program.command('serve', { isDefault: true }).description('receive events (default)').action(runServe);

const spool = program.command('spool').description('what waits while the stream is away');
spool
  .command('inspect')
  .description('how much waits, since when, and what was put aside')
  .option('--json', 'print one JSON document')
  .action(inspectCommand);
spool.command('export').description('print the dead letters, one JSON line each').action(exportCommand);
spool
  .command('requeue')
  .description('bring dead letters back behind the records that wait')
  .option('--sequence <number...>', 'these alone')
  .action(requeueCommand);

program
  .command('doctor')
  .description('check the installation; or say why a captured request is refused')
  .option('--request <file>', 'a captured request: request line, headers, empty line, exact body (- for stdin)')
  .option('--headers <file>', 'with --body: its request line and headers')
  .option('--body <file>', 'with --headers: the exact bytes of its body')
  .option('--at <time>', 'when it was received (RFC 3339); default: now')
  .option('--json', 'print one JSON document')
  .action(doctorCommand);

notAvailable(program, 'keys', 'rotate the keys of senders');

await runProgram(program);
