/** A sender of every scheme that signs the body: its source, and how it signs, by node's own HMAC. */
import { createHmac } from 'node:crypto';

export interface Signed {
  readonly secret?: string;
  readonly atSeconds?: number;
  readonly id?: string;
}

export interface Sender {
  /** A source of it; its name is that of the sender. */
  readonly source: { readonly name: string; readonly scheme: string; readonly secrets: readonly [string, ...string[]] };
  /** The header of the signature, in lower case; of the time and the id where they are signed. */
  readonly signature: string;
  readonly timestamp?: string;
  readonly id?: string;
  sign(body: string | Uint8Array, signed?: Signed): Record<string, string>;
}

const mac = (
  key: string | Buffer,
  encoding: 'hex' | 'base64',
  parts: readonly (string | Uint8Array)[],
  algorithm = 'sha256',
) => parts.reduce((hmac, part) => hmac.update(part), createHmac(algorithm, key)).digest(encoding);

const now = () => Math.floor(Date.now() / 1000);
const json = { 'content-type': 'application/json' };

function standard(name: string, prefix: 'webhook' | 'svix'): Sender {
  const secrets = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'] as const;
  const [id, timestamp, signature] = [`${prefix}-id`, `${prefix}-timestamp`, `${prefix}-signature`];
  return {
    source: { name, scheme: 'standard', secrets },
    signature,
    timestamp,
    id,
    sign(body, { secret = secrets[0], atSeconds = now(), id: messageId = 'msg_1' } = {}) {
      const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
      const digest = mac(key, 'base64', [`${messageId}.${atSeconds}.`, body]);
      return { ...json, [id]: messageId, [timestamp]: `${atSeconds}`, [signature]: `v1,${digest}` };
    },
  };
}

const bodyAlone = (
  scheme: 'github' | 'shopify',
  signature: string,
  prefix: string,
  encoding: 'hex' | 'base64',
  more: Record<string, string>,
): Sender => {
  const secrets = [`the secret of ${scheme}, long enough`] as const;
  return {
    source: { name: scheme, scheme, secrets },
    signature,
    sign: (body, { secret = secrets[0] } = {}) => ({
      ...json,
      ...more,
      [signature]: prefix + mac(secret, encoding, [body]),
    }),
  };
};

export const senders: Readonly<Record<string, Sender>> = {
  standard: standard('standard', 'webhook'),
  svix: standard('svix', 'svix'),
  github: bodyAlone('github', 'x-hub-signature-256', 'sha256=', 'hex', { 'x-github-event': 'pull_request' }),
  shopify: bodyAlone('shopify', 'x-shopify-hmac-sha256', '', 'base64', { 'x-shopify-topic': 'orders/create' }),
  slack: {
    source: { name: 'slack', scheme: 'slack', secrets: ['8f742231b10e8888abcd99yyyzzz85a5'] },
    signature: 'x-slack-signature',
    timestamp: 'x-slack-request-timestamp',
    sign: (body, { secret = '8f742231b10e8888abcd99yyyzzz85a5', atSeconds = now() } = {}) => ({
      ...json,
      'x-slack-request-timestamp': `${atSeconds}`,
      'x-slack-signature': `v0=${mac(secret, 'hex', [`v0:${atSeconds}:`, body])}`,
    }),
  },
  hmac: {
    source: {
      name: 'hmac',
      scheme: 'hmac',
      secrets: ['the secret of acme, long enough'],
      ...{ header: 'X-Acme-Signature', prefix: 'v=', encoding: 'base64', algorithm: 'sha512' },
      ...{ template: '{path}:{id}:{timestamp}:{body}', timestampHeader: 'X-Acme-Time', idHeader: 'X-Acme-Id' },
      toleranceSeconds: 60,
    } as Sender['source'],
    signature: 'x-acme-signature',
    timestamp: 'x-acme-time',
    id: 'x-acme-id',
    sign(body, { secret = 'the secret of acme, long enough', atSeconds = now(), id = 'acme-1' } = {}) {
      const digest = mac(secret, 'base64', [`/webhooks/hmac:${id}:${atSeconds}:`, body], 'sha512');
      return { ...json, 'x-acme-time': `${atSeconds}`, 'x-acme-id': id, 'x-acme-signature': `v=${digest}` };
    },
  },
};
