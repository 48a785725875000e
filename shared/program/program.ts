/** How a command ends: one sentence and a hint on stderr, and its exit code. */
import type { Command } from 'commander';
import { DaybookError, errorKind, messageOf } from '../errors.ts';
import { endWithParent } from './end-with-parent.ts';
import { standardError } from './standard-error.ts';
import { isReaderGone, tell } from './standard-output.ts';

/** What was not foreseen is 2, like all that may go well when it is run again. */
export function exitCodeOf(error: unknown): 1 | 2 | 3 {
  return error instanceof DaybookError ? (errorKind(error.code).exit ?? 2) : 2;
}

/** What a shell says of a program that SIGPIPE ended: `list | head` is not a failure, and nobody is left to be told. */
const readerGone = 141;

export async function runProgram(program: Command): Promise<void> {
  // First of all: from here on nothing waits for a reader of stderr, what Node itself says there included.
  standardError();
  heedReaders();
  endWithParent();
  for (const command of [program, ...program.commands.flatMap((one) => [one, ...one.commands])]) {
    command.configureOutput({
      writeErr: tell,
      outputError: (text, write) =>
        write(`${program.name()}: ${text.replace(/^error: /, '')}usage: ${errorKind('usage').hint}\n`),
    });
  }
  try {
    refuseOldNode();
    await program.parseAsync();
  } catch (error) {
    // A code that was set already is the result of the work, which is done.
    if (error instanceof DaybookError && isReaderGone(error)) process.exitCode ||= readerGone;
    else endWith(program.name(), error);
  }
}

/** That of package.json: what daybook is tested with. */
export const leastNode = '24.21.0';

/** Only where Node can read TypeScript at all: older ones end with ERR_UNKNOWN_FILE_EXTENSION before this. */
function refuseOldNode(): void {
  const { node } = process.versions;
  const [found, least] = [node, leastNode].map((version) =>
    version.split('.').map((part) => Number.parseInt(part, 10)),
  );
  const part = least!.findIndex((number, index) => number !== found![index]);
  if (part < 0 || found![part]! > least![part]!) return;
  throw new DaybookError('usage', {
    detail: `needs Node ${leastNode} or newer, and this is ${node}`,
    hint: 'npm ci brings one: node_modules/.bin/node, which `npm start` and `npm run` use.',
  });
}

/** Says why a program ends, and sets its exit code. */
export function endWith(name: string, error: unknown): void {
  const hint = error instanceof DaybookError ? `\n${error.code}: ${error.hint}` : '';
  tell(`${name}: ${messageOf(error)}${hint}\n`);
  process.exitCode = exitCodeOf(error);
}

/** A reader that goes away ends no program by itself. Of stdout whoever writes is told; of stderr nobody can be. */
export function heedReaders(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exitCode ||= isReaderGone(error) ? readerGone : 2;
  });
  process.stderr.on('error', () => {});
}
