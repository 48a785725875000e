import { z } from 'zod';
import type { StreamDriver } from '../driver.ts';
import { type KafkaParams, kafkaParams } from './settings.ts';

const settings = z.strictObject({ type: z.literal('kafka'), params: kafkaParams });

export const kafkaDriver = {
  settings,
  example: '`{"type":"kafka","params":{"brokers":["host:9092"],"topic":…,"ssl":…,"sasl":…}}`',
  isLocal: false,
  keepsPositions: true,
  withoutCreate({ create, ...params }) {
    return create === undefined ? undefined : params;
  },
  async openWriter(params, _, log) {
    const { openKafkaWriter } = await import('./writer.ts');
    return openKafkaWriter({ params, log });
  },
  async openReader(params, _, { consumer, log }) {
    const { openKafkaReader } = await import('./reader.ts');
    return openKafkaReader({ params, consumer, log });
  },
  async check(params) {
    const { checkKafka } = await import('./check.ts');
    return checkKafka(params);
  },
} satisfies StreamDriver<KafkaParams>;
