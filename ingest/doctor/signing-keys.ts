/** The secrets of DAYBOOK_SOURCES as keys that may have made a signature, also in the ways in which they are misread. */
import { secretKind, unquoted } from '../../shared/schemes/secret-kind.ts';
import type { Proven, Refusal } from '../../shared/schemes/secret-match.ts';
import type { ResolvedSource } from '../schemes/resolved-source.ts';

export interface SigningKey {
  readonly sourceName: string;
  readonly scheme: string;
  /** Which of the source's secrets, for people: its place and its keyid. */
  readonly secretName: string;
  readonly key: string | Buffer;
  /** How the text was read to get the key, to stand after "the secret …"; undefined: as it is. */
  readonly reading?: Reading;
}

export interface Reading {
  readonly how: string;
  readonly hint: string;
}

/** Every secret as it is, own source's first, whether or not past its notAfter; then every other reading of each. */
export function signingKeys(sources: readonly ResolvedSource[], own: string | undefined): SigningKey[] {
  const ordered = sources.toSorted((a, b) => Number(b.source.name === own) - Number(a.source.name === own));
  const keys = ordered.flatMap(({ source, secrets }) =>
    secrets.map(({ text, keyid }, index) => ({
      sourceName: source.name,
      scheme: source.scheme,
      secretName: secretName(source.name, index, keyid),
      key: text,
    })),
  );
  return [...keys, ...keys.flatMap((key) => readingsOf(key.key).map((reading) => ({ ...key, ...reading })))];
}

/** Whether a verifier found the signature right, whatever it says of the time or the end of the secret. */
export function isSignature(result: Proven | Refusal): boolean {
  return 'secret' in result || /_(?:stale|in_future|secret_expired)$/.test(result.code);
}

export function secretName(sourceName: string, index: number, keyid: string): string {
  return `secrets[${index}] of ${sourceName} (keyid ${keyid})`;
}

function readingsOf(text: string): { key: string | Buffer; reading: Reading }[] {
  const readings: { key: string | Buffer; reading: Reading }[] = [];
  const plain = unquoted(text);
  if (plain !== text) {
    const hint = 'Take the white space or the quotes away from it in DAYBOOK_SOURCES.';
    readings.push({ key: plain, reading: { how: 'without the white space or quotes around it', hint } });
  } else {
    const hint = 'The sender has a line feed in its secret, mostly from echo without -n: let it take that away.';
    readings.push({ key: `${text}\n`, reading: { how: 'with a line feed behind it', hint } });
  }
  const { kind } = secretKind(plain);
  const body = plain.replace(/^whsec_/, '');
  if (/^[A-Za-z0-9+/_-]{16,}={0,2}$/.test(body)) {
    const hint =
      'That is how Standard Webhooks reads a secret; Stripe uses the whole text, and so do all others here. Sign with the text as it is.';
    readings.push({ key: Buffer.from(body, 'base64'), reading: { how: 'decoded from base64', hint } });
  }
  if (kind === 'signing secret') {
    const hint = 'The prefix is part of the secret: sign with the whole text.';
    readings.push({ key: body, reading: { how: 'without its prefix whsec_', hint } });
  } else {
    const hint = 'The prefix is part of the secret: put the whole text, whsec_ and all, into DAYBOOK_SOURCES.';
    readings.push({ key: `whsec_${plain}`, reading: { how: 'with whsec_ before it', hint } });
  }
  return readings;
}

/** How somebody finds out which secret a keyid is of, without showing it. */
export const compareKeyids =
  "Compare keyids: printf %s '<the secret>' | sha256sum | cut -c1-16 gives that of the sender's secret.";
