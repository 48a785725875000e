/** `daybook-compactor replicate`: copies the archive to a second store, or compares the two. */
import { resolve } from 'node:path';
import { refuseProblems } from '../../shared/config.ts';
import { DaybookError } from '../../shared/errors.ts';
import { counted } from '../../shared/program/counted.ts';
import { openLog } from '../../shared/program/log.ts';
import { exitCodeOf } from '../../shared/program/program.ts';
import { openProgress } from '../../shared/program/progress.ts';
import { print } from '../../shared/program/standard-output.ts';
import { visibleText } from '../../shared/program/visible-text.ts';
import { openRemover, openStore } from '../../shared/store/open.ts';
import type { ObjectRemover } from '../../shared/store/store.ts';
import { readArchiveConfiguration } from '../configuration.ts';
import { type ReplicaReport, replicateArchive } from '../replicate/replicate-archive.ts';
import { replicateSettings } from '../settings.ts';

export interface ReplicateOptions {
  readonly check?: boolean;
  readonly prune?: boolean;
  readonly json?: boolean;
}

const maxShown = 20;

/**
 * Prints what was copied, or compared. Sets the exit code: 3 where an object or a manifest is missing, damaged or another
 * one, else 2 where the replica is behind or one could not be deleted.
 */
export async function replicateCommand(options: ReplicateOptions): Promise<void> {
  const check = options.check === true;
  if (check && options.prune === true) {
    throw new DaybookError('usage', { detail: '--check changes nothing: it does not go with --prune' });
  }
  const { settings, verifyingKeys } = readArchiveConfiguration(replicateSettings);
  const { DAYBOOK_STORE: configured, DAYBOOK_REPLICA_STORE: second, DAYBOOK_DATA_DIR: dataDirectory } = settings;
  if (second === undefined) refuseProblems(['DAYBOOK_REPLICA_STORE: is required to replicate']);
  if (second!.params?.prefix !== configured.params?.prefix) {
    refuseProblems(['DAYBOOK_REPLICA_STORE: must have the prefix of DAYBOOK_STORE: manifests name whole keys']);
  }
  const { store: archive, prefix } = await openStore(configured, dataDirectory);
  const { store: replica } = await openStore(second!, dataDirectory);
  let remover: ObjectRemover | undefined;
  const { progress, done } = openProgress(openLog('compactor', settings.LOG_LEVEL));
  const stop = () => process.exit(2);
  process.once('SIGTERM', stop).once('SIGINT', stop);
  try {
    if (resolve(archive.location) === resolve(replica.location)) {
      refuseProblems(['DAYBOOK_REPLICA_STORE: is the store of DAYBOOK_STORE itself']);
    }
    if (options.prune === true) remover = await openRemover(second!, dataDirectory);
    const report = await replicateArchive({ archive, replica, prefix, verifyingKeys, check, remover, progress });
    done();
    const codes = report.failures.map(({ code }) => exitCodeOf(new DaybookError(code)));
    if (report.behind > 0) codes.push(2);
    if (codes.length > 0) process.exitCode = Math.max(...codes);
    await print(options.json === true ? `${JSON.stringify(report)}\n` : describe(report, replica.location));
  } finally {
    done();
    process.off('SIGTERM', stop).off('SIGINT', stop);
    await remover?.close();
    await replica.close();
    await archive.close();
  }
}

function describe(report: ReplicaReport, location: string): string {
  const { check, archive, replica, behind, copied, proven, pruned, removed, hidden, left, failures } = report;
  const { manifests, objects, bytes } = copied;
  const newest =
    replica === null ? 'holds no manifest of it' : `ends with manifest ${replica.number}, SHA-256 ${replica.sha256}`;
  const shown = failures
    .slice(0, maxShown)
    .map(({ code, key, message }) => `FAILED ${visibleText(`${key}: ${message}`)} (${code})\n`);
  return [
    ...shown,
    failures.length > maxShown ? `and ${failures.length - maxShown} more failed\n` : '',
    check
      ? ''
      : `Copied ${counted(manifests, 'manifest')} and ${counted(objects, 'object')}, ${counted(bytes, 'byte')}.\n`,
    `Read at the replica and right: ${counted(proven, 'object')}. Pruned, so not looked at: ${pruned}.\n`,
    removed === 0 ? '' : `Deleted at the replica what the archive has pruned: ${counted(removed, 'object')}.\n`,
    hidden === 0 ? '' : `It keeps older versions: the bytes of ${hidden} are there until a lifecycle rule ends them.\n`,
    left === null || left === 0
      ? ''
      : `${counted(left, 'object')} that the archive has pruned still at the replica: --prune deletes them.\n`,
    archive === null ? 'The archive has no manifest.\n' : `${visibleText(location)} ${newest}.\n`,
    behind === 0 ? '' : `It lacks ${counted(behind, 'manifest')} of the archive.\n`,
  ].join('');
}
