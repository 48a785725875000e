/** What daybook-ingest can be told to do. */
import { Command } from 'commander';
import { addHelp } from '../shared/program/help.ts';
import { runProgram } from '../shared/program/program.ts';
import { help } from './help.ts';

const program = new Command('daybook-ingest').description('Receives signed events and puts them on the stream.');
program
  .command('serve', { isDefault: true })
  .description('Receives events until a signal comes; also without the word serve.')
  // A mistyped command comes here as a word behind serve.
  .allowExcessArguments()
  .action(async (_, serve: Command) => {
    const [word] = serve.args;
    if (word !== undefined) serve.error(`error: unknown command '${word}'`);
    await (await import('./run-serve.ts')).serveCommand();
  });

program
  .command('redact')
  .description('Passes the stream on to its readers, without what they must not see, until a signal comes.')
  .option('--once', 'to the end of the stream as it is now, and no further')
  .action(async (options) => (await import('./redact/redact-command.ts')).redactCommand(options));

const spool = program.command('spool').description('Looks into what waits while the stream is away.');
spool
  .command('inspect')
  .description('Says how much waits, since when, and what was put aside.')
  .option('--json', 'print one JSON document')
  .action(async (options) => (await import('./spool-command.ts')).inspectCommand(options));
spool
  .command('export')
  .description('Prints the dead letters, one JSON line each.')
  .action(async () => (await import('./spool-command.ts')).exportCommand());
spool
  .command('requeue')
  .description('Brings dead letters back, behind the records that wait.')
  .option('--sequence <number...>', 'these alone')
  .action(async (options) => (await import('./spool-command.ts')).requeueCommand(options));

program
  .command('doctor')
  .description('Checks the installation, or says why a captured request is refused.')
  .option('--request <file>', 'a captured request: request line, headers, empty line, exact body (- for stdin)')
  .option('--headers <file>', 'with --body: its request line and headers')
  .option('--body <file>', 'with --headers: the exact bytes of its body')
  .option('--at <time>', 'when it was received (RFC 3339); default: now')
  .option('--json', 'print one JSON document')
  .action(async (options) => (await import('./doctor/doctor.ts')).doctorCommand(options));

const keys = program.command('keys').description('Looks after the secrets of senders.');
keys
  .command('list')
  .description('Lists the keys of all sources: until when each verifies, and when it was last used.')
  .option('--ingest <url...>', 'ask these admin listeners, as http://host:9464; default: that of the settings')
  .option('--json', 'print one JSON document')
  .action(async (options) => (await import('./keys/list.ts')).listCommand(options));
keys
  .command('rotate')
  .description('Gives a source a new secret; the previous ones verify for five days more.')
  .requiredOption('--source <name>', 'whose')
  .option('--secret-file <file>', 'the new secret (- for stdin), where the sender makes it, as Stripe does')
  .option('--yes', 'do not ask')
  .action(async (options) => (await import('./keys/rotate.ts')).rotateCommand(options));

export async function run(): Promise<void> {
  addHelp(program, help);
  await runProgram(program);
}
