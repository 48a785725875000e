/** What an S3 server or the SDK said, as daybook's errors. Names of errors: Amazon S3 API Reference, Error responses. */
import { DaybookError, type ErrorCode, messageOf } from '../../errors.ts';

interface S3Failure {
  readonly name: string;
  readonly code?: string;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string };
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> };
}

const codes: Readonly<Record<string, ErrorCode>> = {
  NoSuchBucket: 'store_bucket_missing',
  AccessDenied: 'store_permission_denied',
  AllAccessDisabled: 'store_permission_denied',
  PermanentRedirect: 'store_region_wrong',
  TemporaryRedirect: 'store_region_wrong',
  AuthorizationHeaderMalformed: 'store_region_wrong',
  IllegalLocationConstraintException: 'store_region_wrong',
  RequestTimeTooSkewed: 'store_clock_skewed',
  RequestExpired: 'store_clock_skewed',
  CredentialsProviderError: 'store_credentials_missing',
  InvalidAccessKeyId: 'store_credentials_refused',
  SignatureDoesNotMatch: 'store_credentials_refused',
  ExpiredToken: 'store_credentials_refused',
  InvalidToken: 'store_credentials_refused',
  TokenRefreshRequired: 'store_credentials_refused',
};

/** The body came damaged, or not in time. */
const lostOnTheWay = new Set([
  'BadDigest',
  'XAmzContentChecksumMismatch',
  'XAmzContentSHA256Mismatch',
  'IncompleteBody',
  'RequestTimeout',
]);

/** The error of a request to the place named. Bodies, signatures and credentials do not get into it. */
export function s3ErrorOf(error: unknown, location: string): DaybookError {
  if (error instanceof DaybookError) return error;
  const { name, code, $metadata, $response } = error as S3Failure;
  const status = statusOf(error);
  const region = regionOf(error as { Region?: unknown }, $response?.headers);
  const said = [
    code ?? name,
    status === undefined ? '' : `HTTP ${status}`,
    $metadata?.requestId === undefined ? '' : `request ${$metadata.requestId}`,
    region === undefined ? '' : `the bucket is in ${region}`,
  ].filter((part) => part !== '');
  return new DaybookError(codeOf(error), {
    detail: `${location}: ${said.join(', ')}`,
    retry: isPassing(error),
    cause: plain(error),
  });
}

export function nameOf(error: unknown): string {
  return (error as S3Failure).name;
}

/** The HTTP status of the answer; undefined where none came. */
export function statusOf(error: unknown): number | undefined {
  return (error as S3Failure).$metadata?.httpStatusCode;
}

/** 409 of a write that met another of the same key: nothing was written, and it should come again. */
export function isConflict(error: unknown): boolean {
  return ['ConditionalRequestConflict', 'OperationAborted'].includes(nameOf(error));
}

/** Whether the server said that it did not do what was asked, so that it is not done now or later. */
export function isRefusal(error: unknown): boolean {
  const status = statusOf(error);
  return status !== undefined && status >= 300 && status < 500 && status !== 408 && status !== 429;
}

function codeOf(error: unknown): ErrorCode {
  const known = codes[nameOf(error)];
  if (known !== undefined) return known;
  // Answers to HEAD have no body, so no name.
  const status = statusOf(error);
  if (status === 301 || status === 307) return 'store_region_wrong';
  if (status === 403) return 'store_permission_denied';
  return messageOf(error) === 'Region is missing' ? 'store_region_wrong' : 'store_unavailable';
}

function isPassing(error: unknown): boolean {
  if (codeOf(error) !== 'store_unavailable' || statusOf(error) === 501) return false;
  return isConflict(error) || lostOnTheWay.has(nameOf(error)) || !isRefusal(error);
}

function regionOf({ Region }: { Region?: unknown }, headers?: Readonly<Record<string, string>>): string | undefined {
  const region = headers?.['x-amz-bucket-region'] ?? Region;
  return typeof region === 'string' && /^[a-z0-9-]{1,40}$/.test(region) ? region : undefined;
}

/** The SDK's errors hold whole answers, which for a signature are the string to sign: only the message goes on. */
function plain(error: unknown): Error {
  return Object.assign(new Error(messageOf(error)), { name: nameOf(error) });
}
