/** The private keys that open an archive: those of age-keygen, and RSA keys as openssl and ssh-keygen write them. */
import { constants, createPrivateKey, createPublicKey, type KeyObject, privateDecrypt } from 'node:crypto';
import { type Identity as AgeIdentity, Decrypter, type Stanza } from 'age-encryption';
import { DaybookError } from '../errors.ts';
import { type KeyEntry, keyEntries } from './key-text.ts';
import { oaepLabel, stanzaTag, wireOf, wireReader } from './rsa-key.ts';

/** What `Decrypter.addIdentity` takes: an X25519 identity as its text, or one that unwraps file keys itself. */
export type Identity = string | AgeIdentity;
export type Identities = readonly Identity[];

const opensshMagic = Buffer.from('openssh-key-v1\0');
const fileKeyBytes = 16;

/**
 * The identities of a file: lines `AGE-SECRET-KEY-1…`, and PEM blocks `RSA PRIVATE KEY`, `PRIVATE KEY` and
 * `OPENSSH PRIVATE KEY` with RSA keys that have no passphrase; several in one file are all tried.
 * @throws DaybookError `identity_needs_passphrase`, `identity_invalid`; they name the line and never quote it.
 */
export function parseIdentities(text: string): Identity[] {
  const entries = keyEntries(text);
  if (entries.length === 0) throw new DaybookError('identity_invalid', { detail: 'The identity file holds no key.' });
  return entries.map(readIdentity);
}

function readIdentity(entry: KeyEntry): Identity {
  const { label, text, line } = entry;
  if (isEncrypted(entry)) {
    throw new DaybookError('identity_needs_passphrase', { detail: `The key on line ${line} has a passphrase.` });
  }
  if (label === 'OPENSSH PRIVATE KEY') return rsaIdentity(opensshKey(text, line), line);
  if (label === 'RSA PRIVATE KEY' || label === 'PRIVATE KEY') return rsaIdentity(readPem(text, line), line);
  try {
    const identity = text.trim();
    if (label === undefined && identity.startsWith('AGE-SECRET-KEY-1')) new Decrypter().addIdentity(identity);
    else throw invalid(line, 'is no identity: AGE-SECRET-KEY-1…, or an RSA private key PEM');
    return identity;
  } catch (error) {
    throw error instanceof DaybookError ? error : invalid(line, 'is damaged: its checksum does not fit');
  }
}

function isEncrypted({ label, text }: KeyEntry): boolean {
  return (
    label === 'ENCRYPTED PRIVATE KEY' ||
    label === 'AGE ENCRYPTED FILE' ||
    text.startsWith('age-encryption.org/v1\n') ||
    (label !== undefined && text.includes('\nProc-Type: 4,ENCRYPTED\n'))
  );
}

function readPem(pem: string, line: number): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    throw invalid(line, 'is no readable private key');
  }
}

function rsaIdentity(key: KeyObject, line: number): Identity {
  if (key.asymmetricKeyType !== 'rsa') throw invalid(line, `is a key of type ${key.asymmetricKeyType}, not RSA`);
  const tag = stanzaTag(wireOf(createPublicKey(key)));
  return { unwrapFileKey: (stanzas) => unwrap(stanzas, tag, key) };
}

function unwrap(stanzas: readonly Stanza[], tag: string, key: KeyObject): Uint8Array | null {
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  for (const { args, body } of stanzas) {
    if (args[0] !== 'ssh-rsa' || args[1] !== tag || args.length !== 2) continue;
    const fileKey = privateDecrypt({ key, padding, oaepHash: 'sha256', oaepLabel }, body);
    if (fileKey.length !== fileKeyBytes) throw new Error('the file key has a wrong length');
    return fileKey;
  }
  return null;
}

/**
 * The RSA key of an `openssh-key-v1` block without passphrase, which node:crypto does not read (OpenSSH's PROTOCOL.key):
 *   magic, cipher name, kdf name, kdf options, uint32 number of keys, public key,
 *   private section: uint32 check, the same again, `ssh-rsa`, n, e, d, iqmp, p, q, comment, padding.
 */
export function opensshKey(pem: string, line: number): KeyObject {
  try {
    const base64 = pem
      .split('\n')
      .filter((text) => !text.startsWith('-----'))
      .join('');
    const outer = wireReader(Buffer.from(base64, 'base64'));
    if (!outer.take(opensshMagic.length).equals(opensshMagic)) throw invalid(line, 'is no readable private key');
    const cipher = outer.string().toString('latin1');
    if (cipher !== 'none') {
      throw new DaybookError('identity_needs_passphrase', { detail: `The key on line ${line} has a passphrase.` });
    }
    outer.string();
    outer.string();
    if (outer.uint32() !== 1) throw invalid(line, 'holds more than one key');
    outer.string();
    const inner = wireReader(outer.string());
    const check = inner.uint32();
    if (inner.uint32() !== check) throw invalid(line, 'is damaged');
    const type = inner.string().toString('latin1');
    if (type !== 'ssh-rsa') throw invalid(line, 'is an OpenSSH key of another type than RSA');
    const next = () => inner.string();
    const [n, e, d, qi, p, q] = [next(), next(), next(), next(), next(), next()];
    const numbers = { n, e, d, p, q, dp: remainder(d, p), dq: remainder(d, q), qi };
    const jwk = Object.fromEntries(Object.entries(numbers).map(([name, bytes]) => [name, bytes.toString('base64url')]));
    return createPrivateKey({ key: { kty: 'RSA', ...jwk }, format: 'jwk' });
  } catch (error) {
    throw error instanceof DaybookError ? error : invalid(line, 'is no readable private key');
  }
}

/** d mod (prime - 1), the exponent of the Chinese remainder form. */
function remainder(d: Buffer, prime: Buffer): Buffer {
  const number = (bytes: Buffer) => BigInt(`0x${bytes.toString('hex')}`);
  const hex = (number(d) % (number(prime) - 1n)).toString(16);
  return Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
}

function invalid(line: number, problem: string): DaybookError {
  return new DaybookError('identity_invalid', { detail: `The entry on line ${line} ${problem}.` });
}
