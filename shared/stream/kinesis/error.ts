/** What a failure of the Kinesis client means. Names of errors: Kinesis Data Streams API Reference, Common Errors. */

import { DaybookError, messageOf } from '../../errors.ts';
import type { KinesisParams } from './settings.ts';

interface KinesisFailure {
  readonly name: string;
  /** Of sockets: ECONNREFUSED and the like. */
  readonly code?: string;
  readonly $retryable?: object;
  readonly $metadata?: {
    readonly httpStatusCode?: number;
    readonly requestId?: string;
    /** The SDK has found this clock wrong, and signs by the server's from now on. */
    readonly clockSkewCorrected?: boolean;
  };
}

const throttled = new Set([
  'ProvisionedThroughputExceededException',
  'LimitExceededException',
  'KMSThrottlingException',
  'ThrottlingException',
  'Throttling',
]);
const refusedCredentials = new Set([
  'UnrecognizedClientException',
  'InvalidSignatureException',
  'SignatureDoesNotMatch',
  'IncompleteSignature',
  'MissingAuthenticationToken',
  'MissingAuthenticationTokenException',
  'InvalidClientTokenId',
  'ExpiredTokenException',
  'OptInRequired',
  'CredentialsProviderError',
]);
const notAuthorised = new Set(['AccessDeniedException', 'NotAuthorized', 'KMSAccessDeniedException']);

/** Whether it was refused for its rate alone. */
export function isThrottling(error: unknown): boolean {
  return throttled.has((error as KinesisFailure).name);
}

/** Whether the same call may succeed a little later. */
export function mayPass(error: unknown): boolean {
  const { name, code, $retryable, $metadata } = error as KinesisFailure;
  if (isThrottling(error) || $retryable !== undefined || $metadata?.clockSkewCorrected === true) return true;
  const status = $metadata?.httpStatusCode;
  // 2xx: the answer broke off, or was none of Kinesis'.
  if (status !== undefined) return status < 300 || status >= 500 || status === 429 || status === 408;
  // No answer came: a time-out or a broken connection.
  return name === 'TimeoutError' || code !== undefined;
}

/**
 * `stream_unavailable` (with `retry` where it may pass), `stream_missing`, `stream_credentials_refused` or
 * `stream_not_authorised`. Neither record nor credential gets into it.
 */
export function kinesisErrorOf(error: unknown, { streamName, region }: KinesisParams): DaybookError {
  if (error instanceof DaybookError) return error;
  const { name, code, $metadata } = error as KinesisFailure;
  const status = $metadata?.httpStatusCode;
  const said = [
    code ?? name,
    ...(status === undefined ? [] : [`HTTP ${status}`]),
    ...($metadata?.requestId === undefined ? [] : [`request ${$metadata.requestId}`]),
  ].join(', ');
  const detail = `Kinesis, stream ${streamName}${region === undefined ? '' : ` in ${region}`}: ${said}`;
  const cause = plain(error);
  if (name === 'ResourceNotFoundException') return new DaybookError('stream_missing', { detail, cause });
  if (notAuthorised.has(name)) {
    const hint =
      'Allow on the stream kinesis:DescribeStreamSummary; ingest also PutRecords, the compactor also ListShards, GetShardIterator and GetRecords; of an encrypted stream its KMS key, too.';
    return new DaybookError('stream_not_authorised', { detail, hint, cause });
  }
  if (refusedCredentials.has(name)) {
    const hint =
      'Give credentials as the AWS SDK finds them (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role), and let the clock keep its time by NTP.';
    return new DaybookError('stream_credentials_refused', { detail, hint, cause });
  }
  if (messageOf(error) === 'Region is missing') {
    const hint = 'Set params.region of DAYBOOK_STREAM, or AWS_REGION.';
    return new DaybookError('stream_unavailable', { detail: `${detail}: no region`, hint, retry: false, cause });
  }
  return new DaybookError('stream_unavailable', { detail, retry: mayPass(error), cause });
}

/** The SDK's errors hold whole answers: only the message goes on. */
function plain(error: unknown): Error {
  return Object.assign(new Error(messageOf(error)), { name: (error as KinesisFailure).name });
}
