/** Ed25519 signatures of manifests (RFC 8032), by keys as `openssl genpkey -algorithm ed25519` writes them. */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { DaybookError } from '../errors.ts';
import { type KeyEntry, keyEntries } from './key-text.ts';

/** Whether a base64 signature (padded, as Signer writes it) fits the bytes. Never throws. */
export interface Verify {
  (bytes: Uint8Array, signature: string): boolean;
  /** The same by a thread beside: one takes a tenth of a millisecond, and there are thousands. */
  beside(bytes: Uint8Array, signature: string): Promise<boolean>;
}

export interface VerifyingKey {
  readonly verify: Verify;
  /** The numbers of the first and of the last manifest that it may have signed; undefined: from the beginning, without end. */
  readonly from?: number;
  readonly until?: number;
}

/** By key id. */
export type VerifyingKeys = ReadonlyMap<string, VerifyingKey>;

export interface PublicHalf {
  /** First 16 hex of the SHA-256 of the public key's SPKI DER. */
  readonly keyId: string;
  /** Its 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly verify: Verify;
}

export interface Signer extends PublicHalf {
  /** It takes short messages alone: of a manifest it signs the SHA-256. */
  readonly signsHash?: true;
  /** The signature in base64. Rejects where the key is elsewhere, and is not to be had now. */
  sign(bytes: Uint8Array): Promise<string>;
}

/**
 * The signer of one PKCS#8 PEM without passphrase.
 * @throws DaybookError `key_invalid`
 */
export function readSigner(pem: string): Signer {
  const [entry, ...others] = keyEntries(pem);
  if (entry === undefined || others.length > 0) throw invalid('The signing key must be one PEM block.');
  const privateKey = readKey(entry, 'PRIVATE KEY', createPrivateKey, 'The signing key');
  const half = publicHalfOf(createPublicKey(privateKey).export({ type: 'spki', format: 'der' }));
  return { ...half, sign: async (bytes) => sign(null, bytes, privateKey).toString('base64') };
}

/** `spki`: the DER of an Ed25519 public key. */
export function publicHalfOf(spki: Uint8Array): PublicHalf {
  const publicKey = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  return { keyId: keyIdOf(publicKey), publicKey: spki.subarray(-32), verify: verifierOf(publicKey) };
}

/** The key of a setting that names one in AWS KMS; undefined where it holds the key itself. */
export function kmsKeyOf(setting: string): string | undefined {
  return kmsSetting.exec(setting)?.[1];
}

/** `awskms:///` and the key's id, ARN or alias. */
export const kmsSetting = /^awskms:\/\/\/([\w:/-]{1,2048})\s*$/;

/**
 * Public key PEMs, one after the other; or a JSON array of them with the manifests that they may have signed:
 * `[{"key":"-----BEGIN PUBLIC KEY-----…","from":1,"until":120}]`.
 * @throws DaybookError `key_invalid`
 */
export function readVerifyingKeys(text: string): Map<string, VerifyingKey> {
  if (!text.trimStart().startsWith('[')) return readPems(text);
  let entries: unknown;
  try {
    entries = JSON.parse(text);
  } catch {
    throw invalid('The verifying keys begin like a JSON array and are none.');
  }
  const keys = new Map<string, VerifyingKey>();
  for (const [index, entry] of (entries as unknown[]).entries()) {
    const { key, from, until, ...others } = Object(entry) as Record<string, unknown>;
    const isNumber = (value: unknown) => value === undefined || (Number.isSafeInteger(value) && (value as number) > 0);
    if (typeof key !== 'string' || !isNumber(from) || !isNumber(until) || Object.keys(others).length > 0) {
      throw invalid(
        `The verifying key [${index}] must have key (PEM), and may have from and until (manifest numbers).`,
      );
    }
    for (const [id, { verify }] of readPems(key)) {
      const range = {
        ...(from !== undefined && { from: from as number }),
        ...(until !== undefined && { until: until as number }),
      };
      keys.set(id, { verify, ...range });
    }
  }
  if (keys.size === 0) throw invalid('The verifying keys hold no key.');
  return keys;
}

function readPems(pems: string): Map<string, VerifyingKey> {
  const entries = keyEntries(pems);
  if (entries.length === 0) throw invalid('The verifying keys hold no PEM block.');
  return new Map(
    entries.map((entry) => {
      const publicKey = readKey(entry, 'PUBLIC KEY', createPublicKey, `The verifying key on line ${entry.line}`);
      return [keyIdOf(publicKey), { verify: verifierOf(publicKey) }];
    }),
  );
}

function readKey(entry: KeyEntry, label: string, create: (pem: string) => KeyObject, what: string): KeyObject {
  if (entry.label !== label) {
    const found = entry.label === undefined ? 'not PEM' : `a PEM of ${entry.label}`;
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
  const check = (bytes: Uint8Array, signature: string) => {
    const decoded = decodeSignature(signature);
    return decoded !== undefined && verify(null, bytes, publicKey, decoded);
  };
  const beside = (bytes: Uint8Array, signature: string) =>
    new Promise<boolean>((resolve) => {
      const decoded = decodeSignature(signature);
      if (decoded === undefined) resolve(false);
      else verify(null, bytes, publicKey, decoded, (error, fits) => resolve(error === null && fits));
    });
  return Object.assign(check, { beside });
}

/** Node's decoder skips what is not base64: one signature has one text. */
function decodeSignature(signature: string): Buffer | undefined {
  const decoded = Buffer.from(signature, 'base64');
  return decoded.toString('base64') === signature ? decoded : undefined;
}

function invalid(detail: string): DaybookError {
  return new DaybookError('key_invalid', { detail });
}
