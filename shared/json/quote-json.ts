/** JSON strings of UTF-8 text, written as bytes: four at a time where none of them is escaped, as most are not. */

const quote = 0x22;
const backslash = 0x5c;
const letterU = 0x75;
/** What stands behind the backslash that a byte is escaped by: 0 where it is not, `u` where that takes four digits more. */
const letterOf = new Uint8Array(0x100).fill(letterU, 0, 0x20);
for (const [byte, letter] of [
  [0x08, 'b'],
  [0x09, 't'],
  [0x0a, 'n'],
  [0x0c, 'f'],
  [0x0d, 'r'],
  [quote, '"'],
  [backslash, '\\'],
] as const) {
  letterOf[byte] = letter.charCodeAt(0);
}

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

/** Texts that are taken, and what may stand before and behind them. */
const maxTextBytes = 64 * 1024;
const maxAroundBytes = 64 * 1024;
/** The most bytes that one byte of a text takes. */
const maxBytesOfOne = 6;

/** One room for all, made with the module: the compiler then takes it for what never changes (json-bytes.ts). */
const text = Buffer.allocUnsafeSlow(maxTextBytes + wordBytes);
const words = new DataView(text.buffer);
const line = Buffer.allocUnsafeSlow(maxTextBytes * maxBytesOfOne + maxAroundBytes + wordBytes);
const lineWords = new DataView(line.buffer);

/**
 * A JSON string as JSON.stringify writes it, of UTF-8 text, between two pieces that are written as they are, a byte a
 * character. The bytes handed out are overwritten by the next call. Undefined where a text is too long for it.
 */
export function quotedBetween(before: string, json: Uint8Array, behind: string): Buffer | undefined {
  if (json.length > maxTextBytes || before.length + behind.length + 2 > maxAroundBytes) return undefined;
  const start = line.write(before, 'latin1');
  line[start] = quote;
  const end = writeQuoted(json, start + 1);
  line[end] = quote;
  return line.subarray(0, end + 1 + line.write(behind, end + 1, 'latin1'));
}

function writeQuoted(json: Uint8Array, start: number): number {
  text.set(json);
  // One that is escaped ends it.
  text[json.length] = quote;
  let at = start;
  for (let from = 0; ; ) {
    const word = words.getInt32(from, true);
    // Those of the four that are escaped are written over.
    lineWords.setInt32(at, word, true);
    const found = escapedBytes(word);
    if (found === 0) {
      from += wordBytes;
      at += wordBytes;
      continue;
    }
    const plain = firstOf(found);
    from += plain;
    at += plain;
    if (from >= json.length) return at;
    const byte = text[from++]!;
    const letter = letterOf[byte]!;
    line[at] = backslash;
    line[at + 1] = letter;
    at += 2;
    if (letter === letterU) at += line.write(byte.toString(16).padStart(4, '0'), at, 'latin1');
  }
}
