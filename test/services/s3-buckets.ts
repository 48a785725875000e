/** Buckets of a test's own on the S3 server of test/services/s3.sh. */
import { randomBytes } from 'node:crypto';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import type { S3Params } from '../../shared/store/s3/settings.ts';

/** Makes a bucket and resolves to the params of a store in it. This process and its children get the credentials. */
export async function createBucket(endpoint: string): Promise<S3Params> {
  process.env.AWS_ACCESS_KEY_ID = 'test';
  process.env.AWS_SECRET_ACCESS_KEY = 'testsecret';
  const params = {
    bucket: `daybook-${randomBytes(6).toString('hex')}`,
    region: 'us-east-1',
    endpoint,
    forcePathStyle: true,
  };
  const client = new S3Client(params);
  try {
    await client.send(new CreateBucketCommand({ Bucket: params.bucket }));
  } finally {
    client.destroy();
  }
  return params;
}
