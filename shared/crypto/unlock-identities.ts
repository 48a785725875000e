/** Identities whose file or key has a passphrase: asked for, key by key, before anything is opened. */
import { DaybookError } from '../errors.ts';
import { textOfBytes } from '../files/read-text.ts';
import { ageLibrary } from './age-library.ts';
import { type Identity, parseIdentities, readIdentity } from './identities.ts';
import { keyEntries } from './key-text.ts';

/** Asks somebody for a passphrase; rejects where nobody can be asked. `of` names what it opens. */
export type AskPassphrase = (of: string) => Promise<string>;

const maxTries = 3;
const ageFile = Buffer.from('age-encryption.org/v1\n');

/**
 * The identities of a file, as parseIdentities reads them; of keys with a passphrase (PEM, OpenSSH), and of a file that
 * `age -p` encrypted whole, the passphrase is asked for, three times at most.
 * @throws DaybookError `identity_invalid`, `passphrase_wrong`, and what `ask` rejects with
 */
export async function unlockIdentities(bytes: Uint8Array, name: string, ask: AskPassphrase): Promise<Identity[]> {
  const file = Buffer.from(bytes);
  if (file.subarray(0, ageFile.length).equals(ageFile)) return parseIdentities(await openAgeFile(file, name, ask));
  const text = textOfBytes(file);
  const entries = keyEntries(text);
  if (entries.length === 1 && entries[0]!.label === 'AGE ENCRYPTED FILE') {
    return parseIdentities(await openAgeFile(dearmored(entries[0]!.text), name, ask));
  }
  if (entries.length === 0) return parseIdentities(text);
  const identities: Identity[] = [];
  for (const entry of entries) {
    try {
      identities.push(readIdentity(entry));
    } catch (error) {
      if (!(error instanceof DaybookError) || error.code !== 'identity_needs_passphrase') throw error;
      const of = entries.length === 1 ? name : `${name}, line ${entry.line}`;
      identities.push(await withPassphrase(of, ask, async (passphrase) => readIdentity(entry, passphrase)));
    }
  }
  return identities;
}

async function withPassphrase<T>(of: string, ask: AskPassphrase, open: (passphrase: string) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await open(await ask(of));
    } catch (error) {
      const isWrong = error instanceof DaybookError && error.code === 'passphrase_wrong';
      if (!isWrong || attempt === maxTries) throw error;
    }
  }
}

function openAgeFile(file: Uint8Array, name: string, ask: AskPassphrase): Promise<string> {
  return withPassphrase(name, ask, async (passphrase) => {
    const decrypter = new (ageLibrary().Decrypter)();
    decrypter.addPassphrase(passphrase);
    try {
      return Buffer.from(await decrypter.decrypt(file)).toString('utf8');
    } catch {
      throw new DaybookError('passphrase_wrong', { detail: `The passphrase does not open ${name}.` });
    }
  });
}

function dearmored(text: string): Uint8Array {
  try {
    return ageLibrary().armor.decode(text);
  } catch {
    throw new DaybookError('identity_invalid', { detail: 'The encrypted identity file is damaged.' });
  }
}
