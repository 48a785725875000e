/** Why a signature is refused: the verifier's word, and whether another secret, or another form of the body, makes it hold. */
import { type Found, ok, problem, problemOf } from '../../shared/doctor/finding.ts';
import { missingCredentials, type Scheme } from '../../shared/schemes/scheme.ts';
import { schemeOf } from '../../shared/schemes/schemes.ts';
import { unquoted } from '../../shared/schemes/secret-kind.ts';
import { keyidOf } from '../../shared/schemes/secrets.ts';
import { refusalOf } from '../schemes/proof.ts';
import { bodyVariants } from './body-variants.ts';
import type { Explanation } from './explain-stripe.ts';
import { explainForeignHeaders } from './foreign-headers.ts';
import { compareKeyids, isSignature, type SigningKey, secretName, signingKeys } from './signing-keys.ts';

export function explainSignature({ request, source, sources, nowMs }: Explanation, scheme: Scheme): Found[] {
  const { headers, path } = request;
  const missing = missingCredentials(scheme, headers);
  if (missing !== undefined) {
    const foreign = missing === 'credentials_missing' ? explainForeignHeaders(request, sources, missing, scheme) : [];
    return foreign.length > 0 ? foreign : [explainMissing(scheme, headers, missing)];
  }
  const own = sources.filter((one) =>
    source === undefined ? scheme === schemeOf(one.source.scheme) : one.source.name === source.source.name,
  );
  const result = scheme.verify(
    { headers, path, body: request.body },
    own.flatMap(({ secrets }) => secrets),
    nowMs,
  );
  if ('secret' in result) {
    const { source, secrets } = own.find(({ secrets }) => secrets.includes(result.secret))!;
    return [
      ok(`the signature holds, by ${secretName(source.name, secrets.indexOf(result.secret), result.secret.keyid)}`),
    ];
  }
  const { code, hint, message } = refusalOf(scheme, result);
  if (code === 'date_stale' || code === 'date_in_future') {
    const todo = `${hint} If the request came at another time, give that as --at.`;
    return [problem(`the signature holds, but its time does not: ${message}`, todo, code)];
  }
  if (code !== 'token_mismatch') return [problem(message, hint, code)];
  const names = new Set(own.map(({ source }) => source.name));
  const keys = signingKeys(sources, own[0]?.source.name).flatMap((key) => attemptsOf(key, scheme));
  for (const { change, body } of [{ change: undefined, body: request.body }, ...bodyVariants(request.body)]) {
    const key = keys.find(({ text }) => {
      const secret = { text, keyid: keyidOf(text), notAfterMs: undefined };
      return isSignature(scheme.verify({ headers, path, body }, [secret], nowMs));
    });
    if (key === undefined) continue;
    const by = `${key.secretName}${key.reading === undefined ? '' : ` ${key.reading.how}`}`;
    const whose = names.has(key.sourceName) ? '' : ', not by one of this source';
    if (change === undefined) return [problem(`the signature is by ${by}${whose}`, key.reading?.hint ?? hint, code)];
    const said = `the body was ${change} on the way: with that undone the signature holds, by ${by}${whose}`;
    return [problem(said, 'Hand the bytes on as they came.', code)];
  }
  return [problem(message, `${hint} ${compareKeyids}`, code)];
}

function explainMissing(
  scheme: Scheme,
  headers: Explanation['request']['headers'],
  code: 'credentials_missing' | 'credentials_incomplete',
): Found {
  const refusal = refusalOf(scheme, { code });
  if (code === 'credentials_missing') return problemOf(refusal);
  const set = scheme.headers.find((names) => names.some((name) => headers[name]))!;
  const absent = set.filter((name) => !headers[name]).join(' and ');
  const said = `${absent} ${absent.includes(' and ') ? 'are' : 'is'} not there: a proxy removed it, or the sender does not send it`;
  return problem(said, refusal.hint, code);
}

interface Attempt extends SigningKey {
  /** That of a secret which stands for the key. */
  readonly text: string;
}

/** The key, if a text can stand for it; under Standard Webhooks, which decodes the text, also the ways in which it is not. */
function attemptsOf(key: SigningKey, scheme: Scheme): Attempt[] {
  if (typeof key.key !== 'string') return [];
  const plain = { ...key, text: key.key };
  if (scheme !== schemeOf('standard')) return [plain];
  if (key.reading !== undefined) return [];
  const trimmed = unquoted(key.key);
  const quoted = {
    ...{ ...key, text: trimmed },
    reading: { how: 'without the white space or quotes around it', hint: 'Take them away from it in DAYBOOK_SOURCES.' },
  };
  const hint = 'Standard Webhooks decodes the base64 behind whsec_, and so must the sender.';
  const undecoded = [
    [trimmed, 'used as text, not decoded from base64'],
    [trimmed.replace(/^whsec_/, ''), 'used as text without whsec_, not decoded from base64'],
  ] as const;
  return [
    plain,
    ...(trimmed === key.key ? [] : [quoted]),
    ...undecoded.map(([text, how]) => ({
      ...{ ...key, text: Buffer.from(text).toString('base64') },
      reading: { how, hint },
    })),
  ];
}
