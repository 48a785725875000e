/** Why a Stripe signature is refused: what the verifier says, then every known way in which it comes about is tried. */
import { createHmac } from 'node:crypto';
import { type Found, ok, problem, warning } from '../../shared/doctor/finding.ts';
import { DaybookError } from '../../shared/errors.ts';
import { equalInConstantTime } from '../../shared/schemes/secret-match.ts';
import {
  stripeScheme,
  stripeToleranceSeconds,
  verifyStripeDelivery,
  verifyStripeSignature,
} from '../../shared/schemes/stripe.ts';
import type { ResolvedSource } from '../schemes/resolved-source.ts';
import { bodyVariants } from './body-variants.ts';
import type { CapturedRequest } from './captured-request.ts';
import { describeStripeBody } from './describe-body.ts';
import { explainForeignHeaders } from './foreign-headers.ts';
import { compareKeyids, type SigningKey, secretName, signingKeys } from './signing-keys.ts';

export interface Explanation {
  readonly request: CapturedRequest;
  /** Undefined where the path leads to none. */
  readonly source: ResolvedSource | undefined;
  readonly sources: readonly ResolvedSource[];
  /** When the request was received. */
  readonly nowMs: number;
}

const seenBy = 'Stripe signs each try again, by a clock that is right.';

export function explainStripe(explanation: Explanation): Found[] {
  const { request, source, nowMs } = explanation;
  const header = request.headers['stripe-signature'] as string | undefined;
  const secrets = source?.secrets ?? [];
  const result = verifyStripeDelivery(header, request.body, secrets, nowMs);
  if ('secret' in result) {
    const index = secrets.indexOf(result.secret);
    return [ok(`the signature holds, by ${secretName(source!.source.name, index, result.secret.keyid)}`)];
  }
  switch (result.code) {
    case 'signature_missing':
      return explainMissing(explanation);
    case 'signature_malformed':
      return explainMalformed(explanation, header!, result.detail ?? '');
    case 'signature_secret_expired':
      return explainExpired(source!, header!, request.body);
    case 'signature_stale':
    case 'signature_in_future':
      return [explainSkew(source!, header!, request.body, nowMs)];
    case 'signature_mismatch':
      return explainMismatch(explanation, header!);
  }
}

function explainMissing({ request, sources }: Explanation): Found[] {
  const { code, hint } = new DaybookError('signature_missing');
  const renamed = Object.entries(request.headers).find(([, value]) =>
    /(?:^|[\s,])t=\d+,.*v1=[0-9a-f]/.test(`${value}`),
  );
  if (renamed !== undefined) {
    const said = `there is no Stripe-Signature header, but its like under the name ${renamed[0]}`;
    return [problem(said, 'Let the proxy or gateway on the way pass Stripe-Signature on under its own name.', code)];
  }
  const foreign = explainForeignHeaders(request, sources, code, stripeScheme);
  if (foreign.length > 0) return foreign;
  const said = request.headers['stripe-signature'] === '' ? 'is empty' : 'is not there';
  const todo = 'A proxy, gateway or load balancer removed it, or it is not Stripe who sent this. Let it pass on.';
  return [problem(`the Stripe-Signature header ${said}`, `${todo} ${hint}`, code)];
}

/** Headers are bent in logs and by gateways; where an unbent one verifies, that is all there is to it. */
function explainMalformed(explanation: Explanation, header: string, detail: string): Found[] {
  const { request, source, sources } = explanation;
  const { code, hint } = new DaybookError('signature_malformed');
  if (/(?:^|,)v0=/.test(header) && !/(?:^|,)v1=/.test(header)) {
    const said =
      'the header has a v0 signature and no v1: v0 is a fake that Stripe adds to test events, and proves nothing';
    return [problem(said, 'Pass the header on whole: t, v1 and all. Something on the way took v1 away.', code)];
  }
  const mended = header
    .replaceAll(/["'\s]/g, '')
    .replace(/^stripe-signature:/i, '')
    .toLowerCase();
  const keys = [...(source?.secrets ?? []), ...sources.flatMap(({ secrets }) => secrets)];
  if ('secret' in verifyStripeSignature(mended, request.body, keys)) {
    const said =
      'the header was changed on the way: without its white space and quotes, and in lower case, it verifies';
    return [problem(said, 'Pass the header on as it came.', code)];
  }
  if (header.split(',').filter((item) => item.trim().startsWith('t=')).length > 1) {
    const said = 'there are two Stripe-Signature headers, joined into one';
    return [problem(said, 'Something on the way adds a second one, or two requests were captured as one.', code)];
  }
  return [problem(`the Stripe-Signature header is malformed. ${detail}`, hint, code)];
}

function explainExpired({ source, secrets }: ResolvedSource, header: string, body: Buffer): Found[] {
  const result = verifyStripeSignature(header, body, secrets);
  const { code } = new DaybookError('signature_secret_expired');
  const secret = 'secret' in result ? result.secret : secrets[0]!;
  const when = new Date(secret.notAfterMs!).toISOString();
  const name = secretName(source.name, secrets.indexOf(secret), secret.keyid);
  const hint =
    "Stripe still signs with the old secret: finish the roll in the endpoint's settings, or move notAfter (Stripe lets an old one live 24 h at most).";
  return [problem(`the signature is by ${name}, whose notAfter passed at ${when}`, hint, code)];
}

function explainSkew({ secrets }: ResolvedSource, header: string, body: Buffer, nowMs: number): Found {
  const result = verifyStripeSignature(header, body, secrets);
  const signedAtMs = 'secret' in result ? result.signedAtMs : nowMs;
  const seconds = Math.abs(Math.round((nowMs - signedAtMs) / 1000));
  const signed = `the signature holds, but was made at ${new Date(signedAtMs).toISOString()}`;
  const limit = `${stripeToleranceSeconds} s are allowed`;
  if (signedAtMs < nowMs) {
    const hint = `If the request came at another time, give that as --at. If it came now, see whether this machine's clock is ahead (${seenBy}); or the request was kept on the way, or is a copy sent again.`;
    return problem(`${signed}, ${seconds} s before it was received; ${limit}`, hint, 'signature_stale');
  }
  const hint = `This machine's clock is behind: let it keep its time by NTP (${seenBy}). If the request came at another time, give that as --at.`;
  return problem(`${signed}, ${seconds} s after it was received; ${limit}`, hint, 'signature_in_future');
}

function explainMismatch(explanation: Explanation, header: string): Found[] {
  const { request, source, sources } = explanation;
  const { code } = new DaybookError('signature_mismatch');
  const own = source?.source.name;
  const keys = signingKeys(sources, own);
  const variants = bodyVariants(request.body);
  const signed = { header, parsed: signaturesOf(header) };
  for (const { change, body } of [{ change: undefined, body: request.body }, ...variants]) {
    const key = keys.find((candidate) => isBy(signed.parsed, body, candidate.key));
    if (key === undefined) continue;
    const found: Found[] = [];
    if (change !== undefined) {
      const hint =
        'Hand the bytes on as they came: no body parser, no transformation and no re-encoding in the proxy, gateway or function before ingest.';
      found.push(problem(`the body was ${change} on the way: with that undone the signature holds`, hint, code));
    }
    if (key.sourceName !== own || key.reading !== undefined) found.push(explainKey(key, own));
    return found;
  }
  const tried = `no secret of DAYBOOK_SOURCES made this signature, over these bytes or any of ${variants.length} ways in which bodies are known to be changed`;
  const hint = `Each endpoint, each event destination and each \`stripe listen\` has a signing secret of its own: put that of the one that sent this into the source. ${compareKeyids}`;
  return [
    problem(tried, hint, code),
    ...explainForeignHeaders(request, sources, code, stripeScheme),
    ...describeStripeBody(request.body, source?.source),
  ];
}

function explainKey(key: SigningKey, own: string | undefined): Found {
  const { code } = new DaybookError('signature_mismatch');
  const { sourceName, scheme, secretName: name, reading } = key;
  if (reading !== undefined) {
    return problem(`the signature is by ${name} ${reading.how}`, reading.hint, code);
  }
  if (scheme !== 'stripe') {
    return problem(
      `the signature is by ${name}, a source of scheme ${scheme}`,
      'Make it a source of scheme stripe.',
      code,
    );
  }
  const said = `the signature is by ${name}`;
  if (own === undefined) return warning(said, `Let the endpoint's URL end in /webhooks/${sourceName}.`);
  const hint = `The endpoint's URL should end in /webhooks/${sourceName}; or its secret is under the wrong source, and belongs to ${own}.`;
  return problem(`${said}, not by one of ${own}, to which it was sent`, hint, code);
}

interface Signed {
  readonly timestamp: string;
  readonly signatures: readonly string[];
}

/** Of a header that the verifier has found well-formed. */
function signaturesOf(header: string): Signed {
  const items = header.split(',').map((item) => item.split('=', 2) as [string, string]);
  return {
    timestamp: items.find(([name]) => name === 't')![1],
    signatures: items.filter(([name]) => name === 'v1').map(([, value]) => value),
  };
}

/** The verifier takes texts as keys; a decoded secret is none. */
function isBy({ timestamp, signatures }: Signed, body: Buffer, key: string | Buffer): boolean {
  const expected = createHmac('sha256', key).update(`${timestamp}.`).update(body).digest('hex');
  return signatures.some((signature) => equalInConstantTime(expected, signature));
}
