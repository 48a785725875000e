/** JSON strings of UTF-8 text, written as bytes. */

const quote = 0x22;
const backslash = 0x5c;
const letterU = 0x75;
const zero = 0x30;
const shortEscapes = new Uint8Array(0x20);
for (const [byte, letter] of [
  [0x08, 'b'],
  [0x09, 't'],
  [0x0a, 'n'],
  [0x0c, 'f'],
  [0x0d, 'r'],
] as const) {
  shortEscapes[byte] = letter.charCodeAt(0);
}
const hexDigits = Buffer.from('0123456789abcdef');

/** The most bytes that one byte of a text takes in a JSON string. */
export const maxQuotedBytesPerByte = 6;

/**
 * Writes UTF-8 text into a JSON string, as JSON.stringify does, without the quotes around it. Returns where it ends; the
 * room for it must be there.
 */
export function writeQuoted(text: Uint8Array, into: Uint8Array, start: number): number {
  let at = start;
  const end = text.length;
  for (let from = 0; from < end; from++) {
    const byte = text[from]!;
    if (byte >= 0x20) {
      if (byte === quote || byte === backslash) into[at++] = backslash;
      into[at++] = byte;
      continue;
    }
    into[at++] = backslash;
    const letter = shortEscapes[byte]!;
    if (letter !== 0) {
      into[at++] = letter;
      continue;
    }
    into[at++] = letterU;
    into[at++] = zero;
    into[at++] = zero;
    into[at++] = hexDigits[byte >> 4]!;
    into[at++] = hexDigits[byte & 15]!;
  }
  return at;
}
