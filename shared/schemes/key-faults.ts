import { randomBytes } from 'node:crypto';
import type { SecretFault } from './scheme.ts';
import { secretKind, unquoted } from './secret-kind.ts';

/** Of HMAC keys, so that they cannot be guessed: RFC 2104 asks for the length of the hash, this for half of it. */
const leastKeyCharacters = 16;

const makeOne = 'Make a secret for these senders alone: openssl rand -base64 32';

/** An HMAC key: 32 random bytes, in base64. */
export function makeKey(): string {
  return randomBytes(32).toString('base64');
}

/** What shows in an HMAC key of the scheme named. `hint`: where the right one is to be had; else somebody makes it. */
export function keyFaults(text: string, schemeName: string, hint = makeOne): SecretFault[] {
  const { kind } = secretKind(text);
  if (kind !== 'other') {
    const said = `is a ${kind} of Stripe's or another kind of key, not made for ${schemeName}`;
    return [{ status: 'warning', said, hint }];
  }
  if (unquoted(text).length >= leastKeyCharacters) return [];
  const longer = 'Make a longer one: openssl rand -base64 32. Whoever sees one request can try out short ones.';
  const said = `has fewer than ${leastKeyCharacters} characters`;
  return [{ status: 'warning', said, hint: hint === makeOne ? longer : hint }];
}
