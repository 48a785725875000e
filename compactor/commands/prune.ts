/** `daybook-compactor prune`: deletes what has reached its age, after a manifest has said so. */
import { systemClock } from '../../shared/clock.ts';
import { type Configuration, maxPruneDays, minPruneDays } from '../../shared/config.ts';
import { DaybookError } from '../../shared/errors.ts';
import { counted } from '../../shared/program/counted.ts';
import { type Logger, openLog } from '../../shared/program/log.ts';
import { exitCodeOf } from '../../shared/program/program.ts';
import { openProgress } from '../../shared/program/progress.ts';
import { print } from '../../shared/program/standard-output.ts';
import { tableOf } from '../../shared/program/table.ts';
import { visibleText } from '../../shared/program/visible-text.ts';
import { openRemover, openStore } from '../../shared/store/open.ts';
import type { ObjectRemover } from '../../shared/store/store.ts';
import { isStreamAbsent, openReader } from '../../shared/stream/open.ts';
import type { EventStreamReader } from '../../shared/stream/stream.ts';
import { consumerOf, openConfiguredStripe, openSigner, readArchiveConfiguration } from '../configuration.ts';
import { type PruneAges, type PruneMeans, type PruneReport, pruneArchive } from '../ledger/prune-archive.ts';
import { pruneSettings } from '../settings.ts';
import { askTime } from './ask-time.ts';

export interface PruneOptions {
  readonly evidenceDays?: string;
  readonly eventDays?: string;
  readonly apply?: boolean;
  readonly json?: boolean;
}

const maxShown = 20;

/**
 * Prints what is pruned, or would be. Sets the exit code: 3 where an object is missing that no manifest says is pruned,
 * else 2 where one could not be deleted.
 */
export async function pruneCommand(options: PruneOptions): Promise<void> {
  const isApplied = options.apply === true;
  const given = { evidenceDays: daysOf(options.evidenceDays), eventDays: daysOf(options.eventDays) };
  const { settings, verifyingKeys } = readArchiveConfiguration([
    ...pruneSettings,
    // A dry run signs nothing.
    ...(isApplied ? (['COMPACTOR_SIGNING_KEY'] as const) : []),
  ]);
  const ages: PruneAges = {
    evidenceDays: given.evidenceDays ?? settings.COMPACTOR_EVIDENCE_DAYS,
    eventDays: given.eventDays ?? settings.COMPACTOR_EVENT_DAYS,
  };
  const { DAYBOOK_STORE: configuration, DAYBOOK_DATA_DIR: dataDirectory } = settings;
  const log = openLog('compactor', settings.LOG_LEVEL);
  const { store, prefix } = await openStore(configuration, dataDirectory, { willCreate: isApplied });
  const stripe = isApplied ? openConfiguredStripe(log) : undefined;
  const { progress, done } = openProgress(log);
  const stop = () => process.exit(2);
  process.once('SIGTERM', stop).once('SIGINT', stop);
  let stream: EventStreamReader | undefined;
  let remover: ObjectRemover | undefined;
  try {
    let apply: PruneMeans | undefined;
    if (isApplied) {
      stream = await openStream(settings, consumerOf(store.location, prefix), log);
      remover = await openRemover(configuration, dataDirectory);
      apply = {
        remover,
        signer: await openSigner(settings.COMPACTOR_SIGNING_KEY, verifyingKeys),
        stream,
        askTime: () => askTime(store, stripe === undefined ? [] : [stripe]),
      };
    }
    const report = await pruneArchive({ clock: systemClock, store, prefix, verifyingKeys, ages, apply, log, progress });
    done();
    const codes = report.failures.map(({ code }) => exitCodeOf(new DaybookError(code)));
    if (codes.length > 0) process.exitCode = Math.max(...codes);
    await print(options.json === true ? `${JSON.stringify(report)}\n` : describe(report));
  } finally {
    done();
    process.off('SIGTERM', stop).off('SIGINT', stop);
    stripe?.close();
    await remover?.close();
    await stream?.close();
    await store.close();
  }
}

/** @throws DaybookError `usage` */
function daysOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const days = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (days >= minPruneDays && days <= maxPruneDays) return days;
  throw new DaybookError('usage', { detail: `an age is ${minPruneDays} to ${maxPruneDays} days, not ${text}` });
}

/** Undefined where there is none yet: opening an embedded stream would make it. */
export async function openStream(
  settings: Configuration<'DAYBOOK_STREAM' | 'DAYBOOK_DATA_DIR'>,
  consumer: string,
  log: Logger,
): Promise<EventStreamReader | undefined> {
  const { DAYBOOK_STREAM: stream, DAYBOOK_DATA_DIR: dataDirectory } = settings;
  if (isStreamAbsent(stream, dataDirectory)) return undefined;
  return openReader(stream, dataDirectory, { consumer, clock: systemClock, log });
}

function describe(report: PruneReport): string {
  const { dryRun, evidenceDays, eventDays, manifest, objects, unfinished, held, removed, hidden, left, failures } =
    report;
  const rows = daysIn(objects).map(({ source, day, parts, events, evidence, deliveries, exceptions }) => [
    ...[day, source, parts, events, evidence, deliveries, exceptions],
  ]);
  const days = (age: number | null) => (age === null ? 'kept' : `pruned after ${age} days`);
  const done =
    manifest === null && removed === 0
      ? left === 0
        ? 'Nothing to prune.\n'
        : ''
      : `${manifest === null ? 'No new manifest' : `Manifest ${manifest} written`}; ${counted(removed, 'object')} deleted.\n`;
  const isOneSided = objects.some(({ kind }) => kind === 'part') && evidenceDays === null;
  return [
    rows.length > 0
      ? `${tableOf(['day', 'source', 'parts', 'events', 'evidence', 'deliveries', 'exceptions'], rows)}\n`
      : '',
    `Evidence: ${days(evidenceDays)}. Events: ${days(eventDays)}. Ids and manifests: kept.\n`,
    dryRun
      ? objects.length + unfinished.length === 0
        ? 'Nothing to prune.\n'
        : `Would prune ${counted(objects.length, 'object')}. Nothing was changed: --apply does it.\n`
      : done,
    unfinished.length === 0
      ? ''
      : `${counted(unfinished.length, 'object')} pruned by an earlier run ${dryRun ? 'still there' : 'had been left'}.\n`,
    isOneSided ? 'The evidence of these days holds the bodies of their delivered events, and is kept.\n' : '',
    held === 0 ? '' : `${counted(held, 'object')} old enough, and kept by a legal hold.\n`,
    hidden === 0
      ? ''
      : `The store keeps older versions: the bytes of ${counted(hidden, 'object')} are there until a lifecycle rule ends them.\n`,
    ...failures.slice(0, maxShown).map(({ code, key, message }) => {
      const name = message.includes(key) ? '' : `${key}: `;
      return `FAILED ${visibleText(`${name}${message}`)} (${code})\n`;
    }),
    failures.length > maxShown ? `and ${failures.length - maxShown} more failed\n` : '',
    !dryRun && left > 0 ? `${counted(left, 'object')} still there: left to the next run.\n` : '',
  ].join('');
}

interface PrunedDay {
  readonly source: string;
  readonly day: string;
  parts: number;
  events: number;
  evidence: number;
  deliveries: number;
  exceptions: number;
}

function daysIn(objects: PruneReport['objects']) {
  const days = new Map<string, PrunedDay>();
  for (const { source, day, kind, lines } of objects) {
    const name = `${day} ${source}`;
    const found = days.get(name) ?? { source, day, parts: 0, events: 0, evidence: 0, deliveries: 0, exceptions: 0 };
    days.set(name, found);
    if (kind === 'part') {
      found.parts += 1;
      found.events += lines;
    } else if (kind === 'exceptions') found.exceptions += lines;
    else {
      found.evidence += 1;
      found.deliveries += lines;
    }
  }
  return [...days].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, found]) => found);
}
