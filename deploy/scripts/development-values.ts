/**
 * Values for the required settings that nobody set, for a first look on one machine: keys and sources made once and
 * kept in `<data directory>/development` (0700, files 0600):
 *
 *   identity.txt        age private key: opens the archive
 *   signing-key.pem     Ed25519 private key, PKCS#8: signs the manifests
 *   verifying-key.pem   its public half: for openssl
 *   stream-key.txt      DAYBOOK_STREAM_KEY: seals stream records
 *   sources.json        DAYBOOK_SOURCES: a stripe source `platform` and a panda source `billing`, with made-up secrets
 *
 * The private key that opens the archive lies beside it here: promise 7 (test/README.md) does not hold for these values.
 */
import { createPublicKey, generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { link, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { styleText } from 'node:util';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { DaybookError } from '../../shared/errors.ts';
import { makeFolder, syncFolder } from '../../shared/files/folder.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export interface DevelopmentValues {
  /** What to add to the environment; empty where everything required is set. */
  readonly environment: Readonly<Record<string, string>>;
  /** When the stream key was made: what is in the stream from before has no seal. RFC 3339; undefined where it is not ours. */
  readonly sealedSince?: string;
  /** A warning for people to read, '' where nothing was added. */
  readonly warning: string;
}

export interface DevelopmentFiles {
  readonly identity: string;
  /** The public key of `identity`, `age1…`. */
  readonly recipient: string;
  readonly signingKey: string;
  readonly verifyingKey: string;
  readonly sources: string;
}

const filled = ['DAYBOOK_SOURCES', 'DAYBOOK_STREAM_KEY', 'COMPACTOR_RECIPIENTS', 'COMPACTOR_SIGNING_KEY'] as const;
export type FilledSetting = (typeof filled)[number];

/** The settings that are not set. */
export function unsetSettings(environment: Environment): FilledSetting[] {
  return filled.filter((name) => environment[name] === undefined && environment[`${name}_FILE`] === undefined);
}

/** Values for these settings. Makes no file that they do not need. */
export async function developmentValues(
  names: readonly FilledSetting[],
  dataDirectory: string,
): Promise<DevelopmentValues> {
  const environment: Record<string, string> = {};
  const lines: string[] = [];
  let sealedSince: string | undefined;
  if (names.includes('DAYBOOK_SOURCES')) {
    const path = await makeSources(dataDirectory);
    environment.DAYBOOK_SOURCES = path;
    lines.push(
      `DAYBOOK_SOURCES        ${path}`,
      '                       with sources platform (stripe) and billing (panda), and made-up secrets',
    );
  }
  if (names.includes('DAYBOOK_STREAM_KEY')) {
    const path = await fileOf(dataDirectory, 'stream-key.txt', () => `${randomBytes(32).toString('hex')}\n`);
    environment.DAYBOOK_STREAM_KEY_FILE = path;
    sealedSince = (await stat(path)).mtime.toISOString();
    lines.push(`DAYBOOK_STREAM_KEY     ${path}`);
  }
  if (names.includes('COMPACTOR_RECIPIENTS')) {
    const { path, recipient } = await makeIdentity(dataDirectory);
    environment.COMPACTOR_RECIPIENTS = recipient;
    lines.push(`COMPACTOR_RECIPIENTS   ${recipient}`, `                       whose private key lies in ${path}`);
  }
  if (names.includes('COMPACTOR_SIGNING_KEY')) {
    const { signingKey } = await makeSigningKeys(dataDirectory);
    environment.COMPACTOR_SIGNING_KEY_FILE = signingKey;
    lines.push(`COMPACTOR_SIGNING_KEY  ${signingKey}`);
  }
  const warning = lines.length === 0 ? '' : warningOf(lines);
  return { environment, warning, ...(sealedSince === undefined ? {} : { sealedSince }) };
}

/** All the files, whatever the environment says: for the demo. */
export async function makeDevelopmentFiles(dataDirectory: string): Promise<DevelopmentFiles> {
  const { path: identity, recipient } = await makeIdentity(dataDirectory);
  const { signingKey, verifyingKey } = await makeSigningKeys(dataDirectory);
  return { identity, recipient, signingKey, verifyingKey, sources: await makeSources(dataDirectory) };
}

function warningOf(lines: readonly string[]): string {
  // A colour on a terminal alone, and none with NO_COLOR.
  const title = styleText(['bold', 'yellow'], 'DEVELOPMENT VALUES', { stream: process.stderr });
  return [
    `${title} for a look on this machine alone: not set, so made here and kept`,
    '',
    ...lines.map((line) => `  ${line}`),
    '',
    'The key that opens the archive lies on the machine that writes it.',
    'Set your own values before real events come.',
    '',
  ].join('\n');
}

async function makeSources(dataDirectory: string): Promise<string> {
  return fileOf(dataDirectory, 'sources.json', () => {
    const sources = [
      { name: 'platform', scheme: 'stripe', secrets: [`whsec_development${randomBytes(16).toString('hex')}`] },
      { name: 'billing', scheme: 'panda', secrets: [randomBytes(24).toString('base64url')] },
    ];
    return `${JSON.stringify(sources, null, 2)}\n`;
  });
}

async function makeIdentity(dataDirectory: string): Promise<{ path: string; recipient: string }> {
  const path = await fileOf(dataDirectory, 'identity.txt', async () => {
    const identity = await generateX25519Identity();
    return `# public key: ${await identityToRecipient(identity)}\n${identity}\n`;
  });
  const lines = (await readFile(path, 'utf8')).split('\n');
  const identity = lines.find((line) => line.startsWith('AGE-SECRET-KEY-1'));
  if (identity === undefined) throw new DaybookError('identity_invalid', { detail: `${path} holds no age identity` });
  return { path, recipient: await identityToRecipient(identity) };
}

async function makeSigningKeys(dataDirectory: string): Promise<{ signingKey: string; verifyingKey: string }> {
  const signingKey = await fileOf(dataDirectory, 'signing-key.pem', () =>
    generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  );
  const verifyingKey = await fileOf(dataDirectory, 'verifying-key.pem', async () =>
    createPublicKey(await readFile(signingKey))
      .export({ type: 'spki', format: 'pem' })
      .toString(),
  );
  return { signingKey, verifyingKey };
}

/** The path of a file that is there from now on: the one that was, or a new one with this text. */
async function fileOf(dataDirectory: string, name: string, text: () => string | Promise<string>): Promise<string> {
  const folder = join(dataDirectory, 'development');
  const path = join(folder, name);
  if (existsSync(path)) return path;
  await makeFolder(folder);
  const temporary = `${path}.${randomUUID()}`;
  try {
    await writeFile(temporary, await text(), { mode: 0o600, flag: 'wx', flush: true });
    // Dies here: a file under a name that nobody looks for. The next start makes its own.
    await link(temporary, path);
    await syncFolder(folder);
  } catch (error) {
    // Another start was first: its file holds.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await rm(temporary, { force: true });
  }
  return path;
}
