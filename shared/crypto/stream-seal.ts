/**
 * The seal of a stream record (PROTOCOLS.md, The seal): an HMAC-SHA256 by a key that ingest and the compactor share, and
 * nobody else who may write to the stream has. It covers every byte of the envelope but itself.
 */
import { createHash, createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';

export interface StreamKey {
  /** First 16 hex of the SHA-256 of the key's text. */
  readonly keyId: string;
  readonly key: KeyObject;
}

/** The first one seals, all of them open. */
export type StreamKeys = readonly StreamKey[];

export const minKeyCharacters = 32;

/** Keys stand apart by white space or commas. Undefined where one of them is too short to be one, or there is none. */
export function parseStreamKeys(text: string): StreamKeys | undefined {
  const texts = text.split(/[\s,]+/).filter((part) => part !== '');
  if (texts.length === 0 || texts.some((part) => part.length < minKeyCharacters)) return undefined;
  return texts.map((part) => ({
    keyId: createHash('sha256').update(part).digest('hex').slice(0, 16),
    key: createSecretKey(part, 'utf8'),
  }));
}

/** The MAC over the pieces, one after the other: 43 characters of base64url. */
export function macOf({ key }: StreamKey, pieces: readonly Uint8Array[]): string {
  const hmac = createHmac('sha256', key);
  for (const piece of pieces) hmac.update(piece);
  return hmac.digest('base64url');
}

export function isSameMac(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}

/** Of a stream that others may write to. */
export const unsealedWarning =
  'DAYBOOK_STREAM_KEY is not set: whoever may write to the stream can put events into the archive';
