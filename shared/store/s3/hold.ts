/** Legal holds of a bucket with Object Lock: on the newest version of an object, without an end, beside its retention. */
import { PutObjectLegalHoldCommand } from '@aws-sdk/client-s3';
import { DaybookError } from '../../errors.ts';
import type { ObjectHolder } from '../store.ts';
import type { S3Timeouts } from './client.ts';
import { nameOf, s3ErrorOf, statusOf } from './errors.ts';
import { objectLockOf } from './object-lock.ts';
import type { S3Params } from './settings.ts';
import { bucketOf, probeKeyOf, refuseMalformed } from './store.ts';

/** `prefix`: '' or folders that end with a slash. Undefined where the bucket has no Object Lock. */
export async function openS3Holder(
  params: S3Params,
  prefix: string,
  timeouts?: S3Timeouts,
): Promise<ObjectHolder | undefined> {
  const bucket = bucketOf(params, timeouts);
  const { client, name, location } = bucket;
  const failed = (what: string, error: unknown) => {
    const said = s3ErrorOf(error, location);
    return new DaybookError('legal_hold_failed', {
      detail: `${what}: ${said.message}`,
      retry: said.retry,
      cause: said,
    });
  };
  try {
    if (typeof (await objectLockOf(bucket)) === 'string') {
      client.destroy();
      return undefined;
    }
  } catch (error) {
    client.destroy();
    throw failed('whether the bucket has Object Lock is not known', error);
  }
  return {
    async set(key, isHeld) {
      refuseMalformed(key, probeKeyOf(prefix));
      const LegalHold = { Status: isHeld ? 'ON' : 'OFF' } as const;
      try {
        await client.send(new PutObjectLegalHoldCommand({ Bucket: name, Key: key, LegalHold }));
        // Dies here: it is so, nobody was told. A repeat resolves.
        return 'set';
      } catch (error) {
        // 405: its newest version is a delete marker.
        if (nameOf(error) === 'NoSuchKey' || statusOf(error) === 405) return 'missing';
        throw failed(key, error);
      }
    },
    async close() {
      client.destroy();
    },
  };
}
