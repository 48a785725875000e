/**
 * Creates of an S3 store. Every write has `If-None-Match: *`, so the server keeps create-only: 412 where the key is
 * taken. Each create has a random token of its own in the object's metadata. Where an answer was lost, and so after a
 * 412 too (the SDK repeats what timed out, and the repeat meets the object of the first try), the object's token tells
 * whether this very create made it.
 *
 * A body of up to `partBytes` goes by one PutObject; a longer one by a multipart upload, which nobody sees until it is
 * completed. An upload whose process died stays invisible and is billed: a lifecycle rule that aborts incomplete
 * uploads removes it.
 */
import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { setTimeout as rest } from 'node:timers/promises';
import { HeadObjectCommand, type PutObjectCommandInput, type S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { dayMs } from '../../clock.ts';
import { DaybookError } from '../../errors.ts';
import type { ObjectBody } from '../store.ts';
import { isConflict, isRefusal, nameOf, s3ErrorOf, statusOf } from './errors.ts';
import type { S3Params } from './settings.ts';

/** A bucket, and what every write to it carries. */
export interface Bucket {
  readonly client: S3Client;
  readonly name: string;
  /** For people. */
  readonly location: string;
  readonly headers: Pick<PutObjectCommandInput, 'ServerSideEncryption' | 'SSEKMSKeyId' | 'StorageClass'>;
  /** How long what is created is kept from being deleted; undefined: as the bucket has it. */
  readonly retention: S3Params['retention'];
}

/** Memory of a create: about (`partsAtOnce` + 1) parts. S3 takes 10,000 parts of an object. */
const partBytes = 8 * 1024 * 1024;
const partsAtOnce = 3;
const maxParts = 10_000;
const tokenName = 'daybook-create';
/** Creates of one key at once: the server may ask each to come again. */
const maxConflicts = 6;

/** Rejects with the body's own error as it is, if it is the body that fails. */
export async function createObject(bucket: Bucket, key: string, body: ObjectBody): Promise<'created' | 'exists'> {
  const token = randomUUID();
  for (let conflicts = 0; ; ) {
    const guarded = guardBody(body);
    try {
      await upload(bucket, key, token, body.bytes, guarded.chunks());
      // Dies here: the whole object is there, nobody was told. A repeat answers `exists`.
      return 'created';
    } catch (error) {
      // Neither the request of a short body nor the one that completes a long one was sent.
      if (guarded.failure !== undefined) throw guarded.failure.error;
      if (isConflict(error) && conflicts < maxConflicts) {
        conflicts += 1;
        await rest(20 * 2 ** conflicts * (0.5 + Math.random() / 2));
        continue;
      }
      // Dies here: the object may be there or not. A repeat answers `exists` or creates it.
      return await outcomeAfter(error, bucket, key, token);
    }
  }
}

async function upload(
  bucket: Bucket,
  key: string,
  token: string,
  bytes: number,
  chunks: AsyncIterable<Uint8Array>,
): Promise<void> {
  const { ETag } = await new Upload({
    client: bucket.client,
    partSize: Math.max(partBytes, Math.ceil(bytes / maxParts)),
    queueSize: partsAtOnce,
    params: {
      ...bucket.headers,
      Bucket: bucket.name,
      Key: key,
      Body: Readable.from(chunks),
      IfNoneMatch: '*',
      Metadata: { [tokenName]: token },
      ...(bucket.retention !== undefined && {
        ObjectLockMode: bucket.retention.mode,
        ObjectLockRetainUntilDate: new Date(Date.now() + bucket.retention.days * dayMs),
      }),
    },
  }).done();
  // A server may answer 200 while it still completes an upload, and then say in the body that it failed.
  if (ETag === undefined) throw new Error('the answer names no object');
}

/** What became of a create whose upload failed. Throws where it is not there, or cannot be told. */
async function outcomeAfter(error: unknown, bucket: Bucket, key: string, token: string): Promise<'created' | 'exists'> {
  const isTaken = statusOf(error) === 412;
  // A repeated CompleteMultipartUpload finds that its upload is no more where the first was completed.
  if (isRefusal(error) && !isTaken && nameOf(error) !== 'NoSuchUpload') throw s3ErrorOf(error, bucket.location);
  let found: string | undefined;
  try {
    const { Metadata } = await bucket.client.send(new HeadObjectCommand({ Bucket: bucket.name, Key: key }));
    found = Metadata?.[tokenName] ?? '';
  } catch (headError) {
    if (isTaken) throw s3ErrorOf(headError, bucket.location);
  }
  if (found === token) return 'created';
  if (found !== undefined) return 'exists';
  // A request that timed out may still take effect after this: a repeat then answers `exists`.
  throw s3ErrorOf(error, bucket.location);
}

/** The body's chunks, counted; its own failure is kept apart from the upload's. */
function guardBody(body: ObjectBody) {
  const guarded: { failure?: { readonly error: unknown }; chunks(): AsyncIterable<Uint8Array> } = {
    async *chunks() {
      try {
        let given = 0;
        for await (const chunk of body.open()) {
          given += chunk.byteLength;
          if (given > body.bytes) break;
          yield chunk;
        }
        if (given !== body.bytes) {
          const amount = given > body.bytes ? 'more' : `${given}`;
          throw new DaybookError('store_unavailable', { detail: `the body gave ${amount} bytes, not ${body.bytes}` });
        }
      } catch (error) {
        guarded.failure = { error };
        throw error;
      }
    },
  };
  return guarded;
}
