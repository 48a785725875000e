/** What the programs say of themselves, and what the READMEs say of them, is what there is. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { promisify } from 'node:util';
import { type SettingName, settings } from '../../shared/config.ts';
import { version } from '../../shared/program/help.ts';
import { projectFiles, readText, root } from './source-files.ts';

const run = promisify(execFile);
const programs = ['ingest', 'compactor'] as const;
type Program = (typeof programs)[number];

/** As typed: `compactor run`, `ingest spool inspect`; a program by its name alone. Their help texts, as they print them. */
const helps = new Map<string, string>();

async function runHelp(program: Program, words: readonly string[]): Promise<string> {
  const { stdout } = await run(process.execPath, [join(root, program, 'main.ts'), ...words, '--help']);
  return stdout;
}

/** What stands below a heading, up to the next empty line. */
function sectionOf(help: string, heading: string): string {
  return new RegExp(`^${heading}[^\\n]*:\\n((?: .*\\n?)+)`, 'm').exec(help)?.[1] ?? '';
}

async function readHelps(program: Program, words: readonly string[]): Promise<void> {
  const help = await runHelp(program, words);
  helps.set([program, ...words].join(' '), help);
  const names = [...sectionOf(help, 'Commands').matchAll(/^ {2}([a-z-]+)/gm)].map(([, name]) => name!);
  for (const name of names) if (name !== 'help') await readHelps(program, [...words, name]);
}

before(async () => {
  await Promise.all(programs.map((program) => readHelps(program, [])));
});

/** `--source`, `-i`: those of the command itself, and of its program. */
function optionsOf(help: string): string[] {
  const lines = `${sectionOf(help, 'Options')}${sectionOf(help, 'Global Options')}`;
  return [...lines.matchAll(/^ {2}(?:(-\w), )?(--[\w-]+)/gm)].flatMap(([, short, long]) => [short ?? long!, long!]);
}

test('the help of every command has a sentence, an example, settings, exit codes and --version', () => {
  assert.ok(helps.size >= 16, [...helps.keys()].join());
  for (const [name, help] of helps) {
    assert.match(help, /^Usage: .*\n\n[A-Z][^\n]*(?:\n[^\n]+)*\.\n\n/, name);
    const [program] = name.split(' ');
    const example = sectionOf(help, 'Example').trim();
    assert.ok(example.startsWith(`node ${name.replace(program!, `${program}/main.ts`)}`), `${name}: ${example}`);
    const [{ command, rest }] = namedIn(example) as [ReturnType<typeof namedIn>[number]];
    const known = optionsOf(helps.get(command)!);
    assert.deepEqual(
      optionsIn(rest).filter((option) => !known.includes(option)),
      [],
      example,
    );
    const used = sectionOf(help, 'Settings').trim();
    if (used !== 'Each command names its own.') {
      const names = used.split(/,\s+/);
      assert.deepEqual(
        names.filter((setting) => settings[setting as SettingName] === undefined),
        [],
        name,
      );
    }
    assert.match(
      sectionOf(help, 'Exit codes'),
      /^ {2}0 {2}\S.*\n {2}1 {2}\S.*\n {2}2 {2}\S.*(?:\n {2}3 {2}\S.*)?\s*$/,
      name,
    );
    assert.ok(optionsOf(help).includes('--version'), name);
    for (const line of help.split('\n')) assert.ok(line.length <= 100, `${name}: ${line}`);
  }
});

test('no help offers what is not available, and every setting is one of a command', () => {
  const texts = [...helps.values()].join('\n');
  assert.doesNotMatch(texts, /not available/);
  const unused = Object.keys(settings).filter((name) => !texts.includes(name));
  assert.deepEqual(unused, []);
});

test('--version is that of package.json, of a command too', async () => {
  assert.equal(version, JSON.parse(readText('package.json')).version);
  for (const words of [
    ['ingest', '--version'],
    ['compactor', 'list', '-V'],
  ]) {
    const [program, ...others] = words;
    const { stdout } = await run(process.execPath, [join(root, program!, 'main.ts'), ...others]);
    assert.equal(stdout, `${version}\n`);
  }
});

const readmes = projectFiles().filter((path) => /(?:^|\/)(?:README|RUNBOOK)\.md$/.test(path));

/** A program as READMEs name it, what follows on the line, and the command that this is of. */
function namedIn(text: string): { readonly command: string; readonly rest: string }[] {
  const found = text.matchAll(/\b(?:daybook-(ingest|compactor)|(ingest|compactor)\/main\.ts)([^`|#\n]*)/g);
  return [...found].map(([, bin, file, rest]) => ({ command: commandOf(`${bin ?? file}${rest}`), rest: rest! }));
}

/** `compactor run` of `compactor run --day …`: as many words as there is a command of. */
function commandOf(line: string): string {
  const words = /^[a-z]+(?: +[a-z-]+)*/.exec(line)![0].split(/ +/);
  while (!helps.has(words.join(' '))) words.pop();
  return words.join(' ');
}

const optionsIn = (text: string) => [...text.matchAll(/(?<![\w<!.-])--?[a-z][\w-]*/g)].map(([option]) => option);

test('every option that a README names is one of the command that it names, or else of some command', () => {
  for (const readme of readmes) {
    const text = readText(readme);
    for (const { command, rest } of namedIn(text)) {
      const known = optionsOf(helps.get(command)!);
      for (const option of optionsIn(rest)) assert.ok(known.includes(option), `${readme}: ${rest}`);
    }
    // Code of other tools is left out, but for what it says behind a #.
    const prose = text.replaceAll(/^ *```[\s\S]*?^ *```$/gm, (block) => (block.match(/#.*/g) ?? []).join('\n'));
    const plain = prose.replaceAll(/`([^`]+)`/g, (_, span: string) => {
      const [first, ...others] = span.split(/\s+/);
      const named = [...helps.keys()].filter((name) => name.endsWith(` ${first}`));
      const known = named.flatMap((name) => optionsOf(helps.get(name)!));
      if (named.length > 0)
        assert.deepEqual(
          optionsIn(others.join(' ')).filter((option) => !known.includes(option)),
          [],
          `${readme}: ${span}`,
        );
      return first!.startsWith('--') ? span : '';
    });
    const all = new Set([...helps.values()].flatMap(optionsOf));
    const unknown = optionsIn(plain).filter((option) => option.startsWith('--') && !all.has(option));
    assert.deepEqual(unknown, [], readme);
  }
});

test('a README names every command', () => {
  const named = readmes.flatMap((readme) => namedIn(readText(readme)).map(({ command }) => command));
  const missing = [...helps.keys()].filter((name) => !named.some((other) => `${other} `.startsWith(`${name} `)));
  assert.deepEqual(missing, []);
});
