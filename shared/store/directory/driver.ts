import { join } from 'node:path';
import { z } from 'zod';
import { folderPrefix } from '../../setting-shapes.ts';
import type { Place, StoreDriver } from '../driver.ts';

const params = z.strictObject({ path: z.string().min(1).optional(), prefix: folderPrefix.optional() }).optional();
type DirectoryParams = z.infer<typeof params>;

const settings = z.strictObject({ type: z.literal('directory'), params });

export const directoryDriver = {
  settings,
  example: '`{"type":"directory","params":{"path":…,"prefix":…}}` (without a path `archive` in the data directory)',
  isLocal: true,
  async open(params, place) {
    const { openDirectoryStore } = await import('./store.ts');
    return openDirectoryStore(pathOf(params, place));
  },
  async openRemover(params, place) {
    const { openDirectoryRemover } = await import('./remove.ts');
    return openDirectoryRemover(pathOf(params, place));
  },
  async openHolder() {
    return undefined;
  },
  async openReplacer(params, place) {
    const { openDirectoryReplacer } = await import('./replace.ts');
    return openDirectoryReplacer(pathOf(params, place));
  },
  async check(params, place) {
    const { checkDirectory } = await import('./check.ts');
    return checkDirectory(pathOf(params, place));
  },
} satisfies StoreDriver<DirectoryParams>;

function pathOf(params: DirectoryParams, { dataDirectory }: Place): string {
  return params?.path ?? join(dataDirectory, 'archive');
}
