/**
 * Deletes objects of an S3 bucket, versions left alone: where the bucket has them (Object Lock needs it) a delete marker
 * takes the key, and the bytes stay until a lifecycle rule expires what is not current, which no lock lets it do early.
 */
import { DeleteObjectCommand } from '@aws-sdk/client-s3';
import { DaybookError } from '../../errors.ts';
import type { ObjectRemover } from '../store.ts';
import type { S3Timeouts } from './client.ts';
import { s3ErrorOf, statusOf } from './errors.ts';
import type { S3Params } from './settings.ts';
import { bucketOf, probeKeyOf, refuseMalformed } from './store.ts';

/** `prefix`: '' or folders that end with a slash. Sends nothing until it is used. */
export function openS3Remover(params: S3Params, prefix: string, timeouts?: S3Timeouts): ObjectRemover {
  const { client, name, location } = bucketOf(params, timeouts);
  return {
    async remove(key) {
      refuseMalformed(key, probeKeyOf(prefix));
      try {
        const { DeleteMarker } = await client.send(new DeleteObjectCommand({ Bucket: name, Key: key }));
        // Dies here: it is gone, nobody was told. A repeat resolves.
        return DeleteMarker === true ? 'hidden' : 'removed';
      } catch (error) {
        const said = s3ErrorOf(error, location);
        if (statusOf(error) === 404 && said.code !== 'store_bucket_missing') return 'removed';
        // A lock, a legal hold or a policy may hold one object and not the next.
        if (said.code !== 'store_permission_denied') throw said;
        throw new DaybookError('removal_refused', { detail: `${key}: ${said.message}`, cause: said });
      }
    },
    async close() {
      client.destroy();
    },
  };
}
