/** The embedded stream, for doctor. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { checkRoom, checkSecretFiles, freeBytesOf, wantedBytes } from '../../doctor/check-files.ts';
import { type Found, ok, problem } from '../../doctor/finding.ts';
import type { StreamFindings } from '../driver.ts';
import { openEmbeddedWriter } from './embedded.ts';

/** Less than this is a full disk: SQLite needs it beside the records of an append. */
const leastFreeBytes = 1024 ** 2;

export async function checkEmbedded(directory: string): Promise<StreamFindings> {
  const path = join(directory, 'stream.sqlite');
  // Opening makes it where it is not.
  if (!existsSync(path) && !existsSync(`${path}-wal`)) {
    return { found: [ok('stream.sqlite is not there yet; the program that starts first makes it')] };
  }
  const writer = await openEmbeddedWriter({ directory });
  try {
    await writer.probe();
    await writer.prove();
  } finally {
    await writer.close();
  }
  return { found: [...checkTaking(directory), ...checkSecretFiles([{ name: 'stream.sqlite', path }])] };
}

/** Of a stream that can be read. An empty transaction succeeds on a full disk, so that probing it tells nothing of that. */
function checkTaking(directory: string): Found[] {
  if (freeBytesOf(directory) < leastFreeBytes) {
    const hint =
      'Make room on the disk of DAYBOOK_DATA_DIR: until then events go to the spool. ingest goes on by itself.';
    return [problem('stream.sqlite can be read, but its disk is full', hint, 'stream_unavailable')];
  }
  return [
    ok('stream.sqlite takes events, and all that it holds can be read; it keeps them for 8 days at least'),
    ...checkRoom('the stream', directory, wantedBytes),
  ];
}
