/**
 * Passwords as scrypt hashes, in the form that other tools write too (PHC string format):
 *   $scrypt$ln=15,r=8,p=1$<salt>$<hash>      both in base64 without padding; ln is the logarithm of N to the base 2
 */
import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

export interface PasswordHash {
  readonly salt: Buffer;
  readonly hash: Buffer;
  readonly cost: { readonly N: number; readonly r: number; readonly p: number };
}

const form = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,})\$([A-Za-z0-9+/]{22,})$/;
const derive = promisify<string, Buffer, number, ScryptOptions, Buffer>(scrypt);

/** More would let one login take the memory of the process. */
const maxMemoryBytes = 256 * 1024 * 1024;
const own = { ln: 15, r: 8, p: 1 };

/** Undefined where the text is none, or would be cheaper to guess than 4 MiB a try, or dearer to check than 256. */
export function parsePasswordHash(text: string): PasswordHash | undefined {
  const found = form.exec(text);
  if (found === null) return undefined;
  const [ln, r, p] = [Number(found[1]), Number(found[2]), Number(found[3])] as const;
  const memoryBytes = 128 * r * 2 ** ln;
  if (memoryBytes < 4 * 1024 * 1024 || memoryBytes > maxMemoryBytes || p < 1 || p > 4) return undefined;
  const [salt, hash] = [Buffer.from(found[4]!, 'base64'), Buffer.from(found[5]!, 'base64')];
  return { salt, hash, cost: { N: 2 ** ln, r, p } };
}

/** Some 70 ms and 32 MiB, off the main thread. */
export async function hashPassword(password: string): Promise<string> {
  const { ln, r, p } = own;
  const salt = randomBytes(16);
  const hash = await deriveKey(password, salt, 32, { N: 2 ** ln, r, p });
  const text = (bytes: Buffer) => bytes.toString('base64').replaceAll('=', '');
  return `$scrypt$ln=${ln},r=${r},p=${p}$${text(salt)}$${text(hash)}`;
}

export async function isPassword(given: string, { salt, hash, cost }: PasswordHash): Promise<boolean> {
  return timingSafeEqual(await deriveKey(given, salt, hash.length, cost), hash);
}

/** The same whatever way a keyboard composes its characters. */
function deriveKey(password: string, salt: Buffer, bytes: number, cost: PasswordHash['cost']): Promise<Buffer> {
  return derive(password.normalize('NFKC'), salt, bytes, { ...cost, maxmem: maxMemoryBytes + 1024 * 1024 });
}
