/**
 * RSA keys in OpenSSH's own format, with passphrase or without, which node:crypto does not read (OpenSSH's PROTOCOL.key):
 *   magic, cipher name, kdf name, kdf options, uint32 number of keys, public key, private section; for AES-GCM its tag.
 *   kdf options of `bcrypt`: salt, uint32 rounds. Private section, encrypted as the cipher name says:
 *   uint32 check, the same again, `ssh-rsa`, n, e, d, iqmp, p, q, comment, padding.
 */
import { type CipherGCMTypes, createDecipheriv, createPrivateKey, type KeyObject } from 'node:crypto';
import { DaybookError } from '../errors.ts';
import { bcryptPbkdf } from './bcrypt-pbkdf.ts';
import { wireReader } from './rsa-key.ts';

const magic = Buffer.from('openssh-key-v1\0');
/** About ten minutes of key derivation: a file that asks for more is damaged. */
const maxRounds = 60_000;
const gcmTagBytes = 16;
const ciphers: Readonly<
  Record<string, { readonly name: string; readonly keyBytes: number; readonly ivBytes: number }>
> = Object.fromEntries([
  ...[128, 192, 256].flatMap((bits) =>
    ['ctr', 'cbc'].map((mode) => [
      `aes${bits}-${mode}`,
      { name: `aes-${bits}-${mode}`, keyBytes: bits / 8, ivBytes: 16 },
    ]),
  ),
  ...[128, 256].map((bits) => [
    `aes${bits}-gcm@openssh.com`,
    { name: `aes-${bits}-gcm`, keyBytes: bits / 8, ivBytes: 12 },
  ]),
]);

/** @throws DaybookError `identity_invalid`, `identity_needs_passphrase`, `passphrase_wrong`; they name the line. */
export function opensshKey(pem: string, line: number, passphrase?: string): KeyObject {
  try {
    const base64 = pem
      .split('\n')
      .filter((text) => !text.startsWith('-----'))
      .join('');
    return readKey(Buffer.from(base64, 'base64'), line, passphrase);
  } catch (error) {
    throw error instanceof DaybookError ? error : invalid(line, 'is not a readable private key');
  }
}

function readKey(bytes: Buffer, line: number, passphrase: string | undefined): KeyObject {
  const outer = wireReader(bytes);
  if (!outer.take(magic.length).equals(magic)) throw invalid(line, 'is not a readable private key');
  const cipher = outer.string().toString('latin1');
  const kdf = outer.string().toString('latin1');
  const options = outer.string();
  if (outer.uint32() !== 1) throw invalid(line, 'holds more than one key');
  outer.string();
  const section = outer.string();
  if (cipher === 'none') return readSection(section, () => invalid(line, 'is damaged'), line);
  if (passphrase === undefined) {
    throw new DaybookError('identity_needs_passphrase', { detail: `The key on line ${line} has a passphrase.` });
  }
  if (ciphers[cipher] === undefined || kdf !== 'bcrypt') {
    throw new DaybookError('identity_invalid', {
      detail: `The key on line ${line} is encrypted by ${cipher}, which is not read here.`,
      hint: 'ssh-keygen -p -Z aes256-ctr -f <a copy of the key> encrypts it in the usual way.',
    });
  }
  const wrong = () =>
    new DaybookError('passphrase_wrong', { detail: `The passphrase does not open the key on line ${line}.` });
  const tag = cipher.includes('gcm') ? outer.take(gcmTagBytes) : undefined;
  const plain = decryptSection(section, ciphers[cipher], options, passphrase, tag);
  if (plain === undefined) throw wrong();
  return readSection(plain, wrong, line);
}

/** Undefined where the passphrase is seen to be wrong. */
function decryptSection(
  section: Buffer,
  { name, keyBytes, ivBytes }: (typeof ciphers)[string],
  options: Buffer,
  passphrase: string,
  tag: Buffer | undefined,
): Buffer | undefined {
  const kdf = wireReader(options);
  const salt = kdf.string();
  const rounds = kdf.uint32();
  if (rounds < 1 || rounds > maxRounds) throw new RangeError('the number of rounds is not plausible');
  const derived = bcryptPbkdf(Buffer.from(passphrase), salt, keyBytes + ivBytes, rounds);
  const [key, iv] = [derived.subarray(0, keyBytes), derived.subarray(keyBytes)];
  try {
    if (tag !== undefined) {
      const decipher = createDecipheriv(name as CipherGCMTypes, key, iv).setAuthTag(tag);
      return Buffer.concat([decipher.update(section), decipher.final()]);
    }
    const decipher = createDecipheriv(name, key, iv).setAutoPadding(false);
    return Buffer.concat([decipher.update(section), decipher.final()]);
  } catch {
    return undefined;
  }
}

function readSection(section: Buffer, damaged: () => DaybookError, line: number): KeyObject {
  const inner = wireReader(section);
  const check = inner.uint32();
  if (inner.uint32() !== check) throw damaged();
  const type = inner.string().toString('latin1');
  if (type !== 'ssh-rsa') throw invalid(line, 'is an OpenSSH key of another type than RSA');
  const next = () => inner.string();
  const [n, e, d, qi, p, q] = [next(), next(), next(), next(), next(), next()];
  const numbers = { n, e, d, p, q, dp: remainder(d, p), dq: remainder(d, q), qi };
  const jwk = Object.fromEntries(Object.entries(numbers).map(([name, bytes]) => [name, bytes.toString('base64url')]));
  return createPrivateKey({ key: { kty: 'RSA', ...jwk }, format: 'jwk' });
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
