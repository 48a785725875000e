import { z } from 'zod';
import { modulePath } from '../../setting-shapes.ts';

export const moduleParams = z.strictObject({
  path: modulePath,
  /** Handed on as they are. */
  params: z.record(z.string(), z.unknown()).optional(),
});
export type ModuleParams = z.infer<typeof moduleParams>;
