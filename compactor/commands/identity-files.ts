/** The files of `--identity`, with the passphrases that they need. */
import { readFileSync } from 'node:fs';
import type { Identity } from '../../shared/crypto/identities.ts';
import { type AskPassphrase, unlockIdentities } from '../../shared/crypto/unlock-identities.ts';
import { DaybookError } from '../../shared/errors.ts';

/** @throws DaybookError `usage` where a file cannot be read, and what unlockIdentities throws, with the file's name */
export async function readIdentityFiles(paths: readonly string[], ask: AskPassphrase): Promise<Identity[]> {
  const identities: Identity[] = [];
  for (const path of paths) {
    let bytes: Buffer;
    try {
      bytes = readFileSync(path);
    } catch (error) {
      const reason = (error as NodeJS.ErrnoException).code ?? 'unreadable';
      throw new DaybookError('usage', { detail: `--identity: the file cannot be read (${reason})` });
    }
    identities.push(...(await unlockIdentities(bytes, path, ask)));
  }
  return identities;
}
