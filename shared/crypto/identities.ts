/** The private keys that open an archive: those of age-keygen, and RSA keys as openssl and ssh-keygen write them. */
import { constants, createPrivateKey, createPublicKey, type KeyObject, privateDecrypt } from 'node:crypto';
import type { Identity as AgeIdentity, Stanza } from 'age-encryption';
import { DaybookError } from '../errors.ts';
import { ageLibrary } from './age-library.ts';
import { type KeyEntry, keyEntries } from './key-text.ts';
import { opensshKey } from './openssh-key.ts';
import { oaepLabel, stanzaTag, wireOf } from './rsa-key.ts';

/** What `Decrypter.addIdentity` takes: an X25519 identity as its text, or one that unwraps file keys itself. */
export type Identity = string | AgeIdentity;
export type Identities = readonly Identity[];

const fileKeyBytes = 16;

/**
 * The identities of a file: lines `AGE-SECRET-KEY-1…` and `AGE-SECRET-KEY-PQ-1…`, and PEM blocks `RSA PRIVATE KEY`, `PRIVATE KEY` and
 * `OPENSSH PRIVATE KEY` with RSA keys that have no passphrase (unlock-identities.ts asks for one); several in one file
 * are all tried.
 * @throws DaybookError `identity_needs_passphrase`, `identity_invalid`; they name the line and never quote it.
 */
export function parseIdentities(text: string): Identity[] {
  const entries = keyEntries(text);
  if (entries.length === 0) throw new DaybookError('identity_invalid', { detail: 'The identity file holds no key.' });
  return entries.map((entry) => readIdentity(entry));
}

/**
 * @throws DaybookError `identity_needs_passphrase` where it has one that is not given, `passphrase_wrong`,
 * `identity_invalid`
 */
export function readIdentity(entry: KeyEntry, passphrase?: string): Identity {
  const { label, text, line } = entry;
  if (isLocked(entry) && passphrase === undefined) {
    throw new DaybookError('identity_needs_passphrase', { detail: `The key on line ${line} has a passphrase.` });
  }
  if (label === 'OPENSSH PRIVATE KEY') return rsaIdentity(opensshKey(text, line, passphrase), line);
  if (label?.endsWith('PRIVATE KEY')) return rsaIdentity(readPem(text, line, passphrase), line);
  try {
    const identity = text.trim();
    if (label !== undefined || !/^AGE-SECRET-KEY-(?:PQ-)?1/.test(identity)) {
      throw invalid(line, 'is not an identity: AGE-SECRET-KEY-1…, or an RSA private key PEM');
    }
    new (ageLibrary().Decrypter)().addIdentity(identity);
    return identity;
  } catch (error) {
    throw error instanceof DaybookError ? error : invalid(line, 'is damaged: its checksum does not fit');
  }
}

/** Whether the entry tells, as PEM and age files do, that it is encrypted; of OpenSSH's format opensshKey finds out. */
function isLocked({ label, text }: KeyEntry): boolean {
  return (
    label === 'ENCRYPTED PRIVATE KEY' ||
    label === 'AGE ENCRYPTED FILE' ||
    text.startsWith('age-encryption.org/v1\n') ||
    (label !== undefined && text.includes('\nProc-Type: 4,ENCRYPTED\n'))
  );
}

function readPem(pem: string, line: number, passphrase: string | undefined): KeyObject {
  try {
    return createPrivateKey({ key: pem, ...(passphrase === undefined ? {} : { passphrase }) });
  } catch {
    if (passphrase === undefined) throw invalid(line, 'is not a readable private key');
    throw new DaybookError('passphrase_wrong', { detail: `The passphrase does not open the key on line ${line}.` });
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

function invalid(line: number, problem: string): DaybookError {
  return new DaybookError('identity_invalid', { detail: `The entry on line ${line} ${problem}.` });
}
