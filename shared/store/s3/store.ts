/**
 * An object store in an S3 bucket, on AWS or any server that keeps conditional writes. How objects are created tells
 * s3-create.ts. `<prefix>.create-only` is the object of s3-probe.ts: no key, and never listed.
 */
import {
  CreateBucketCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  paginateListObjectsV2,
} from '@aws-sdk/client-s3';
import { DaybookError } from '../../errors.ts';
import { noteDate } from '../../http/note-date.ts';
import type { ObjectStore } from '../store.ts';
import { openS3Client, type S3Timeouts } from './client.ts';
import { type Bucket, createObject } from './create.ts';
import { s3ErrorOf, statusOf } from './errors.ts';
import { proveCreateOnly } from './probe.ts';
import type { S3Params } from './settings.ts';

export interface S3Store extends ObjectStore {
  /** Rejects with `store_not_create_only` where the endpoint does not keep create-only; writes one small object. */
  probe(): Promise<void>;
}

/** `prefix`: '' or folders that end with a slash. Sends nothing until it is used; reading alone never writes. */
export function openS3Store(params: S3Params, prefix: string, timeouts?: S3Timeouts): S3Store {
  const bucket = bucketOf(params, timeouts);
  const { client, name, location } = bucket;
  const probeKey = probeKeyOf(prefix);
  const answered = noteDate(client);
  let probing: Promise<void> | undefined;
  const proven = async () => {
    if (params.createBucket === true) await makeBucket(bucket);
    await proveCreateOnly(bucket, probeKey);
  };
  /** Once a store, before the first create; again after a failure. */
  const probe = () => {
    probing ??= proven().catch((error: unknown) => {
      probing = undefined;
      throw error;
    });
    return probing;
  };
  const refuse = (key: string) => refuseMalformed(key, probeKey);

  return {
    location,
    answered,
    probe,
    async create(key, body) {
      refuse(key);
      await probe();
      return createObject(bucket, key, body);
    },
    async head(key) {
      refuse(key);
      try {
        const { ContentLength } = await client.send(new HeadObjectCommand({ Bucket: name, Key: key }));
        if (ContentLength !== undefined) return { bytes: ContentLength };
      } catch (error) {
        if (statusOf(error) === 404) return undefined;
        throw s3ErrorOf(error, location);
      }
      throw new DaybookError('store_unavailable', { detail: `${location} does not say how long an object is` });
    },
    async *read(key, range) {
      refuse(key);
      yield* readObject(bucket, key, range);
    },
    async *list(prefix) {
      const folder = prefix.slice(0, prefix.lastIndexOf('/'));
      if (prefix.includes('/')) refuse(folder);
      try {
        for await (const { Contents = [] } of paginateListObjectsV2({ client }, { Bucket: name, Prefix: prefix })) {
          for (const { Key } of Contents) if (Key !== undefined && Key !== probeKey) yield Key;
        }
      } catch (error) {
        throw s3ErrorOf(error, location);
      }
    },
    async link(key, expiresSeconds) {
      refuse(key);
      try {
        // The signer takes a while to load, and is seldom used.
        const { linkObject } = await import('./link.ts');
        return await linkObject(bucket, key, expiresSeconds);
      } catch (error) {
        throw s3ErrorOf(error, location);
      }
    },
    async close() {
      client.destroy();
    },
  };
}

/** Of several that make it at once each goes on. */
async function makeBucket({ client, name, location }: Bucket): Promise<void> {
  try {
    await client.send(new HeadBucketCommand({ Bucket: name }));
    return;
  } catch (error) {
    if (statusOf(error) !== 404) throw s3ErrorOf(error, location);
  }
  try {
    await client.send(new CreateBucketCommand({ Bucket: name }));
    // Dies here: it is there, and the next run finds it.
  } catch (error) {
    if (statusOf(error) !== 409) throw s3ErrorOf(error, location);
  }
}

export function probeKeyOf(prefix: string): string {
  return `${prefix}.create-only`;
}

export function bucketOf(params: S3Params, timeouts?: S3Timeouts): Bucket {
  const { bucket, endpoint, sse, kmsKeyId, storageClass, retention } = params;
  return {
    client: openS3Client(params, timeouts),
    name: bucket,
    location: endpoint === undefined ? `s3://${bucket}` : `${endpoint.replace(/\/$/, '')}/${bucket}`,
    retention,
    headers: {
      ...(sse !== undefined && { ServerSideEncryption: sse }),
      ...(kmsKeyId !== undefined && { SSEKMSKeyId: kmsKeyId }),
      ...(storageClass !== undefined && { StorageClass: storageClass }),
    },
  };
}

async function* readObject(
  { client, name, location }: Bucket,
  key: string,
  range?: { from: number; to: number },
): AsyncGenerator<Uint8Array> {
  // HTTP counts the last byte in, and knows no empty range.
  const isEmpty = range !== undefined && range.to <= range.from;
  const Range = range === undefined || isEmpty ? {} : { Range: `bytes=${range.from}-${range.to - 1}` };
  try {
    if (isEmpty) await client.send(new HeadObjectCommand({ Bucket: name, Key: key }));
    else {
      const { Body } = await client.send(new GetObjectCommand({ Bucket: name, Key: key, ...Range }));
      yield* Body as AsyncIterable<Uint8Array>;
    }
  } catch (error) {
    const status = statusOf(error);
    if (status === 416) return; // it has no byte of that range
    const isMissing = status === 404 && (error as Error).name !== 'NoSuchBucket';
    if (isMissing) throw new DaybookError('object_missing', { detail: key, cause: s3ErrorOf(error, location) });
    throw s3ErrorOf(error, location);
  }
}

/** Throws `object_key_invalid`. */
export function refuseMalformed(key: string, probeKey: string): void {
  const isMalformed = key.split('/').some((part) => part === '' || part === '.' || part === '..');
  if (!isMalformed && key !== probeKey && !key.includes('\0') && key.isWellFormed()) return;
  throw new DaybookError('object_key_invalid', { detail: `not an object key: ${JSON.stringify(key)}` });
}
