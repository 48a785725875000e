import { GetObjectLockConfigurationCommand, type ObjectLockConfiguration } from '@aws-sdk/client-s3';
import type { Bucket } from './create.ts';
import { nameOf, s3ErrorOf, statusOf } from './errors.ts';

/** `unknown`: the server knows no such question. Rejects where it fails otherwise, as where it is not permitted. */
export async function objectLockOf({
  client,
  name,
  location,
}: Bucket): Promise<ObjectLockConfiguration | 'none' | 'unknown'> {
  try {
    const answer = await client.send(new GetObjectLockConfigurationCommand({ Bucket: name }));
    const { ObjectLockConfiguration: lock } = answer;
    return lock?.ObjectLockEnabled === 'Enabled' ? lock : 'none';
  } catch (error) {
    if (nameOf(error) === 'ObjectLockConfigurationNotFoundError') return 'none';
    const said = s3ErrorOf(error, location);
    if (said.code === 'store_unavailable' && [400, 404, 405, 501].includes(statusOf(error) ?? 0)) return 'unknown';
    throw said;
  }
}
