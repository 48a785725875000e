/** What a scheme's verifier says, as ingest passes it on. */
import { DaybookError, type ErrorCode } from '../../shared/errors.ts';
import type { Scheme } from '../../shared/schemes/scheme.ts';
import type { Proven, Refusal } from '../../shared/schemes/secret-match.ts';
import type { Source } from '../../shared/schemes/sources.ts';
import type { Proof } from './protocol.ts';

export function proofOf({ name, scheme }: Source, { secret, signedheaders }: Proven): Proof {
  return { sourceName: name, scheme, keyid: secret.keyid, signedheaders };
}

/** Refusals of requests that were not signed as they should be. Of the others the hint is that of their code. */
const unsigned: ReadonlySet<ErrorCode> = new Set([
  'credentials_missing',
  'credentials_incomplete',
  'token_malformed',
  'date_malformed',
  'token_mismatch',
]);

export function refusalOf({ howToSign }: Scheme, { code, detail }: Refusal): DaybookError {
  return new DaybookError(code, {
    ...(detail === undefined ? {} : { detail }),
    ...(howToSign === undefined || !unsigned.has(code) ? {} : { hint: howToSign }),
  });
}
