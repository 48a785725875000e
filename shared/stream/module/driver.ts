/** A stream of the user's own, by a module that is named in the settings. */
import { z } from 'zod';
import type { StreamDriver } from '../driver.ts';
import { type ModuleParams, moduleParams } from './settings.ts';

export const moduleDriver = {
  settings: z.strictObject({ type: z.literal('module'), params: moduleParams }),
  example: '`{"type":"module","params":{"path":…,"params":…}}` (deploy/README.md, A stream or a spool of your own)',
  isLocal: false,
  // Not known of somebody else's: `redact` then keeps its own.
  keepsPositions: false,
  async openWriter(params, dataDirectory, log) {
    const { openModuleWriter } = await import('./module-stream.ts');
    return openModuleWriter(params, { dataDirectory, log });
  },
  async openReader(params, dataDirectory, options) {
    const { openModuleReader } = await import('./module-stream.ts');
    return openModuleReader(params, { dataDirectory, ...options });
  },
  async check(params, dataDirectory) {
    const { checkModule } = await import('./module-stream.ts');
    return checkModule(params, dataDirectory);
  },
} satisfies StreamDriver<ModuleParams>;
