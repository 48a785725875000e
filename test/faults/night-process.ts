/** A night as a process of its own: `compactor/main.ts run` on the books' folder. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { identityToRecipient } from 'age-encryption';
import type { NightReport } from '../../compactor/night.ts';
import type { Books } from '../compactor/books.ts';

const program = fileURLToPath(new URL('../../compactor/main.ts', import.meta.url));

export interface NightProcess {
  readonly child: ChildProcess;
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null; report: NightReport; stderr: string }>;
}

export interface NightProcessOptions {
  readonly preload?: URL;
  readonly environment?: Readonly<Record<string, string>>;
}

/** Starts a run at the books' time, for a Stripe source `platform` and a panda source `billing`. */
export async function startNight(books: Books, options: NightProcessOptions = {}): Promise<NightProcess> {
  const preload = options.preload === undefined ? [] : ['--import', options.preload.href];
  const environment = {
    PATH: process.env.PATH,
    DAYBOOK_DATA_DIR: books.directory,
    DAYBOOK_STORE: JSON.stringify({ type: 'directory', params: { path: books.archive } }),
    DAYBOOK_SOURCES: JSON.stringify([
      { name: 'platform', scheme: 'stripe', secrets: ['whsec_unused'] },
      { name: 'billing', scheme: 'panda', secrets: ['unused'] },
    ]),
    COMPACTOR_RECIPIENTS: await identityToRecipient(books.identity),
    COMPACTOR_SIGNING_KEY: books.signingKey,
    LOG_LEVEL: 'error',
    ...options.environment,
  };
  const child = spawn(process.execPath, [...preload, program, 'run', '--now', books.now().toISOString(), '--json'], {
    cwd: books.directory,
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  const ended = once(child, 'close').then(([code, signal]) => {
    return { code, signal, report: stdout === '' ? undefined : JSON.parse(stdout), stderr };
  });
  return { child, ended };
}
