#!/usr/bin/env node
/** daybook-ingest: receives, verifies, and puts on the stream. */
import { Command } from 'commander';
import { notAvailable, runProgram } from '../shared/program/program.ts';

const program = new Command('daybook-ingest').description('Receives signed events and puts them on the stream.');
program
  .command('serve', { isDefault: true })
  .description('receive events (default)')
  .action(async () => (await import('./run-serve.ts')).serveCommand());

const spool = program.command('spool').description('what waits while the stream is away');
spool
  .command('inspect')
  .description('how much waits, since when, and what was put aside')
  .option('--json', 'print one JSON document')
  .action(async (options) => (await import('./spool-command.ts')).inspectCommand(options));
spool
  .command('export')
  .description('print the dead letters, one JSON line each')
  .action(async () => (await import('./spool-command.ts')).exportCommand());
spool
  .command('requeue')
  .description('bring dead letters back behind the records that wait')
  .option('--sequence <number...>', 'these alone')
  .action(async (options) => (await import('./spool-command.ts')).requeueCommand(options));

program
  .command('doctor')
  .description('check the installation; or say why a captured request is refused')
  .option('--request <file>', 'a captured request: request line, headers, empty line, exact body (- for stdin)')
  .option('--headers <file>', 'with --body: its request line and headers')
  .option('--body <file>', 'with --headers: the exact bytes of its body')
  .option('--at <time>', 'when it was received (RFC 3339); default: now')
  .option('--json', 'print one JSON document')
  .action(async (options) => (await import('./doctor/doctor.ts')).doctorCommand(options));

notAvailable(program, 'keys', 'rotate the keys of senders');

await runProgram(program);
