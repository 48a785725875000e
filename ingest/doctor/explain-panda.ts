/** Why the HMAC headers of a server are refused. The token covers the date and the path: those are what is tried. */
import { createHmac } from 'node:crypto';
import { type Found, ok, problem } from '../../shared/doctor/finding.ts';
import { DaybookError } from '../../shared/errors.ts';
import {
  pandaScheme,
  pandaToleranceSeconds,
  parseFixdate,
  verifyPandaDelivery,
  verifyPandaToken,
} from '../../shared/schemes/panda.ts';
import { equalInConstantTime } from '../../shared/schemes/secret-match.ts';
import { refusalOf } from '../schemes/proof.ts';
import type { ResolvedSource } from '../schemes/resolved-source.ts';
import type { CapturedRequest } from './captured-request.ts';
import type { Explanation } from './explain-stripe.ts';
import { explainForeignHeaders } from './foreign-headers.ts';
import { compareKeyids, type SigningKey, secretName, signingKeys } from './signing-keys.ts';

interface Credentials {
  readonly token: string;
  readonly date: string;
  readonly path: string;
}

/** `sources`: all; those of scheme panda are callers here. The path's own source is what X-Gu-Tools-Service-Name says. */
export function explainPanda({ request, sources, nowMs }: Omit<Explanation, 'source'>): Found[] {
  const { headers, path } = request;
  const token = headers['x-gu-tools-hmac-token'] as string | undefined;
  const date = headers['x-gu-tools-hmac-date'] as string | undefined;
  const service = headers['x-gu-tools-service-name'] as string | undefined;
  if (!token || !date) return explainIncomplete(request, sources, token, date);

  const callers = sources.filter(({ source }) => source.scheme === 'panda');
  const named = callers.filter(({ source }) => service === undefined || source.name === service);
  const found: Found[] = named.length === 0 ? [unknownService(callers, service)] : [];
  const credentials = { token, date, path };
  for (const caller of named) {
    const result = verifyPandaDelivery(credentials, caller.secrets, nowMs);
    if ('secret' in result) {
      const index = caller.secrets.indexOf(result.secret);
      return [ok(`the token holds, by ${secretName(caller.source.name, index, result.secret.keyid)}`)];
    }
    if (result.code === 'token_secret_expired') return [explainExpired(caller, credentials)];
    if (result.code === 'date_stale' || result.code === 'date_in_future') {
      return [explainSkew(result.code, parseFixdate(date)!, nowMs)];
    }
  }
  if (!tokenShape.test(token)) return [...found, explainToken(credentials, callers, service)];
  if (parseFixdate(date) === undefined) return [...found, explainDate(credentials, callers, service)];
  return [...found, ...explainMismatch(request, credentials, callers, service)];
}

const tokenShape = /^HMAC [A-Za-z0-9+/]{43}=$/;

function explainIncomplete(
  request: CapturedRequest,
  sources: readonly ResolvedSource[],
  token: string | undefined,
  date: string | undefined,
): Found[] {
  const { code, hint } = refusalOf(pandaScheme, {
    code: !token && !date ? 'credentials_missing' : 'credentials_incomplete',
  });
  const foreign = explainForeignHeaders(request, sources, code, pandaScheme);
  if (foreign.length > 0) return foreign;
  const missing = [...(token ? [] : ['X-Gu-Tools-HMAC-Token']), ...(date ? [] : ['X-Gu-Tools-HMAC-Date'])];
  const said = `${missing.join(' and ')} ${missing.length === 1 ? 'is' : 'are'} not there: a proxy removed the header, or the sender does not sign`;
  return [problem(said, hint, code)];
}

function unknownService(callers: readonly ResolvedSource[], service: string | undefined): Found {
  const names = callers.map(({ source }) => source.name).join(', ');
  const { code, hint } = new DaybookError('service_unknown');
  if (service === undefined) return problem('no source of scheme panda is configured', hint, code);
  return problem(
    `X-Gu-Tools-Service-Name names no source of scheme panda (${names || 'none'} is configured)`,
    hint,
    code,
  );
}

function explainExpired({ source, secrets }: ResolvedSource, credentials: Credentials): Found {
  const result = verifyPandaToken(credentials, secrets);
  const secret = 'secret' in result ? result.secret : secrets[0]!;
  const name = secretName(source.name, secrets.indexOf(secret), secret.keyid);
  const when = new Date(secret.notAfterMs!).toISOString();
  const { code, hint } = new DaybookError('token_secret_expired');
  return problem(`the token is by ${name}, whose notAfter passed at ${when}`, hint, code);
}

function explainSkew(code: 'date_stale' | 'date_in_future', signedAtMs: number, nowMs: number): Found {
  const seconds = Math.abs(Math.round((nowMs - signedAtMs) / 1000));
  const limit = `${pandaToleranceSeconds} s are allowed`;
  const other = 'If the request came at another time, give that as --at.';
  if (code === 'date_stale') {
    const hint = `Compare the sender's clock, which may be behind, and this machine's, which may be ahead. Each try must be dated again. ${other}`;
    return problem(`the token holds, but its date is ${seconds} s before the receipt; ${limit}`, hint, code);
  }
  const hint = `Compare the sender's clock, which may be ahead, and this machine's, which may be behind. ${other}`;
  return problem(`the token holds, but its date is ${seconds} s after the receipt; ${limit}`, hint, code);
}

/** A token in another shape: base64url, hex, without its word. */
function explainToken({ token, date, path }: Credentials, callers: readonly ResolvedSource[], service?: string): Found {
  const { code, hint } = refusalOf(pandaScheme, { code: 'token_malformed' });
  const bare = token.replace(/^\s*(?:hmac|bearer)?[\s:]*/i, '').replaceAll(/["'\s]/g, '');
  const digests = /^[0-9a-f]{64}$/i.test(bare) ? Buffer.from(bare, 'hex') : Buffer.from(bare, 'base64');
  const key = signingKeys(callers, service).find((candidate) => {
    const expected = createHmac('sha256', candidate.key).update(`${date}\n${path}`).digest();
    return equalInConstantTime(expected.toString('hex'), digests.toString('hex'));
  });
  if (key === undefined) return problem('the token has not the form that it must have', hint, code);
  const said = `the token is right, by ${key.secretName}, but not in its form`;
  return problem(
    said,
    'It is the word HMAC, one space, and the 32 bytes in base64 with its = (no hex, no base64url).',
    code,
  );
}

function explainDate({ token, date, path }: Credentials, callers: readonly ResolvedSource[], service?: string): Found {
  const { code, hint } = refusalOf(pandaScheme, { code: 'date_malformed' });
  const key = signingKeys(callers, service).find((candidate) => isBy(token, candidate, `${date}\n${path}`));
  const instant = Date.parse(date);
  const like = Number.isNaN(instant) ? '' : ` Here: ${new Date(instant).toUTCString()}.`;
  const form = /^\d{4}-\d\d-\d\dT/.test(date) ? 'an ISO 8601 date' : /^\d+$/.test(date) ? 'a number' : 'another form';
  const said = `X-Gu-Tools-HMAC-Date is not an RFC 7231 date but ${form}`;
  return problem(key === undefined ? said : `${said}; the token is right for it`, `${hint}${like}`, code);
}

interface Attempt {
  readonly said: string;
  readonly text: string;
  readonly hint: string;
}

function explainMismatch(
  request: CapturedRequest,
  { token, date, path }: Credentials,
  callers: readonly ResolvedSource[],
  service: string | undefined,
): Found[] {
  const { code, hint: howToSign } = refusalOf(pandaScheme, { code: 'token_mismatch' });
  const attempts = [{ said: '', text: `${date}\n${path}`, hint: '' }, ...otherTexts(request, date, path)];
  for (const { said, text, hint } of attempts) {
    const key = signingKeys(callers, service).find((candidate) => isBy(token, candidate, text));
    if (key === undefined) continue;
    const found = said === '' ? [] : [problem(said, hint, code)];
    if (key.reading !== undefined) {
      found.push(problem(`the token is by ${key.secretName} ${key.reading.how}`, key.reading.hint, code));
    } else if (service !== undefined && key.sourceName !== service) {
      const todo = `X-Gu-Tools-Service-Name should be ${key.sourceName}; or the secret is under the wrong source.`;
      found.push(
        problem(`the token is by ${key.secretName}, and the request says it is of another service`, todo, code),
      );
    } else if (said !== '') {
      found.push(ok(`but for that the token holds, by ${key.secretName}`));
    }
    return found;
  }
  const tried = `no secret of the panda sources made this token, over this date and path or any of ${attempts.length - 1} other texts`;
  return [problem(tried, `${howToSign} ${compareKeyids}`, code)];
}

/** Prefixes that gateways put before a service's own path. */
const usualPrefixes = ['/api', '/v1', '/api/v1', '/ingest', '/daybook', '/telemetry'];
/** Headers in which a proxy says what the path was before it. */
const formerPaths = ['x-original-uri', 'x-original-url', 'x-forwarded-uri', 'x-rewrite-url', 'x-envoy-original-path'];

/** What a sender may have signed in the place of the date, a line feed and the path. */
function otherTexts({ target, headers }: CapturedRequest, date: string, path: string): Attempt[] {
  const last = path.replace(/^.*(\/events?)\/?$/, '$1');
  const alias = last === '/event' ? '/events' : '/event';
  const routes = [...new Set([last, alias])];
  const former = formerPaths.flatMap((name) => (headers[name] === undefined ? [] : [`${headers[name]}`]));
  const prefixes = [
    ...`${headers['x-forwarded-prefix'] ?? ''}`.split(',').map((text) => text.trim()),
    ...usualPrefixes,
  ];
  const host = `${headers['x-forwarded-host'] ?? headers.host ?? ''}`;
  const relative = target.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '');
  const paths: readonly (readonly [string, string])[] = [
    ...routes.map((route) => [route, `the path ${route}`] as const),
    ...routes.map((route) => [`${route}/`, `the path ${route}/`] as const),
    [relative, 'the path with its query'],
    [target, 'the whole URL'],
    ...former
      .flatMap((text) => [text, text.split('?', 1)[0]!])
      .map((text) => [text, 'the path before a proxy'] as const),
    ...prefixes.flatMap((prefix) =>
      routes.map((route) => [`${prefix}${route}`, `the path ${prefix}${route}`] as const),
    ),
    ...['https://', 'http://', ''].map((scheme) => [`${scheme}${host}${relative}`, 'the URL with its host'] as const),
    [path.slice(1), 'the path without its first slash'],
    ['', 'an empty path'],
  ];
  const hint = `Sign the path as it arrives here, without host and query: ${path}; or let the proxy leave the path as it is.`;
  const separated = 'Sign the date as sent, a line feed, and the path, in this order.';
  return [
    ...paths
      .filter(([text]) => text !== path)
      .map(([text, name]) => ({ said: `the sender signed another path: ${name}`, text: `${date}\n${text}`, hint })),
    ...['', '\r\n', ' ', '\n\n'].map((mark) => ({
      said: 'the sender does not put one line feed between the date and the path',
      text: `${date}${mark}${path}`,
      hint: separated,
    })),
    { said: 'the sender ends the signed text with a line feed', text: `${date}\n${path}\n`, hint: separated },
    { said: 'the sender signs the path before the date', text: `${path}\n${date}`, hint: separated },
  ];
}

function isBy(token: string, { key }: SigningKey, text: string): boolean {
  return equalInConstantTime(`HMAC ${createHmac('sha256', key).update(text).digest('base64')}`, token);
}
