/** Whether a bucket can be read by anybody, as far as its server tells. */
import { GetBucketPolicyStatusCommand, GetPublicAccessBlockCommand } from '@aws-sdk/client-s3';
import { type Found, ok, problem, warning } from '../../doctor/finding.ts';
import type { ErrorCode } from '../../errors.ts';
import type { Bucket } from './create.ts';
import { nameOf, s3ErrorOf, statusOf } from './errors.ts';

const code: ErrorCode = 'store_public';
const hint =
  'Block it: aws s3api put-public-access-block --bucket <bucket> --public-access-block-configuration BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true';

/** Rejects where the store fails otherwise. */
export async function checkPublic({ client, name, location }: Bucket): Promise<Found> {
  const ask = async <T>(sent: Promise<T>, absent: string): Promise<T | 'absent' | 'unknown' | 'denied'> => {
    try {
      return await sent;
    } catch (error) {
      if (nameOf(error) === absent) return 'absent';
      const status = statusOf(error);
      if (status === 403) return 'denied';
      // Other servers have no such request: they say so in many ways.
      if (status === 400 || status === 404 || status === 405 || status === 501) return 'unknown';
      throw s3ErrorOf(error, location);
    }
  };
  const policy = await ask(client.send(new GetBucketPolicyStatusCommand({ Bucket: name })), 'NoSuchBucketPolicy');
  if (typeof policy === 'object' && policy.PolicyStatus?.IsPublic === true) {
    return problem(`${location} is public by its policy: anybody may get at it`, hint, code);
  }
  const block = await ask(
    client.send(new GetPublicAccessBlockCommand({ Bucket: name })),
    'NoSuchPublicAccessBlockConfiguration',
  );
  if (block === 'denied') {
    return ok('whether public access is blocked is not known: s3:GetBucketPublicAccessBlock is not allowed here');
  }
  if (block === 'unknown') return ok('this server does not tell whether public access is blocked: see to it there');
  const {
    BlockPublicAcls = false,
    IgnorePublicAcls = false,
    BlockPublicPolicy = false,
    RestrictPublicBuckets = false,
  } = (block === 'absent' ? undefined : block.PublicAccessBlockConfiguration) ?? {};
  if (BlockPublicAcls && IgnorePublicAcls && BlockPublicPolicy && RestrictPublicBuckets) {
    return ok('public access to the bucket is blocked');
  }
  return warning(`${location} is not public, and nothing keeps it from becoming so`, hint, code);
}
