/**
 * Public keys that verify: as PEM, or as the settings file of pan-domain authentication, `publicKey=<base64>` and, while the
 * issuer changes its key, `alsoAccept.<n>.publicKey=<base64>`. They are not secrets, but are known like secrets by a keyid:
 * the first 16 hex digits of the SHA-256 of the key in DER (SubjectPublicKeyInfo).
 */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { z } from 'zod';
import { keyEntries } from '../crypto/key-text.ts';
import { minModulusBits } from '../crypto/rsa-key.ts';
import { httpsOrLoopback, s3Object } from '../setting-shapes.ts';
import { resolveSecret, type Secret } from './secrets.ts';
import { secretReference } from './source-members.ts';

/** A PEM text, or where it is to be found. */
export const publicKeyReference = z.union(
  [secretReference, z.strictObject({ url: httpsOrLoopback }), z.strictObject({ s3: s3Object })],
  'must be a PEM text, {"file":"path"}, {"url":"https://…"}, {"s3":{"bucket":…,"key":…}}, {"env":"NAME"} or {"value":"text"}',
);
export type PublicKeyReference = z.infer<typeof publicKeyReference>;
export type RemoteKey = Extract<PublicKeyReference, { url: string } | { s3: unknown }>;

export function isRemote(reference: PublicKeyReference): reference is RemoteKey {
  return typeof reference === 'object' && ('url' in reference || 's3' in reference);
}

export interface PublicKey extends Secret {
  /** The place of its reference in `publicKeys`. */
  readonly at: number;
}

/** The keys of a text, each once and as PEM; or what is wrong with it, which never quotes it. */
export type ParsedKey = Omit<Secret, 'notAfterMs'>;

export function parsePublicKeys(text: string): readonly ParsedKey[] | { readonly problem: string } {
  const pems = /-----BEGIN /.test(text) ? pemsOf(text) : pemsOfSettings(text);
  if ('problem' in pems) return pems;
  if (pems.length === 0) return { problem: 'holds neither a PEM block PUBLIC KEY nor a line publicKey=<base64>' };
  const keys = new Map<string, string>();
  for (const pem of pems) {
    const key = rsaKeyOf(pem);
    if (key === undefined) return { problem: `holds a key that is not an RSA key of ${minModulusBits} bits or more` };
    const der = key.export({ type: 'spki', format: 'der' });
    keys.set(createHash('sha256').update(der).digest('hex').slice(0, 16), pemOf(der.toString('base64')));
  }
  return [...keys].map(([keyid, pem]) => ({ keyid, text: pem }));
}

const privateKey = { problem: 'holds a private key: keep that with who issues the cookies, and give the public half' };

function pemsOf(text: string): readonly string[] | { readonly problem: string } {
  const entries = keyEntries(text);
  if (entries.some(({ label }) => label?.includes('PRIVATE'))) return privateKey;
  return entries.filter(({ label }) => label?.endsWith('PUBLIC KEY')).map(({ text: pem }) => pem);
}

function pemsOfSettings(text: string): readonly string[] | { readonly problem: string } {
  const lines = text.split('\n').map((line) => /^\s*([\w.]+)\s*[=:]\s*([A-Za-z0-9+/=]+)\s*$/.exec(line));
  if (lines.some((line) => /privateKey$/i.test(line?.[1] ?? ''))) return privateKey;
  return lines.flatMap((line) => (/^(?:alsoAccept\.\w+\.)?publicKey$/.test(line?.[1] ?? '') ? pemOf(line![2]!) : []));
}

function pemOf(base64: string): string {
  return `-----BEGIN PUBLIC KEY-----\n${base64.match(/.{1,64}/g)!.join('\n')}\n-----END PUBLIC KEY-----`;
}

function rsaKeyOf(pem: string): KeyObject | undefined {
  try {
    const key = createPublicKey(pem);
    const { modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
    return key.asymmetricKeyType === 'rsa' && modulusLength >= minModulusBits ? key : undefined;
  } catch {
    return undefined;
  }
}

/** Of references whose text is at hand: what is wrong with any adds its line to `problems`, as with secrets. */
export function resolvePublicKeys(
  references: readonly PublicKeyReference[],
  where: string,
  environment: Readonly<Record<string, string | undefined>>,
  problems: string[],
): PublicKey[] {
  return references.flatMap((reference, index) => {
    if (isRemote(reference)) return [];
    const place = `${where}[${index}]`;
    const found = resolveSecret(reference, place, environment, problems);
    if (found === undefined) return [];
    const keys = parsePublicKeys(found.text);
    if (!('problem' in keys)) return keys.map((key) => ({ ...key, notAfterMs: found.notAfterMs, at: index }));
    problems.push(`${place}: ${keys.problem}`);
    return [];
  });
}
