/**
 * Slack's Events API: `X-Slack-Signature: v0=<hex of HMAC-SHA256 of "v0:<timestamp>:<body>">`, where the timestamp is
 * `X-Slack-Request-Timestamp` and the key is the app's signing secret (docs.slack.dev, "Verifying requests from Slack").
 */
import { z } from 'zod';
import { bodySignatureScheme } from './body-signature.ts';
import { typeOr } from './event-facts.ts';
import { keyFaults } from './key-faults.ts';
import { name, secrets } from './source-members.ts';

const signing = {
  signature: 'x-slack-signature',
  timestamp: 'x-slack-request-timestamp',
  prefix: 'v0=',
  encoding: 'hex',
  algorithm: 'sha256',
  template: 'v0:{timestamp}:{body}',
} as const;

export const slackScheme = bodySignatureScheme([signing], {
  sender: 'Slack',
  routes: ['webhooks'],
  source: z.strictObject({ name, scheme: z.literal('slack'), secrets }),
  howToSign:
    "X-Slack-Signature is v0= and the hex of the HMAC-SHA256 of v0:<X-Slack-Request-Timestamp>:<body>, keyed with the app's signing secret, which must be a secret of this source.",
  checkSecret: (text) => keyFaults(text, 'slack', "Copy the signing secret from the app's Basic Information."),
  describe: (_, { type, event }) => ({ type: typeOr(type === 'event_callback' ? innerType(event) : type, 'slack') }),
  // Slack sends this once, when the URL is entered, and takes no URL that does not answer with the challenge.
  answer: ({ type, challenge }) =>
    type === 'url_verification' && typeof challenge === 'string' ? { challenge } : undefined,
});

function innerType(event: unknown): unknown {
  return typeof event === 'object' && event !== null ? (event as { type?: unknown }).type : undefined;
}
