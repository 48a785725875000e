import { timingSafeEqual } from 'node:crypto';
import type { ErrorCode } from '../errors.ts';
import { isActive, type Secret } from './secrets.ts';

/** Why a request is not believed: a code of shared/errors.ts, and what was seen, which never quotes a header. */
export interface Refusal<Code extends ErrorCode = ErrorCode> {
  readonly code: Code;
  readonly detail?: string;
}

/** A signature that is right, and what of it is kept. */
export interface Proven {
  readonly secret: Secret;
  /** The headers that prove it, as evidence keeps them: `name: value`, joined by `; `. Nothing that nobody signed. */
  readonly signedheaders: string;
}

/** One that signs a time, whatever the clock says. */
export interface Match extends Proven {
  /** Epoch milliseconds. */
  readonly signedAtMs: number;
}

/** Compares in time that depends on the lengths alone. */
export function equalInConstantTime(left: string, right: string): boolean {
  const leftBytes = Buffer.from(left);
  const rightBytes = Buffer.from(right);
  return leftBytes.length === rightBytes.length && timingSafeEqual(leftBytes, rightBytes);
}

/**
 * Verifies with the secrets that are active now. Where none of them matches but one past its `notAfter` does, the
 * refusal says so: the sender has not taken up the new secret.
 */
export function verifyWithActive<Code extends ErrorCode, M extends Proven>(
  secrets: readonly Secret[],
  nowMs: number,
  expired: Code,
  verify: (secrets: readonly Secret[]) => M | Refusal<Code>,
): M | Refusal<Code> {
  const active = secrets.filter((secret) => isActive(secret, nowMs));
  const result = verify(active);
  if ('secret' in result || active.length === secrets.length) return result;
  return 'secret' in verify(secrets) ? { code: expired } : result;
}
