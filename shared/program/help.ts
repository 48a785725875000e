/** What the help of a command says beside its options: an example, the settings that it uses, its exit codes. */
import type { Command } from 'commander';

/** That of package.json. */
export const version = '0.1.0';

export interface CommandHelp {
  /** As typed in a checkout. */
  readonly example: string;
  /** Names of settings. Undefined for a program or a group: each of its commands says its own. */
  readonly settings?: readonly string[];
  /** What the codes mean that are not the same everywhere. Without a 3 the command does not end with it. */
  readonly exits: { readonly 0?: string; readonly 2: string; readonly 3?: string };
}

/**
 * Adds to each command what `table` says of it, by its name as typed (`spool inspect`; the program's by its own name). To
 * be called when all commands are declared. A command without an entry keeps commander's text alone.
 */
export function addHelp(program: Command, table: Readonly<Record<string, CommandHelp>>): void {
  program.version(version, '-V, --version', 'print the version');
  const add = (command: Command, name: string, path: string): void => {
    // A default that is worth knowing is in the description: commander would print the empty list of a repeatable option.
    command.configureHelp({ showGlobalOptions: true, optionDescription: ({ description }) => description });
    const help = table[name];
    if (help !== undefined) command.addHelpText('after', () => describe(command, help));
    for (const child of command.commands) add(child, `${path}${child.name()}`, `${path}${child.name()} `);
  };
  add(program, program.name(), '');
}

function describe(command: Command, { example, settings, exits }: CommandHelp): string {
  const used =
    settings === undefined
      ? 'Each command names its own.'
      : command.createHelp().boxWrap([...new Set(settings)].join(', '), 76);
  return [
    '',
    `Example:\n  ${example}`,
    '',
    `Settings (see shared/README.md):\n${used.replaceAll(/^/gm, '  ')}`,
    '',
    'Exit codes:',
    `  0  ${exits[0] ?? 'done'}`,
    '  1  the configuration or the command line is wrong',
    `  2  ${exits[2]}`,
    ...(exits[3] === undefined ? [] : [`  3  ${exits[3]}`]),
  ].join('\n');
}
