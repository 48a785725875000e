/** One delivery of the made traffic, as its sender would send it. */
import { sendWebhook } from '../stripe/webhook-sender.ts';
import { sendPanda } from './panda-sender.ts';
import type { Delivery } from './traffic.ts';

export interface Secrets {
  readonly platform: string;
  readonly billing: string;
}

export function sendDelivery(
  delivery: Delivery,
  url: URL,
  secrets: Secrets,
): Promise<{ status: number; body: string }> {
  // A sender signs each attempt again: here half a minute lies between them.
  const signedAt = new Date(Date.now() - (delivery.kind === 'again' ? 0 : 30_000));
  if (delivery.to === 'billing') {
    return sendPanda({ url: new URL('/events', url), body: delivery.body, secret: secrets.billing, date: signedAt });
  }
  return sendWebhook({
    url: new URL('/webhooks/platform', url),
    body: delivery.body,
    secrets: [delivery.kind === 'forged' ? 'whsec_of_somebody_else' : secrets.platform],
    timestampSeconds: Math.floor(signedAt.getTime() / 1000),
  });
}
