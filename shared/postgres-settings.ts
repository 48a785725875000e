/** COMPACTOR_POSTGRES: the table that `restore --to-postgres` fills. */
import { z } from 'zod';
import { tlsParams } from './setting-shapes.ts';

export const postgresSchema = z.strictObject({
  url: z.url({ protocol: /^postgres(?:ql)?$/, message: 'is not a postgres:// URL' }),
  ssl: tlsParams.optional(),
  /** It goes into statements as it is. */
  table: z
    .string()
    .regex(/^[a-z_][a-z0-9_]{0,62}\.[a-z_][a-z0-9_]{0,62}$/, 'must be schema.table, of a-z, 0-9 and _')
    .default('daybook.events'),
});
