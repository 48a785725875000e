/** `daybook-compactor restore`: brings events back out of the archive, to a file, to stdout, or to the stream. */
import { systemClock } from '../../shared/clock.ts';
import type { Configuration } from '../../shared/config.ts';
import { DaybookError } from '../../shared/errors.ts';
import type { NewFile } from '../../shared/files/new-file.ts';
import { counted } from '../../shared/program/counted.ts';
import type { Logger } from '../../shared/program/log.ts';
import { exitCodeOf } from '../../shared/program/program.ts';
import { openStandardOutput, print, tell } from '../../shared/program/standard-output.ts';
import { tableOf } from '../../shared/program/table.ts';
import { askOnTerminal } from '../../shared/program/terminal.ts';
import { visibleText } from '../../shared/program/visible-text.ts';
import { httpsOrLoopback } from '../../shared/setting-shapes.ts';
import { openWriter } from '../../shared/stream/open.ts';
import type { EventStreamWriter } from '../../shared/stream/stream.ts';
import { readArchiveConfiguration } from '../configuration.ts';
import { type RestoreOutput, type RestoreReport, restoreArchive } from '../restore/restore-archive.ts';
import { type QuarantineReport, restoreQuarantine } from '../restore/restore-quarantine.ts';
import { checkSelection, looksAtLines, type Selection } from '../restore/restore-selection.ts';
import { openStreamOutput } from '../restore/restore-stream.ts';
import { restoreSettings } from '../settings.ts';
import { readIdentityFiles } from './identity-files.ts';
import { readingArchive } from './reading-archive.ts';

export interface RestoreOptions {
  readonly source: readonly string[];
  readonly day: readonly string[];
  readonly from?: string;
  readonly to?: string;
  readonly type: readonly string[];
  readonly id: readonly string[];
  readonly object: readonly string[];
  readonly except: readonly string[];
  readonly quarantine: readonly string[];
  readonly reason: readonly string[];
  readonly identity: readonly string[];
  readonly output?: string;
  readonly toStream?: boolean;
  readonly toUrl?: string;
  readonly rate?: string;
  readonly resume?: string;
  readonly toPostgres?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

type Target = 'dry run' | 'stdout' | 'stream' | 'url' | 'postgres' | 'file';

/** `restore --json`. */
export type RestoreSummary = RestoreReport & {
  readonly dryRun: boolean;
  /** The file written, `-` for stdout, `stream`, `postgres`, the URL; null in a dry run, and where no file was made. */
  readonly output: string | null;
  /** With --to-url: events that an earlier run had sent. With --to-postgres: those that were there. */
  readonly passedOver?: number;
  /** Events that the stream or the endpoint will never take: the first hundred ids, and how many there are. */
  readonly refused: { readonly count: number; readonly ids: readonly string[] };
};

const maxShown = 20;

/**
 * Prints a summary: on stdout, or on stderr where stdout has the lines. Sets the exit code: 3 where a part is damaged or
 * missing or an event was archived twice, else 2 where a part does not open or the stream refused an event.
 */
export async function restoreCommand(options: RestoreOptions): Promise<void> {
  const target = targetOf(options);
  const selection: Selection = {
    sources: options.source,
    days: options.day,
    from: options.from,
    to: options.to,
    types: options.type,
    ids: options.id,
    objects: options.object,
    except: options.except,
  };
  checkSelection(selection);
  const { settings, verifyingKeys } = readArchiveConfiguration([
    ...restoreSettings,
    ...(target === 'url' ? (['COMPACTOR_REPLAY_SECRET'] as const) : []),
    ...(target === 'postgres' ? (['COMPACTOR_POSTGRES'] as const) : []),
  ]);
  if (options.identity.length === 0 && (target !== 'dry run' || options.quarantine.length > 0)) {
    throw new DaybookError('usage', {
      detail: '--identity is needed to open the archive; without it there is --dry-run',
    });
  }
  const identities = await readIdentityFiles(options.identity, askOnTerminal);
  await readingArchive(settings, verifyingKeys, target === 'file' ? options.output : undefined, async (scene) => {
    const { store, prefix, ledger, log, file } = scene;
    if (options.quarantine.length > 0) {
      const { quarantine: objects, reason: reasons } = options;
      const streamKey = settings.DAYBOOK_STREAM_KEY?.[0];
      const bringBack = (writer: EventStreamWriter | undefined) =>
        restoreQuarantine({ store, ledger, prefix, objects, reasons, identities, streamKey, writer });
      const report =
        target === 'dry run'
          ? await bringBack(undefined)
          : await onStream(settings, log, (writer) => bringBack(writer));
      process.stdout.write(options.json === true ? `${JSON.stringify(report)}\n` : describeQuarantine(report));
      return;
    }
    const restoreTo = (output: RestoreOutput | undefined) =>
      restoreArchive({ ...scene, selection, identities: identities.length === 0 ? undefined : identities, output });
    const summary =
      target === 'dry run'
        ? { ...(await restoreTo(undefined)), dryRun: true, output: null, refused: none }
        : target === 'stream'
          ? await toStream(restoreTo, settings, log)
          : target === 'url'
            ? await toUrl(restoreTo, options, settings.COMPACTOR_REPLAY_SECRET, selection, log)
            : target === 'postgres'
              ? await toPostgres(restoreTo, settings.COMPACTOR_POSTGRES)
              : file === undefined
                ? await toStdout(restoreTo)
                : await toFile(restoreTo, file);
    scene.done();
    await sayRestored(summary, options.json === true, describe(summary, selection));
  });
}

export type RestoreTo = (output: RestoreOutput) => Promise<RestoreReport>;

const none: RestoreSummary['refused'] = { count: 0, ids: [] };

/** No file is made where nothing could be had. */
export async function toFile(restoreTo: RestoreTo, file: NewFile): Promise<RestoreSummary> {
  const report = await restoreTo(file);
  const isVoid = report.events === 0 && report.failures.length > 0;
  if (!isVoid) await file.finish();
  return { ...report, dryRun: false, output: isVoid ? null : file.path, refused: none };
}

export async function toStdout(restoreTo: RestoreTo): Promise<RestoreSummary> {
  const stdout = openStandardOutput(process.stdout);
  const report = await restoreTo(stdout);
  await stdout.finish();
  return { ...report, dryRun: false, output: '-', refused: none };
}

async function toStream(
  restoreTo: RestoreTo,
  settings: Configuration<'DAYBOOK_STREAM' | 'DAYBOOK_STREAM_KEY' | 'DAYBOOK_DATA_DIR'>,
  log: Logger,
): Promise<RestoreSummary> {
  return onStream(settings, log, async (writer) => {
    const output = openStreamOutput({
      writer,
      log,
      receivedAt: systemClock.now().toISOString(),
      streamKey: settings.DAYBOOK_STREAM_KEY?.[0],
    });
    const report = await restoreTo(output);
    await output.finish();
    return { ...report, dryRun: false, output: 'stream', refused: output.refused() };
  });
}

async function toUrl(
  restoreTo: RestoreTo,
  { toUrl: url = '', rate, resume }: RestoreOptions,
  secret: string,
  selection: Selection,
  log: Logger,
): Promise<RestoreSummary> {
  const { openUrlOutput } = await import('../restore/restore-url.ts');
  const perSecond = Number(rate);
  const output = openUrlOutput({ url, secret, perSecond, resume, selection, clock: systemClock, log });
  const stop = () => output.save();
  process.prependOnceListener('SIGTERM', stop).prependOnceListener('SIGINT', stop);
  try {
    const report = await restoreTo(output);
    const { sent, skipped } = output.sent();
    const refused = output.refused();
    // What stands behind the path may be a secret.
    const { origin, pathname } = new URL(url);
    return { ...report, events: sent, dryRun: false, output: `${origin}${pathname}`, refused, passedOver: skipped };
  } finally {
    process.off('SIGTERM', stop).off('SIGINT', stop);
    output.save();
    output.close();
  }
}

async function toPostgres(
  restoreTo: RestoreTo,
  target: Configuration<'COMPACTOR_POSTGRES'>['COMPACTOR_POSTGRES'],
): Promise<RestoreSummary> {
  const { openPostgresOutput } = await import('../restore/restore-postgres.ts');
  const output = await openPostgresOutput(target);
  try {
    const report = await restoreTo(output);
    await output.finish();
    const { inserted, there } = output.rows();
    return { ...report, events: inserted, dryRun: false, output: 'postgres', refused: none, passedOver: there };
  } finally {
    await output.close();
  }
}

async function onStream<T>(
  settings: Configuration<'DAYBOOK_STREAM' | 'DAYBOOK_DATA_DIR'>,
  log: Logger,
  work: (writer: EventStreamWriter) => Promise<T>,
): Promise<T> {
  const writer = await openWriter(settings.DAYBOOK_STREAM, settings.DAYBOOK_DATA_DIR, log);
  try {
    return await work(writer);
  } finally {
    await writer.close();
  }
}

function describeQuarantine({ dryRun, restored, left }: QuarantineReport): string {
  const list = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .map(([reason, count]) => `  ${count} × ${reason}\n`)
      .join('');
  const sum = (counts: Readonly<Record<string, number>>) => Object.values(counts).reduce((all, one) => all + one, 0);
  const said = dryRun ? 'Would bring back to the stream' : 'Brought back to the stream';
  const rest = sum(left) === 0 ? '' : `Left in the quarantine: ${sum(left)}\n${list(left)}`;
  return `${said}: ${sum(restored)}\n${list(restored)}${rest}`;
}

function targetOf(options: RestoreOptions): Target {
  const { output, toStream, toUrl, rate, resume, toPostgres, dryRun, quarantine, reason } = options;
  if (reason.length > 0 && quarantine.length === 0) {
    throw new DaybookError('usage', { detail: '--reason goes with --quarantine' });
  }
  if (quarantine.length > 0 && toStream !== true) {
    throw new DaybookError('usage', {
      detail: '--quarantine goes with --to-stream: decrypt opens the object as a file',
    });
  }
  if ([toStream, output, toUrl, toPostgres].filter((one) => one !== undefined).length > 1) {
    throw new DaybookError('usage', { detail: '--output, --to-stream, --to-url and --to-postgres exclude each other' });
  }
  if (toUrl !== undefined) {
    const said = httpsOrLoopback.safeParse(toUrl).error?.issues[0]?.message;
    if (said !== undefined) throw new DaybookError('usage', { detail: `--to-url ${said}` });
    if (!(Number(rate) > 0 && Number(rate) <= 10_000)) {
      throw new DaybookError('usage', { detail: '--rate takes a number of requests a second, 10000 at most' });
    }
  } else if (resume !== undefined) throw new DaybookError('usage', { detail: '--resume goes with --to-url' });
  if (dryRun === true) return 'dry run';
  if (toStream === true) return 'stream';
  if (toUrl !== undefined) return 'url';
  if (toPostgres === true) return 'postgres';
  return output === undefined || output === '-' ? 'stdout' : 'file';
}

/** Prints the summary: on stderr where stdout has the events. Sets the exit code. */
export async function sayRestored(summary: RestoreSummary, isJson: boolean, description: string): Promise<void> {
  const text = isJson ? `${JSON.stringify(summary)}\n` : description;
  setExitCode(summary);
  if (summary.output === '-') tell(text);
  else await print(text);
}

function setExitCode({ failures, repeated, refused }: RestoreSummary): void {
  const codes = failures.map(({ code }) => exitCodeOf(new DaybookError(code)));
  if (repeated > 0 || codes.includes(3)) process.exitCode = 3;
  else if (codes.length > 0 || refused.count > 0) process.exitCode = 2;
}

export function describe(summary: RestoreSummary, selection: Selection, did = 'Restored'): string {
  const {
    events,
    exact,
    parts,
    skipped,
    repeated,
    pruned,
    notFound,
    failures,
    refused,
    dryRun,
    output,
    passedOver = 0,
  } = summary;
  const rows = parts
    .filter((part) => part.events > 0)
    .map((part) => [part.day, part.source, part.events, part.bytes.plaintext, part.bytes.ciphertext, part.key]);
  const head = ['day', 'source', exact ? 'events' : 'at most', 'bytes', 'sealed', 'part'];
  const of = counted(parts.length, 'part');
  const ruledOut = skipped === 0 ? '' : `, ${skipped} more ruled out by their ids`;
  const count = counted(events, 'event');
  const how = exact
    ? ''
    : looksAtLines(selection)
      ? ' Which of them fit, only their lines tell: with --identity they are opened and counted.'
      : ' Not all could be looked at.';
  const where =
    output === null
      ? 'nowhere'
      : output === '-'
        ? 'stdout'
        : output === 'stream'
          ? 'the stream'
          : output === 'postgres'
            ? 'the database'
            : visibleText(output);
  return [
    rows.length > 0 ? `${tableOf(head, rows)}\n` : '',
    dryRun
      ? `Would restore ${exact ? '' : 'at most '}${count} of ${of}${ruledOut}.${how}\n`
      : `${did} ${count} of ${of} to ${where}${ruledOut}.\n`,
    passedOver > 0 ? `${counted(passedOver, 'event')} ${passedOver === 1 ? 'was' : 'were'} there before.\n` : '',
    events + passedOver + repeated + pruned.length + failures.length === 0
      ? 'Nothing in the archive fits what was asked for.\n'
      : '',
    repeated > 0
      ? `Left out ${counted(repeated, 'line')}, since their event is archived twice (id_twice): run verify.\n`
      : '',
    ...describePruned(pruned),
    ...named('Not in the archive', notFound, notFound.length),
    ...named(`Refused by ${where}`, refused.ids, refused.count),
    ...failures.slice(0, maxShown).map(({ source, day, key, code, message }) => {
      const name = message.includes(key) ? '' : ` ${key}:`;
      return `FAILED ${source} ${day}:${visibleText(`${name} ${message}`)} (${code})\n`;
    }),
    failures.length > maxShown ? `and ${failures.length - maxShown} more failed\n` : '',
  ].join('');
}

function describePruned(pruned: RestoreSummary['pruned']): string[] {
  const lines = pruned.map(
    ({ source, day, events, rule, prunedBy }) =>
      `PRUNED ${source} ${day}: ${counted(events, 'event')} ${events === 1 ? 'is' : 'are'} gone (${rule}, manifest ${prunedBy})\n`,
  );
  return lines.length <= maxShown
    ? lines
    : [...lines.slice(0, maxShown), `and ${lines.length - maxShown} more pruned\n`];
}

function named(what: string, ids: readonly string[], count: number): string[] {
  if (count === 0) return [];
  const more = count > maxShown ? ` and ${count - maxShown} more` : '';
  return [`${what}: ${visibleText(ids.slice(0, maxShown).join(', '))}${more}\n`];
}
