/** Opens archive objects one after the other: what fails is named, and stops no other. */
import { createHash } from 'node:crypto';
import { basename, join } from 'node:path';
import type { Identities } from '../../shared/crypto/identities.ts';
import { decrypt, unpack } from '../../shared/crypto/open-sealed.ts';
import { DaybookError, type ErrorCode, messageOf } from '../../shared/errors.ts';
import { createNewFile, type NewFile, refuseExisting } from '../../shared/files/new-file.ts';

type Chunks = AsyncIterable<Uint8Array>;

export interface SealedInput {
  /** As it was asked for: a path or an object key. */
  readonly name: string;
  /** The folder that its plaintext goes to, unless another is asked for. */
  readonly folder: string;
  /** Its own bytes. */
  open(): Chunks;
}

export interface DecryptedFile {
  readonly input: string;
  /** The file written; `-` for stdout. */
  readonly output: string;
  readonly bytes: number;
  /** Of what was written, in hex: that of a manifest's `sha256.plaintext`, unless gzip is kept. */
  readonly sha256: string;
}

export interface DecryptFailure {
  readonly input: string;
  readonly code: ErrorCode;
  readonly message: string;
}

export interface Decryption {
  readonly identities: Identities;
  /** Keeps `.gz` and what is in it as it is. */
  readonly keepGzip: boolean;
  /** A folder for all; undefined: each input's own. A function takes all plaintext, one after the other. */
  readonly output: string | ((bytes: Uint8Array) => Promise<void>) | undefined;
  /** Told of each file that is being written, so that it can be removed when the program is ended. */
  writing(file: NewFile | undefined): void;
  progress(step: string, count: number, total?: number): void;
}

/** Never rejects but where stdout is gone, which ends all: every other failure belongs to its input. */
export async function decryptFiles(
  inputs: readonly SealedInput[],
  decryption: Decryption,
): Promise<{ files: DecryptedFile[]; failures: DecryptFailure[] }> {
  const files: DecryptedFile[] = [];
  const failures: DecryptFailure[] = [];
  for (const [index, input] of inputs.entries()) {
    decryption.progress('objects opened', index, inputs.length);
    try {
      files.push(await decryptOne(input, decryption));
    } catch (error) {
      const code = error instanceof DaybookError ? error.code : 'internal_error';
      failures.push({ input: input.name, code, message: messageOf(error) });
      if (typeof decryption.output === 'function' && code === 'output_failed') break;
    }
  }
  return { files, failures };
}

async function decryptOne(input: SealedInput, decryption: Decryption): Promise<DecryptedFile> {
  const { output } = decryption;
  const name = plainName(input.name, decryption.keepGzip);
  if (typeof output === 'function') {
    return { input: input.name, output: '-', ...(await copy(plaintextOf(input, decryption), output)) };
  }
  const path = join(output ?? input.folder, name);
  await refuseExisting(path);
  const file = await createNewFile(path);
  decryption.writing(file);
  try {
    const copied = await copy(plaintextOf(input, decryption), (bytes) => file.write(bytes));
    await file.finish();
    return { input: input.name, output: path, ...copied };
  } finally {
    file.abandon();
    decryption.writing(undefined);
  }
}

/** The name of what is in an object: its own without `.age` and `.gz`. */
function plainName(name: string, keepGzip: boolean): string {
  const [, stem, gzip = '', age = ''] = /^(.+?)(\.gz)?(\.age)?$/.exec(basename(name)) ?? [];
  if (stem === undefined || (age === '' && (gzip === '' || keepGzip))) {
    throw new DaybookError('object_not_sealed', { detail: 'its name ends neither in .age nor in .gz' });
  }
  return keepGzip ? `${stem}${gzip}` : stem;
}

function plaintextOf(input: SealedInput, { identities, keepGzip }: Decryption): Chunks {
  const inner = input.name.replace(/\.age$/, '');
  const opened = inner === input.name ? input.open() : decrypt(input.open(), identities);
  return inner.endsWith('.gz') && !keepGzip ? unpack(opened) : opened;
}

async function copy(
  chunks: Chunks,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of chunks) {
    hash.update(chunk);
    bytes += chunk.byteLength;
    await write(chunk);
  }
  return { bytes, sha256: hash.digest('hex') };
}
