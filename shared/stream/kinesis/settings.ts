import { z } from 'zod';
import { awsRegion, serviceEndpoint } from '../../setting-shapes.ts';

/** Credentials come by the AWS SDK's own chain, and so does a region that is not given here. */
export const kinesisParams = z.strictObject({
  streamName: z.string().regex(/^[\w.-]{1,128}$/, 'must be 1 to 128 letters, digits, dots, underscores or hyphens'),
  region: awsRegion.optional(),
  endpoint: serviceEndpoint.optional(),
});
export type KinesisParams = z.infer<typeof kinesisParams>;
