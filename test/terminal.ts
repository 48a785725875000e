/** Runs a program on a pseudo-terminal, with `script` of util-linux, and types into it what it asks for. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { requireCommand } from './require-service.ts';

export interface TerminalOutcome {
  readonly code: number | null;
  /** All that the terminal showed: what the program wrote to it, and what was echoed. */
  readonly shown: string;
}

/** Each of `typed` is sent when the text before it has been shown once more. Undefined where `script` is missing. */
export async function runOnTerminal(
  t: TestContext,
  command: readonly string[],
  options: {
    readonly env: Record<string, string>;
    readonly cwd: string;
    readonly typed: readonly [string, string | (() => string)][];
  },
): Promise<TerminalOutcome | undefined> {
  if (!requireCommand(t, 'script')) return undefined;
  const quoted = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const child = spawn('script', ['-qec', quoted, '/dev/null'], {
    cwd: options.cwd,
    env: { PATH: process.env.PATH, SHELL: '/bin/sh', TERM: 'dumb', ...options.env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const waiting = [...options.typed];
  let shown = '';
  let seen = 0;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text;
    const [next] = waiting;
    if (next === undefined) return;
    const at = shown.indexOf(next[0], seen);
    if (at < 0) return;
    seen = at + next[0].length;
    waiting.shift();
    child.stdin.write(typeof next[1] === 'string' ? next[1] : next[1]());
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, shown };
}
