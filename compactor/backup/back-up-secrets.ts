/** Seals what a machine needs and puts it beside the archive: under a name with the time, created once, and as `latest`. */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Clock } from '../../shared/clock.ts';
import { encryptAge } from '../../shared/crypto/age-file.ts';
import type { Recipients } from '../../shared/crypto/recipients.ts';
import { DaybookError } from '../../shared/errors.ts';
import { bodyOf, type ObjectReplacer, type ObjectStore, readWhole } from '../../shared/store/store.ts';
import { collectSecrets } from './collect-secrets.ts';
import { tarOf } from './tar.ts';

export interface SecretsBackup {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly recipients: Recipients;
  /** Tells the backups of several machines apart: `[a-z0-9-]+`. */
  readonly name: string;
  /** All of them get it. */
  readonly places: readonly { readonly store: ObjectStore; readonly replacer: ObjectReplacer }[];
  /** '' or folders that end in a slash. */
  readonly prefix: string;
  /** What is referred to and is not here is left out; else nothing is written. */
  readonly allowMissing: boolean;
  readonly clock: Clock;
}

/** `backup-secrets --json`. No secret is in it. */
export interface SecretsBackupReport {
  /** Keys: created once, and written over. */
  readonly key: string;
  readonly latest: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly places: readonly string[];
  readonly variables: readonly string[];
  readonly files: readonly string[];
  readonly missing: readonly string[];
}

/**
 * Resolves when every place has both, read back and found right. Run again it makes a new one: none is written over but
 * `latest`.
 * @throws DaybookError `configuration_invalid`, and what the stores reject with
 */
export async function backUpSecrets(backup: SecretsBackup): Promise<SecretsBackupReport> {
  const { environment, recipients, name, places, prefix, allowMissing, clock } = backup;
  const now = clock.now();
  const { files, variables, missing } = await collectSecrets(environment);
  if (missing.length > 0 && !allowMissing) {
    throw new DaybookError('configuration_invalid', {
      detail: missing.join('\n'),
      hint: 'A backup without these would not run again. Where they are of another machine, back them up there, and give --allow-missing here.',
    });
  }
  const plain = Readable.from([tarOf(files, now.getTime())]);
  const sealed = Buffer.concat(await Array.fromAsync(encryptAge(plain, recipients)));
  const folder = `${prefix}secrets/`;
  const key = `${folder}${name}-${now.toISOString().replaceAll(/[:.]/g, '-')}.tar.age`;
  const latest = `${folder}${name}-latest.tar.age`;
  for (const { store, replacer } of places) {
    await createOnce(store, key, sealed);
    // Dies here: this one is there, and `latest` is the one before it. The next run makes both.
    await replacer.replace(latest, sealed);
    await refuseOther(store, latest, sealed);
    // Dies here: this place has it, the next one does not.
  }
  return {
    key,
    latest,
    sha256: createHash('sha256').update(sealed).digest('hex'),
    bytes: sealed.length,
    places: places.map(({ store }) => store.location),
    variables,
    files: files.map(({ path }) => path),
    missing,
  };
}

/** Where its answer was lost, the object tells. */
async function createOnce(store: ObjectStore, key: string, sealed: Buffer): Promise<void> {
  let failure: unknown;
  try {
    await store.create(key, bodyOf(sealed));
  } catch (error) {
    failure = error;
  }
  if (failure !== undefined && (await store.head(key)) === undefined) throw failure;
  await refuseOther(store, key, sealed);
}

async function refuseOther(store: ObjectStore, key: string, sealed: Buffer): Promise<void> {
  if ((await readWhole(store, key)).equals(sealed)) return;
  throw new DaybookError('store_unavailable', {
    detail: `${key} is not what was written: another run may have been at it`,
  });
}
