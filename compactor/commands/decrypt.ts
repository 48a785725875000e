/** `daybook-compactor decrypt`: opens objects of an archive with a private key. */
import { createReadStream } from 'node:fs';
import fs from 'node:fs/promises';
import { dirname, matchesGlob } from 'node:path';
import { DaybookError } from '../../shared/errors.ts';
import { makeFolder } from '../../shared/files/folder.ts';
import type { NewFile } from '../../shared/files/new-file.ts';
import { openLog } from '../../shared/program/log.ts';
import { openProgress } from '../../shared/program/progress.ts';
import { openStandardOutput, print, tell } from '../../shared/program/standard-output.ts';
import { askOnTerminal } from '../../shared/program/terminal.ts';
import { visibleText } from '../../shared/program/visible-text.ts';
import { openStore } from '../../shared/store/open.ts';
import type { ObjectStore } from '../../shared/store/store.ts';
import { readStoreConfiguration } from '../configuration.ts';
import { type DecryptedFile, type DecryptFailure, decryptFiles, type SealedInput } from '../objects/decrypt-files.ts';
import { readIdentityFiles } from './identity-files.ts';

export interface DecryptOptions {
  readonly identity: readonly string[];
  readonly output?: string;
  readonly keepGzip?: boolean;
  readonly archive?: boolean;
  readonly json?: boolean;
}

/** Prints, for each file written, its SHA-256 and path as sha256sum does. Sets the exit code 2 where anything failed. */
export async function decryptCommand(patterns: readonly string[], options: DecryptOptions): Promise<void> {
  const toStdout = options.output === '-';
  if (toStdout && options.json === true) {
    throw new DaybookError('usage', { detail: '--json and --output - would both write to stdout' });
  }
  const settings = readStoreConfiguration();
  const { progress, done } = openProgress(openLog('compactor', settings.LOG_LEVEL));
  const opened =
    options.archive === true ? await openStore(settings.DAYBOOK_STORE, settings.DAYBOOK_DATA_DIR) : undefined;
  let current: NewFile | undefined;
  const stop = () => {
    current?.abandon();
    process.exit(2);
  };
  process.once('SIGTERM', stop).once('SIGINT', stop);
  try {
    const { inputs, missing } = await (opened === undefined
      ? localInputs(patterns)
      : archiveInputs(patterns, opened.store, opened.prefix));
    if (options.identity.length === 0 && inputs.some(({ name }) => name.endsWith('.age'))) {
      throw new DaybookError('usage', { detail: '--identity is needed for objects whose names end in .age' });
    }
    const identities = await readIdentityFiles(options.identity, askOnTerminal);
    if (options.output !== undefined && !toStdout) await makeOutputFolder(options.output);
    const stdout = toStdout ? openStandardOutput(process.stdout) : undefined;
    const { files, failures } = await decryptFiles(inputs, {
      identities,
      keepGzip: options.keepGzip === true,
      output: stdout?.write ?? options.output,
      writing: (file) => {
        current = file;
      },
      progress,
    });
    await stdout?.finish();
    done();
    await report(files, [...missing, ...failures], options.json === true, toStdout);
  } finally {
    done();
    process.off('SIGTERM', stop).off('SIGINT', stop);
    await opened?.store.close();
  }
}

interface Inputs {
  readonly inputs: readonly SealedInput[];
  /** What was asked for and is not there. */
  readonly missing: readonly DecryptFailure[];
}

/** A name that is there is taken as it is, though it may look like a pattern. */
async function localInputs(patterns: readonly string[]): Promise<Inputs> {
  const found = new Set<string>();
  const missing: DecryptFailure[] = [];
  for (const pattern of patterns) {
    const matches = (await isFile(pattern)) ? [pattern] : (await Array.fromAsync(fs.glob(pattern))).sort();
    const files: string[] = [];
    for (const match of matches) if (await isFile(match)) files.push(match);
    if (files.length === 0) missing.push({ input: pattern, code: 'object_missing', message: 'there is no such file' });
    for (const file of files) found.add(file);
  }
  const inputs = [...found].map((name) => ({ name, folder: dirname(name), open: () => readFile(name) }));
  return { inputs, missing };
}

async function isFile(path: string): Promise<boolean> {
  const found = await fs.stat(path).catch(() => undefined);
  return found?.isFile() === true;
}

async function* readFile(path: string): AsyncGenerator<Uint8Array, void, void> {
  try {
    yield* createReadStream(path, { highWaterMark: 256 * 1024 });
  } catch (cause) {
    const { code = 'unreadable' } = cause as NodeJS.ErrnoException;
    throw new DaybookError('object_missing', { detail: `it cannot be read: ${code}`, cause });
  }
}

/** Keys, and patterns over keys; a plaintext goes to the working directory. */
async function archiveInputs(patterns: readonly string[], store: ObjectStore, prefix: string): Promise<Inputs> {
  const found = new Set<string>();
  const missing: DecryptFailure[] = [];
  for (const pattern of patterns) {
    let matches = (await isObject(store, pattern)) ? [pattern] : [];
    if (matches.length === 0 && /[*?[{]/.test(pattern)) {
      const start = pattern.slice(0, pattern.search(/[*?[{]/));
      matches = await Array.fromAsync(keysLike(store, start.startsWith(prefix) ? start : prefix, pattern));
    }
    if (matches.length === 0)
      missing.push({ input: pattern, code: 'object_missing', message: 'there is no such object' });
    for (const key of matches) found.add(key);
  }
  return { inputs: [...found].map((name) => ({ name, folder: '.', open: () => store.read(name) })), missing };
}

async function isObject(store: ObjectStore, key: string): Promise<boolean> {
  try {
    return (await store.head(key)) !== undefined;
  } catch (error) {
    if (error instanceof DaybookError && error.code === 'object_key_invalid') return false;
    throw error;
  }
}

async function* keysLike(store: ObjectStore, start: string, pattern: string): AsyncGenerator<string, void, void> {
  for await (const key of store.list(start)) if (matchesGlob(key, pattern)) yield key;
}

async function makeOutputFolder(path: string): Promise<void> {
  try {
    await makeFolder(path);
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException;
    throw new DaybookError('usage', {
      detail: `--output: ${path} is not a folder and cannot be made one (${code})`,
      cause,
    });
  }
}

async function report(
  files: readonly DecryptedFile[],
  failures: readonly DecryptFailure[],
  json: boolean,
  toStdout: boolean,
): Promise<void> {
  if (failures.length > 0) process.exitCode = 2;
  if (json) return print(`${JSON.stringify({ files, failures })}\n`);
  for (const { input, code, message } of failures) tell(`${visibleText(input)}: ${visibleText(message)} (${code})\n`);
  if (failures.length > 0) tell(`${failures.length} failed, ${files.length} done\n`);
  if (!toStdout) await print(files.map(({ sha256, output }) => `${sha256}  ${visibleText(output)}\n`).join(''));
}
