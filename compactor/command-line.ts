/** What daybook-compactor can be told to do. */
import { Command } from 'commander';
import { addHelp } from '../shared/program/help.ts';
import { keepHeapSmall } from '../shared/program/memory.ts';
import { runProgram } from '../shared/program/program.ts';
import { help } from './commands/help.ts';

// Each command is loaded when it is run: what the others need is not small.
const program = new Command('daybook-compactor').description(
  'Closes the books every night: reconciles, seals, proves.',
);

program
  .command('run')
  .description('Runs one night now: closes each day that is over.')
  .option('--today', 'close nothing: show what waits in the stream, and what the next run does with it')
  .option('--day <day>', 'touch this UTC day alone (repeatable)', repeatable, [])
  .option('--force', "ask Stripe's list again for days that are not due")
  .option('--now <time>', 'as if it were that time (embedded stream and directory store only)')
  .option(
    '--accept-unsealed-before <time>',
    'while DAYBOOK_STREAM_KEY is new: take records without a seal that say they were received before this (RFC 3339)',
  )
  .option('--trust-clock', 'go on although the newest manifest was made by a clock that was ahead')
  .option(
    '--accept-restored',
    'take restored records as events of their own: to write an archive again from another one',
  )
  .option('--json', 'print the report as one JSON document')
  .action(async (options) => (await import('./commands/run.ts')).runCommand(options));

program
  .command('list')
  .description("Shows what is archived: each month's verdicts, then its days.")
  .option('--source <name>', 'of this source (repeatable)', repeatable, [])
  .option('--from <day>', 'of this UTC day and later ones')
  .option('--to <day>', 'of this UTC day and earlier ones')
  .option(
    '--verdict <verdict>',
    'complete, provisional, incomplete, unverifiable or unreconciled (repeatable)',
    repeatable,
    [],
  )
  .option('--waiting', 'instead what waits in the stream: the same as run --today')
  .option('--json', 'print one JSON document')
  .action(async (options) => (await import('./commands/list.ts')).listCommand(options));

program
  .command('report')
  .description('Prints the books of a month: received, recovered, missing, verdicts, and how to check them.')
  .requiredOption('--month <month>', 'the UTC month: 2026-11')
  .option('--source <name>', 'of this source alone')
  .option('--as-of <number>', 'as the archive was at this manifest: a report that was filed, made again')
  .option('--json', 'print one JSON document')
  .action(async (options) => (await import('./commands/report.ts')).reportCommand(options));

program
  .command('verify')
  .description('Checks the chain, the signatures and every object of the archive.')
  .option('-i, --identity <file>', 'also decrypt, with this private key, and check lines, counts, order and ids')
  .option('--secrets <file>', "with --identity: also check the deliveries' signatures, with these sources")
  .option(
    '--source <name>',
    'the chain of manifests, and the objects of this source alone (repeatable)',
    repeatable,
    [],
  )
  .option('--day <day>', 'the same for this UTC day (repeatable)', repeatable, [])
  .option('--resume <file>', 'go on where a verification with the same file was interrupted; it keeps its state there')
  .option('--expect-head <number:sha256>', 'break if the chain does not hold this manifest, which run or list told')
  .option('--allow-empty', 'an archive without any manifest is not a fault')
  .option('--strict', 'exit 3 also for incomplete days, and with --secrets for deliveries whose secret is not there')
  .option('--json', 'print one JSON document')
  .action(async (options) => (await import('./commands/verify.ts')).verifyCommand(options));

program
  .command('decrypt')
  .description('Opens archive objects: each into a file of its own, never over another.')
  .argument('<file-or-glob...>', 'files; with --archive keys in the store')
  .option('-i, --identity <file>', 'private key of age-keygen, ssh-keygen or openssl (repeatable)', repeatable, [])
  .option('-o, --output <folder>', 'folder for the files, or - for stdout; default: beside each object')
  .option('--keep-gzip', 'leave what is packed packed')
  .option('--archive', 'read from the store of DAYBOOK_STORE')
  .option('--json', 'print one JSON document')
  .action(async (files, options) => (await import('./commands/decrypt.ts')).decryptCommand(files, options));

program
  .command('restore')
  .description('Brings events back: by day, source and line, to a file, to stdout, or to the stream.')
  .option('--source <name>', 'of this source (repeatable)', repeatable, [])
  .option('--day <day>', 'of this UTC day (repeatable)', repeatable, [])
  .option('--from <day>', 'of this UTC day and later ones')
  .option('--to <day>', 'of this UTC day and earlier ones')
  .option(
    '--type <type>',
    'of this type, or with a star at its end of all that begin so: invoice.* (repeatable)',
    repeatable,
    [],
  )
  .option('--id <id>', 'the event with this id (repeatable)', repeatable, [])
  .option('--object <id>', 'about this object: data.object.id, or subject (repeatable)', repeatable, [])
  .option('--except <text>', 'leave out events that have this text anywhere (repeatable)', repeatable, [])
  .option('-i, --identity <file>', 'private key of age-keygen, ssh-keygen or openssl (repeatable)', repeatable, [])
  .option('-o, --output <file>', 'write them to this file, which must not be there; - or nothing: to stdout')
  .option('--to-url <url>', 'send them there, one by one, signed by Standard Webhooks with COMPACTOR_REPLAY_SECRET')
  .option('--rate <n>', 'with --to-url: at most so many a second', '10')
  .option('--resume <file>', 'with --to-url: go on where a replay with the same file ended; it keeps its state there')
  .option('--to-postgres', 'put them into the table of COMPACTOR_POSTGRES; what is there stays')
  .option('--to-stream', 'put them on the stream of DAYBOOK_STREAM, marked as restored')
  .option(
    '--quarantine <object>',
    'with --to-stream: records of this object of the quarantine, as they came, for the next night (repeatable)',
    repeatable,
    [],
  )
  .option(
    '--reason <text>',
    'with --quarantine: records whose reason begins so (repeatable); without: all but record_unsealed and record_unproven',
    repeatable,
    [],
  )
  .option('--dry-run', 'say what would be restored; opens nothing unless --identity is given and lines have to be read')
  .option('--json', 'print the summary as one JSON document: on stderr where the events go to stdout')
  .action(async (options) => (await import('./commands/restore.ts')).restoreCommand(options));

program
  .command('export')
  .description('Writes whole months as a table, a row an event: Parquet for DuckDB and its like, or JSON Lines.')
  .option('--format <format>', 'parquet or jsonl; default: parquet', 'parquet')
  .option('--month <month>', 'of this UTC month, as 2026-11 (repeatable)', repeatable, [])
  .option('--source <name>', 'of this source (repeatable)', repeatable, [])
  .option('-i, --identity <file>', 'private key of age-keygen, ssh-keygen or openssl (repeatable)', repeatable, [])
  .option('-o, --output <file>', 'write it to this file, which must not be there; - or nothing: to stdout')
  .option('--json', 'print the summary as one JSON document: on stderr where the table goes to stdout')
  .action(async (options) => (await import('./commands/export.ts')).exportCommand(options));

program
  .command('hold')
  .description('Legal hold: no prune deletes these days, until the hold is released. A signed manifest says so.')
  .argument('<name>', 'under which it is released')
  .option('--source <name>', 'of this source; default: of every one')
  .option('--from <day>', 'this UTC day and later ones')
  .option('--to <day>', 'this UTC day and earlier ones')
  .requiredOption('--reason <text>', 'why; it stays in the manifest for ever')
  .option('--json', 'print one JSON document')
  .action(async (name, options) => (await import('./commands/hold.ts')).holdCommand(name, options));

program
  .command('release')
  .description('Ends a legal hold. A signed manifest says so.')
  .argument('<name>', 'of the hold')
  .option('--json', 'print one JSON document')
  .action(async (name, options) => (await import('./commands/hold.ts')).releaseCommand(name, options));

program
  .command('prune')
  .description('Deletes what has reached its age; ids are kept. A dry run, unless told to apply it.')
  .option('--evidence-days <n>', 'deliveries of days older than this, 31 at least (COMPACTOR_EVIDENCE_DAYS)')
  .option('--event-days <n>', 'events of days older than this, 31 at least (COMPACTOR_EVENT_DAYS)')
  .option('--apply', 'write the manifest that says so, then delete')
  .option('--json', 'print one JSON document')
  .action(async (options) => (await import('./commands/prune.ts')).pruneCommand(options));

program
  .command('replicate')
  .description('Copies the archive to a second store, and proves each copy by its hash.')
  .option('--check', 'copy nothing: read both, and compare every manifest and every object')
  .option('--prune', 'also delete at the replica what the archive has pruned')
  .option('--json', 'print one JSON document')
  .action(async (options) => (await import('./commands/replicate.ts')).replicateCommand(options));

program
  .command('drill')
  .description('Rehearses a restore: the newest day and one at random come back, or every hash is checked.')
  .option(
    '-i, --identity <file>',
    'restore with this private key (repeatable); without one nothing is opened',
    repeatable,
    [],
  )
  .option('--replica', 'from the second store')
  .option('--json', 'print one JSON document')
  .action(async (options) => (await import('./commands/drill.ts')).drillCommand(options));

program
  .command('backup-secrets')
  .description('Seals the settings and every file that they name, and puts that beside the archive.')
  .option('--name <name>', 'tells the backups of several machines apart; default: daybook', 'daybook')
  .option('--allow-missing', 'leave out what the settings refer to and this machine does not have')
  .option('--json', 'print one JSON document')
  .action(async (options) => (await import('./commands/backup-secrets.ts')).backupSecretsCommand(options));

program
  .command('serve')
  .description('Runs the nightly schedule, job endpoints and metrics, until a signal comes.')
  .option(
    '--accept-unsealed-before <time>',
    'the nights take records without a seal that say they were received before this (RFC 3339)',
  )
  .action(async (options) => (await import('./serve/serve.ts')).serveCommand(options));

program
  .command('link')
  .description('Makes time-limited links to objects that a manifest names, with the SHA-256 to compare (S3 alone).')
  .argument('[key...]', 'object keys')
  .option('--source <name>', 'with --day: every object of that source and day')
  .option('--day <day>', 'the UTC day')
  .option('--expires <duration>', 'how long they work: 90s, 15m, 12h, at most 7d; default: 1h', '1h')
  .option('--json', 'print one JSON document')
  .action(async (keys, options) => (await import('./commands/link.ts')).linkCommand(keys, options));

program
  .command('hash-password')
  .description('Makes the value of COMPACTOR_CONSOLE_PASSWORD of a password that it asks for, or reads from stdin.')
  .action(async () => (await import('./commands/hash-password.ts')).hashPasswordCommand());

program
  .command('doctor')
  .description('Checks the installation, and how Stripe delivers: what is wrong, and what to do.')
  .option('--json', 'print one JSON document')
  .action(async (options) => (await import('./doctor/doctor.ts')).doctorCommand(options));

export async function run(): Promise<void> {
  keepHeapSmall();
  addHelp(program, help);
  await runProgram(program);
}

function repeatable(value: string, before: readonly string[]): string[] {
  return [...before, value];
}
