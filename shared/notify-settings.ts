/** COMPACTOR_NOTIFY: who is told how the jobs end. */
import { z } from 'zod';
import { httpsOrLoopback } from './setting-shapes.ts';

/** With which we sign what we send. */
export const webhookSecret = z
  .string()
  .regex(
    /^whsec_(?:[A-Za-z0-9+/]{4}){8,}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/,
    'must be whsec_ and the base64 of 24 bytes or more',
  );

export const notifySchema = z.array(
  z.strictObject({
    url: httpsOrLoopback,
    /** `slack`: a JSON object with `text`, as Slack and its like take it. `cloudevent`: CloudEvents 1.0, structured. */
    format: z.enum(['slack', 'cloudevent']),
    /** Of Standard Webhooks: `whsec_` and the base64 of the key. */
    secret: webhookSecret.optional(),
  }),
);
export type Listener = z.infer<typeof notifySchema>[number];
