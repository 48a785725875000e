/** `daybook-compactor backup-secrets`: configuration and keys, sealed, into the bucket. */
import { systemClock } from '../../shared/clock.ts';
import { DaybookError } from '../../shared/errors.ts';
import { counted } from '../../shared/program/counted.ts';
import { print } from '../../shared/program/standard-output.ts';
import { visibleText } from '../../shared/program/visible-text.ts';
import { openReplacer, openStore } from '../../shared/store/open.ts';
import { backUpSecrets, type SecretsBackupReport } from '../backup/back-up-secrets.ts';
import { readBackupConfiguration } from '../configuration.ts';

export interface BackupSecretsOptions {
  readonly name: string;
  readonly allowMissing?: boolean;
  readonly json?: boolean;
}

export async function backupSecretsCommand(options: BackupSecretsOptions): Promise<void> {
  if (!/^[a-z0-9][a-z0-9-]{0,39}$/.test(options.name)) {
    throw new DaybookError('usage', { detail: '--name takes lower-case letters, digits and hyphens, 40 at most' });
  }
  const { settings, environment, recipients } = readBackupConfiguration();
  const { DAYBOOK_STORE: first, DAYBOOK_REPLICA_STORE: second, DAYBOOK_DATA_DIR: dataDirectory } = settings;
  const opened: { store: Awaited<ReturnType<typeof openStore>>; replacer: Awaited<ReturnType<typeof openReplacer>> }[] =
    [];
  try {
    for (const configured of second === undefined ? [first] : [first, second]) {
      const store = await openStore(configured, dataDirectory);
      opened.push({ store, replacer: await openReplacer(configured, dataDirectory) });
    }
    const report = await backUpSecrets({
      environment,
      recipients,
      name: options.name,
      places: opened.map(({ store, replacer }) => ({ store: store.store, replacer })),
      prefix: opened[0]!.store.prefix,
      allowMissing: options.allowMissing === true,
      clock: systemClock,
    });
    await print(options.json === true ? `${JSON.stringify(report)}\n` : describe(report));
  } finally {
    for (const { store, replacer } of opened) {
      await replacer.close();
      await store.store.close();
    }
  }
}

function describe({ key, latest, sha256, bytes, places, variables, files, missing }: SecretsBackupReport): string {
  return [
    `Sealed ${counted(variables.length, 'setting')} and ${counted(files.length - 1, 'file')} beside them: ${counted(bytes, 'byte')}, SHA-256 ${sha256}.\n`,
    ...missing.map((what) => `NOT IN IT: ${visibleText(what)}\n`),
    ...places.map((place) => `${visibleText(place)}: ${key}, and the same as ${latest}\n`),
    'On an empty machine, in the checkout: age -d -i <backup identity> <file> | tar x\n',
  ].join('');
}
