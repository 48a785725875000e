/** Text files that people write and mount: settings, secrets, keys, sources. */
import { readFileSync } from 'node:fs';

/**
 * The text of a file in UTF-8, or in UTF-16 where its byte order mark says so (PowerShell writes that). The mark itself,
 * which some editors put first, is left out.
 */
export function readTextFile(path: string): string {
  return textOfBytes(readFileSync(path));
}

/** The same of its bytes. */
export function textOfBytes(bytes: Buffer): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder('utf-16le').decode(bytes);
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder('utf-16be').decode(bytes);
  return withoutByteOrderMark(bytes.toString('utf8'));
}

/** A text that came by another way, such as `"$(cat file)"`. */
export function withoutByteOrderMark(text: string): string {
  return text.startsWith('\ufeff') ? text.slice(1) : text;
}
