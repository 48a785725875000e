import { z } from 'zod';
import type { StreamDriver } from '../driver.ts';
import { type KinesisParams, kinesisParams } from './settings.ts';

const settings = z.strictObject({ type: z.literal('kinesis'), params: kinesisParams });

export const kinesisDriver = {
  settings,
  example: '`{"type":"kinesis","params":{"streamName":…,"region":…,"endpoint":…}}`',
  isLocal: false,
  keepsPositions: false,
  async openWriter(params, _, log) {
    const { openKinesisWriter } = await import('./writer.ts');
    return openKinesisWriter({ params, log });
  },
  async openReader(params, _, { clock, log }) {
    const { openKinesisReader } = await import('./reader.ts');
    return openKinesisReader({ params, clock, log });
  },
  async check(params) {
    const { checkKinesis } = await import('./check.ts');
    return checkKinesis(params);
  },
} satisfies StreamDriver<KinesisParams>;
