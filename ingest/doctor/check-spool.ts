/** The spool as a command beside ingest sees it: whether it opens, what waits in it, and whether there is room. */

import { join } from 'node:path';
import { systemClock } from '../../shared/clock.ts';
import type { SpoolSettings } from '../../shared/config.ts';
import { checkFolder, checkRoom, inUnits } from '../../shared/doctor/check-files.ts';
import { openWarningCollector } from '../../shared/doctor/collect-warnings.ts';
import { type Found, ok, warning } from '../../shared/doctor/finding.ts';
import { counted } from '../../shared/program/counted.ts';
import type { SpoolSize } from '../spool/backing-store.ts';
import { openSpool } from '../spool/open-spool.ts';

/** What waits longer than this waits for somebody to act. */
const longWaitSeconds = 15 * 60;
const nearlyFull = 0.8;

/** Rejects with what keeps the spool from opening. */
export async function checkSpool(settings: SpoolSettings, dataDirectory: string, maxBytes: number): Promise<Found[]> {
  if (settings.type === 'memory') {
    const hint = 'Use {"type":"file"}, unless the senders repeat what is lost.';
    return [warning('the spool is in memory: what waits in it is lost with the process', hint)];
  }
  const { log, found } = openWarningCollector();
  const folders = settings.type === 'file' ? checkFolder('the folder of the spool', join(dataDirectory, 'spool')) : [];
  if (folders.some(({ status }) => status === 'problem')) return folders;
  const spool = await openSpool(settings, { dataDirectory, clock: systemClock, log, use: 'inspect' });
  try {
    const size = await spool.size();
    const room =
      settings.type === 'file' ? checkRoom('the spool', dataDirectory, Math.max(0, maxBytes - size.bytes)) : [];
    return [...folders, ...found('See what the message says of the database.'), ...checkSize(size, maxBytes), ...room];
  } finally {
    await spool.close();
  }
}

export function checkSize({ records, bytes, oldestSeconds, dead }: SpoolSize, maxBytes: number): Found[] {
  const found: Found[] = [];
  if (bytes >= maxBytes * nearlyFull) {
    const hint =
      'Bring the stream back, or raise maxBytes of INGEST_SPOOL; dead letters count, too (spool export, requeue).';
    found.push(warning(`the spool is nearly full: ${inUnits(bytes)} of ${inUnits(maxBytes)}`, hint, 'spool_full'));
  }
  if (oldestSeconds >= longWaitSeconds) {
    const said = `${counted(records, 'record')} ${records === 1 ? 'waits' : 'wait'} for the stream, the oldest for ${counted(Math.floor(oldestSeconds / 60), 'minute')}`;
    found.push(
      warning(
        said,
        'See that ingest runs, what the check of the stream says, and the line `the stream is away` of its log. It drains by itself, unless the file of the embedded stream was removed under it: then restart ingest.',
      ),
    );
  }
  if (dead > 0) {
    const hint = 'node ingest/main.ts spool inspect tells the reasons; export keeps a copy, requeue tries them again.';
    found.push(warning(`${dead} dead letters: records that the stream will not take, or that are damaged`, hint));
  }
  if (found.length > 0) return found;
  return [
    ok(
      records === 0
        ? 'nothing waits in the spool'
        : `${counted(records, 'record')} ${records === 1 ? 'is' : 'are'} on their way to the stream`,
    ),
  ];
}
