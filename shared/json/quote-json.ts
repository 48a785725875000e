/** JSON strings of UTF-8 text, written as bytes: four at a time where none of them is escaped, as most are not. */

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

export const wordBytes = 4;
const ones = 0x01010101;
const highBits = 0x80808080;

/**
 * Which of four bytes a JSON string escapes, quotes, backslashes and control characters: 0 where none is. The lowest bit set
 * is of the first of them (`firstOf`); above it others may be set that are of none.
 *
 * A byte less than n has its high bit set once n is taken from it, and had it not before.
 */
export function escapedBytes(word: number): number {
  const control = word - 0x20 * ones;
  const quoted = (word ^ (quote * ones)) - ones;
  const slashed = (word ^ (backslash * ones)) - ones;
  return (control | quoted | slashed) & ~word & highBits;
}

/** The place of the first byte, 0 to 3, of the lowest that `escapedBytes` found. */
export function firstOf(found: number): number {
  return (31 - Math.clz32(found & -found)) >> 3;
}

/**
 * Writes UTF-8 text into a JSON string, as JSON.stringify does, without the quotes around it. Returns where it ends; the
 * room for it must be there.
 */
export function writeQuoted(text: Uint8Array, into: Uint8Array, start: number): number {
  const words = new DataView(text.buffer, text.byteOffset, text.length);
  const intoWords = new DataView(into.buffer, into.byteOffset, into.length);
  const end = text.length;
  const lastWord = end - wordBytes;
  let at = start;
  for (let from = 0; from < end; ) {
    if (from <= lastWord) {
      const word = words.getInt32(from, true);
      // Those of the four that are escaped are written over.
      intoWords.setInt32(at, word, true);
      const found = escapedBytes(word);
      const plain = found === 0 ? wordBytes : firstOf(found);
      from += plain;
      at += plain;
      if (found === 0) continue;
    }
    at = writeByte(text[from++]!, into, at);
  }
  return at;
}

function writeByte(byte: number, into: Uint8Array, start: number): number {
  let at = start;
  if (byte >= 0x20) {
    if (byte === quote || byte === backslash) into[at++] = backslash;
    into[at++] = byte;
    return at;
  }
  into[at++] = backslash;
  const letter = shortEscapes[byte]!;
  if (letter !== 0) {
    into[at++] = letter;
    return at;
  }
  into[at++] = letterU;
  into[at++] = zero;
  into[at++] = zero;
  into[at++] = hexDigits[byte >> 4]!;
  into[at++] = hexDigits[byte & 15]!;
  return at;
}
