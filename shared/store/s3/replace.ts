/** Writes over objects of an S3 bucket; where that has versions, the older ones stay. */
import { PutObjectCommand } from '@aws-sdk/client-s3';
import type { ObjectReplacer } from '../store.ts';
import type { S3Timeouts } from './client.ts';
import { s3ErrorOf } from './errors.ts';
import type { S3Params } from './settings.ts';
import { bucketOf, probeKeyOf, refuseMalformed } from './store.ts';

/** `prefix`: '' or folders that end with a slash. Sends nothing until it is used. */
export function openS3Replacer(params: S3Params, prefix: string, timeouts?: S3Timeouts): ObjectReplacer {
  const { client, name, location, headers } = bucketOf(params, timeouts);
  return {
    async replace(key, bytes) {
      refuseMalformed(key, probeKeyOf(prefix));
      try {
        await client.send(new PutObjectCommand({ ...headers, Bucket: name, Key: key, Body: bytes }));
        // Dies here: it is there, nobody was told. A repeat writes it once more.
      } catch (error) {
        throw s3ErrorOf(error, location);
      }
    },
    async close() {
      client.destroy();
    },
  };
}
