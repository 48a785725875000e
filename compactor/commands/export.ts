/** `daybook-compactor export`: whole months as a table for analysis, Parquet or JSON Lines, a row an event. */
import { DaybookError } from '../../shared/errors.ts';
import { askOnTerminal } from '../../shared/program/terminal.ts';
import { readArchiveConfiguration } from '../configuration.ts';
import { daysOfMonth, isMonth } from '../console/day-words.ts';
import { openExportOutput } from '../export/export-output.ts';
import { openJsonLines } from '../export/json-lines.ts';
import { openParquet } from '../export/parquet.ts';
import type { RowWriter, TakeBytes } from '../export/row-writer.ts';
import { type RestoreOutput, restoreArchive } from '../restore/restore-archive.ts';
import type { Selection } from '../restore/restore-selection.ts';
import { readIdentityFiles } from './identity-files.ts';
import { readingArchive } from './reading-archive.ts';
import { describe, sayRestored, toFile, toStdout } from './restore.ts';

export interface ExportOptions {
  readonly format: string;
  readonly month: readonly string[];
  readonly source: readonly string[];
  readonly identity: readonly string[];
  readonly output?: string;
  readonly json?: boolean;
}

const formats: Readonly<Record<string, (take: TakeBytes) => RowWriter>> = {
  parquet: openParquet,
  jsonl: openJsonLines,
};

/** Prints a summary and sets the exit code as restore does. */
export async function exportCommand(options: ExportOptions): Promise<void> {
  const openRows = Object.hasOwn(formats, options.format) ? formats[options.format]! : undefined;
  if (openRows === undefined) throw usage(`--format takes parquet or jsonl, not ${options.format}`);
  if (options.month.length === 0) throw usage('--month is needed: --month 2026-11');
  if (options.identity.length === 0) throw usage('--identity is needed to open the archive');
  const isToStdout = options.output === undefined || options.output === '-';
  if (isToStdout && options.format === 'parquet' && process.stdout.isTTY) {
    throw usage('--output is needed: a terminal does not show Parquet');
  }
  const wrong = options.month.find((month) => !isMonth(month));
  if (wrong !== undefined) throw usage(`--month takes a UTC month such as 2026-11, not ${wrong}`);
  const days = options.month.flatMap(daysOfMonth);
  const selection: Selection = { sources: options.source, days, types: [], ids: [], objects: [], except: [] };
  const { settings, verifyingKeys } = readArchiveConfiguration();
  const identities = await readIdentityFiles(options.identity, askOnTerminal);
  await readingArchive(settings, verifyingKeys, isToStdout ? undefined : options.output, async (scene) => {
    const exportTo = async ({ write }: Pick<RestoreOutput, 'write'>) => {
      const rows = openRows((bytes) => write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), ''));
      const output = openExportOutput({ ...scene, identities }, rows);
      const report = await restoreArchive({ ...scene, selection, identities, output });
      await rows.finish();
      return report;
    };
    const { file, done } = scene;
    const summary = file === undefined ? await toStdout(exportTo) : await toFile(exportTo, file);
    done();
    await sayRestored(summary, options.json === true, describe(summary, selection, 'Exported'));
  });
}

function usage(detail: string): DaybookError {
  return new DaybookError('usage', { detail });
}
