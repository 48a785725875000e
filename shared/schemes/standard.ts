/**
 * Standard Webhooks (standardwebhooks.com, version 1.0.0), and Svix, which has it under names of its own: `webhook-signature`
 * has one `v1,<base64>` for each key of the sender, of HMAC-SHA256 over `<webhook-id>.<webhook-timestamp>.<body>`. The key is
 * the base64 behind `whsec_`, decoded. The asymmetric signatures `v1a` count for nothing here.
 */
import { createHmac } from 'node:crypto';
import { z } from 'zod';
import { bodySignatureScheme } from './body-signature.ts';
import { typeOr } from './event-facts.ts';
import { makeKey } from './key-faults.ts';
import type { Headers, SecretFault } from './scheme.ts';
import { unquoted } from './secret-kind.ts';
import { name, secrets } from './source-members.ts';

const signings = ['webhook', 'svix'].map((prefix) => ({
  id: `${prefix}-id`,
  timestamp: `${prefix}-timestamp`,
  signature: `${prefix}-signature`,
  prefix: 'v1,',
  several: true,
  encoding: 'base64' as const,
  algorithm: 'sha256' as const,
  template: '{id}.{timestamp}.{body}',
}));

export const standardScheme = bodySignatureScheme(
  signings,
  {
    sender: 'Standard Webhooks',
    routes: ['webhooks', 'events'],
    oneEvent: true,
    source: z.strictObject({ name, scheme: z.literal('standard'), secrets }),
    howToSign:
      'Send webhook-id, webhook-timestamp (seconds) and webhook-signature: v1, a comma, and the base64 of the HMAC-SHA256 of <id>.<timestamp>.<body>, keyed with the decoded base64 behind whsec_.',
    checkSecret,
    makeSecret: () => `whsec_${makeKey()}`,
    describe: (headers, event) => ({ id: idOf(headers), type: typeOr(event.type, 'standard') }),
  },
  keyOf,
);

/** That of the headers which are all there; the id is signed, and each retry has the same. */
function idOf(headers: Headers): unknown {
  const signing = signings.find(
    ({ id, timestamp, signature }) => headers[id] && headers[timestamp] && headers[signature],
  );
  return signing && headers[signing.id];
}

/** The header `webhook-signature` of a body that is sent. `timestamp` in seconds. */
export function signStandard(secret: string, id: string, timestamp: number, body: string): string {
  const signature = createHmac('sha256', keyOf(secret)!).update(`${id}.${timestamp}.${body}`).digest('base64');
  return `v1,${signature}`;
}

/** Undefined where the text is not base64, with `whsec_` before it or without. */
function keyOf(secret: string): Buffer | undefined {
  const text = secret.replace(/^whsec_/, '');
  const isBase64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text) && text !== '';
  return isBase64 ? Buffer.from(text, 'base64') : undefined;
}

/** The specification asks for so many. */
const leastKeyBytes = 24;

function checkSecret(text: string): SecretFault[] {
  const plain = unquoted(text);
  const hint = 'Put the secret that the sender shows (whsec_ and base64) in its place.';
  if (/^wh[sp]k_/.test(plain)) {
    const said = 'is a key for asymmetric signatures (v1a), which are not available here';
    return [{ status: 'problem', said, hint: 'Let the sender sign with a shared secret (whsec_…).' }];
  }
  const key = keyOf(plain);
  if (key === undefined) return [{ status: 'problem', said: 'is not whsec_ and base64: it stands for no key', hint }];
  if (key.length >= leastKeyBytes) return [];
  return [{ status: 'warning', said: `has fewer than ${leastKeyBytes} bytes behind whsec_`, hint }];
}
