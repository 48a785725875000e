import { z } from 'zod';
import type { StoreDriver } from '../driver.ts';
import { type S3Params, s3Params } from './settings.ts';

const settings = z.strictObject({ type: z.literal('s3'), params: s3Params });

export const s3Driver = {
  settings,
  example: '`{"type":"s3","params":{"bucket":…,"prefix":…,"region":…,"endpoint":…,"forcePathStyle":…,"sse":…}}`',
  isLocal: false,
  async open(params, { prefix }) {
    const { openS3Store } = await import('./store.ts');
    return openS3Store(params, prefix);
  },
  async openRemover(params, { prefix }) {
    const { openS3Remover } = await import('./remove.ts');
    return openS3Remover(params, prefix);
  },
  async openHolder(params, { prefix }) {
    const { openS3Holder } = await import('./hold.ts');
    return openS3Holder(params, prefix);
  },
  async openReplacer(params, { prefix }) {
    const { openS3Replacer } = await import('./replace.ts');
    return openS3Replacer(params, prefix);
  },
  async check(params, { prefix }) {
    const { checkS3 } = await import('./check.ts');
    return checkS3(params, prefix);
  },
} satisfies StoreDriver<S3Params>;
