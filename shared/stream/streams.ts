/** The kinds of stream that there are. The one table. */
import { z } from 'zod';
import type { StreamDriver } from './driver.ts';
import { embeddedDriver } from './embedded/driver.ts';
import { kafkaDriver } from './kafka/driver.ts';
import { kinesisDriver } from './kinesis/driver.ts';
import { moduleDriver } from './module/driver.ts';

export const streams = {
  embedded: embeddedDriver,
  kafka: kafkaDriver,
  kinesis: kinesisDriver,
  module: moduleDriver,
} satisfies Record<string, StreamDriver<never>>;

/** What DAYBOOK_STREAM holds. */
export type StreamConfiguration = z.infer<(typeof streams)[keyof typeof streams]['settings']>;

export const streamSchema = z.discriminatedUnion(
  'type',
  Object.values(streams).map(({ settings }) => settings) as [typeof embeddedDriver.settings],
) as z.ZodType<StreamConfiguration>;
