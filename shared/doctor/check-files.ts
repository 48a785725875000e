/** Files and folders as doctor looks at them: who can read them, whether they can be written, how much room there is. */
import { accessSync, constants, type Stats, statfsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { type Found, ok, problem, warning } from './finding.ts';

/** Of the disk of an archive or of staging: a night of some size. */
export const wantedBytes = 1024 ** 3;

/** A file that holds a secret, and what it is. */
export interface SecretFile {
  /** As `COMPACTOR_SIGNING_KEY_FILE`. */
  readonly name: string;
  readonly path: string;
}

/** Files that others than their owner and group can read. Those that cannot be read are the configuration's to tell. */
export function checkSecretFiles(files: readonly SecretFile[]): Found[] {
  return files.flatMap(({ name, path }) => {
    const mode = statOf(path)?.mode;
    if (mode === undefined) return [];
    if ((mode & 0o007) === 0) return [ok(`${name}: only its owner and group can use the file (${modeOf(mode)})`)];
    return [
      warning(
        `${name}: anybody on this machine can use the file (${modeOf(mode)})`,
        'chmod 600 it; a mounted secret has a mode of its own (Kubernetes: defaultMode 0400).',
      ),
    ];
  });
}

/** A folder that the program writes to, or will make. `what` begins the sentence. */
export function checkFolder(what: string, path: string): Found[] {
  const found = statOf(path);
  if (found === undefined) {
    const above = existingAbove(path);
    if (isWritable(above)) return [ok(`${what} is not there yet; it is made when it is first used`)];
    const said = `${what} is not there, and cannot be made: ${above} cannot be written to`;
    return [problem(said, 'Make it yourself, owned by the user that daybook runs as, with mode 700.')];
  }
  if (!found.isDirectory()) return [problem(`${what} is not a folder`, `Move the file ${path} away.`)];
  if (!isWritable(path)) {
    return [problem(`${what} cannot be written to`, 'Give it to the user that daybook runs as, with mode 700.')];
  }
  if ((found.mode & 0o077) === 0) return [ok(`${what} can be written, by its owner alone (${modeOf(found.mode)})`)];
  return [warning(`${what} is open to others (${modeOf(found.mode)})`, `chmod 700 ${path}`)];
}

/** Room on the disk of a folder, which need not be there yet. */
export function checkRoom(what: string, path: string, wantedBytes: number): Found[] {
  const freeBytes = freeBytesOf(path);
  const said = `${what}: ${inUnits(freeBytes)} are free on its disk`;
  if (freeBytes >= wantedBytes) return [ok(said)];
  return [warning(`${said}, of ${inUnits(wantedBytes)} that it may need`, 'Make room, or use another disk.')];
}

/** Of the disk of a folder, which need not be there yet. */
export function freeBytesOf(path: string): number {
  const { bavail, bsize } = statfsSync(existingAbove(path));
  return bavail * bsize;
}

export function inUnits(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit]}`;
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

/** The folder itself, or the nearest above it that is there. */
export function existingAbove(path: string): string {
  let above = resolve(path);
  while (statOf(above) === undefined && dirname(above) !== above) above = dirname(above);
  return above;
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function modeOf(mode: number): string {
  return (mode & 0o777).toString(8).padStart(4, '0');
}
