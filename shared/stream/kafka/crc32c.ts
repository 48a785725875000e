/**
 * CRC-32C (Castagnoli, RFC 3720 B.4), sixteen bytes a step: four times as fast as byte by byte, and as fast as
 * WebAssembly. Node's own is another (zlib.crc32: IEEE). For machines that are little-endian, as all are that Node runs on
 * but s390x.
 */

const polynomial = 0x82f63b78;
const stepWords = 4;
const noWords = new Int32Array(0);
let tables: Int32Array | undefined;

/** `tables[n * 256 + byte]`: what a byte does to the remainder with n bytes of its step behind it. */
function makeTables(): Int32Array {
  const made = new Int32Array(stepWords * 4 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let remainder = byte;
    for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? polynomial : 0);
    made[byte] = remainder;
  }
  for (let at = 256; at < made.length; at++) made[at] = (made[at - 256]! >>> 8) ^ made[made[at - 256]! & 0xff]!;
  return made;
}

export function crc32c(bytes: Uint8Array): number {
  tables ??= makeTables();
  const table = tables;
  // Words can be had from where the memory is aligned; what is before and behind goes byte by byte.
  const from = Math.min(-bytes.byteOffset & 3, bytes.length);
  const wordCount = Math.floor((bytes.length - from) / (stepWords * 4)) * stepWords;
  const words = wordCount === 0 ? noWords : new Int32Array(bytes.buffer, bytes.byteOffset + from, wordCount);
  let remainder = byteByByte(table, -1, bytes, 0, from);
  for (let at = 0; at < wordCount; at += stepWords) {
    const first = remainder ^ words[at]!;
    const second = words[at + 1]!;
    const third = words[at + 2]!;
    const fourth = words[at + 3]!;
    remainder =
      table[0xf00 | (first & 0xff)]! ^
      table[0xe00 | ((first >>> 8) & 0xff)]! ^
      table[0xd00 | ((first >>> 16) & 0xff)]! ^
      table[0xc00 | (first >>> 24)]! ^
      table[0xb00 | (second & 0xff)]! ^
      table[0xa00 | ((second >>> 8) & 0xff)]! ^
      table[0x900 | ((second >>> 16) & 0xff)]! ^
      table[0x800 | (second >>> 24)]! ^
      table[0x700 | (third & 0xff)]! ^
      table[0x600 | ((third >>> 8) & 0xff)]! ^
      table[0x500 | ((third >>> 16) & 0xff)]! ^
      table[0x400 | (third >>> 24)]! ^
      table[0x300 | (fourth & 0xff)]! ^
      table[0x200 | ((fourth >>> 8) & 0xff)]! ^
      table[0x100 | ((fourth >>> 16) & 0xff)]! ^
      table[fourth >>> 24]!;
  }
  return ~byteByByte(table, remainder, bytes, from + wordCount * 4, bytes.length) >>> 0;
}

function byteByByte(table: Int32Array, before: number, bytes: Uint8Array, from: number, to: number): number {
  let remainder = before;
  for (let at = from; at < to; at++) remainder = (remainder >>> 8) ^ table[(remainder ^ bytes[at]!) & 0xff]!;
  return remainder;
}
