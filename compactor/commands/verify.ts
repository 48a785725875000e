/** `daybook-compactor verify`: is the archive what its manifests say? Exit 3 with a break. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readEnvironment } from '../../shared/config.ts';
import { DaybookError, errorKind } from '../../shared/errors.ts';
import { counted } from '../../shared/program/counted.ts';
import { openLog } from '../../shared/program/log.ts';
import { openProgress } from '../../shared/program/progress.ts';
import { print } from '../../shared/program/standard-output.ts';
import { tableOf } from '../../shared/program/table.ts';
import { askOnTerminal } from '../../shared/program/terminal.ts';
import { visibleText } from '../../shared/program/visible-text.ts';
import { openStore } from '../../shared/store/open.ts';
import { readArchiveConfiguration, witnessesOf } from '../configuration.ts';
import { witnessSettings } from '../settings.ts';
import type { Break } from '../verify/breaks.ts';
import { readSecretsFile, type SecretsOfSources } from '../verify/check-delivery.ts';
import { type ArchiveReport, verifyArchive } from '../verify/verify-archive.ts';
import { depthOf, openResume } from '../verify/verify-resume.ts';
import { readIdentityFiles } from './identity-files.ts';

export interface VerifyOptions {
  readonly identity?: string;
  readonly secrets?: string;
  readonly source: readonly string[];
  readonly day: readonly string[];
  readonly resume?: string;
  readonly strict?: boolean;
  readonly expectHead?: string;
  readonly allowEmpty?: boolean;
  readonly json?: boolean;
}

const maxBreaksShown = 20;

/** Prints what was found. Sets the exit code: 3 with a break, or, when strict, with an incomplete day. */
export async function verifyCommand(options: VerifyOptions): Promise<void> {
  const { settings, verifyingKeys } = readArchiveConfiguration(witnessSettings);
  if (options.secrets !== undefined && options.identity === undefined) {
    throw new DaybookError('usage', { detail: '--secrets needs --identity: the deliveries are sealed' });
  }
  const expectHead = options.expectHead === undefined ? undefined : headOf(options.expectHead);
  const identities =
    options.identity === undefined ? undefined : await readIdentityFiles([options.identity], askOnTerminal);
  const secrets =
    options.secrets === undefined
      ? undefined
      : readSecretsFile(options.secrets, readEnvironment(process.env, process.cwd()));
  const only =
    options.source.length + options.day.length === 0 ? undefined : { sources: options.source, days: options.day };
  const { store, prefix } = await openStore(settings.DAYBOOK_STORE, settings.DAYBOOK_DATA_DIR);
  const resume =
    options.resume === undefined
      ? undefined
      : openResume(options.resume, `${store.location} ${prefix}`.trim(), depthOf(identities !== undefined, secrets));
  const { progress, done } = openProgress(openLog('compactor', settings.LOG_LEVEL));
  // Ids alone are sorted here; not under the data directory, which this command leaves as it is.
  const temporaryDirectory = mkdtempSync(join(tmpdir(), 'daybook-verify-'));
  const remove = () => rmSync(temporaryDirectory, { recursive: true, force: true });
  const keep = () => {
    try {
      resume?.save();
    } catch {
      // What ends this run is to be told, not this; what was saved before counts.
    }
  };
  const stop = () => {
    keep();
    remove();
    process.exit(2);
  };
  process.once('SIGTERM', stop).once('SIGINT', stop);
  let report: ArchiveReport;
  try {
    report = await verifyArchive({
      store,
      prefix,
      verifyingKeys,
      identities,
      secrets,
      only,
      expectHead,
      witnesses: witnessesOf(settings),
      allowEmpty: options.allowEmpty === true,
      resume,
      temporaryDirectory,
      progress,
    });
    resume?.remove();
    // Dies here: it is done, and nothing was said: the next one begins again.
  } catch (error) {
    keep();
    throw error;
  } finally {
    done();
    remove();
    process.off('SIGTERM', stop).off('SIGINT', stop);
    await store.close();
  }
  const isIncomplete = report.days.some(({ verdict }) => verdict === 'incomplete');
  // Of a delivery whose secret was not given nothing is proven.
  const isUnproven = report.deliveries.unknownSecret > 0;
  if (!report.ok || (options.strict === true && (isIncomplete || isUnproven))) process.exitCode = 3;
  await print(options.json === true ? `${JSON.stringify(report)}\n` : describe(report, secrets));
}

/** @throws DaybookError `usage` */
function headOf(text: string): { number: number; sha256: string } {
  const [, number, sha256] = /^(\d{1,8}):([0-9a-f]{64})$/.exec(text) ?? [];
  if (number !== undefined && Number(number) > 0) return { number: Number(number), sha256: sha256! };
  throw new DaybookError('usage', { detail: '--expect-head takes <number>:<sha256>, as `list --json` tells them' });
}

function describe(report: ArchiveReport, secrets: SecretsOfSources | undefined): string {
  const { ok, manifests, objects, days, breaks, breaksOmitted, information, deliveries } = report;
  const rows = days.map(({ source, day, verdict, events, breaks, pruned }) => [
    source,
    day,
    verdict,
    events,
    `${breaks === 0 ? 'ok' : counted(breaks, 'break')}${pruned === 0 ? '' : `, ${pruned} pruned`}`,
  ]);
  const table = rows.length === 0 ? '' : `${tableOf(['source', 'day', 'verdict', 'events', 'check'], rows)}\n`;
  const said = information
    .map(({ key, message }) => `  ${visibleText(`${key === null ? '' : `${key}: `}${message}`)}\n`)
    .join('');
  const counts = `${counted(manifests, 'manifest')}, ${counted(objects, 'object')}`;
  const events = days.reduce((total, day) => total + day.events, 0);
  const signed =
    secrets === undefined ? '' : `, ${counted(deliveries.checked, 'deliver', 'y', 'ies')} with a signature that holds`;
  const verdict = ok
    ? `OK: ${counts}, ${counted(events, 'event')}${signed}.\n`
    : describeBreaks(breaks, breaksOmitted, counts);
  return `${table}${verdict}${said === '' ? '' : `\nFor information:\n${said}`}`;
}

function describeBreaks([first, ...others]: readonly Break[], omitted: number, counts: string): string {
  const text = ({ manifest, key, message, code }: Break) =>
    `manifest ${manifest}, ${visibleText(`${key}: ${message}`)} (${code})\n`;
  const more = others.length + omitted - Math.min(others.length, maxBreaksShown);
  return [
    `BROKEN (${counts} looked at). The first break:\n  ${text(first!)}  ${errorKind(first!.code).hint}\n`,
    others.length === 0
      ? ''
      : `The others:\n${others
          .slice(0, maxBreaksShown)
          .map((found) => `  ${text(found)}`)
          .join('')}`,
    more === 0 ? '' : `  and ${more} more\n`,
  ].join('');
}
