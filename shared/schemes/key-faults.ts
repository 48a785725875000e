import type { SecretFault } from './scheme.ts';
import { secretKind, unquoted } from './secret-kind.ts';

/** Of HMAC keys, so that they cannot be guessed: RFC 2104 asks for the length of the hash, this for half of it. */
const leastKeyCharacters = 16;

/** What shows in an HMAC key that somebody made for senders of the scheme named. */
export function keyFaults(text: string, schemeName: string): SecretFault[] {
  const { kind } = secretKind(text);
  if (kind !== 'other') {
    const said = `is a ${kind} of Stripe's or another kind of key, not made for ${schemeName}`;
    return [{ status: 'warning', said, hint: 'Make a secret for these senders alone: openssl rand -base64 32' }];
  }
  if (unquoted(text).length >= leastKeyCharacters) return [];
  const hint = 'Make a longer one: openssl rand -base64 32. Whoever sees one request can try out short ones.';
  return [{ status: 'warning', said: `has fewer than ${leastKeyCharacters} characters`, hint }];
}
