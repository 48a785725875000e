/**
 * The key derivation of OpenSSH's private keys with a passphrase (OpenBSD's bcrypt_pbkdf(3), named `bcrypt` in OpenSSH's
 * PROTOCOL.key), which node:crypto lacks: PBKDF2's shape with SHA-512 before and bcrypt's Blowfish inside.
 */
import { createHash } from 'node:crypto';

const magic = Buffer.from('OxychromaticBlowfishSwatDynamite');
const costRounds = 64;
const subkeys = 18;
const boxWords = 4 * 256;

interface Blowfish {
  /** The eighteen subkeys. */
  readonly p: Uint32Array;
  /** The four boxes, one after the other. */
  readonly s: Uint32Array;
}

/** `bytes` of key from a passphrase. About 10 ms a round for the 48 bytes that aes256-ctr takes. */
export function bcryptPbkdf(passphrase: Uint8Array, salt: Uint8Array, bytes: number, rounds: number): Buffer {
  const start = initialState();
  const password = words(sha512(passphrase));
  const blocks = Math.ceil(bytes / magic.length);
  const key = Buffer.alloc(bytes);
  for (let block = 0; block < blocks; block++) {
    const number = Buffer.alloc(4);
    number.writeUInt32BE(block + 1);
    let round = bcryptHash(start, password, words(sha512(salt, number)));
    const sum = Buffer.from(round);
    for (let count = 1; count < rounds; count++) {
      round = bcryptHash(start, password, words(sha512(round)));
      for (let at = 0; at < sum.length; at++) sum[at]! ^= round[at]!;
    }
    // The blocks' bytes lie interleaved, so that no part of the key is cheaper to find than another.
    for (let at = 0; at * blocks + block < bytes && at < sum.length; at++) key[at * blocks + block] = sum[at]!;
  }
  return key;
}

function sha512(...pieces: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha512');
  for (const piece of pieces) hash.update(piece);
  return hash.digest();
}

function words(bytes: Buffer): Uint32Array {
  return Uint32Array.from({ length: bytes.length / 4 }, (_, at) => bytes.readUInt32BE(at * 4));
}

function bcryptHash(start: Blowfish, password: Uint32Array, salt: Uint32Array): Buffer {
  const state = { p: start.p.slice(), s: start.s.slice() };
  expand(state, password, salt);
  for (let round = 0; round < costRounds; round++) {
    expand(state, salt, noSalt);
    expand(state, password, noSalt);
  }
  const text = words(magic);
  const hashed = Buffer.alloc(magic.length);
  for (let at = 0; at < text.length; at += 2) {
    for (let round = 0; round < costRounds; round++) encipher(state, text, at);
    hashed.writeUInt32LE(text[at]!, at * 4);
    hashed.writeUInt32LE(text[at + 1]!, at * 4 + 4);
  }
  return hashed;
}

const noSalt = new Uint32Array(2);

/** Blowfish's key schedule, with the salt mixed into what is enciphered. */
function expand(state: Blowfish, key: Uint32Array, salt: Uint32Array): void {
  const { p, s } = state;
  for (let at = 0; at < subkeys; at++) p[at]! ^= key[at % key.length]!;
  const block = new Uint32Array(2);
  let from = 0;
  for (const table of [p, s]) {
    for (let at = 0; at < table.length; at += 2) {
      block[0]! ^= salt[from]!;
      block[1]! ^= salt[from + 1]!;
      from = (from + 2) % salt.length;
      encipher(state, block, 0);
      table[at] = block[0]!;
      table[at + 1] = block[1]!;
    }
  }
}

/** Enciphers the two words at `at` in their place. */
function encipher({ p, s }: Blowfish, block: Uint32Array, at: number): void {
  let left = block[at]! ^ p[0]!;
  let right = block[at + 1]!;
  for (let round = 1; round <= 16; round += 2) {
    right ^= mix(s, left) ^ p[round]!;
    left ^= mix(s, right) ^ p[round + 1]!;
  }
  block[at] = right ^ p[17]!;
  block[at + 1] = left;
}

function mix(s: Uint32Array, word: number): number {
  return (
    (((s[word >>> 24]! + s[256 + ((word >>> 16) & 255)]!) ^ s[512 + ((word >>> 8) & 255)]!) + s[768 + (word & 255)]!) |
    0
  );
}

/** Blowfish begins with the fraction of pi, in words of 32 bits: first the subkeys, then the boxes. */
function initialState(): Blowfish {
  const fraction = piFraction((subkeys + boxWords) * 32);
  const bytes = Buffer.from(fraction.toString(16).padStart((subkeys + boxWords) * 8, '0'), 'hex');
  const all = words(bytes);
  return { p: all.slice(0, subkeys), s: all.slice(subkeys) };
}

/** The first bits of pi after the point, by Machin: pi = 16 atan(1/5) - 4 atan(1/239). */
function piFraction(bits: number): bigint {
  const guardBits = 64;
  const one = 1n << BigInt(bits + guardBits);
  const pi = 16n * arctangentOfInverse(5n, one) - 4n * arctangentOfInverse(239n, one);
  return (pi % one) >> BigInt(guardBits);
}

function arctangentOfInverse(x: bigint, one: bigint): bigint {
  let power = one / x;
  let sum = power;
  for (let n = 3n, sign = -1n; power > 0n; n += 2n, sign = -sign) {
    power /= x * x;
    sum += (sign * power) / n;
  }
  return sum;
}
