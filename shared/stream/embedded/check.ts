/** The embedded stream, for doctor. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { checkSecretFiles } from '../../doctor/check-files.ts';
import { ok } from '../../doctor/finding.ts';
import type { StreamFindings } from '../driver.ts';
import { openEmbeddedWriter } from './embedded.ts';

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
  return {
    found: [
      ok('stream.sqlite takes events, and all that it holds can be read; it keeps them for 8 days at least'),
      ...checkSecretFiles([{ name: 'stream.sqlite', path }]),
    ],
  };
}
