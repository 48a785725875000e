/** Ed25519 signatures of manifests (RFC 8032), by keys as `openssl genpkey -algorithm ed25519` writes them. */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { DaybookError } from '../errors.ts';
import { type KeyEntry, keyEntries } from './key-text.ts';

/** Whether a base64 signature (padded, as Signer writes it) fits the bytes. Never throws. */
export type Verify = (bytes: Uint8Array, signature: string) => boolean;

/** Verifiers by key id. */
export type VerifyingKeys = ReadonlyMap<string, Verify>;

export interface Signer {
  /** First 16 hex of the SHA-256 of the public key's SPKI DER. */
  readonly keyId: string;
  /** The signature in base64. */
  sign(bytes: Uint8Array): string;
  readonly verify: Verify;
}

/**
 * The signer of one PKCS#8 PEM without passphrase.
 * @throws DaybookError `key_invalid`
 */
export function readSigner(pem: string): Signer {
  const [entry, ...others] = keyEntries(pem);
  if (entry === undefined || others.length > 0) throw invalid('The signing key must be one PEM block.');
  const privateKey = readKey(entry, 'PRIVATE KEY', createPrivateKey, 'The signing key');
  const publicKey = createPublicKey(privateKey);
  return {
    keyId: keyIdOf(publicKey),
    sign: (bytes) => sign(null, bytes, privateKey).toString('base64'),
    verify: verifierOf(publicKey),
  };
}

/**
 * The verifiers of public key PEMs, one after the other, by key id.
 * @throws DaybookError `key_invalid`
 */
export function readVerifyingKeys(pems: string): Map<string, Verify> {
  const entries = keyEntries(pems);
  if (entries.length === 0) throw invalid('The verifying keys hold no PEM block.');
  return new Map(
    entries.map((entry) => {
      const publicKey = readKey(entry, 'PUBLIC KEY', createPublicKey, `The verifying key on line ${entry.line}`);
      return [keyIdOf(publicKey), verifierOf(publicKey)];
    }),
  );
}

function readKey(entry: KeyEntry, label: string, create: (pem: string) => KeyObject, what: string): KeyObject {
  if (entry.label !== label) {
    const found = entry.label === undefined ? 'no PEM' : `a PEM of ${entry.label}`;
    throw invalid(`${what} must be a PEM of ${label}, this is ${found}.`);
  }
  let key: KeyObject;
  try {
    key = create(entry.text);
  } catch {
    throw invalid(`${what} cannot be read.`);
  }
  if (key.asymmetricKeyType !== 'ed25519') throw invalid(`${what} must be Ed25519, this is ${key.asymmetricKeyType}.`);
  return key;
}

function keyIdOf(publicKey: KeyObject): string {
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex')
    .slice(0, 16);
}

function verifierOf(publicKey: KeyObject): Verify {
  return (bytes, signature) => {
    const decoded = Buffer.from(signature, 'base64');
    // Node's decoder skips what is no base64: one signature has one text.
    return decoded.toString('base64') === signature && verify(null, bytes, publicKey, decoded);
  };
}

function invalid(detail: string): DaybookError {
  return new DaybookError('key_invalid', { detail });
}
