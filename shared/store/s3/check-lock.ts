/** Whether the bucket keeps objects from being deleted, as far as its server tells. */
import { type Found, ok, problem } from '../../doctor/finding.ts';
import { DaybookError } from '../../errors.ts';
import type { Bucket } from './create.ts';
import { objectLockOf } from './object-lock.ts';

/** Rejects where the store fails otherwise. */
export async function checkLock(bucket: Bucket): Promise<Found> {
  let lock: Awaited<ReturnType<typeof objectLockOf>>;
  try {
    lock = await objectLockOf(bucket);
  } catch (error) {
    if (!(error instanceof DaybookError) || error.code !== 'store_permission_denied') throw error;
    return ok(
      'whether the bucket has Object Lock is not known: s3:GetBucketObjectLockConfiguration is not allowed here',
    );
  }
  if (lock === 'none' || lock === 'unknown') {
    if (bucket.retention !== undefined) {
      const hint = 'Take `retention` out of DAYBOOK_STORE, or use a bucket that has it: every upload is refused.';
      return problem(`${bucket.location} has no Object Lock, and \`retention\` asks for it`, hint);
    }
    return ok('the bucket has no Object Lock: a legal hold keeps daybook from deleting, and nobody else');
  }
  const { mode, days } = bucket.retention ?? {
    mode: lock.Rule?.DefaultRetention?.Mode,
    days: lock.Rule?.DefaultRetention?.Days ?? (lock.Rule?.DefaultRetention?.Years ?? 0) * 365,
  };
  return ok(
    `the bucket has Object Lock: ${mode === undefined ? 'objects are kept by legal holds alone' : `${mode.toLowerCase()}, ${days} days`}`,
  );
}
