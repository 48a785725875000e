/**
 * A bucket as a night uses it, one permission after the other. Writes what every night writes as it begins and nothing
 * else: the object `<prefix>.create-only` (probe.ts).
 */
import { AbortMultipartUploadCommand, GetObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { checkClock } from '../../doctor/check-clock.ts';
import { type Found, ok, problem, problemOf } from '../../doctor/finding.ts';
import { DaybookError, type ErrorCode } from '../../errors.ts';
import { noteDate } from '../../http/note-date.ts';
import { checkLock } from './check-lock.ts';
import { checkPublic } from './check-public.ts';
import { s3ErrorOf, statusOf } from './errors.ts';
import { proveCreateOnly } from './probe.ts';
import type { S3Params } from './settings.ts';
import { bucketOf, probeKeyOf } from './store.ts';

const timeouts = { connectMs: 3_000, idleMs: 10_000 };

const unavailableHint =
  'See whether endpoint and region in DAYBOOK_STORE are right, and whether this machine may connect to it. Where its certificate cannot be verified: NODE_EXTRA_CA_CERTS names a file with its authority.';

interface Step {
  /** `s3:PutObject on its objects`. */
  readonly permission: string;
  /** What a night cannot do without it. */
  readonly purpose: string;
  run(): Promise<unknown>;
}

/** `prefix`: '' or folders that end with a slash. */
export async function checkS3(params: S3Params, prefix: string): Promise<Found[]> {
  const bucket = bucketOf(params, timeouts);
  const { client, name, location } = bucket;
  const dated = noteDate(client);
  const target = { Bucket: name, Key: probeKeyOf(prefix) };
  const steps: Step[] = [
    {
      permission: 's3:ListBucket on the bucket',
      purpose: 'list it',
      run: () => client.send(new ListObjectsV2Command({ Bucket: name, Prefix: prefix, MaxKeys: 1 })),
    },
    {
      permission: `s3:PutObject on its objects${params.sse === 'aws:kms' ? ', or the use of the KMS key' : ''}`,
      purpose: 'write to it',
      run: () => proveCreateOnly(bucket, target.Key),
    },
    {
      permission: `s3:GetObject on its objects${params.sse === 'aws:kms' ? ', or the use of the KMS key' : ''}`,
      purpose: 'read from it',
      run: async () => {
        const { Body } = await client.send(new GetObjectCommand(target));
        await Body?.transformToByteArray();
      },
    },
    {
      permission: 's3:AbortMultipartUpload on its objects',
      purpose: 'take back what it began to upload, which the bucket then keeps and is paid for',
      // Refused before it is seen that there is no such upload.
      run: () => client.send(new AbortMultipartUploadCommand({ ...target, UploadId: 'none' })),
    },
  ];
  try {
    const found: Found[] = [];
    for (const step of steps) {
      const failure = await failureOf(step, location);
      if (failure === undefined) continue;
      found.push(failure);
      // Anything but a missing permission would be met by the others as well.
      if (failure.code !== ('store_permission_denied' satisfies ErrorCode)) break;
    }
    const isSound = found.length === 0;
    if (isSound) {
      found.push(ok(`${location} can be listed, written and read, and no object in it can be written over`));
    }
    const access = isSound ? [await checkPublic(bucket), await checkLock(bucket)] : [];
    const clock = checkClock(dated(), "the object store's", 'days are closed too early or too late');
    return [...found, ...(found.some(({ code }) => code === 'store_clock_skewed') ? [] : clock), ...access];
  } finally {
    client.destroy();
  }
}

async function failureOf({ permission, purpose, run }: Step, location: string): Promise<Found | undefined> {
  try {
    await run();
    return undefined;
  } catch (thrown) {
    // Of an object or an upload that is not there: what was asked is permitted.
    if (statusOf(thrown) === 404 && (thrown as Error).name !== 'NoSuchBucket') return undefined;
    const error = s3ErrorOf(thrown, location);
    if (error.code === 'store_unavailable') return problem(error.message, unavailableHint, error.code);
    if (error.code !== 'store_permission_denied') return problemOf(error);
    const { code } = new DaybookError('store_permission_denied');
    return problem(`a night may not ${purpose}: ${error.message}`, `Allow the credentials ${permission}.`, code);
  }
}
