/**
 * A token for Amazon MSK with IAM: the URL of a request `kafka-cluster:Connect` that is signed and never sent (AWS Signature
 * Version 4, in the query), as base64url. AWS's own aws-msk-iam-sasl-signer-js makes the same, with 75 packages;
 * test/shared/stream/kafka/msk-token.test.ts holds this equal to one of its tokens.
 */
import { createHash, createHmac } from 'node:crypto';
import { DaybookError } from '../../errors.ts';
import type { AwsMskIam } from './settings.ts';

interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
  readonly expiration?: Date | undefined;
}

/** As long as MSK takes one. */
const lifeSeconds = 900;

/** By the credentials, and the region where none is given, that the AWS SDK finds. Rejects with `stream_credentials_refused`. */
export async function mskToken({ region: given }: AwsMskIam): Promise<string> {
  const { KinesisClient } = await import('@aws-sdk/client-kinesis');
  // Of any client of the SDK: it makes no request to its own service.
  const client = new KinesisClient(given === undefined ? {} : { region: given });
  try {
    const [region, credentials] = await Promise.all([client.config.region(), client.config.credentials()]);
    return signedToken(region, credentials, new Date());
  } catch (cause) {
    throw new DaybookError('stream_credentials_refused', {
      detail: `no AWS credentials, or no region, to sign a token for MSK with: ${(cause as Error).message}`,
      hint: 'Give them as the AWS SDK finds them: a role, a profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; and sasl.region, or AWS_REGION.',
      cause,
    });
  } finally {
    client.destroy();
  }
}

/** https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html */
export function signedToken(region: string, credentials: Credentials, now: Date): string {
  const { accessKeyId, secretAccessKey, sessionToken, expiration } = credentials;
  const host = `kafka.${region}.amazonaws.com`;
  const time = now.toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const day = time.slice(0, 8);
  const scope = `${day}/${region}/kafka-cluster/aws4_request`;
  const leftSeconds = expiration === undefined ? lifeSeconds : (expiration.getTime() - now.getTime()) / 1000;
  const query = Object.entries({
    Action: 'kafka-cluster:Connect',
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': `${accessKeyId}/${scope}`,
    'X-Amz-Date': time,
    'X-Amz-Expires': String(Math.floor(Math.min(leftSeconds, lifeSeconds))),
    ...(sessionToken === undefined ? {} : { 'X-Amz-Security-Token': sessionToken }),
    'X-Amz-SignedHeaders': 'host',
  })
    .map(([name, value]) => `${name}=${escaped(value)}`)
    .join('&');
  const request = ['GET', '/', query, `host:${host}`, '', 'host', sha256('')].join('\n');
  const toSign = ['AWS4-HMAC-SHA256', time, scope, sha256(request)].join('\n');
  const key = [day, region, 'kafka-cluster', 'aws4_request'].reduce<string | Buffer>(
    (secret, part) => createHmac('sha256', secret).update(part).digest(),
    `AWS4${secretAccessKey}`,
  );
  const signature = createHmac('sha256', key).update(toSign).digest('hex');
  return Buffer.from(`https://${host}/?${query}&X-Amz-Signature=${signature}&User-Agent=daybook`).toString('base64url');
}

/** RFC 3986: what encodeURIComponent leaves and AWS does not. */
function escaped(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
