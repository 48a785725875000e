/** daybook-compactor as a user starts it, measured: CPU time of all threads and peak memory of its whole life. */
import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { generateIdentity, identityToRecipient } from 'age-encryption';

export interface Measured {
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
  readonly peakMegabytes: number;
}

export interface Keys {
  readonly identity: string;
  readonly signingKey: string;
  readonly settings: Readonly<Record<string, string>>;
}

const program = fileURLToPath(new URL('../../compactor/main.ts', import.meta.url));
const preload = new URL('at-exit.ts', import.meta.url).href;

/** Keys for an archive, and the settings of a compactor with the embedded stream and the directory store in the folder. */
export async function newKeys(directory: string): Promise<Keys> {
  const identity = await generateIdentity();
  const signingKey = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const settings = {
    DAYBOOK_DATA_DIR: directory,
    DAYBOOK_SOURCES: JSON.stringify([{ name: 'platform', scheme: 'stripe', secrets: ['whsec_unused'] }]),
    COMPACTOR_RECIPIENTS: await identityToRecipient(identity),
    COMPACTOR_SIGNING_KEY: signingKey,
    LOG_LEVEL: 'error',
  };
  return { identity, signingKey, settings };
}

/** Runs a command with `--json` to its end. Rejects where it does not exit with 0. */
export async function measureCompactor(
  directory: string,
  settings: Readonly<Record<string, string>>,
  args: readonly string[],
): Promise<Measured & { readonly report: Record<string, unknown> }> {
  const measuredFile = join(directory, 'measured.json');
  const started = performance.now();
  const child = spawn(process.execPath, ['--import', preload, program, ...args, '--json'], {
    cwd: directory,
    env: { PATH: process.env.PATH, BENCH_MEASURED: measuredFile, ...settings },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [out, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  const wallSeconds = (performance.now() - started) / 1000;
  if (code !== 0) throw new Error(`daybook-compactor ${args.join(' ')}: exit ${code}\n${out.slice(0, 2_000)}`);
  const measured = JSON.parse(await readFile(measuredFile, 'utf8'));
  await rm(measuredFile);
  return { ...measured, wallSeconds, report: JSON.parse(out) };
}
