/** A scheme that signs the body alone, as a stranger would add it: this file, and a line in shared/schemes/schemes.ts. */
import { createHmac } from 'node:crypto';
import { z } from 'zod';
import { contentId } from '../../../shared/schemes/content-id.ts';
import { keyFaults } from '../../../shared/schemes/key-faults.ts';
import { headerOf, type Scheme, type SignedRequest } from '../../../shared/schemes/scheme.ts';
import {
  equalInConstantTime,
  type Proven,
  type Refusal,
  verifyWithActive,
} from '../../../shared/schemes/secret-match.ts';
import type { Secret } from '../../../shared/schemes/secrets.ts';
import { name, secrets } from '../../../shared/schemes/source-members.ts';

const header = 'x-body-signature';

function prove({ headers, body }: SignedRequest, candidates: readonly Secret[]): Proven | Refusal {
  const signature = headerOf(headers, header) ?? '';
  const secret = candidates.find(({ text }) => equalInConstantTime(signBody(text, body), signature));
  return secret === undefined ? { code: 'token_mismatch' } : { secret, signedheaders: `${header}: ${signature}` };
}

export function signBody(secret: string, body: Uint8Array): string {
  return `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
}

export const bodyScheme = {
  sender: 'Body',
  routes: ['webhooks'],
  kind: 'events',
  source: z.strictObject({ name, scheme: z.literal('body'), secrets }),
  headers: [[header]],
  howToSign: 'X-Body-Signature is sha256=<hex of the HMAC-SHA256 of the body>.',
  verify: (request, candidates, nowMs) =>
    verifyWithActive(candidates, nowMs, 'token_secret_expired' as Refusal['code'], (active) => prove(request, active)),
  holds: ({ id, ...request }, candidates) =>
    'secret' in prove(request, candidates) && contentId(Buffer.from(request.body).toString()) === id,
  checkSecret: (text) => keyFaults(text, 'body'),
  describe: (_, event) => ({ type: event.action }),
} satisfies Scheme;
