import { messageOf } from '../errors.ts';
import { canonicalJson } from './canonical-json.ts';

/** JSON that somebody wrote by hand: its value, or where it stops to be JSON. Nothing of the text is quoted: it may hold secrets. */
export function parseWritten(text: string): { readonly value: unknown } | { readonly problem: string } {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return { problem: `is not JSON: see line ${placeOf(text)}` };
  }
}

/** Counted from 1, as editors do. */
function placeOf(text: string): string {
  const before = text.slice(0, offsetOf(text)).split('\n');
  return `${before.length}, column ${before.at(-1)!.length + 1}`;
}

function offsetOf(text: string): number {
  try {
    // JSON.parse does not always tell the position, and quotes the text where it does.
    canonicalJson(text, Number.POSITIVE_INFINITY);
  } catch (error) {
    const at = /at character (\d+)$/.exec(messageOf(error))?.[1];
    if (at !== undefined) return Number(at);
  }
  return 0;
}
