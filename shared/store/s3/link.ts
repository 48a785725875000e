/** URLs that anyone who has them can read one object by, until they expire (AWS Signature Version 4 in the query). */
import { GetObjectCommand } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { parseInstant } from '../../clock.ts';
import type { ObjectLink } from '../store.ts';
import type { Bucket } from './create.ts';

/** Sends nothing to the bucket; credentials may have to be fetched. */
export async function linkObject({ client, name }: Bucket, key: string, expiresSeconds: number): Promise<ObjectLink> {
  const url = await getSignedUrl(client, new GetObjectCommand({ Bucket: name, Key: key }), {
    expiresIn: expiresSeconds,
  });
  const endsAt = signedAtMs(new URL(url)) + expiresSeconds * 1000;
  // Credentials of a role end by themselves, and every URL that they signed with them.
  const { expiration } = await client.config.credentials();
  const expiresAt = new Date(Math.min(endsAt, expiration?.getTime() ?? endsAt));
  return { url, expiresAt: expiresAt.toISOString(), endsWithCredentials: expiresAt.getTime() < endsAt };
}

/** Of `X-Amz-Date=20261120T030000Z`. */
function signedAtMs(url: URL): number {
  const [year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/
    .exec(url.searchParams.get('X-Amz-Date') ?? '')!
    .slice(1);
  return parseInstant(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)!;
}
