/**
 * GitHub's webhooks: `X-Hub-Signature-256: sha256=<hex of HMAC-SHA256 of the body>`. No time is signed, so a copy sent again
 * later is taken, as one more delivery of the event, which its content names. `X-GitHub-Delivery` and `X-GitHub-Event` are
 * not signed: the one is not an id here, the other is believed for the type alone.
 */
import { z } from 'zod';
import { bodySignatureScheme } from './body-signature.ts';
import { keyFaults, makeKey } from './key-faults.ts';
import type { Headers } from './scheme.ts';
import { name, secrets } from './source-members.ts';

const signing = {
  signature: 'x-hub-signature-256',
  prefix: 'sha256=',
  encoding: 'hex',
  algorithm: 'sha256',
  template: '{body}',
} as const;

export const githubScheme = bodySignatureScheme([signing], {
  sender: 'GitHub',
  routes: ['webhooks'],
  source: z.strictObject({ name, scheme: z.literal('github'), secrets }),
  howToSign:
    'Give the webhook at GitHub a secret of this source and the content type application/json: X-Hub-Signature-256 is sha256= and the hex of the HMAC-SHA256 of the body.',
  checkSecret: (text) => keyFaults(text, 'github'),
  makeSecret: makeKey,
  describe: (headers, event) => ({ type: typeOf(headers, event) }),
});

/** `push`, `pull_request.opened`. */
function typeOf(headers: Headers, { action }: Readonly<Record<string, unknown>>): string {
  const event = headers['x-github-event'];
  if (typeof event !== 'string' || !/^\w{1,100}$/.test(event)) return 'github';
  return typeof action === 'string' && /^\w{1,100}$/.test(action) ? `${event}.${action}` : event;
}
