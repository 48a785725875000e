/** `daybook-compactor drill`: a rehearsal of what an archive is for. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { refuseProblems } from '../../shared/config.ts';
import { counted } from '../../shared/program/counted.ts';
import { openLog } from '../../shared/program/log.ts';
import { openProgress } from '../../shared/program/progress.ts';
import { print } from '../../shared/program/standard-output.ts';
import { askOnTerminal } from '../../shared/program/terminal.ts';
import { visibleText } from '../../shared/program/visible-text.ts';
import { openStore } from '../../shared/store/open.ts';
import { readArchiveConfiguration } from '../configuration.ts';
import { type DrillReport, drillArchive } from '../restore/drill-archive.ts';
import { replicateSettings } from '../settings.ts';
import { readIdentityFiles } from './identity-files.ts';

export interface DrillOptions {
  readonly identity: readonly string[];
  readonly replica?: boolean;
  readonly json?: boolean;
}

const maxShown = 20;

/** Prints how it went. Sets the exit code: 3 where something did not hold, or did not come back. */
export async function drillCommand(options: DrillOptions): Promise<void> {
  const { settings, verifyingKeys } = readArchiveConfiguration(replicateSettings);
  const configured = options.replica === true ? settings.DAYBOOK_REPLICA_STORE : settings.DAYBOOK_STORE;
  if (configured === undefined) refuseProblems(['DAYBOOK_REPLICA_STORE: is required for --replica']);
  const identities =
    options.identity.length === 0 ? undefined : await readIdentityFiles(options.identity, askOnTerminal);
  const { store, prefix } = await openStore(configured!, settings.DAYBOOK_DATA_DIR);
  const { progress, done } = openProgress(openLog('compactor', settings.LOG_LEVEL));
  // Ids alone are sorted here: nothing that was sealed is written down.
  const temporaryDirectory = mkdtempSync(join(tmpdir(), 'daybook-drill-'));
  const remove = () => rmSync(temporaryDirectory, { recursive: true, force: true });
  const stop = () => {
    remove();
    process.exit(2);
  };
  process.once('SIGTERM', stop).once('SIGINT', stop);
  const startedMs = performance.now();
  try {
    const drill = { store, prefix, verifyingKeys, identities, random: Math.random, temporaryDirectory, progress };
    const report = await drillArchive(drill);
    const seconds = Math.round((performance.now() - startedMs) / 100) / 10;
    done();
    if (!report.ok) process.exitCode = 3;
    await print(
      options.json === true
        ? `${JSON.stringify({ ...report, place: store.location, seconds })}\n`
        : describe(report, store.location, seconds, identities !== undefined),
    );
  } finally {
    done();
    remove();
    process.off('SIGTERM', stop).off('SIGINT', stop);
    await store.close();
  }
}

function describe(report: DrillReport, location: string, seconds: number, isOpened: boolean): string {
  const { ok, head, days, objects, restored, failures } = report;
  const shown = failures
    .slice(0, maxShown)
    .map(
      ({ code, key, message }) =>
        `FAILED ${visibleText(message.includes(key) ? message : `${key}: ${message}`)} (${code})\n`,
    );
  const done = !isOpened
    ? `The chain and ${counted(objects, 'object')} were checked by their hashes. Nothing was opened: that takes --identity.`
    : days.length === 0
      ? 'No day has events that could come back.'
      : `${days.join(' and ')}: ${counted(restored.events, 'event')} restored, ${counted(restored.bytes, 'byte')}, of ${counted(objects, 'object')}.`;
  const place = `${visibleText(location)}, manifest ${head?.number ?? 'none'}, ${seconds} s`;
  return `${shown.join('')}${failures.length > maxShown ? `and ${failures.length - maxShown} more\n` : ''}${done}\n${ok ? 'DRILL OK' : 'DRILL FAILED'}: ${place}\n`;
}
