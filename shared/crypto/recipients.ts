/**
 * Who can open the archive: the public keys of COMPACTOR_RECIPIENTS. Taken is what the stock `age` command (1.1) opens
 * with a key pair of its own or of ssh-keygen, and nothing else: an archive that nobody can open is worse than none. Only who
 * gives nothing but post-quantum keys (`age1pq1…`) needs age 1.3. For keys in hardware age has tagged recipients, which are
 * sealed to without the plugin that opens them; what only a plugin seals is not taken, for that would be another program.
 */
import { constants, createPublicKey, type KeyObject, publicEncrypt } from 'node:crypto';
import { bech32 } from '@scure/base';
import type { Recipient as AgeRecipient } from 'age-encryption';
import { ageLibrary } from './age-library.ts';
import { type KeyEntry, keyEntries } from './key-text.ts';
import { minModulusBits, oaepLabel, publicKeyOfWire, stanzaTag, wireOf } from './rsa-key.ts';

/** What `Encrypter.addRecipient` takes: an X25519 recipient as its text, or one that wraps file keys itself. */
export type Recipient = string | AgeRecipient;
export type Recipients = readonly Recipient[];

const x25519Recipient = /^age1[02-9ac-hj-np-z]{58}$/;
/** ML-KEM-768 and X25519: both would have to be broken. */
export const postQuantumRecipient = /^age1(?:pq|tagpq)1[02-9ac-hj-np-z]+$/;
/** P-256, or that with ML-KEM-768 (c2sp.org/age): the private half is in hardware, and a plugin of age opens by it. */
export const taggedRecipient = /^age1tag(?:pq)?1[02-9ac-hj-np-z]+$/;
const accepted =
  'age1… (X25519), age1pq1… (post-quantum), age1tag1… or age1tagpq1… (in hardware), ssh-rsa …, or an RSA public key PEM (ssh-keygen -e -m PEM)';

/**
 * The recipients of a text: `age1…`, `ssh-rsa AAAA… comment`, or a PEM block `RSA PUBLIC KEY` or `PUBLIC KEY`, one a
 * line; see keyEntries for what may stand between them. Problems name the line and never quote it.
 */
export function parseRecipients(text: string): { recipients: Recipient[]; problems: string[] } {
  const recipients: Recipient[] = [];
  const problems: string[] = [];
  const entries = keyEntries(text);
  if (entries.length === 0) problems.push(`names no recipient: ${accepted}`);
  for (const entry of entries) {
    const read = readRecipient(entry);
    if ('problem' in read) problems.push(`line ${entry.line}: ${read.problem}`);
    else recipients.push(read.recipient);
  }
  const strong = recipients.filter(
    (recipient) => typeof recipient === 'string' && postQuantumRecipient.test(recipient),
  );
  // As stock age refuses it: the file key lies there for the weaker ones too.
  if (strong.length > 0 && strong.length < recipients.length) {
    problems.push(
      'mixes post-quantum recipients (age1pq1…, age1tagpq1…) with others: what is sealed would be as weak as those',
    );
  }
  return { recipients, problems };
}

type Read = { readonly recipient: Recipient } | { readonly problem: string };

function readRecipient({ label, text }: KeyEntry): Read {
  if (isPrivate(label, text)) {
    return { problem: 'is a private key: take it off this machine and give its public half' };
  }
  if (label === 'RSA PUBLIC KEY' || label === 'PUBLIC KEY') return rsaRecipient(publicKeyOfPem(text));
  const [kind, encoded = ''] = text.trim().split(/\s+/);
  if (kind === 'ssh-rsa') return rsaRecipient(publicKeyOfWire(Buffer.from(encoded, 'base64')));
  if (label === undefined && kind!.startsWith('age1')) return nativeRecipient(text.trim());
  return { problem: `is not a recipient: ${accepted}` };
}

function isPrivate(label: string | undefined, text: string): boolean {
  return label === undefined ? /^AGE-(SECRET-KEY|PLUGIN)-/i.test(text) : label.includes('PRIVATE');
}

function nativeRecipient(text: string): Read {
  if (![x25519Recipient, postQuantumRecipient, taggedRecipient].some((form) => form.test(text))) {
    const plugin = /^age1([a-z0-9+._-]{1,32})1[02-9ac-hj-np-z]{6,}$/.exec(text)?.[1];
    if (plugin === undefined) return { problem: `is not a recipient: ${accepted}` };
    return {
      problem: `is a recipient that only the program age-plugin-${plugin} can seal to, and daybook starts none: give its tagged recipient (age1tag1…) where it has one, or an age1… key pair whose identity file you seal to the plugin`,
    };
  }
  // The library of age says the same, and would be loaded for it alone.
  if (x25519Recipient.test(text) && isSoundBech32(text)) return { recipient: text };
  try {
    new (ageLibrary().Encrypter)().addRecipient(text);
    return { recipient: text };
  } catch {
    return { problem: 'has a typing error: its checksum does not fit' };
  }
}

/** Whether the checksum fits, and the bits that fill the last character up are 0. */
function isSoundBech32(text: string): boolean {
  try {
    bech32.decodeToBytes(text);
    return true;
  } catch {
    return false;
  }
}

function publicKeyOfPem(pem: string): KeyObject | undefined {
  try {
    const key = createPublicKey(pem);
    return key.asymmetricKeyType === 'rsa' ? key : undefined;
  } catch {
    return undefined;
  }
}

function rsaRecipient(key: KeyObject | undefined): Read {
  if (key === undefined) return { problem: 'is not a readable RSA public key' };
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
  if (modulusLength < minModulusBits) {
    return { problem: `is an RSA key of ${modulusLength} bits: at least ${minModulusBits} are needed` };
  }
  // The limits of stock age, which would not open the file.
  if (publicExponent < 3n || publicExponent % 2n === 0n || publicExponent >= 2n ** 24n) {
    return { problem: 'is an RSA key with an exponent that age does not take' };
  }
  const tag = stanzaTag(wireOf(key));
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  return {
    recipient: {
      wrapFileKey: (fileKey) => [
        new (ageLibrary().Stanza)(
          ['ssh-rsa', tag],
          publicEncrypt({ key, padding, oaepHash: 'sha256', oaepLabel }, fileKey),
        ),
      ],
    },
  };
}
