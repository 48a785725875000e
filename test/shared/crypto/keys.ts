/** Keys for the tests, made by the stock programs; slow ones once a process. */
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'daybook-keys-'));
process.on('exit', () => fs.rmSync(folder, { recursive: true }));

/** Runs a program to its end; throws with what it said where it fails. */
export function run(command: string, args: readonly string[], input: string | Uint8Array = ''): Buffer {
  const { status, stdout, stderr, error } = spawnSync(command, args, { input, cwd: folder, maxBuffer: 2 ** 26 });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} answered ${status}: ${stderr}`);
  return stdout;
}

export function write(name: string, content: string | Uint8Array): string {
  const file = path.join(folder, name);
  fs.writeFileSync(file, content, { mode: 0o600 });
  return file;
}

export function read(name: string): string {
  return fs.readFileSync(path.join(folder, name), 'utf8');
}

/** An ssh-keygen RSA key pair `<name>` and `<name>.pub`, in OpenSSH's format unless `-m PEM` is among the options. */
export function sshKeygen(name: string, ...options: string[]): string {
  const file = path.join(folder, name);
  if (!fs.existsSync(file))
    run('ssh-keygen', ['-q', '-t', 'rsa', '-N', '', '-C', 'somebody@example', ...options, '-f', file]);
  return file;
}

export interface RsaKey {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

export function rsaKey(modulusLength: number, publicExponent = 65_537): RsaKey {
  return generateKeyPairSync('rsa', { modulusLength, publicExponent });
}

export async function* chunksOf(bytes: Uint8Array, size = bytes.length): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

export async function gather(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}
