/**
 * Shopify's webhooks: `X-Shopify-Hmac-Sha256: <base64 of HMAC-SHA256 of the body>`, keyed with the app's client secret. No
 * time is signed, so a copy sent again later is taken, as one more delivery of the event, which its content names. None of
 * `X-Shopify-Event-Id`, `X-Shopify-Webhook-Id` and `X-Shopify-Topic` is signed: the topic is believed for the type alone.
 */
import { z } from 'zod';
import { bodySignatureScheme } from './body-signature.ts';
import { keyFaults } from './key-faults.ts';
import { name, secrets } from './source-members.ts';

const signing = {
  signature: 'x-shopify-hmac-sha256',
  prefix: '',
  encoding: 'base64',
  algorithm: 'sha256',
  template: '{body}',
} as const;

export const shopifyScheme = bodySignatureScheme([signing], {
  sender: 'Shopify',
  routes: ['webhooks'],
  source: z.strictObject({ name, scheme: z.literal('shopify'), secrets }),
  howToSign:
    "X-Shopify-Hmac-Sha256 is the base64 of the HMAC-SHA256 of the body, keyed with the app's client secret, which must be a secret of this source.",
  checkSecret: (text) => keyFaults(text, 'shopify', "Copy the app's client secret from Shopify."),
  describe(headers) {
    const topic = headers['x-shopify-topic'];
    return { type: typeof topic === 'string' && /^[\w/-]{1,200}$/.test(topic) ? topic : 'shopify' };
  },
});
