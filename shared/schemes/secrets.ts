/**
 * Secrets of DAYBOOK_SOURCES: found where their reference says, told apart by a fingerprint, never shown. ingest
 * resolves `secrets` alone and the compactor `apiKey` alone, so that neither needs what only the other uses.
 */
import { createHash, createSecretKey, type KeyObject } from 'node:crypto';
import { parseInstant } from '../clock.ts';
import { readTextFile } from '../files/read-text.ts';
import type { SecretReference } from './source-members.ts';

export interface Secret {
  readonly text: string;
  /** The first 16 hex digits of the SHA-256 of the text: names the secret in evidence without giving it away. */
  readonly keyid: string;
  /** Epoch milliseconds after which the secret verifies no more; undefined: for good. */
  readonly notAfterMs: number | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The secret that a reference stands for, or undefined with one more line in `problems`. A line names the place
 * (`where`, as `DAYBOOK_SOURCES[0].secrets[1]`), never the value.
 */
export function resolveSecret(
  reference: SecretReference,
  where: string,
  environment: Environment,
  problems: string[],
): Secret | undefined {
  const text = secretText(reference, where, environment, problems);
  if (text === undefined) return undefined;
  if (text === '') {
    problems.push(`${where}: the secret is empty`);
    return undefined;
  }
  const notAfter = typeof reference === 'string' ? undefined : reference.notAfter;
  return { text, keyid: keyidOf(text), notAfterMs: notAfter === undefined ? undefined : parseInstant(notAfter) };
}

/** The secrets of a list of references, in order. Every one that cannot be had adds its line to `problems`. */
export function resolveSecrets(
  references: readonly SecretReference[],
  where: string,
  environment: Environment,
  problems: string[],
): Secret[] {
  return references.flatMap((reference, index) => {
    const secret = resolveSecret(reference, `${where}[${index}]`, environment, problems);
    return secret === undefined ? [] : [secret];
  });
}

export function keyidOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex').slice(0, 16);
}

/**
 * The HMAC key that the text of a secret stands for; undefined where it stands for none. Each is prepared once, which takes
 * as long as the MAC of a short message.
 */
export function hmacKeys(
  bytesOf: (text: string) => string | Buffer | undefined = (text) => text,
): (secret: Secret) => KeyObject | undefined {
  const keys = new WeakMap<Secret, { readonly key: KeyObject | undefined }>();
  return (secret) => {
    let known = keys.get(secret);
    if (known === undefined) {
      const bytes = bytesOf(secret.text);
      known = { key: bytes === undefined ? undefined : createSecretKey(Buffer.from(bytes as string)) };
      keys.set(secret, known);
    }
    return known.key;
  };
}

export function isActive(secret: Secret, nowMs: number): boolean {
  return secret.notAfterMs === undefined || nowMs <= secret.notAfterMs;
}

function secretText(
  reference: SecretReference,
  where: string,
  environment: Environment,
  problems: string[],
): string | undefined {
  if (typeof reference === 'string') return reference;
  if ('value' in reference) return reference.value;
  if ('env' in reference) {
    const text = environment[reference.env]?.trim();
    if (text === undefined) problems.push(`${where}: the environment variable ${reference.env} is not set`);
    return text;
  }
  try {
    return readTextFile(reference.file).trim();
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    problems.push(`${where}: the file ${reference.file} cannot be read (${reason})`);
    return undefined;
  }
}
