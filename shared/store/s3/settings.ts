import { z } from 'zod';
import { awsRegion, besideOthers, bucketName, folderPrefix, serviceEndpoint } from '../../setting-shapes.ts';

/** Credentials come by the AWS SDK's own chain, and so does a region that is not given here. */
export const s3Params = z
  .strictObject({
    bucket: bucketName,
    prefix: folderPrefix.optional(),
    region: awsRegion.optional(),
    endpoint: serviceEndpoint.optional(),
    /** `endpoint/bucket/key` instead of `bucket.endpoint/key`. */
    forcePathStyle: z.boolean().optional(),
    /** Of the machine's AWS configuration, where this store has other credentials than the environment's. */
    profile: z.string().min(1, 'is empty').optional(),
    /** Server-side encryption, on top of age; the bucket's own default where not given. */
    sse: z.enum(['AES256', 'aws:kms']).optional(),
    /** The key's id or ARN; the account's default key where not given. */
    kmsKeyId: z.string().min(1, 'is empty').optional(),
    /** Those alone whose objects can be read at once: every run reads manifests and ids. */
    storageClass: z.enum(['STANDARD', 'STANDARD_IA', 'ONEZONE_IA', 'INTELLIGENT_TIERING', 'GLACIER_IR']).optional(),
    /** By Object Lock, of each object that is created; the bucket's own default where not given. */
    retention: z
      .strictObject({ mode: z.enum(['GOVERNANCE', 'COMPLIANCE']), days: z.int().min(1).max(36_500) })
      .optional(),
    /** How the server checks what it receives: by a CRC-32 header, or Content-MD5 for endpoints that refuse the former. */
    checksum: z.enum(['crc32', 'md5']).optional(),
    /** Makes the bucket before the first write where it is not there: for development, on a server of one's own. */
    createBucket: z.boolean().optional(),
  })
  .refine(({ createBucket, endpoint }) => createBucket !== true || endpoint !== undefined, {
    path: ['createBucket'],
    message: 'goes with an endpoint: on AWS make the bucket yourself, private, versioned and locked',
    when: besideOthers,
  })
  .refine(({ sse, kmsKeyId }) => kmsKeyId === undefined || sse === 'aws:kms', {
    path: ['kmsKeyId'],
    message: 'is used with sse aws:kms alone',
    when: besideOthers,
  });
export type S3Params = z.infer<typeof s3Params>;
