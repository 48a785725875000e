/** The kinds of object store that there are. The one table. */
import { z } from 'zod';
import { directoryDriver } from './directory/driver.ts';
import type { StoreDriver } from './driver.ts';
import { s3Driver } from './s3/driver.ts';

export const stores = {
  directory: directoryDriver,
  s3: s3Driver,
} satisfies Record<string, StoreDriver<never>>;

/** What DAYBOOK_STORE holds. */
export type StoreConfiguration = z.infer<(typeof stores)[keyof typeof stores]['settings']>;

export const storeSchema = z.discriminatedUnion(
  'type',
  Object.values(stores).map(({ settings }) => settings) as [typeof directoryDriver.settings],
) as z.ZodType<StoreConfiguration>;
