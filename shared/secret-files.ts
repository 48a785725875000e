/** The files that hold a program's secrets: those of NAME_FILE settings, of references in the sources, and `.env`. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type SettingName, settings } from './config.ts';
import type { SecretFile } from './doctor/check-files.ts';
import type { SecretReference } from './schemes/source-members.ts';

/** A reference and where it stands: `DAYBOOK_SOURCES[0].secrets[1]`. */
export interface PlacedReference {
  readonly where: string;
  readonly reference: SecretReference;
}

export function secretFilesOf(
  environment: Readonly<Record<string, string | undefined>>,
  directory: string,
  names: readonly SettingName[],
  references: readonly PlacedReference[],
): SecretFile[] {
  const files: SecretFile[] = [];
  const dotEnv = join(directory, '.env');
  if (existsSync(dotEnv)) files.push({ name: '.env', path: dotEnv });
  for (const name of names) {
    const path = 'secret' in settings[name] ? environment[`${name}_FILE`] : undefined;
    if (path !== undefined) files.push({ name: `${name}_FILE`, path });
  }
  const sources = environment.DAYBOOK_SOURCES;
  // Anything but a JSON array is the path of a file with one.
  if (sources !== undefined && !/^\s*\[/.test(sources)) files.push({ name: 'DAYBOOK_SOURCES', path: sources });
  for (const { where, reference } of references) {
    if (typeof reference === 'object' && 'file' in reference) files.push({ name: where, path: reference.file });
  }
  return files;
}
