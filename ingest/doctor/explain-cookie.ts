/** Why a page's login cookie is refused, by each source that takes one. */
import { type Found, ok, problem } from '../../shared/doctor/finding.ts';
import { DaybookError } from '../../shared/errors.ts';
import { schemeOfSource } from '../../shared/schemes/sources.ts';
import { refusalOf } from '../schemes/proof.ts';
import type { Explanation } from './explain-stripe.ts';

export function explainCookie({ request, sources, nowMs }: Explanation): Found[] {
  const takers = sources.filter(({ source }) => source.scheme === 'cookie');
  if (takers.length === 0) {
    const { code, hint } = new DaybookError('credentials_missing');
    return [problem('the request has a cookie alone, and no source takes login cookies', hint, code)];
  }
  const judged = takers.map(({ source, secrets }) => {
    const scheme = schemeOfSource(source);
    const result = scheme.verify(request, secrets, nowMs);
    if ('secret' in result) {
      return ok(`the cookie holds, by a key of ${source.name} (keyid ${result.secret.keyid})`);
    }
    const { code, message, hint } = refusalOf(scheme, result);
    return problem(`${source.name}: ${message}`, hint, code);
  });
  const taken = judged.filter(({ status }) => status === 'ok');
  return taken.length > 0 ? taken : judged;
}
