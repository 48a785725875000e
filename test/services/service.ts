/**
 * Real servers for tests, one script a service in this folder. What such a script keeps:
 * - it runs in the foreground and prints `ready <JSON>` on stdout once its server answers; the JSON says where;
 * - it ends, with everything that it started, on SIGTERM and when its stdin is closed (the test was killed);
 * - it takes free ports of 127.0.0.1, and a folder of its own that it removes, unless its arguments say otherwise;
 * - it installs what it lacks into the ignored folder `.services`. Under SERVICES_INSTALL=no, and where it cannot, it
 *   exits with 69 (EX_UNAVAILABLE of sysexits.h), its last line on stderr being the reason.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';

export interface Service<Facts> {
  /** What the script said when it was ready. */
  readonly facts: Facts;
  /** Resolves when the script has ended, for whatever reason. */
  readonly ended: Promise<unknown>;
  stop(): Promise<void>;
}

const unavailable = 69;

/**
 * Starts a service. Where it is not installed the answer is the reason, in words, unless `install` has it installed,
 * which REQUIRE_SERVICES=1 asks for everywhere. Rejects where the service does not start otherwise.
 */
export async function openService<Facts>(
  script: string,
  options: { readonly parameters?: readonly string[]; readonly install?: boolean } = {},
): Promise<Service<Facts> | string> {
  const { parameters = [], install = false } = options;
  const isRequired = process.env.REQUIRE_SERVICES === '1';
  const child = spawn('bash', [join(import.meta.dirname, script), ...parameters], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...(isRequired || install ? {} : { SERVICES_INSTALL: 'no' }) },
  });
  const ended = once(child, 'close');
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-4_000);
  });
  const ready = await readyLine(child);
  if (ready !== undefined) return { facts: JSON.parse(ready) as Facts, ended, stop: () => stop(child, ended) };
  await ended;
  if (child.exitCode !== unavailable || isRequired) {
    throw new Error(`${script} did not start (exit ${child.exitCode}): ${said}`);
  }
  return said.trim().split('\n').at(-1)!;
}

/**
 * The same for tests. Where the service is not installed the tests of the file are skipped, said by name, and the answer
 * is undefined. To be called at the top of a test file.
 */
export async function startService<Facts>(
  script: string,
  parameters: readonly string[] = [],
): Promise<Service<Facts> | undefined> {
  const service = await openService<Facts>(script, { parameters });
  if (typeof service !== 'string') return service;
  test(`${script} with all tests of this file`, { skip: `${service} (REQUIRE_SERVICES=1 installs it)` });
  return undefined;
}

async function readyLine(child: ChildProcess): Promise<string | undefined> {
  for await (const line of createInterface({ input: child.stdout! })) {
    if (!line.startsWith('ready ')) continue;
    child.stdout!.resume();
    return line.slice('ready '.length);
  }
  return undefined;
}

async function stop(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  child.kill('SIGTERM');
  await ended;
}

/**
 * Ports that nothing listened on just now. They lie below those that the system gives to outgoing connections: a server
 * that is killed finds its port free when it comes back.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = randomInt(15_000, 32_000);
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  await once(server.close(), 'close');
  return true;
}
