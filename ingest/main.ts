#!/usr/bin/env node
/** daybook-ingest: receives, verifies, and puts on the stream. Only this file knows the environment and the process. */
import { Command } from 'commander';
import { systemClock } from '../shared/clock.ts';
import { readEnvironment, readSettings } from '../shared/config.ts';
import { DaybookError, messageOf } from '../shared/errors.ts';
import { openLog } from '../shared/log.ts';
import { resolveSecrets } from '../shared/secrets.ts';
import { openWriter } from '../shared/stream/open.ts';
import { type ResolvedSource, serve } from './serve.ts';

const usedSettings = [
  'DAYBOOK_DATA_DIR',
  'DAYBOOK_SOURCES',
  'DAYBOOK_STREAM',
  'LOG_LEVEL',
  'INGEST_HOST',
  'INGEST_PORT',
  'INGEST_MAX_BODY_BYTES',
  'INGEST_PUBLISH_DEADLINE_MS',
] as const;

async function runServe(): Promise<void> {
  const environment = readEnvironment(process.env, process.cwd());
  let sources: readonly ResolvedSource[] = [];
  const configuration = readSettings(environment, usedSettings, (sound, problems) => {
    sources = resolveSources(sound.DAYBOOK_SOURCES ?? [], environment, problems);
  });
  const log = openLog('ingest', configuration.LOG_LEVEL);
  const writer = await openWriter(configuration.DAYBOOK_STREAM, configuration.DAYBOOK_DATA_DIR, log);
  const starting = serve({
    host: configuration.INGEST_HOST,
    port: configuration.INGEST_PORT,
    sources,
    maxBodyBytes: configuration.INGEST_MAX_BODY_BYTES,
    publishDeadlineMs: configuration.INGEST_PUBLISH_DEADLINE_MS,
    writer,
    clock: systemClock,
    log,
  });
  const stop = async (signal: string): Promise<void> => {
    log.info({ signal }, 'stopping');
    const ingest = await starting;
    await ingest.close();
    // Whatever still hangs on (a stream that does not answer) must not keep the process.
    process.exit(0);
  };
  // In place before the port is open: who sees it open may send a signal.
  process.once('SIGTERM', stop).once('SIGINT', stop);
  try {
    await starting;
  } catch (error) {
    await writer.close();
    throw error;
  }
}

/** Every source with its secrets; each that cannot be had adds a problem. */
function resolveSources(
  sources: readonly ResolvedSource['source'][],
  environment: Readonly<Record<string, string | undefined>>,
  problems: string[],
): ResolvedSource[] {
  return sources.map((source, index) => ({
    source,
    secrets: resolveSecrets(source.secrets, `DAYBOOK_SOURCES[${index}].secrets`, environment, problems),
  }));
}

function notAvailable(command: string): () => void {
  return () => {
    throw new DaybookError('not_available', { detail: `${command} is not available in this version of daybook` });
  };
}

const program = new Command('daybook-ingest').description('Receives signed events and puts them on the stream.');
program.command('serve', { isDefault: true }).description('receive events (default)').action(runServe);
for (const [name, description] of [
  ['spool', 'what waits while the stream is down'],
  ['keys', 'rotate the keys of senders'],
  ['doctor', 'check the installation'],
] as const) {
  program
    .command(name)
    .description(`${description} (not available in this version)`)
    .allowUnknownOption()
    .allowExcessArguments()
    .action(notAvailable(name));
}

try {
  await program.parseAsync();
} catch (error) {
  const cause = error instanceof DaybookError && error.cause !== undefined ? ` (${messageOf(error.cause)})` : '';
  const hint = error instanceof DaybookError ? `\n${error.hint}` : '';
  process.stderr.write(`daybook-ingest: ${messageOf(error)}${cause}${hint}\n`);
  const usersFault = error instanceof DaybookError && ['configuration_invalid', 'not_available'].includes(error.code);
  process.exitCode = usersFault ? 1 : 2;
}
