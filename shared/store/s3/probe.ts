/**
 * Whether an endpoint keeps create-only. A server that does not know `If-None-Match` takes no notice of it and writes
 * over what is there, so the only proof is to ask for a second write and to see it refused, of both kinds: PutObject,
 * and CompleteMultipartUpload. The object is the same at every probe, so where it is written over nothing is lost.
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { DaybookError } from '../../errors.ts';
import type { Bucket } from './create.ts';
import { isConflict, nameOf, s3ErrorOf, statusOf } from './errors.ts';

const content = Buffer.from('daybook: this object is here so that a second create of it is refused.\n');

/** Resolves if it does. Rejects with `store_not_create_only`, or as any write may. Leaves one object under the key. */
export async function proveCreateOnly(bucket: Bucket, key: string): Promise<void> {
  try {
    // The first that ever is puts the object there.
    const refused = (await isPutRefused(bucket, key)) || (await isPutRefused(bucket, key));
    // Dies here: the object is there, and the next probe is a write less.
    if (refused && (await isCompleteRefused(bucket, key))) return;
  } catch (error) {
    if (statusOf(error) !== 501) throw s3ErrorOf(error, bucket.location);
    throw notCreateOnly(`${bucket.location}: ${nameOf(error)}, HTTP 501`);
  }
  throw notCreateOnly(`${bucket.location} wrote over an object that was there`);
}

function notCreateOnly(detail: string): DaybookError {
  return new DaybookError('store_not_create_only', {
    detail,
    hint: 'Its endpoint must keep `If-None-Match: *` for PutObject and CompleteMultipartUpload. Use another store, or a newer version of it. Nothing was written but a probe object.',
  });
}

async function isPutRefused({ client, name, headers }: Bucket, key: string): Promise<boolean> {
  return isTaken(
    client.send(new PutObjectCommand({ ...headers, Bucket: name, Key: key, Body: content, IfNoneMatch: '*' })),
  );
}

async function isCompleteRefused({ client, name, headers }: Bucket, key: string): Promise<boolean> {
  const target = { Bucket: name, Key: key };
  const hasCrc = (await client.config.requestChecksumCalculation()) === 'WHEN_SUPPORTED';
  const { UploadId } = await client.send(
    new CreateMultipartUploadCommand({ ...headers, ...target, ...(hasCrc && { ChecksumAlgorithm: 'CRC32' }) }),
  );
  try {
    const { ETag, ChecksumCRC32 } = await client.send(
      new UploadPartCommand({ ...target, UploadId, PartNumber: 1, Body: content }),
    );
    const Parts = [{ PartNumber: 1, ETag, ...(ChecksumCRC32 !== undefined && { ChecksumCRC32 }) }];
    return await isTaken(
      client.send(
        new CompleteMultipartUploadCommand({ ...target, UploadId, IfNoneMatch: '*', MultipartUpload: { Parts } }),
      ),
    );
  } finally {
    // Where it was completed, or this fails, there is nothing more to do about it.
    await client.send(new AbortMultipartUploadCommand({ ...target, UploadId })).catch(() => undefined);
  }
}

async function isTaken(write: Promise<unknown>): Promise<boolean> {
  try {
    await write;
    return false;
  } catch (error) {
    // 409: a probe of another process is at the same object, and this one was refused.
    if (statusOf(error) === 412 || isConflict(error)) return true;
    throw error;
  }
}
