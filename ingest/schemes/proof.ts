/** What a scheme's verifier says, as ingest passes it on. */
import { DaybookError } from '../../shared/errors.ts';
import type { Scheme } from '../../shared/schemes/scheme.ts';
import type { Proven, Refusal } from '../../shared/schemes/secret-match.ts';
import type { Source } from '../../shared/schemes/sources.ts';
import type { Proof } from './protocol.ts';

export function proofOf({ name, scheme }: Source, { secret, signedheaders }: Proven): Proof {
  return { sourceName: name, scheme, keyid: secret.keyid, signedheaders };
}

export function refusalOf({ howToSign }: Scheme, { code, detail }: Refusal): DaybookError {
  return new DaybookError(code, {
    ...(detail === undefined ? {} : { detail }),
    ...(howToSign === undefined ? {} : { hint: howToSign }),
  });
}
