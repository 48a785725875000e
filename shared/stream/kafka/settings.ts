import { z } from 'zod';
import { tlsParams } from '../../setting-shapes.ts';

export const kafkaParams = z.strictObject({
  brokers: z.array(z.string().regex(/^[\w.-]+:\d{1,5}$/, 'must be host:port')).min(1, 'names no broker'),
  topic: z
    .string()
    .regex(/^(?!\.{1,2}$)[\w.-]{1,249}$/, 'must be 1 to 249 letters, digits, dots, underscores or hyphens'),
  ssl: tlsParams.optional(),
  sasl: z
    .strictObject({
      mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']),
      username: z.string().min(1, 'is empty'),
      password: z.string().min(1, 'is empty'),
    })
    .optional(),
  /** Makes the topic where it is not there. */
  create: z
    .strictObject({ partitions: z.int().min(1).max(1_000), replicationFactor: z.int().min(1).max(9) })
    .optional(),
});
export type KafkaParams = z.infer<typeof kafkaParams>;
