/**
 * Signing by a key that nobody has: an Ed25519 key in AWS KMS (key spec ECC_NIST_EDWARDS25519, algorithm ED25519_SHA_512, which
 * is Ed25519 of RFC 8032). KMS signs 4,096 bytes at most, so of a manifest it signs the SHA-256.
 *
 * Region and credentials come by the AWS SDK's own chain; a region in the key's ARN goes first.
 */
import { GetPublicKeyCommand, KMSClient, SignCommand } from '@aws-sdk/client-kms';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { publicHalfOf, type Signer } from '../crypto/signing.ts';
import { DaybookError, messageOf } from '../errors.ts';
import { openAgents } from '../http/agents.ts';

const keySpec = 'ECC_NIST_EDWARDS25519';
const connectMs = 5_000;
const requestMs = 10_000;
/** Throttling, 5xx, resets and time-outs. */
const maxAttempts = 4;

/**
 * `key`: id, ARN, or alias as KMS takes it. `endpoint`: another than that of AWS. Asks for its public half. Rejects with `key_invalid` where it is of another kind,
 * with `signing_failed` where KMS does not answer or does not let us; `sign` with the latter alone.
 */
export async function openKmsSigner(key: string, endpoint?: string): Promise<Signer> {
  const { PublicKey, KeySpec } = await asked(key, endpoint, (client) =>
    client.send(new GetPublicKeyCommand({ KeyId: key })),
  );
  if (KeySpec !== keySpec || PublicKey === undefined) {
    throw new DaybookError('key_invalid', { detail: `${key} in KMS is of ${KeySpec}: it must be ${keySpec}` });
  }
  const half = publicHalfOf(PublicKey);
  return {
    ...half,
    signsHash: true,
    async sign(bytes) {
      const command = new SignCommand({
        KeyId: key,
        Message: bytes,
        MessageType: 'RAW',
        SigningAlgorithm: 'ED25519_SHA_512',
      });
      const { Signature } = await asked(key, endpoint, (client) => client.send(command));
      const signature = Buffer.from(Signature ?? []).toString('base64');
      // An alias may have been moved to another key since.
      if (half.verify(bytes, signature)) return signature;
      throw new DaybookError('signing_failed', {
        detail: `${key}: what KMS answers is not a signature by ${half.keyId}`,
      });
    },
  };
}

/** A connection for one question: there are two a night. */
async function asked<T>(
  key: string,
  endpoint: string | undefined,
  question: (client: KMSClient) => Promise<T>,
): Promise<T> {
  const region = /^arn:[^:]+:kms:([^:]+):/.exec(key)?.[1];
  const client = new KMSClient({
    ...(region !== undefined && { region }),
    ...(endpoint !== undefined && { endpoint }),
    maxAttempts,
    requestHandler: new NodeHttpHandler({
      connectionTimeout: connectMs,
      requestTimeout: requestMs,
      throwOnRequestTimeout: true,
      ...openAgents(endpoint),
    }),
  });
  try {
    return await question(client);
  } catch (error) {
    throw kmsErrorOf(error, key);
  } finally {
    client.destroy();
  }
}

/** Neither credential nor what was to be signed gets into it. */
function kmsErrorOf(error: unknown, key: string): DaybookError {
  const { name, code, $metadata } = error as { name: string; code?: string; $metadata?: { httpStatusCode?: number } };
  const status = $metadata?.httpStatusCode;
  // Without an answer the SDK says what it lacks, or the machine why it did not get there.
  const said = status === undefined ? messageOf(error) || name : `${name}, HTTP ${status}`;
  const retry =
    status === undefined
      ? code !== undefined || name === 'TimeoutError'
      : status >= 500 || status === 429 || name === 'ThrottlingException';
  return new DaybookError('signing_failed', { detail: `${key}: ${said}`, retry });
}
