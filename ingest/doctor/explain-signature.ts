/** Why a signature is refused: the verifier's word, and whether another secret, or another form of the body, makes it hold. */
import { type Found, ok, problem, problemOf } from '../../shared/doctor/finding.ts';
import { missingCredentials, type Scheme } from '../../shared/schemes/scheme.ts';
import { schemeOf } from '../../shared/schemes/schemes.ts';
import type { Secret } from '../../shared/schemes/secrets.ts';
import { refusalOf } from '../schemes/proof.ts';
import { bodyVariants } from './body-variants.ts';
import type { Explanation } from './explain-stripe.ts';
import { explainForeignHeaders } from './foreign-headers.ts';
import { compareKeyids, secretName } from './signing-keys.ts';

export function explainSignature({ request, source, sources, nowMs }: Explanation, scheme: Scheme): Found[] {
  const { headers, path } = request;
  const code = missingCredentials(scheme, headers);
  if (code !== undefined) {
    const foreign = explainForeignHeaders(request, sources, code);
    return foreign.length > 0 ? foreign : [problemOf(refusalOf(scheme, { code }))];
  }
  const named = sources.flatMap((one) =>
    one.secrets.map((secret, index) => ({ one, secret, name: secretName(one.source.name, index, secret.keyid) })),
  );
  const own = named.filter(({ one }) =>
    source === undefined ? scheme === schemeOf(one.source.scheme) : one === source,
  );
  const verify = (body: Buffer, secrets: readonly Secret[]) => scheme.verify({ headers, path, body }, secrets, nowMs);
  const signer = (body: Buffer, among: typeof named) => among.find(({ secret }) => 'secret' in verify(body, [secret]));

  const result = verify(
    request.body,
    own.map(({ secret }) => secret),
  );
  if ('secret' in result) return [ok(`the signature holds, by ${signer(request.body, own)?.name}`)];
  const { code: refused, hint } = refusalOf(scheme, result);
  const other = signer(request.body, named);
  if (other !== undefined)
    return [problem(`the signature is by ${other.name}, not by one of this source`, hint, refused)];
  for (const { change, body } of bodyVariants(request.body)) {
    const by = signer(body, named);
    if (by === undefined) continue;
    const said = `the body was ${change} on the way: with that undone the signature holds, by ${by.name}`;
    return [problem(said, 'Hand the bytes on as they came.', refused)];
  }
  return [problem(refusalOf(scheme, result).message, `${hint} ${compareKeyids}`, refused)];
}
