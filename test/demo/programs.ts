/** daybook's two programs as a user starts them: child processes with an environment. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';

const root = dirname(dirname(import.meta.dirname));

export interface Programs {
  /** Resolves with its base URL when ingest is listening. */
  startIngest(): Promise<URL>;
  /** Ends ingest by SIGTERM, if it runs; resolves with its exit code. */
  stopIngest(): Promise<number | null>;
  /** Runs a compactor command to its end and gives its `--json` document. Rejects if the exit code is none of these. */
  compactor<T>(args: readonly string[], exitCodes?: readonly number[]): Promise<T>;
}

/**
 * `settings` are all of daybook's settings that the programs see, whatever this process has; their logs go to
 * `<folder>/ingest.log` and `compactor.log`. The folder is also where they run: a `.env` file elsewhere is not read.
 */
export function openPrograms(folder: string, settings: Readonly<Record<string, string>>): Programs {
  const others = Object.entries(process.env).filter(
    ([name]) => !/^(?:DAYBOOK|INGEST|COMPACTOR)_|^STRIPE_API_BASE$|^LOG_LEVEL$/.test(name),
  );
  const environment = { ...Object.fromEntries(others), ...settings };
  let ingest: ChildProcess | undefined;

  const start = (program: string, args: readonly string[]) =>
    spawn(process.execPath, [join(root, program), ...args], {
      cwd: folder,
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });

  return {
    async startIngest() {
      ingest = start('ingest/main.ts', ['serve']);
      const line = await lineOf(ingest, join(folder, 'ingest.log'), '"listening"');
      const { host, port } = JSON.parse(line);
      return new URL(`http://${host}:${port}`);
    },
    async stopIngest() {
      if (ingest === undefined || ingest.exitCode !== null) return ingest?.exitCode ?? null;
      const exit = once(ingest, 'exit');
      ingest.kill('SIGTERM');
      return (await exit)[0];
    },
    async compactor<T>(args: readonly string[], exitCodes: readonly number[] = [0]) {
      const child = start('compactor/main.ts', [...args, '--json']);
      const [out, err, [code]] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, 'exit')]);
      appendFileSync(join(folder, 'compactor.log'), err);
      if (!exitCodes.includes(code)) throw new Error(`daybook-compactor ${args.join(' ')}: exit ${code}\n${out}${err}`);
      return JSON.parse(out) as T;
    },
  };
}

/** The first line of a program's stderr that holds the text. All its lines go to the log file, later ones too. */
function lineOf(child: ChildProcess, logFile: string, part: string): Promise<string> {
  const reader = createInterface({ input: child.stderr! });
  reader.on('line', (line) => appendFileSync(logFile, `${line}\n`));
  return new Promise((resolve, reject) => {
    reader.on('line', (line) => {
      if (line.includes(part)) resolve(line);
    });
    reader.once('close', () => reject(new Error(`ingest ended: see ${logFile}`)));
  });
}
