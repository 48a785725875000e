import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { StreamDriver } from '../driver.ts';

const settings = z.strictObject({ type: z.literal('embedded') });

export const embeddedDriver = {
  settings,
  example: '`{"type":"embedded"}`',
  isLocal: true,
  // A commit drops what is old.
  keepsPositions: false,
  isAbsent: (directory) => !existsSync(join(directory, 'stream.sqlite')),
  async openWriter(_, directory) {
    const { openEmbeddedWriter } = await import('./embedded.ts');
    return openEmbeddedWriter({ directory });
  },
  async openReader(_, directory, options) {
    const { openEmbeddedReader } = await import('./embedded.ts');
    return openEmbeddedReader({ directory, ...options });
  },
  async check(_, directory) {
    const { checkEmbedded } = await import('./check.ts');
    return checkEmbedded(directory);
  },
} satisfies StreamDriver<unknown>;
